"""The service that repeats what it hears, as a process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import free_port, wait_for


@contextmanager
def leaky(folder: Path, collector: str) -> Iterator[tuple[str, Path]]:
    """Run it, stop it; gives its address, and the file in ``folder`` that its lines go to."""
    port, output = free_port(), folder / "leaky.log"
    with output.open("wb") as out:
        command = [sys.executable, "-m", "tests.security.leaky_app", str(port)]
        settings = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
        process = subprocess.Popen(command, env=settings, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(
            "the leaky service",
            lambda: process.poll() is not None or "Uvicorn running" in output.read_text(),
            60,
        )
        assert process.poll() is None, output.read_text()
        yield f"http://127.0.0.1:{port}", output
    finally:
        process.terminate()
        process.wait(20)
