"""Starts and stops a payment and a checkout service for one rehearsal, beside those of the stack.

The services of the rehearsal listen on free loopback ports, have a failure rate of 0, and have
instance names of their own.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import httpx2
import psutil

from three_pillar_demo.paths import STATE
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.stack.ports import LOOPBACK

READY_TIMEOUT_S = 60.0
"""Seconds in which a service must become ready after its start."""
KILL_TIMEOUT_S = 30.0
"""Seconds that a service has to exit after SIGTERM, before it is killed."""
HEALTH_TIMEOUT_S = 1.0
"""Seconds that a service has to answer one health check."""
POLL_INTERVAL_S = 0.05
"""Seconds between two health checks of a service that is starting."""
BYTES_PER_MIB = 1024**2
NAMES = ("payment", "checkout")
"""The services in the order in which they start; they stop in the reverse order.

Checkout calls payment, so payment must be ready first and stop last.
"""


class ServiceError(Exception):
    """A service did not start; the message names the command that prints its log."""


@dataclass
class Services:
    """A payment and a checkout process; leaving the context manager kills them.

    Every start of the services gets a new instance name, so that the counters of two starts do not
    mix.

    Attributes:
        endpoint: The OTLP endpoint to which the services export.
        workers: The number of worker processes of each service.
        run: The prefix of the instance names.
        variables: Further environment variables of each service, by its name.
        starts: How often the services were started. This number is the suffix of the instance
            names.
        ports: The loopback port of each service.
        running: The processes that were started and not stopped, by service.
    """

    endpoint: str
    workers: int = 1
    run: str = field(default_factory=lambda: f"rehearsal-{uuid.uuid4().hex[:8]}")
    variables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    starts: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Choose free ports; the services do not start yet."""
        # Both probes are open at once, so that the ports differ.
        with socket.socket() as payment_probe, socket.socket() as checkout_probe:
            for name, probe in zip(NAMES, (payment_probe, checkout_probe), strict=True):
                probe.bind((LOOPBACK, 0))
                self.ports[name] = probe.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the services that are still running."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(KILL_TIMEOUT_S)
        self.running.clear()

    @property
    def url(self) -> str:
        """The base URL of checkout."""
        return f"http://{LOOPBACK}:{self.ports['checkout']}"

    def start(self) -> None:
        """Start payment and wait until it is ready, then start checkout in the same way.

        Raises:
            ServiceError: A service does not become ready.
        """
        self.starts += 1
        for name in NAMES:
            self._start_one(name)

    def _start_one(self, name: str) -> None:
        """Start the service ``name``, and wait until it is ready.

        Raises:
            ServiceError: The service exits, or is not ready after ``READY_TIMEOUT_S``.
        """
        with (STATE / "logs" / f"rehearsal-{name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  (our own command)
                [sys.executable, "-m", f"services.{name}"],
                env={**os.environ, **self._settings(name)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running[name] = process
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._is_ready(name):
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(
                    f"{name} of the rehearsal did not start; see: demo logs rehearsal-{name}"
                )
            time.sleep(POLL_INTERVAL_S)

    def _settings(self, name: str) -> dict[str, str]:
        """Return the environment variables that the service ``name`` needs in a rehearsal.

        Only these settings differ from those of the service of the same name in the stack.
        """
        prefix = name.upper()
        return {
            f"{prefix}_BIND": LOOPBACK,
            f"{prefix}_PORT": str(self.ports[name]),
            f"{prefix}_WORKERS": str(self.workers),
            "CHECKOUT_PAYMENT_URL": f"http://{LOOPBACK}:{self.ports['payment']}",
            # Nothing fails on purpose, so that every error is due to the fault. The timeout is
            # longer than its default of 2 s, or a busy machine would look like an outage of
            # payment; it is shorter than customers wait.
            "PAYMENT_FAILURE_RATE": "0",
            "CHECKOUT_PAYMENT_TIMEOUT": "8",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={self.run}-{self.starts}",
            **self.variables.get(name, {}),
        }

    def _is_ready(self, name: str) -> bool:
        """Return whether the service ``name`` answers its health check with success."""
        url = f"http://{LOOPBACK}:{self.ports[name]}/healthz"
        try:
            return httpx2.get(
                url, timeout=HEALTH_TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES
            ).is_success
        except httpx2.HTTPError:
            return False

    def stop(self) -> list[float]:
        """Stop checkout with SIGTERM and wait until it has exited; then do so with payment.

        A service that has not exited after ``KILL_TIMEOUT_S`` is killed.

        Returns:
            The seconds that each service took to exit: first checkout, then payment.
        """
        durations = []
        for name in reversed(NAMES):
            process = self.running.pop(name)
            began = time.monotonic()
            process.terminate()
            try:
                process.wait(KILL_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(KILL_TIMEOUT_S)
            durations.append(time.monotonic() - began)
        return durations

    def memory_mib(self) -> float:
        """Return the resident memory of both services with their workers, in MiB."""
        total = 0
        for process in list(self.running.values()):
            with suppress(psutil.Error):
                leader = psutil.Process(process.pid)
                members = (leader, *leader.children(recursive=True))
                total += sum(member.memory_info().rss for member in members)
        return total / BYTES_PER_MIB
