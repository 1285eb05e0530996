"""Finds out what is installed for a Python interpreter, by running a program with it."""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.run_program.instrumented import how_to_install

INSPECTION_TIMEOUT_S = 60.0
"""How long the inspection of an interpreter may take; ``uv run`` may first install packages."""

INSPECTION = r"""
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import json, os, shutil, sysconfig
from importlib import util
from importlib.metadata import PackageNotFoundError, distribution

def has(name):
    try:
        return util.find_spec(name) is not None
    except ImportError:
        return False

def script(name):
    try:
        files = distribution("opentelemetry-instrumentation").files or ()
    except PackageNotFoundError:
        return ""
    paths = [os.path.normpath(str(file.locate())) for file in files if file.name == name]
    paths.append(os.path.join(sysconfig.get_path("scripts"), name))
    return next((path for path in paths if os.access(path, os.X_OK)), "")

print(json.dumps({
    "executable": sys.executable,
    "scripts": sysconfig.get_path("scripts"),
    "instrument": script("opentelemetry-instrument") if has("opentelemetry.distro") else "",
    "has_http": has("opentelemetry.exporter.otlp.proto.http"),
    "has_grpc": has("opentelemetry.exporter.otlp.proto.grpc"),
    "has_log_handler": has("opentelemetry.instrumentation.logging.handler"),
    "has_library": has("three_pillars"),
    "has_pip": has("pip"),
    "is_command": bool(shutil.which(sys.argv[1])),
}))
"""
"""A program that prints, as JSON, what is installed for the interpreter that runs it.

It runs on every Python from 3.8 on, and imports nothing from the working folder.
"""


@dataclass(frozen=True)
class PythonEnvironment:
    """What is installed for an interpreter; the fields are those that ``INSPECTION`` prints."""

    executable: str
    scripts: str
    instrument: str
    has_http: bool
    has_grpc: bool
    has_log_handler: bool
    has_library: bool
    has_pip: bool
    is_command: bool

    @property
    def has_distribution(self) -> bool:
        """Whether OpenTelemetry's zero-code distribution is installed, with an exporter."""
        return bool(self.instrument) and (self.has_http or self.has_grpc)

    def how_to_install(self) -> str:
        """Return how to install OpenTelemetry's zero-code instrumentation."""
        packages = "opentelemetry-distro opentelemetry-exporter-otlp"
        python = shlex.quote(self.executable)
        bootstrap = shlex.quote(str(Path(self.scripts, "opentelemetry-bootstrap")))
        if self.has_pip:
            return how_to_install(f"{python} -m pip install {packages} && {bootstrap} -a install")
        return how_to_install(
            f"uv pip install --python {python} {packages} && "
            f"{bootstrap} | uv pip install --python {python} --requirements -"
        )


def inspect(
    python: Sequence[str], name: str, environment: Mapping[str, str]
) -> PythonEnvironment | None:
    """Return what is installed for an interpreter; None if it cannot be inspected.

    ``python`` is the beginning of a command that runs the interpreter. ``name`` is a command; the
    result tells if it is on the ``PATH`` of the interpreter's process.
    """
    try:
        process = subprocess.run(  # noqa: S603  (the interpreter that the user's command runs)
            [*python, "-c", INSPECTION, name],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSPECTION_TIMEOUT_S,
            check=True,
        )
        return PythonEnvironment(**json.loads(process.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return None
