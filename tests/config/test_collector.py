"""The Collector takes its configuration: the one that is built here has every component that the file names."""

import os
import subprocess
from pathlib import Path

import pytest

from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import OTELCOL


@pytest.mark.full
@pytest.mark.timeout(3600)  # the build
def test_the_collector_takes_its_configuration(tmp_path: Path) -> None:
    """The Collector that is built from the pinned modules objects to nothing in otel-collector.yaml."""
    at_hand = binaries.find(OTELCOL)
    collector = (
        at_hand[0]
        if at_hand
        else binaries.build(OTELCOL, tmp_path / "collector.log", lambda _step: None)
    )
    done = subprocess.run(
        [collector, "validate", "--config=otel-collector.yaml"],
        env={**os.environ, "OTEL_COLLECTOR_DATA": str(tmp_path / "queue")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
