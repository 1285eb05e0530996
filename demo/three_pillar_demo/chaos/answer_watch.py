"""Asks the stores again and again, and finds answers that lack what an earlier answer had.

What is stored stays stored, so a later answer to the same question has at least what an earlier one
had. A store that cannot answer completely has to answer with an error.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from three_pillar_demo.chaos.audit import ENDPOINTS, StoreAudit
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError

INTERVAL_S = 0.5
"""Seconds between two rounds of questions."""
MAX_PARTIAL = 20
"""How many partial answers are described; the number of all is counted."""


@dataclass
class Answers:
    """The answers to all questions so far.

    Attributes:
        whole: How many answers had everything that an earlier answer had.
        refused: How many questions got an error, or no answer in time.
        partial: How many answers lacked something.
        descriptions: What was lacking, one line for each of the first partial answers.
    """

    whole: int = 0
    refused: int = 0
    partial: int = 0
    descriptions: list[str] = field(default_factory=list)


class AnswerWatch:
    """Watches the answers about one rehearsal: traces, log records and counters."""

    def __init__(self, audit: StoreAudit, purchases: Callable[[], Sequence[Purchase]]) -> None:
        """Prepare to ask about what ``purchases`` returns, which becomes more and more."""
        self.audit = audit
        self.purchases = purchases
        self.answers = Answers()
        self._spans: dict[str, int] = {}
        self._records: set[tuple[str, str]] = set()
        self._counts: dict[str, int] = dict.fromkeys(ENDPOINTS, 0)

    async def watch(self, within_s: float) -> None:
        """Ask until this task is cancelled; counters of the last ``within_s`` seconds count."""
        while True:
            await self._judge(self._lacking_spans())
            await self._judge(self._lacking_records())
            for name in ENDPOINTS:
                await self._judge(self._lacking_counts(name, within_s))
            await asyncio.sleep(INTERVAL_S)

    async def _judge(self, question: Coroutine[None, None, str]) -> None:
        try:
            lacking = await question
        except BackendError:
            self.answers.refused += 1
            return
        if not lacking:
            self.answers.whole += 1
            return
        self.answers.partial += 1
        if len(self.answers.descriptions) < MAX_PARTIAL:
            self.answers.descriptions.append(lacking)

    async def _lacking_spans(self) -> str:
        """Ask for one trace, and return what it lacks; "" if it lacks nothing."""
        kept = [item for item in self.purchases() if self.audit.sampling.is_kept(item)]
        if not kept:
            return ""
        trace_id = random.choice(kept).trace_id  # noqa: S311  (not for security)
        count = len({span.span_id for span in await self.audit.backends.trace(trace_id)})
        known = self._spans.get(trace_id, 0)
        self._spans[trace_id] = max(known, count)
        return "" if count >= known else f"trace {trace_id}: {count} spans after {known}"

    async def _lacking_records(self) -> str:
        """Ask for the canonical log records, and return how many are lacking."""
        records = set(await self.audit.count_canonical_records())
        lacking = self._records - records
        self._records |= records
        return f"log records: {len(lacking)} of {len(self._records)} lacking" if lacking else ""

    async def _lacking_counts(self, name: str, within_s: float) -> str:
        """Ask for the sum of the counter ``name``, and return how far it has fallen."""
        count = (await self.audit.counted_statuses(name, within_s)).total()
        known = self._counts[name]
        self._counts[name] = max(known, count)
        return "" if count >= known else f"{name}: {count} after {known}"
