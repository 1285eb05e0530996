"""Run the service of ``leaky_app.py``, which logs all its input, as a process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.private_ports import free_port
from tests.processes import wait_for

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20


@contextmanager
def run_leaky_service(folder: Path, otlp_endpoint: str) -> Iterator[tuple[str, Path]]:
    """Run the service until the end of the block; yield its URL and the path of its log file."""
    port = free_port()
    output = folder / "leaky.log"
    with output.open("wb") as out:
        command = [sys.executable, "-m", "tests.security.leaky_app", str(port)]
        settings = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint}
        process = subprocess.Popen(command, env=settings, stdout=out, stderr=subprocess.STDOUT)

    def started_or_ended() -> bool:
        return process.poll() is not None or "Uvicorn running" in output.read_text()

    try:
        wait_for("the leaky service", started_or_ended, START_TIMEOUT_S)
        assert process.poll() is None, output.read_text()
        yield f"http://127.0.0.1:{port}", output
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
