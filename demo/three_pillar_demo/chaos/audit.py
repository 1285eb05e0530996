"""Compares the purchases of a rehearsal with the stores.

It counts the spans, log records and counter increments that are missing or stored twice.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from three_pillar_demo.chaos.kinds import COUNTS, LOG_RECORDS, SPANS
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.check import MAX_CONCURRENT_QUERIES
from three_pillar_demo.verify.ledger import Ledger, expect
from three_pillar_demo.verify.log_check import canonical_records
from three_pillar_demo.verify.sampling import Sampling

SAMPLE_SIZE = 16
"""The smallest number of traces in the sample that a comparison queries first.

The sample is spread evenly over the incomplete traces. If there are fewer, it holds all of them.
"""
ENDPOINTS = {"checkout_requests_total": "/checkout", "payment_requests_total": "/charges"}
"""The endpoint that a purchase calls in each service, by the name of the request counter.

It is the value of the counter's label ``endpoint``.
"""


@dataclass
class AuditResult:
    """The result of comparing some purchases with the stores.

    Attributes:
        complete: The number of purchases of which every span and log record is stored.
        lost: The number of items that are missing, by kind (``kinds.KINDS``).
        duplicated: The number of surplus copies of items in the stores, by kind.
    """

    complete: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    duplicated: Counter[str] = field(default_factory=Counter)


class StoreAudit:
    """Compares the purchases of one rehearsal with the stores, repeatedly.

    A trace that was complete once is not queried again.
    """

    def __init__(
        self, backends: Backends, run: str, started: float, sampling: Sampling | None = None
    ) -> None:
        """Prepare to query ``backends``.

        ``run`` is the prefix of the services' instance names, and ``started`` is when the load
        began, in seconds since the epoch. ``sampling`` says which traces the Collector keeps; by
        default all.
        """
        self.backends = backends
        self.sampling = sampling or Sampling()
        self.run = run
        self.started = started
        self.span_ids: dict[str, list[str]] = {}

    async def compare(
        self, purchases: Sequence[Purchase], within_s: float, *, thorough: bool = True
    ) -> AuditResult:
        """Compare ``purchases`` with the stores, and count what is missing or duplicated.

        Only counters that were reported within the last ``within_s`` seconds are used.

        With ``thorough``, every trace that was incomplete so far is queried. Otherwise a sample of
        these traces is queried first, and the other traces only after the sample is complete. A
        trace that was never queried counts as missing.

        Raises:
            BackendError: A store does not answer.
        """
        records = await self.count_canonical_records()
        await self._query_traces(purchases, thorough=thorough)
        result = AuditResult()
        for purchase in purchases:
            self._compare_purchase(purchase, records, result)
        await self._compare_counters(purchases, within_s, result)
        return result

    async def count_canonical_records(self) -> Counter[tuple[str, str]]:
        """Return how many canonical log records are stored, by trace id and service.

        A service writes one such record for each request.
        """
        records: Counter[tuple[str, str]] = Counter()
        for record in await canonical_records(self.backends, self.started - 1):
            records[record.fields.get("trace_id", ""), record.service] += 1
        return records

    async def _query_traces(self, purchases: Sequence[Purchase], *, thorough: bool) -> None:
        """Query the traces that were incomplete so far: first a sample of them, then the others.

        Without ``thorough``, the others are queried only after the sample is complete. This saves
        queries while the stores are far behind.
        """
        incomplete = [purchase for purchase in purchases if not self._is_complete(purchase)]
        step = max(1, len(incomplete) // SAMPLE_SIZE)
        sample = incomplete[::step] + incomplete[-1:]
        await self._query(sample)
        if thorough or all(self._is_complete(purchase) for purchase in sample):
            await self._query(
                [purchase for purchase in incomplete if not self._is_complete(purchase)]
            )

    async def _query(self, purchases: Sequence[Purchase]) -> None:
        """Query the traces of ``purchases``, and keep the ids of their spans."""
        limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

        async def query(purchase: Purchase) -> None:
            async with limit:
                spans = await self.backends.trace(purchase.trace_id)
            self.span_ids[purchase.trace_id] = [span.span_id for span in spans]

        await asyncio.gather(*map(query, purchases))

    def _is_complete(self, purchase: Purchase) -> bool:
        """Return whether the last query of the trace of ``purchase`` found all expected spans.

        A trace that was never queried is incomplete. One that the Collector need not keep is
        complete without its spans.
        """
        if not self.sampling.is_kept(purchase):
            return True
        return len(self.span_ids.get(purchase.trace_id, [])) >= len(expect(purchase).spans)

    def _compare_purchase(
        self, purchase: Purchase, records: Counter[tuple[str, str]], result: AuditResult
    ) -> None:
        """Add the missing and duplicated spans and log records of one purchase to ``result``.

        ``records`` are the numbers of canonical log records by trace id and service.
        """
        expected = expect(purchase)
        span_ids = self.span_ids.get(purchase.trace_id, [])
        missing_spans = max(0, len(expected.spans) - len(set(span_ids)))
        if not self.sampling.is_kept(purchase):
            missing_spans = 0
        services = ["checkout"]
        if expected.payment_status:
            services.append("payment")
        counts = [records[purchase.trace_id, service] for service in services]
        missing_records = counts.count(0)
        result.lost[SPANS] += missing_spans
        result.lost[LOG_RECORDS] += missing_records
        result.duplicated[SPANS] += len(span_ids) - len(set(span_ids))
        result.duplicated[LOG_RECORDS] += sum(max(0, count - 1) for count in counts)
        if not missing_spans and not missing_records:
            result.complete += 1

    async def _compare_counters(
        self, purchases: Sequence[Purchase], within_s: float, result: AuditResult
    ) -> None:
        """Compare the request counters with the purchases, and add the differences to ``result``.

        There is one comparison for each service and HTTP status.
        """
        ledger = Ledger(purchases=list(purchases), started=self.started)
        expected_by_counter = {
            "checkout_requests_total": ledger.checkout_statuses(),
            "payment_requests_total": ledger.payment_statuses(),
        }
        for name, expected in expected_by_counter.items():
            counted = await self.counted_statuses(name, within_s)
            result.lost[COUNTS] += (expected - counted).total()
            result.duplicated[COUNTS] += (counted - expected).total()

    async def counted_statuses(self, name: str, within_s: float) -> Counter[str]:
        """Return the sum of the counter ``name`` over the instances of this run, by HTTP status.

        Only values that were reported within the last ``within_s`` seconds are used.
        """
        values = await self.backends.counters(
            name, ("status", "instance"), {"endpoint": ENDPOINTS[name]}, within=within_s
        )
        counted: Counter[str] = Counter()
        for (status, instance), value in values.items():
            if instance.startswith(self.run):
                counted[status] += round(value)
        return counted
