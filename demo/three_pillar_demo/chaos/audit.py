"""The stores' side of the books: of each purchase, which spans and lines are there, once or twice; and what was counted."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.checks import AT_ONCE, canonical_lines
from three_pillar_demo.verify.ledger import Ledger, expect

SAMPLE = 16
"""So many traces are asked for first, from the oldest to the newest; while one is missing the thousand others can wait."""
COUNTERS = {"checkout_requests_total": "/checkout", "payment_requests_total": "/charges"}


@dataclass
class Found:
    """What the stores have of the purchases asked about: by kind (``spans``, ``lines``, ``counts``)."""

    whole: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing (yet)."""
        return not self.lost.total()


class StoreAudit:
    """Looks up purchases of one ``run``; a trace that is whole is not asked for again."""

    def __init__(self, backends: Backends, run: str, started: float) -> None:
        self.backends, self.run, self.started = backends, run, started
        self.spans: dict[str, list[str]] = {}

    async def compare(
        self, purchases: Sequence[Purchase], within: float, *, thorough: bool = True
    ) -> Found:
        """Everything about ``purchases``; counters as they were told within so many seconds.

        If it need not be ``thorough``, a trace counts as missing until all of a sample are there.

        Raises:
            BackendError: A store does not answer.
        """
        found, ledger = Found(), Ledger(purchases=list(purchases), started=self.started)
        lines: Counter[tuple[str, str]] = Counter()
        for line in await canonical_lines(self.backends, self.started - 1):
            lines[line.fields.get("trace_id", ""), line.service] += 1
        waiting = [each for each in purchases if not self._is_whole(each)]
        sample = waiting[:: max(1, len(waiting) // SAMPLE)] + waiting[-1:]
        await self._ask_for_traces(sample)
        if thorough or all(map(self._is_whole, sample)):
            await self._ask_for_traces([each for each in waiting if not self._is_whole(each)])
        for purchase in purchases:
            expected, spans = expect(purchase), self.spans.get(purchase.trace_id, [])
            missing = max(0, len(expected.spans) - len(set(spans)))
            found.lost["spans"] += missing
            found.twice["spans"] += len(spans) - len(set(spans))
            for service in ("checkout", *(["payment"] if expected.payment_status else [])):
                count = lines[purchase.trace_id, service]
                missing += count == 0
                found.lost["lines"] += count == 0
                found.twice["lines"] += max(0, count - 1)
            found.whole += missing == 0
        wanted = dict(
            zip(COUNTERS, (ledger.checkout_statuses(), ledger.payment_statuses()), strict=True)
        )
        for name, statuses in wanted.items():
            counted = await self._counted(name, within)
            found.lost["counts"] += (statuses - counted).total()
            found.twice["counts"] += (counted - statuses).total()
        return found

    async def _ask_for_traces(self, purchases: Sequence[Purchase]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(purchase: Purchase) -> None:
            async with gate:
                self.spans[purchase.trace_id] = [
                    each.span_id for each in await self.backends.trace(purchase.trace_id)
                ]

        await asyncio.gather(*map(ask, purchases))

    def _is_whole(self, purchase: Purchase) -> bool:
        return len(self.spans.get(purchase.trace_id, [])) >= len(expect(purchase).spans)

    async def _counted(self, name: str, within: float) -> Counter[str]:
        counted: Counter[str] = Counter()
        by, where = ("status", "instance"), {"endpoint": COUNTERS[name]}
        for (status, instance), value in (
            await self.backends.counters(name, by, where, within=within)
        ).items():
            if instance.startswith(self.run):
                counted[status] += round(value)
        return counted

    async def begun(self, order_ids: Sequence[str], end: float) -> list[str]:
        """Which of the orders that nobody answered had got into the shop all the same."""
        found = {
            each: await self.backends.requests("checkout", self.started - 1, end, order_id=each)
            for each in order_ids
        }
        return [order_id for order_id, traces in found.items() if traces]
