"""One round of one arm, and what several of them say together."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.http import load, running
from bench.http.arms import ARMS, ROUTES
from bench.http.steady import steady

WARM_UP = 2
"""Seconds of load that nobody measures: code is compiled to caches, connections are made."""
SETTLE = 2
"""Seconds after it, before an open loop begins: what the warm-up left in the queues is sent."""


@dataclass(frozen=True)
class Round:
    """What one process did under load, and what arrived of what it told, its warm-up and its last flush included."""

    load: load.Load
    service: float
    """Of its core, that the service took: well under 1, and others were on it, or something else was the ceiling."""
    receiver: float
    micros: float
    """Of CPU, that the service took for one request: of all figures the one that others on the machine disturb least."""
    asked: int
    """Requests, those of the warm-up included."""
    taken: dict[str, int]


def play(
    arm: str, route: str, seconds: int, receiver: running.Running, rate: float | None = None
) -> Round:
    """Start the service anew, load it, with all it can take or at ``rate`` requests a second, and stop it."""
    told, asked = ARMS[arm], ROUTES[route]
    endpoint = f"http://127.0.0.1:{receiver.port}"
    with tempfile.TemporaryDirectory() as folder:
        running.taken(receiver)
        with running.shop(told, route, endpoint, Path(folder)) as service:
            warm = load.wrk(service.port, asked, WARM_UP)
            time.sleep(SETTLE if rate else 0)
            began, before, took = time.monotonic(), service.cpu(), receiver.cpu()
            seen = (
                steady(service.port, asked, rate, seconds)
                if rate
                else load.wrk(service.port, asked, seconds)
            )
            span, cpu = time.monotonic() - began, service.cpu() - before
            shares = cpu / span, (receiver.cpu() - took) / span, cpu / max(1, seen.requests) * 1e6
        return Round(seen, *shares, warm.requests + seen.requests, running.taken(receiver))


@dataclass(frozen=True)
class Result:
    """Several rounds of one arm on one route."""

    rounds: list[Round]

    @property
    def rate(self) -> float:
        """The median of the rounds' requests a second."""
        return median(each.load.rate for each in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest and the fastest round."""
        rates = [each.load.rate for each in self.rounds]
        return min(rates), max(rates)

    @property
    def errors(self) -> int:
        """Answers that were none, or not 2xx, in all rounds."""
        return sum(each.load.errors for each in self.rounds)

    def middle(self, of: str) -> float:
        """The median of one of wrk's figures."""
        return float(median(getattr(each.load, of) for each in self.rounds))

    def own(self, of: str) -> float:
        """The median of ``service``, ``receiver`` or ``micros``."""
        return float(median(getattr(each, of) for each in self.rounds))

    def a_request(self, what: str) -> float:
        """How many of ``what`` arrived for each request, in all rounds."""
        return sum(each.taken[what] for each in self.rounds) / sum(
            each.asked for each in self.rounds
        )
