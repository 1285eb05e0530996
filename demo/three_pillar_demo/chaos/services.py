"""Payment and checkout beside the stack's own: on free loopback ports, with a failure rate of 0 and names of their own."""

import os
import socket
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import httpx2
import psutil

from three_pillar_demo.stack.components import LOOPBACK, STATE

READY_SECONDS, KILL_SECONDS = 60.0, 30.0
TICK = 0.05
NAMES = ("payment", "checkout")
"""In the order of their start; they stop the other way round, along the data's way."""


class ServiceError(Exception):
    """A service did not start; the text says where it says why."""


@dataclass
class Services:
    """Two services that send to ``endpoint``; use it as a context manager, and what was started ends with it.

    Every start is an instance of its own (``run`` and a number): what other shops count does not mix with it.
    """

    endpoint: str
    workers: int = 1
    run: str = field(default_factory=lambda: f"rehearsal-{uuid.uuid4().hex[:8]}")
    starts: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Choose ports; nothing runs yet."""
        with socket.socket() as one, socket.socket() as other:
            for name, probe in zip(NAMES, (one, other), strict=True):
                probe.bind((LOOPBACK, 0))
                self.ports[name] = probe.getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nobody behind."""
        for process in self.running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait(KILL_SECONDS)
        self.running.clear()

    @property
    def url(self) -> str:
        """Where customers buy."""
        return f"http://{LOOPBACK}:{self.ports['checkout']}"

    def start(self) -> None:
        """Start payment, and once that answers checkout: nobody is to find a shop that cannot charge.

        Raises:
            ServiceError: One of them does not.
        """
        self.starts += 1
        for name in NAMES:
            with (STATE / "logs" / f"rehearsal-{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(  # noqa: S603  (our own command)
                    [sys.executable, "-m", f"services.{name}"],
                    env={**os.environ, **self._settings(name)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            deadline = time.monotonic() + READY_SECONDS
            while not self._answers(name):
                if self.running[name].poll() is not None or time.monotonic() > deadline:
                    raise ServiceError(
                        f"{name} of the rehearsal did not start; see: demo logs rehearsal-{name}"
                    )
                time.sleep(TICK)

    def _settings(self, name: str) -> dict[str, str]:
        prefix = name.upper()
        return {
            f"{prefix}_BIND": LOOPBACK,
            f"{prefix}_PORT": str(self.ports[name]),
            f"{prefix}_WORKERS": str(self.workers),
            "CHECKOUT_PAYMENT_URL": f"http://{LOOPBACK}:{self.ports['payment']}",
            # Nothing fails by design: what customers see is what was broken. Longer than the default 2 s, and shorter than
            # customers wait, or a busy machine would look like an outage of payment.
            "PAYMENT_FAILURE_RATE": "0",
            "CHECKOUT_PAYMENT_TIMEOUT": "8",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={self.run}-{self.starts}",
        }

    def _answers(self, name: str) -> bool:
        try:
            url = f"http://{LOOPBACK}:{self.ports[name]}/healthz"
            return httpx2.get(url, timeout=1.0, trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    def stop(self) -> list[float]:
        """SIGTERM checkout, then payment; returns how many seconds each took to exit."""
        took = []
        for name in reversed(NAMES):
            process = self.running.pop(name)
            began = time.monotonic()
            process.terminate()
            try:
                process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(KILL_SECONDS)
            took.append(time.monotonic() - began)
        return took

    def memory(self) -> float:
        """Resident MiB of both, with their workers."""
        total = 0
        for process in list(self.running.values()):
            with suppress(psutil.Error):
                leader = psutil.Process(process.pid)
                total += sum(
                    each.memory_info().rss for each in (leader, *leader.children(recursive=True))
                )
        return total / 1024**2
