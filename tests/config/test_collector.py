"""The Collector accepts otel-collector.yaml: the project's build has all components in it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.binaries import executable
from three_pillar_demo.stack.binaries import OTELCOL


@pytest.mark.full
@pytest.mark.timeout(3600)  # It may be built first.
def test_collector_accepts_its_configuration(tmp_path: Path) -> None:
    """The project's build of the Collector reports no error in otel-collector.yaml."""
    completed = subprocess.run(
        [executable(OTELCOL), "validate", "--config=otel-collector.yaml"],
        env={**os.environ, "OTEL_COLLECTOR_DATA": str(tmp_path / "queue")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
