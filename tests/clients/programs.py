"""Runs the client programs as processes, which are ended with all their children."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import wait_for

START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 10
NOT_INHERITED = ("OTEL_", "PYTHON", "VIRTUAL_ENV", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS")
EXPORT_SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
}
"""Environment variables that make every SDK export within half a second."""


@dataclass
class Program:
    """A running program: its process, which leads a process group, and its output file."""

    process: subprocess.Popen[bytes]
    output: Path

    def text(self) -> str:
        """Return what the program has printed so far."""
        return self.output.read_text(errors="replace")

    def stop(self) -> None:
        """Send SIGTERM to the process group, and kill what is left of it at the end."""
        self._signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return  # The whole group has ended.


@contextmanager
def running(
    command: list[str], folder: Path, output: Path, environment: Mapping[str, str]
) -> Iterator[Program]:
    """Run ``command`` in ``folder`` until the end of the block, with its output in ``output``."""
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**inherited_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    program = Program(process, output)
    try:
        yield program
    finally:
        program.stop()


def wait_listening(program: Program, port: int) -> None:
    """Wait until ``program`` accepts connections on ``port``; fail if it ends before."""

    def is_listening() -> bool:
        assert program.process.poll() is None, f"the program has ended: {program.text()}"
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(f"port {port} of {program.output.name}", is_listening, START_TIMEOUT_S)


def inherited_environment() -> dict[str, str]:
    """Return the variables of this process that do not change how a client program works."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
