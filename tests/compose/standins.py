"""Replacements for official images, built from native binaries where no image can be pulled.

A stand-in has the user, paths, owners and entry point of the official image, and as much of its
content as this project uses. What the official image lacks, such as a shell or a data folder, the
stand-in lacks too. A label marks it as a stand-in, and it is removed after the tests. An official
image that is present or can be pulled is used instead. Grafana has no stand-in.

The properties are taken from the Dockerfile of each project in the pinned version.
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
"""The name of the base image of this project's own image."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOBODY_UID = 65534
USER_UID = 10001


class MissingError(Exception):
    """A stand-in cannot be made on this machine; the message says what is missing."""


class Image:
    """A stand-in image under construction.

    Its file system is a temporary tar file; ``changes`` are Dockerfile instructions, such as USER.
    """

    def __init__(self) -> None:
        """Begin with an empty file system, like ``FROM scratch``."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        self._tar = tarfile.open(fileobj=self._file, mode="w")  # noqa: SIM115
        self.changes: list[str] = [f"LABEL {LABEL}=true"]

    def __enter__(self) -> Self:
        """Return the image."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the temporary tar file."""
        self._file.close()

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Add an empty folder with these permissions (``mode``) and this owner (a user id)."""
        self._add(tarfile.TarInfo(path.lstrip("/")), mode, owner, tarfile.DIRTYPE)

    def file(self, path: str, content: Path | str, mode: int = 0o644, owner: int = 0) -> None:
        """Add a file whose content is a text, or is copied from the file ``content``."""
        data = content.read_bytes() if isinstance(content, Path) else content.encode()
        self._add(tarfile.TarInfo(path.lstrip("/")), mode, owner, tarfile.REGTYPE, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link at ``path`` that points to ``target``."""
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.linkname = target
        self._add(entry, 0o777, 0, tarfile.SYMTYPE)

    def tree(self, path: str, source: Path, exclude: re.Pattern[str]) -> None:
        """Add the folder ``source`` at ``path``, without names that ``exclude`` matches."""

        def owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            return None if exclude.search(entry.name) else entry

        self._tar.add(source, path.lstrip("/"), filter=owned_by_root)

    def busybox(self, folder: str) -> None:
        """Add busybox, and a link for each of its commands, to ``folder`` of the image."""
        busybox = _tool("busybox", "Debian: the package busybox-static")
        self.file(f"{folder}/busybox", busybox, 0o755)
        commands = subprocess.run(
            [busybox, "--list"], capture_output=True, text=True, check=True
        ).stdout
        for name in commands.split():
            if name != "busybox":
                self.link(f"{folder}/{name}", "busybox")

    def import_as(self, name: str) -> None:
        """Import the image into the Docker engine under ``name``."""
        self._tar.close()
        self._file.seek(0)
        changes = [part for change in self.changes for part in ("--change", change)]
        engine.docker("import", *changes, "-", name, stdin=self._file)

    def _add(
        self, entry: tarfile.TarInfo, mode: int, owner: int, kind: bytes, data: bytes = b""
    ) -> None:
        entry.mode = mode
        entry.uid = owner
        entry.gid = owner
        entry.type = kind
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))


