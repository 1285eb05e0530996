"""The Collector, Prometheus and Alertmanager for tests, built where they are missing."""

import subprocess
import sys
from pathlib import Path

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.binaries import PROMETHEUS, Binary, find
from three_pillar_demo.stack.components import FULL


def build(*binaries: Binary) -> None:
    """Run the build script for ``binaries``, or without any for every one that is missing."""
    names = [component.name for component in FULL if component.binary in binaries]
    subprocess.run([sys.executable, "-m", "native.build", *names], cwd=ROOT, check=True)


def executable(binary: Binary) -> Path:
    """Return the executable of ``binary``, which is built first where it is missing."""
    if not find(binary):
        build(binary)
    path = find(binary)
    assert path, f"{binary.name} is missing after its build"
    return path


def promtool() -> Path:
    """Return Prometheus' own rule checker, which is built together with Prometheus."""
    build(PROMETHEUS)
    return PROMETHEUS.folder() / "promtool"
