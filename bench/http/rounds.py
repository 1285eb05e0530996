"""One round of one arm (the app with one kind of telemetry), and the summary of many rounds."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.http import load, running
from bench.http.arms import ARMS
from bench.http.steady import steady

WARM_UP_S = 2
"""Seconds of load before the measurement, in which connections are opened and caches filled."""
SETTLE_S = 2
"""Seconds between the warm-up and an open loop, in which queued telemetry is exported."""


@dataclass(frozen=True)
class Round:
    """The result of one round: one service under load, and what the OTLP receiver got from it.

    Attributes:
        load: What the load generator measured.
        service: CPU time of the service as a share of one core. If this is well under 1, the CPU
            was not the limit, or other processes used the core as well.
        receiver: CPU time of the receiver as a share of one core.
        micros: CPU time of the service for one request in microseconds. This figure varies least
            if the machine does other work as well.
        requests: Number of requests, including those of the warm-up.
        received: Items that the receiver got (see ``COUNTS`` in bench/http/receiver.py), including
            those of the warm-up and of the flush at the end.
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
    """Start the service with the telemetry of ``arm``, load it for ``seconds``, and stop it.

    With ``rate`` the load is an open loop of that many requests a second; without it, wrk runs a
    closed loop.
    """
    route = ARMS[arm].route(route_name)
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
    """All rounds of one arm on one route."""

    rounds: list[Round]

    @property
    def rate(self) -> float:
        """The median over the rounds of the answered requests per second."""
        return median(self.rates)

    @property
    def rates(self) -> list[float]:
        """The answered requests per second of each round."""
        return [round_.load.rate for round_ in self.rounds]

    @property
    def errors(self) -> int:
        """The number of requests (all rounds) without an answer or with a status other than 2xx."""
        return sum(round_.load.errors for round_ in self.rounds)

    def load_median(self, field: str) -> float:
        """Return the median over the rounds of one field of ``Load``, such as ``p50``."""
        return float(median(getattr(round_.load, field) for round_ in self.rounds))

    def round_median(self, field: str) -> float:
        """Return the median over the rounds of a number in ``Round``, such as ``micros``."""
        return float(median(getattr(round_, field) for round_ in self.rounds))

    def per_request(self, item: str) -> float:
        """Return how many items the receiver got for each request, over all rounds.

        ``item`` is a key of ``Round.received``, such as ``spans``.
        """
        received = sum(round_.received[item] for round_ in self.rounds)
        return received / sum(round_.requests for round_ in self.rounds)