def collector(image: Image) -> None:
    """Fill the Collector's image: only the binary, with no shell and no data folder."""
    image.file("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES)
    image.file("/otelcol-contrib", _native(OTELCOL), 0o755)
    image.file("/etc/otelcol-contrib/config.yaml", "# the official image has an example here\n")
    image.changes += [f"USER {USER_UID}:{USER_UID}", 'ENTRYPOINT ["/otelcol-contrib"]']


def tempo(image: Image) -> None:
    """Fill Tempo's image: no shell (since 3.0), and a data folder that only its user can read."""
    _distroless(image)
    image.folder("/var/tempo", 0o700, USER_UID)
    image.file("/tempo", _external(TEMPO), 0o755)
    image.changes += [f"USER {USER_UID}:{USER_UID}", 'ENTRYPOINT ["/tempo"]']


def loki(image: Image) -> None:
    """Fill Loki's image: no shell and no wget (since 3.6)."""
    _distroless(image)
    for folder in ("/etc/loki", "/loki", "/loki/rules", "/loki/rules-temp"):
        image.folder(folder, 0o755, USER_UID)
    image.file(
        "/etc/loki/local-config.yaml", "# the official image has an example here\n", owner=USER_UID
    )
    image.file("/usr/bin/loki", _external(LOKI), 0o755)
    image.changes += [f"USER {USER_UID}", 'ENTRYPOINT ["/usr/bin/loki"]', "EXPOSE 3100"]


def prometheus(image: Image) -> None:
    """Fill Prometheus' image: with busybox, user nobody, and its data folder as a volume."""
    _of_prometheus(image, PROMETHEUS)
    image.file("/bin/promtool", _native(PROMETHEUS).with_name("promtool"), 0o755)


def alertmanager(image: Image) -> None:
    """Fill Alertmanager's image: like that of Prometheus, without amtool, which is not used."""
    _of_prometheus(image, ALERTMANAGER)


def python(image: Image) -> None:
    """Fill the base image with this machine's Python, its libraries, busybox and the locked wheels.

    pip installs the wheels from a folder instead of a package index, and checks the same hashes.
    Therefore the Dockerfile can be built unchanged and without a network.
    """
    version = base_version()
    home, libraries = _python(version)
    for folder in ("/bin", "/etc", "/root", "/usr", "/usr/bin", "/usr/local", "/usr/local/bin"):
        image.folder(folder)
    image.folder("/tmp", 0o1777)  # noqa: S108  (inside the image)
    image.busybox("/bin")
    image.tree(f"/usr/local/lib/python{version}", home / f"lib/python{version}", NOT_IN_SLIM)
    image.file("/usr/local/bin/python3", home / f"bin/python{version}", 0o755)
    image.link("/usr/local/bin/python", "python3")
    image.link(f"/usr/local/bin/python{version}", "python3")
    image.file("/usr/local/bin/pip", PIP, 0o755)
    for path, source in libraries.items():
        image.file(path, source, 0o755)
    image.file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY_UID}:{NOBODY_UID}:nobody:/:/bin/false\n",
    )
    image.file("/etc/group", f"root:x:0:\nnogroup:x:{NOBODY_UID}:\n")
    image.file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    image.file("/etc/pip.conf", "[global]\nno-index = true\nfind-links = /wheels\n")
    with tempfile.TemporaryDirectory() as folder:
        for wheel in _wheels(version, Path(folder)):
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
    """Return the name and tag of the base image in the Dockerfile."""
    dockerfile = (engine.ROOT / "Dockerfile").read_text()
    images = set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE))
    assert len(images) == 1, images
    return str(images.pop())


def base_version() -> str:
    """Return the Python version of the Dockerfile's base image, such as 3.13."""
    return base_image().partition(":")[2].removesuffix("-slim")


