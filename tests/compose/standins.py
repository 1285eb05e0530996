"""Images for an engine that can pull none: the native binaries, in the shape of the official images.

A stand-in has the official image's user, paths, ownership, entry point and, as far as anything of ours uses it, content; what
the official one lacks (a shell, a folder of its own), it lacks too. It carries a label, so that it is never taken for the real
one, and it is removed when the tests are over. An image that is there, or can be pulled, is used as it is. Grafana has none.

Sources: each project's own Dockerfile in the pinned version.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.compose import engine
from three_pillar_demo.stack.binaries import ALERTMANAGER, OTELCOL, PROMETHEUS, Binary, find
from three_pillar_demo.stack.external_binary import LOKI, TEMPO, ExternalBinary

LABEL = "three-pillar-demo.stand-in"
BASE = "python"
"""The image that our own is built from."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOBODY = 65534
USER = 10001


class MissingError(Exception):
    """A stand-in cannot be made here; the text says what is missing."""


class Image:
    """A file system in the making, and what it starts; each file has the owner it is given, root unless told otherwise."""

    def __init__(self) -> None:
        """Start with nothing, as FROM scratch does."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115
        self.changes: list[str] = [f"LABEL {LABEL}=true"]

    def __enter__(self) -> Self:
        """Use it as a context manager."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the files."""
        self._file.close()

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Make a folder."""
        self._add(tarfile.TarInfo(path.lstrip("/")), mode, owner, tarfile.DIRTYPE)

    def file(self, path: str, content: Path | str, mode: int = 0o644, owner: int = 0) -> None:
        """Copy a file, or write a text."""
        data = content.read_bytes() if isinstance(content, Path) else content.encode()
        self._add(tarfile.TarInfo(path.lstrip("/")), mode, owner, tarfile.REGTYPE, data)

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.linkname = target
        self._add(entry, 0o777, 0, tarfile.SYMTYPE)

    def tree(self, path: str, source: Path, leave_out: re.Pattern[str]) -> None:
        """Copy a folder with everything in it, but for names that ``leave_out`` finds."""

        def ours(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return None if leave_out.search(entry.name) else entry

        self._tar.add(source, path.lstrip("/"), filter=ours)

    def busybox(self, folder: str) -> None:
        """Put busybox and the names it goes by into ``folder``."""
        box = _tool("busybox", "Debian: the package busybox-static")
        self.file(f"{folder}/busybox", box, 0o755)
        for name in subprocess.run(
            [box, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if name != "busybox":
                self.link(f"{folder}/{name}", "busybox")

    def keep(self, name: str) -> None:
        """Hand it to the engine under ``name``."""
        self._tar.close()
        self._file.seek(0)
        changes = [part for change in self.changes for part in ("--change", change)]
        engine.docker("import", *changes, "-", name, stdin=self._file)

    def _add(
        self, entry: tarfile.TarInfo, mode: int, owner: int, kind: bytes, data: bytes = b""
    ) -> None:
        entry.mode, entry.uid, entry.gid, entry.type, entry.size = (
            mode,
            owner,
            owner,
            kind,
            len(data),
        )
        self._tar.addfile(entry, io.BytesIO(data))


def collector(image: Image) -> None:
    """FROM scratch: the binary, certificates, its example; no folder of its own, no shell."""
    image.file("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES)
    image.file("/otelcol-contrib", _native(OTELCOL), 0o755)
    image.file("/etc/otelcol-contrib/config.yaml", "# the official image has an example here\n")
    image.changes += [f"USER {USER}:{USER}", 'ENTRYPOINT ["/otelcol-contrib"]']


def tempo(image: Image) -> None:
    """Distroless without busybox (since 3.0), like Loki; its folder is for its user only."""
    _distroless(image)
    image.folder("/var/tempo", 0o700, USER)
    image.file("/tempo", _external(TEMPO), 0o755)
    image.changes += [f"USER {USER}:{USER}", 'ENTRYPOINT ["/tempo"]']


def loki(image: Image) -> None:
    """Distroless without busybox (since 3.6): no shell, no wget; Loki checks its own health."""
    _distroless(image)
    for folder in ("/etc/loki", "/loki", "/loki/rules", "/loki/rules-temp"):
        image.folder(folder, 0o755, USER)
    image.file(
        "/etc/loki/local-config.yaml", "# the official image has an example here\n", owner=USER
    )
    image.file("/usr/bin/loki", _external(LOKI), 0o755)
    image.changes += [f"USER {USER}", 'ENTRYPOINT ["/usr/bin/loki"]', "EXPOSE 3100"]


def prometheus(image: Image) -> None:
    """Busybox in /bin; runs as nobody; its folder is declared a volume."""
    _of_prometheus(image, PROMETHEUS)
    image.file("/bin/promtool", _native(PROMETHEUS).with_name("promtool"), 0o755)


def alertmanager(image: Image) -> None:
    """As Prometheus; what else its image has, amtool, nothing here uses."""
    _of_prometheus(image, ALERTMANAGER)


def python(image: Image) -> None:
    """A Python of this machine in /usr/local with the libraries it needs, busybox for Debian's tools, and the locked wheels.

    pip reads the wheels from a folder instead of a registry; it checks the same hashes. That is what lets our own Dockerfile be
    built as it is, without a network.
    """
    wanted = base_version()
    home, libraries = _python(wanted)
    for folder in ("/bin", "/etc", "/root", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin"):
        image.folder(folder)
    image.folder("/tmp", 0o1777)  # noqa: S108  (inside the image)
    image.busybox("/bin")
    image.tree(f"/usr/local/lib/python{wanted}", home / f"lib/python{wanted}", USELESS)
    image.file("/usr/local/bin/python3", home / f"bin/python{wanted}", 0o755)
    image.link("/usr/local/bin/python", "python3")
    image.link(f"/usr/local/bin/python{wanted}", "python3")
    image.file("/usr/local/bin/pip", PIP, 0o755)
    for path, source in libraries.items():
        image.file(path, source, 0o755)
    image.file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:nobody:/:/bin/false\n",
    )
    image.file("/etc/group", f"root:x:0:\nnogroup:x:{NOBODY}:\n")
    image.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    image.file("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /wheels\n")
    with tempfile.TemporaryDirectory() as folder:
        for wheel in _wheels(wanted, Path(folder)):
            image.file(f"/wheels/{wheel.name}", wheel)
    image.changes += [
        "ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        'CMD ["python3"]',
    ]


RECIPES: dict[str, Callable[[Image], None]] = {
    "otel/opentelemetry-collector-contrib": collector,
    "grafana/tempo": tempo,
    "grafana/loki": loki,
    "prom/prometheus": prometheus,
    "prom/alertmanager": alertmanager,
    BASE: python,
}


def base_image() -> str:
    """What our Dockerfile builds on."""
    found = re.findall(r"^FROM (\S+)", (engine.ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(set(found)) == 1, found
    return str(found[0])


def base_version() -> str:
    """The Python of our image, like 3.13."""
    return base_image().partition(":")[2].removesuffix("-slim")


def provide(name: str) -> str:
    """See to it that the engine has the image ``name``; returns how: ``official``, ``stand-in`` or ``left out``.

    Raises:
        MissingError: It cannot be pulled, and what its stand-in is made of is not here.
    """
    present = engine.inspect(name, "image")
    if present and LABEL not in (present["Config"]["Labels"] or {}):
        return "official"
    if not present and engine.run("docker", "pull", "--quiet", name, check=False).returncode == 0:
        return "official"
    recipe = RECIPES.get(name.partition(":")[0])
    if not recipe:
        return "left out"
    with Image() as image:
        recipe(image)
        image.keep(name)
    return "stand-in"


def remove() -> None:
    """Remove every stand-in, and what was built on one: the label is handed on."""
    for name in engine.docker(
        "image", "ls", "--filter", f"label={LABEL}", "--format", "{{.Repository}}:{{.Tag}}"
    ).split():
        if "<none>" not in name:
            engine.docker("image", "rm", "--force", name)
    engine.docker("image", "prune", "--force", "--filter", f"label={LABEL}")


def _distroless(image: Image) -> None:
    image.folder("/etc")
    image.folder("/tmp", 0o1777)  # noqa: S108  (inside the image)
    image.file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/sbin/nologin\nuser:x:{USER}:{USER}::/:/sbin/nologin\n",
    )
    image.file("/etc/group", f"root:x:0:\nuser:x:{USER}:\n")
    image.file("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES)


def _of_prometheus(image: Image, binary: Binary) -> None:
    name = binary.name
    for folder in ("/bin", "/etc", f"/etc/{name}"):
        image.folder(folder)
    image.folder("/tmp", 0o1777)  # noqa: S108  (inside the image)
    image.busybox("/bin")
    image.file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:nobody:/home:/bin/false\n",
    )
    image.file("/etc/group", f"root:x:0:\nnobody:x:{NOBODY}:\n")
    image.file(
        f"/etc/{name}/{name}.yml", "# the official image has an example here\n", owner=NOBODY
    )
    image.folder(f"/{name}", 0o775, NOBODY)
    image.file(f"/bin/{name}", _native(binary), 0o755)
    image.changes += [
        "USER nobody",
        f"WORKDIR /{name}",
        f"VOLUME /{name}",
        f'ENTRYPOINT ["/bin/{name}"]',
    ]


def _native(binary: Binary) -> Path:
    executable = find(binary)
    if not executable:
        raise MissingError(f"{binary.name} {binary.version} is not built yet: make binaries")
    return executable.resolve()


def _external(binary: ExternalBinary) -> Path:
    if not binary.path:
        raise MissingError(
            f"no {binary.name} on PATH for its stand-in; official releases: {binary.releases_url}"
        )
    return binary.path.resolve()


def _tool(name: str, where: str) -> Path:
    found = shutil.which(name)
    if not found:
        raise MissingError(f"no {name} for the stand-in images ({where})")
    return Path(found).resolve()


USELESS = re.compile(r"/(test|idlelib|__pycache__)(/|$)|\.a$")
"""Parts of a Python installation that python:slim leaves out too."""
PIP = """#!/usr/local/bin/python
from pip._internal.cli.main import main
raise SystemExit(main())
"""
LOOSE = (
    "gcc_s.so.1",
    "stdc++.so.6",
    "pthread.so.0",
    "dl.so.2",
    "rt.so.1",
    "util.so.1",
    "resolv.so.2",
)
"""What wheels link to and python:slim has."""
LOOK = """
import json, sys, sysconfig
print(json.dumps([sys.base_prefix, "%d.%d" % sys.version_info[:2]]))
"""


def _python(wanted: str) -> tuple[Path, dict[str, Path]]:
    """The folder of a Python ``wanted``, and the shared libraries it needs, by the path they have in an image."""
    for candidate in (os.environ.get("COMPOSE_PYTHON"), f"python{wanted}", sys.executable):
        told = (
            engine.run(candidate, "-c", LOOK, check=False)
            if candidate and shutil.which(candidate)
            else None
        )
        if told and told.returncode == 0 and json.loads(told.stdout)[1] == wanted:
            home = Path(json.loads(told.stdout)[0])
            break
    else:
        raise MissingError(
            f"no Python {wanted} for the stand-in of {base_image()}; COMPOSE_PYTHON names one"
        )
    needed: dict[str, Path] = {}
    for binary in (
        home / f"bin/python{wanted}",
        *home.glob(f"lib/python{wanted}/lib-dynload/*.so"),
    ):
        if "tkinter" in binary.name:
            continue
        for path in re.findall(r"(/\S+) \(0x", engine.run("ldd", str(binary)).stdout):
            here = Path(path)
            # A library of this Python goes to where the loader looks by itself.
            there = f"/lib/{here.name}" if here.is_relative_to(home) else path
            needed[there] = here.resolve()
    folder = next(Path(path).parent for path in needed if "/libc.so" in path)
    for name in (f"lib{each}" for each in LOOSE):
        for place in (folder, Path("/usr") / folder.relative_to("/")):
            if (place / name).exists():
                needed[f"{folder}/{name}"] = (place / name).resolve()
                break
    return home, needed


def _wheels(version: str, folder: Path) -> list[Path]:
    """The locked packages as wheels: from the folder in COMPOSE_WHEELS, else fetched by pip."""
    given = os.environ.get("COMPOSE_WHEELS")
    if not given:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
        ]
        try:
            engine.run(
                *pip,
                "--python-version",
                version,
                "--requirement",
                "requirements/dev.lock",
                "--dest",
                str(folder),
            )
        except engine.EngineError as error:
            raise MissingError(
                "the locked wheels cannot be fetched; COMPOSE_WHEELS names a folder that `pip download` filled"
            ) from error
    return sorted(Path(given or folder).glob("*.whl"))
