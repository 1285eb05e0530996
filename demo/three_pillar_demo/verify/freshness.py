"""Measure the time from the answer to a purchase until traces, logs and metrics show the purchase.

Only a sample of the purchases is measured.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.trace_view.view import is_canonical
from three_pillar_demo.verify.metric_check import requests_total
from three_pillar_demo.verify.sampling import Sampling
from three_pillar_demo.verify.seen_spans import SeenSpans

POLL_INTERVAL_S = 0.2
"""The pause between two queries for the same purchase, in seconds."""
TIMEOUT_S = 30.0
"""How long a purchase is searched for after its answer, in seconds.

For a purchase that is not found, the measured freshness is about this long.
"""
KINDS = ("trace by id", "search", "log", "metric")
"""The kinds of queries that are measured, as the report names them."""


class Freshness:
    """Measures the freshness: the seconds from an answer until a query finds the purchase.

    Every ``every``-th purchase is measured, once for each kind of query in ``KINDS``.

    Attributes:
        seen: The spans that the queries by id have returned.
    """

    def __init__(
        self,
        backends: Backends,
        total_before: float | None,
        every: int,
        sampling: Sampling | None = None,
    ) -> None:
        """Start without measurements.

        ``total_before`` is the value of checkout's request counter before the run. It is None when
        other clients buy too. Then the kind "metric" is not measured, because the counter rises by
        the purchases of the other clients as well. The traces that ``sampling`` does not keep are
        not measured.
        """
        self.backends = backends
        self.total_before = total_before
        self.every = every
        self.sampling = sampling or Sampling()
        self.purchases = 0
        self.seen = SeenSpans()
        self.seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}

    async def watch(self, purchase: Purchase) -> None:
        """Measure the freshness of ``purchase`` if the purchase belongs to the sample.

        The measurement ends when each query has found the purchase or ``TIMEOUT_S`` has passed.
        """
        self.purchases += 1
        # The search looks for the order id, so a purchase without an order id is not measured.
        if self.purchases % self.every or not purchase.order_id:
            return
        queries: dict[str, Callable[[], Awaitable[bool]]] = {
            "log": lambda: self._has_log_record(purchase)
        }
        if self.sampling.is_kept(purchase):
            queries["trace by id"] = lambda: self._has_trace(purchase)
            queries["search"] = lambda: self._is_found(purchase)
        if self.total_before is not None:
            total = self.total_before + self.purchases
            queries["metric"] = lambda: self._is_counted(total)
        await asyncio.gather(
            *(self._measure(kind, query, purchase.finished) for kind, query in queries.items())
        )

    async def _measure(self, kind: str, query: Callable[[], Awaitable[bool]], since: float) -> None:
        while time.time() - since < TIMEOUT_S:
            try:
                if await query():
                    break
            except BackendError:  # the checks report it; here the purchase is just not found yet
                pass
            await asyncio.sleep(POLL_INTERVAL_S)
        self.seconds[kind].append(time.time() - since)

    async def _has_trace(self, purchase: Purchase) -> bool:
        spans = await self.backends.trace(purchase.trace_id)
        self.seen.add(spans)
        return any(span.kind == "SERVER" and span.service == "checkout" for span in spans)

    async def _is_found(self, purchase: Purchase) -> bool:
        trace_ids = await self.backends.requests(
            "checkout", purchase.started - 1, time.time(), order_id=purchase.order_id or ""
        )
        return purchase.trace_id in trace_ids

    async def _has_log_record(self, purchase: Purchase) -> bool:
        records = await self.backends.trace_logs(
            purchase.trace_id, purchase.started - 1, time.time()
        )
        return any(record.service == "checkout" and is_canonical(record) for record in records)

    async def _is_counted(self, total: float) -> bool:
        return await requests_total(self.backends) >= total

    def figures(self) -> dict[str, tuple[float, float, int]]:
        """Return p50 and p95 in seconds and the number of measurements, by kind of query.

        Kinds that were not measured are left out.
        """
        return {
            kind: (percentile(values, 50), percentile(values, 95), len(values))
            for kind, values in self.seconds.items()
            if values
        }


def percentile(values: list[float], percent: int) -> float:
    """Return the percentile ``percent`` (1 to 99) of ``values``, interpolated between two values.

    ``values`` must not be empty.
    """
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
