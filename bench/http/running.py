"""The processes of a round: receiver and services, each on its core, and how much of a core each took."""

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

SERVICE, REST = "0", "1"
"""The core of the service, and that of everybody else."""
FAULTLESS = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0", "PAYMENT_FAILURE_RATE": "0"}
PATIENCE = 60


@dataclass(frozen=True)
class Running:
    """A process and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu(self.process)


@contextmanager
def receiver(core: str = REST) -> Iterator[Running]:
    """A receiver that takes everything."""
    with _run([sys.executable, "-m", "bench.http.receiver"], core, {}, Path(os.devnull)) as running:
        yield running


def taken(running: Running) -> dict[str, int]:
    """What it was sent since it was asked last."""
    return {name: int(value) for name, value in json.loads(_get(running.port, "/taken")).items()}


@contextmanager
def service(
    arm: Arm, route: Route, endpoint: str, log: Path, core: str = SERVICE, **more: str
) -> Iterator[Running]:
    """The service of ``route``, which tells ``endpoint`` as ``arm`` does; its stdout is a file, as with ``demo up``."""
    command = [*arm.python, "-m", "bench.http.app", route.app]
    known = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": route.app}
    settings = (
        FAULTLESS | (known if arm.settings or arm.how != "bare" else {}) | arm.settings | more
    )
    with _run(command, core, settings, log, arm.how) as running:
        yield running


@contextmanager
def shop(arm: Arm, name: str, endpoint: str, folder: Path) -> Iterator[Running]:
    """The service of the route ``name``; checkout has payment behind it, told of in the same way, on the other core."""
    with ExitStack() as stack:
        settings = {}
        if name == "checkout":
            payment = stack.enter_context(
                service(arm, ROUTES["charges"], endpoint, folder / "payment.log", REST)
            )
            settings["CHECKOUT_PAYMENT_URL"] = f"http://127.0.0.1:{payment.port}"
        yield stack.enter_context(
            service(arm, ROUTES[name], endpoint, folder / "service.log", **settings)
        )


@contextmanager
def _run(
    command: list[str], core: str, settings: dict[str, str], log: Path, *last: str
) -> Iterator[Running]:
    port = free_port()
    with started([*command, str(port), *last], core, port, log, settings) as process:
        yield Running(process, port)


@contextmanager
def started(
    command: list[str], core: str, port: int, log: Path, settings: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``core`` until the end of the block, from when it listens on ``port``."""
    strange = ("OTEL_", "FASTAPI_OTEL_", "CHECKOUT_", "PAYMENT_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            cwd=ROOT,
            env=clean | (settings or {}),
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(
                    ("127.0.0.1", port), PATIENCE
                ).close()  # to ask would be one request that is told of
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(
                        f"{' '.join(command)} did not start:\n{log.read_text()[-2000:]}"
                    ) from None
                time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of CPU that ``process`` took so far."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