def provide(name: str) -> str:
    """Make the image ``name`` available to the engine.

    Returns:
        ``official``; ``stand-in``; or ``left out`` if there is neither.

    Raises:
        MissingError: It cannot be pulled, and this machine lacks a part of its stand-in.
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
        image.import_as(name)
    return "stand-in"


def remove() -> None:
    """Remove all stand-ins and all images built from them, which inherit their label."""
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
        f"root:x:0:0:root:/root:/sbin/nologin\nuser:x:{USER_UID}:{USER_UID}::/:/sbin/nologin\n",
    )
    image.file("/etc/group", f"root:x:0:\nuser:x:{USER_UID}:\n")
    image.file("/etc/ssl/certs/ca-certificates.crt", CERTIFICATES)


def _of_prometheus(image: Image, binary: Binary) -> None:
    name = binary.name
    for folder in ("/bin", "/etc", f"/etc/{name}"):
        image.folder(folder)
    image.folder("/tmp", 0o1777)  # noqa: S108  (inside the image)
    image.busybox("/bin")
    image.file(
        "/etc/passwd",
        f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY_UID}:{NOBODY_UID}:nobody:/home:/bin/false\n",
    )
    image.file("/etc/group", f"root:x:0:\nnobody:x:{NOBODY_UID}:\n")
    image.file(
        f"/etc/{name}/{name}.yml", "# the official image has an example here\n", owner=NOBODY_UID
    )
    image.folder(f"/{name}", 0o775, NOBODY_UID)
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
    path = shutil.which(name)
    if not path:
        raise MissingError(f"no {name} for the stand-in images ({where})")
    return Path(path).resolve()


NOT_IN_SLIM = re.compile(r"/(test|idlelib|__pycache__)(/|$)|\.a$")
"""Matches files of a Python installation that the image python:slim does not contain."""
PIP = """#!/usr/local/bin/python
from pip._internal.cli.main import main
raise SystemExit(main())
"""
LIBRARIES_OF_WHEELS = (
    "gcc_s.so.1",
    "stdc++.so.6",
    "pthread.so.0",
    "dl.so.2",
    "rt.so.1",
    "util.so.1",
    "resolv.so.2",
)
"""File names, without ``lib``, of shared libraries that wheels need and python:slim contains."""
PRINT_PREFIX_AND_VERSION = """
import json, sys, sysconfig
print(json.dumps([sys.base_prefix, "%d.%d" % sys.version_info[:2]]))
"""


def _python(version: str) -> tuple[Path, dict[str, Path]]:
    """Return the folder of an installed Python of this version, and its shared libraries.

    The libraries are files of this machine, by the path that they get in the image.
    """
    home = _python_home(version)
    libraries: dict[str, Path] = {}
    for binary in (
        home / f"bin/python{version}",
        *home.glob(f"lib/python{version}/lib-dynload/*.so"),
    ):
        if "tkinter" in binary.name:
            continue
        for path in re.findall(r"(/\S+) \(0x", engine.run("ldd", str(binary)).stdout):
            library = Path(path)
            # A library of this Python goes to a folder that the loader of the image searches.
            in_image = f"/lib/{library.name}" if library.is_relative_to(home) else path
            libraries[in_image] = library.resolve()
    folder = next(Path(path).parent for path in libraries if "/libc.so" in path)
    for name in LIBRARIES_OF_WHEELS:
        for place in (folder, Path("/usr") / folder.relative_to("/")):
            library = place / f"lib{name}"
            if library.exists():
                libraries[f"{folder}/lib{name}"] = library.resolve()
                break
    return home, libraries


def _python_home(version: str) -> Path:
    for candidate in (os.environ.get("COMPOSE_PYTHON"), f"python{version}", sys.executable):
        if not candidate or not shutil.which(candidate):
            continue
        completed = engine.run(candidate, "-c", PRINT_PREFIX_AND_VERSION, check=False)
        if completed.returncode == 0:
            prefix, candidate_version = json.loads(completed.stdout)
            if candidate_version == version:
                return Path(prefix)
    raise MissingError(
        f"no Python {version} for the stand-in of {base_image()}; COMPOSE_PYTHON names one"
    )


def _wheels(version: str, folder: Path) -> list[Path]:
    """Return the locked packages as wheel files.

    They are in the folder COMPOSE_WHEELS, if it is set; otherwise they are downloaded into
    ``folder``.
    """
    prepared = os.environ.get("COMPOSE_WHEELS")
    if prepared:
        return sorted(Path(prepared).glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    try:
        engine.run(
            *pip,
            "--only-binary",
            ":all:",
            "--python-version",
            version,
            "--requirement",
            "requirements/dev.lock",
            "--dest",
            str(folder),
        )
    except engine.EngineError as error:
        raise MissingError(
            "the locked wheels cannot be downloaded; COMPOSE_WHEELS names a folder that "
            "`pip download` has filled"
        ) from error
    return sorted(folder.glob("*.whl"))
