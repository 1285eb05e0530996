"""One round of one arm, and the summary of several rounds."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.http import load, running
from bench.http.arms import ARMS, ROUTES
from bench.http.steady import steady

WARM_UP_S = 2
"""Load that is not measured: connections are opened, and caches are filled."""
SETTLE_S = 2
"""Time between the warm-up and an open loop, in which queued telemetry is exported."""


@dataclass(frozen=True)
class Round:
    """One process under load, and what the receiver got from it.

    Attributes:
        load: What the load generator measured.
        service: Share of a core that the service used. Well under 1 means that other processes
            used its core, or that something else was the limit.
        receiver: Share of a core that the receiver used.
        micros: CPU time of the service for one request in microseconds. Of all figures, other work
            on the machine disturbs this one least.
        requests: Requests, including those of the warm-up.
        received: Items that the receiver got, including the warm-up and the flush at the end.
    """

    load: load.Load
    service: float
    receiver: float
    micros: float
    requests: int
    received: dict[str, int]


def run_round(
    arm: str,
    route_name: str,
    seconds: int,
    receiver: running.Running,
    rate: float | None = None,
) -> Round:
    """Start the service, load it and stop it.

    ``rate`` is that of an open loop, in requests a second; without it the loop is closed.
    """
    route = ROUTES[route_name]
    endpoint = f"http://127.0.0.1:{receiver.port}"
    with tempfile.TemporaryDirectory() as folder:
        running.take_counts(receiver)
        with running.route_service(ARMS[arm], route_name, endpoint, Path(folder)) as service:
            warm_up = load.wrk(service.port, route, WARM_UP_S)
            if rate:
                time.sleep(SETTLE_S)
            began = time.monotonic()
            service_before = service.cpu_seconds()
            receiver_before = receiver.cpu_seconds()
            if rate:
                measured = steady(service.port, route, rate, seconds)
            else:
                measured = load.wrk(service.port, route, seconds)
            duration = time.monotonic() - began
            service_cpu = service.cpu_seconds() - service_before
            receiver_cpu = receiver.cpu_seconds() - receiver_before
        return Round(
            load=measured,
            service=service_cpu / duration,
            receiver=receiver_cpu / duration,
            micros=service_cpu / max(1, measured.requests) * 1e6,
            requests=warm_up.requests + measured.requests,
            received=running.take_counts(receiver),
        )


@dataclass(frozen=True)
class Result:
    """Several rounds of one arm on one route."""

    rounds: list[Round]

    @property
    def rate(self) -> float:
        """The median of the requests a second."""
        return median(self.rates)

    @property
    def rates(self) -> list[float]:
        """The requests a second of each round."""
        return [round_.load.rate for round_ in self.rounds]

    @property
    def errors(self) -> int:
        """The number of missing answers and of answers other than 2xx in all rounds."""
        return sum(round_.load.errors for round_ in self.rounds)

    def load_median(self, field: str) -> float:
        """Return the median of one field of ``Load``."""
        return float(median(getattr(round_.load, field) for round_ in self.rounds))

    def round_median(self, field: str) -> float:
        """Return the median of ``service``, ``receiver`` or ``micros``."""
        return float(median(getattr(round_, field) for round_ in self.rounds))

    def per_request(self, item: str) -> float:
        """Return how many of ``item`` the receiver got for each request, over all rounds."""
        received = sum(round_.received[item] for round_ in self.rounds)
        return received / sum(round_.requests for round_ in self.rounds)
