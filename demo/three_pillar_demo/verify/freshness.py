"""How soon after the answer each pillar can be asked about it, measured on a sample of purchases."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.trace_view.view import is_canonical
from three_pillar_demo.verify.checks import REQUESTS

POLL_SECONDS = 0.2
GIVE_UP_SECONDS = 30.0
KINDS = ("trace by id", "search", "log", "metric")


class Freshness:
    """Watches every ``every``-th purchase until it is found in all the ways there are."""

    def __init__(self, backends: Backends, before: float | None, every: int) -> None:
        """``before`` is the counter's sum ahead of the run; None when others buy too and the metric cannot be told apart."""
        self.backends = backends
        self.before = before
        self.every = every
        self.bought = 0
        self.seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def watch(self, purchase: Purchase) -> None:
        """Take note of a purchase, and measure if it is its turn. One without an order cannot be searched for."""
        self.bought += 1
        if self.bought % self.every or not purchase.order_id:
            return
        ask: dict[str, Callable[[], Awaitable[bool]]] = {
            "trace by id": lambda: self._trace(purchase),
            "search": lambda: self._search(purchase),
            "log": lambda: self._log(purchase),
        }
        if self.before is not None:
            total = self.before + self.bought
            ask["metric"] = lambda: self._metric(total)
        await asyncio.gather(
            *(self._until(kind, question, purchase.finished) for kind, question in ask.items())
        )

    async def _until(
        self, kind: str, question: Callable[[], Awaitable[bool]], since: float
    ) -> None:
        while time.time() - since < GIVE_UP_SECONDS:
            try:
                if await question():
                    break
            except BackendError:  # counted as not fresh; the proofs themselves report it
                pass
            await asyncio.sleep(POLL_SECONDS)
        self.seconds[kind].append(time.time() - since)

    async def _trace(self, purchase: Purchase) -> bool:
        return any(
            span.kind == "SERVER" and span.service == "checkout"
            for span in await self.backends.trace(purchase.trace_id)
        )

    async def _search(self, purchase: Purchase) -> bool:
        order_id = purchase.order_id or ""
        return purchase.trace_id in await self.backends.requests(
            "checkout", purchase.started - 1, time.time(), order_id=order_id
        )

    async def _log(self, purchase: Purchase) -> bool:
        lines = await self.backends.trace_logs(purchase.trace_id, purchase.started - 1, time.time())
        return any(line.service == "checkout" and is_canonical(line) for line in lines)

    async def _metric(self, total: float) -> bool:
        return await requests_total(self.backends) >= total

    def figures(self) -> dict[str, tuple[float, float, int]]:
        """By kind: p50 and p95 in seconds, and how many were measured; kinds that were not are left out."""
        return {
            kind: (percentile(values, 50), percentile(values, 95), len(values))
            for kind, values in self.seconds.items()
            if values
        }


async def requests_total(backends: Backends) -> float:
    """All checkouts ever counted by the instances that live, 0 when none was."""
    return sum((await backends.counters(REQUESTS, (), {"endpoint": "/checkout"})).values())


def percentile(values: list[float], percent: int) -> float:
    """The value that ``percent`` per cent do not exceed, interpolated; ``values`` must not be empty."""
    return (
        values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]
    )
