"""Start and stop the processes of a round: the OTLP receiver and the services, each on one core."""

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
"""The number of the CPU core that only the measured service uses."""
OTHER_CORE = "1"
"""The number of the CPU core that the load generator, OTLP receiver and payment service share."""
NO_FAULTS = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0", "PAYMENT_FAILURE_RATE": "0"}
TIMEOUT_S = 60
POLL_INTERVAL_S = 0.05
LOG_TAIL = 2000
"""How many characters from the end of a log an error message quotes."""


@dataclass(frozen=True)
class Running:
    """A process and the port on which it listens."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process has used so far, in seconds."""
        return cpu_seconds(self.process)


@contextmanager
def receiver(core: str = OTHER_CORE) -> Iterator[Running]:
    """Run an OTLP receiver, which accepts all telemetry, until the end of the block."""
    command = [sys.executable, "-m", "bench.http.receiver"]
    with _running(command, core, {}, Path(os.devnull)) as process:
        yield process


def take_counts(receiver_process: Running) -> dict[str, int]:
    """Return what the receiver got since the last call: counts by name.

    The names are those of ``COUNTS`` in bench/http/receiver.py.
    """
    counts = json.loads(_get(receiver_process.port, "/taken"))
    return {name: int(value) for name, value in counts.items()}


@contextmanager
def service(
    arm: Arm,
    route: Route,
    endpoint: str,
    log: Path,
    core: str = SERVICE_CORE,
    **extra_settings: str,
) -> Iterator[Running]:
    """Run the one service that answers ``route``, with the telemetry of ``arm``.

    The service runs until the end of the block. ``endpoint`` is the URL to which it exports
    telemetry. Its output goes to the file ``log``. ``extra_settings`` are environment variables.
    """
    command = [*arm.python, *arm.program, route.app]
    settings = dict(NO_FAULTS)
    if arm.settings or arm.mode != "bare":
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        settings["OTEL_SERVICE_NAME"] = route.app
    settings |= arm.settings | extra_settings
    with _running(command, core, settings, log, arm.mode, root=arm.root) as process:
        yield process


@contextmanager
def route_service(arm: Arm, name: str, endpoint: str, folder: Path) -> Iterator[Running]:
    """Run all services that the route called ``name`` needs, with the telemetry of ``arm``.

    The services run until the end of the block. The route ``checkout`` also needs the payment
    service, which runs on the core ``OTHER_CORE``. The logs are in ``folder``.
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
    command: list[str],
    core: str,
    settings: dict[str, str],
    log: Path,
    *final_arguments: str,
    root: Path = ROOT,
) -> Iterator[Running]:
    port = free_port()
    whole_command = [*command, str(port), *final_arguments]
    with started(whole_command, core, port, log, settings, root=root) as process:
        yield Running(process, port)


@contextmanager
def started(  # noqa: PLR0913  (each argument is one property of the process)
    command: list[str],
    core: str,
    port: int,
    log: Path,
    settings: dict[str, str] | None = None,
    *,
    root: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on CPU core ``core`` until the end of the block.

    The block begins when the process listens on ``port``. The output of the process goes to the
    file ``log``. ``settings`` are further environment variables. The process does not inherit
    variables that configure OpenTelemetry or the services. It runs in the folder ``root``.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            cwd=root,
            env=clean_environment() | (settings or {}),
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


def clean_environment() -> dict[str, str]:
    """Return the environment without the variables that configure OpenTelemetry or the services."""
    prefixes = ("OTEL_", "FASTAPI_OTEL_", "CHECKOUT_", "PAYMENT_", "NOTHING_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def _listens(port: int) -> bool:
    """Return whether ``port`` accepts a connection.

    No request is sent, because the telemetry would count it.
    """
    try:
        socket.create_connection(("127.0.0.1", port), TIMEOUT_S).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return the number of a TCP port that was free when it was checked."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Return the CPU time (user and system) that a process has used so far, in seconds."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
