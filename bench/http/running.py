"""The processes of a round: receiver and services, each bound to a core."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.http.arms import ROOT, ROUTES, Arm, Route

SERVICE_CORE = "0"
"""The core of the measured service alone."""
OTHER_CORE = "1"
"""The core of all other processes."""
NO_FAULTS = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0", "PAYMENT_FAILURE_RATE": "0"}
TIMEOUT_S = 60
POLL_INTERVAL_S = 0.05
LOG_TAIL = 2000
"""Characters of a log in an error message."""


@dataclass(frozen=True)
class Running:
    """A process and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used so far."""
        return cpu_seconds(self.process)


@contextmanager
def receiver(core: str = OTHER_CORE) -> Iterator[Running]:
    """Run a receiver that accepts all telemetry."""
    command = [sys.executable, "-m", "bench.http.receiver"]
    with _running(command, core, {}, Path(os.devnull)) as process:
        yield process


def take_counts(receiver_process: Running) -> dict[str, int]:
    """Return what the receiver got since the last call."""
    counts = json.loads(_get(receiver_process.port, "/taken"))
    return {name: int(value) for name, value in counts.items()}


@contextmanager
def service(
    arm: Arm, route: Route, endpoint: str, log: Path, core: str = SERVICE_CORE, **more: str
) -> Iterator[Running]:
    """Run the service of a route with the telemetry of an arm, sent to ``endpoint``.

    Its output goes to the file ``log``, as with ``demo up``; ``more`` are further settings.
    """
    command = [*arm.python, "-m", "bench.http.app", route.app]
    settings = dict(NO_FAULTS)
    if arm.settings or arm.mode != "bare":
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        settings["OTEL_SERVICE_NAME"] = route.app
    with _running(command, core, settings | arm.settings | more, log, arm.mode) as process:
        yield process


@contextmanager
def route_service(arm: Arm, name: str, endpoint: str, folder: Path) -> Iterator[Running]:
    """Run the service of the route ``name``.

    Checkout gets a payment service with the same telemetry, on the other core.
    """
    with ExitStack() as stack:
        settings = {}
        if name == "checkout":
            payment = stack.enter_context(
                service(arm, ROUTES["charges"], endpoint, folder / "payment.log", OTHER_CORE)
            )
            settings["CHECKOUT_PAYMENT_URL"] = f"http://127.0.0.1:{payment.port}"
        yield stack.enter_context(
            service(arm, ROUTES[name], endpoint, folder / "service.log", **settings)
        )


@contextmanager
def _running(
    command: list[str], core: str, settings: dict[str, str], log: Path, *last: str
) -> Iterator[Running]:
    port = free_port()
    with started([*command, str(port), *last], core, port, log, settings) as process:
        yield Running(process, port)


@contextmanager
def started(
    command: list[str], core: str, port: int, log: Path, settings: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``core`` until the end of the block; it listens when the block begins."""
    prefixes = ("OTEL_", "FASTAPI_OTEL_", "CHECKOUT_", "PAYMENT_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            cwd=ROOT,
            env=inherited | (settings or {}),
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text()[-LOG_TAIL:]
                raise SystemExit(f"{' '.join(command)} did not start:\n{tail}")
            time.sleep(POLL_INTERVAL_S)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def _listens(port: int) -> bool:
    """Return whether a connection is accepted; a request would be counted by the telemetry."""
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time that a process has used so far."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
