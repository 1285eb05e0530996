"""The executables of Collector, Prometheus and Alertmanager; missing ones are built first."""

import subprocess
import sys
from pathlib import Path

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.binaries import PROMETHEUS, Binary, find
from three_pillar_demo.stack.components import FULL


def build(*binaries: Binary) -> None:
    """Build ``binaries`` from source; without arguments, build every binary that is missing."""
    names = [component.name for component in FULL if component.binary in binaries]
    subprocess.run([sys.executable, "-m", "native.build", *names], cwd=ROOT, check=True)


def executable(binary: Binary) -> Path:
    """Return the path of the executable of ``binary``; build it first if it is missing."""
    if not find(binary):
        build(binary)
    path = find(binary)
    assert path, f"{binary.name} is missing after its build"
    return path


def promtool() -> Path:
    """Return the path of promtool, which checks rules; build Prometheus first if it is missing."""
    build(PROMETHEUS)
    return PROMETHEUS.folder() / "promtool"
