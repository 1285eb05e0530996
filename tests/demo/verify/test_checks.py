"""Tests for the checks of ``demo verify``, with telemetry that is missing or wrong."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.traces import canonical, exemplar, slow
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import DURATION, NANO, Backends, Exemplar, LogRecord, Span
from three_pillar_demo.verify import check as check_module
from three_pillar_demo.verify import log_check
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.freshness import Freshness
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import REQUESTS, check_metrics
from three_pillar_demo.verify.trace_check import check_traces

NOW = time.time_ns()


class PreparedBackends:
    """Backends that return the telemetry that a test has prepared."""

    names: Mapping[str, str] = {
        "traces": "the trace store",
        "logs": "the log store",
        "metrics": "the metric store",
    }

    def __init__(
        self, spans: list[Span] | None = None, records: list[LogRecord] | None = None
    ) -> None:
        """Prepare the spans of one trace, and log records."""
        self.spans = spans or []
        self.records = records or []
        self.counted: dict[str, dict[tuple[str, ...], float]] = {}
        self.prepared_exemplars: list[Exemplar] = []
        self.pages = 0

    async def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def logs(
        self, start: float, end: float, *, canonical: bool, limit: int
    ) -> list[LogRecord]:
        """Return the newest canonical log records in the range."""
        assert canonical
        self.pages += 1
        fits = [record for record in self.records if start <= record.time / NANO <= end]
        return sorted(fits, key=lambda record: record.time, reverse=True)[:limit]

    async def counters(
        self, name: str, by: Sequence[str], where: Mapping[str, str]
    ) -> dict[tuple[str, ...], float]:
        """Return the prepared counters."""
        assert by[-1] == "instance"
        assert where == ({"endpoint": "/checkout"} if name == REQUESTS else {})
        return self.counted.get(name, {})

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the prepared exemplars."""
        assert start < end
        return self.prepared_exemplars


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "TIMEOUT_S", 0.0)


def ledger(*outcomes: tuple[str, int], trace_id: str = "") -> Ledger:
    """Return a ledger with a purchase for each pair of an outcome and an HTTP status.

    The trace ids are numbers, unless ``trace_id`` names the only one.
    """
    result = Ledger(started=NOW / NANO - 60)
    for number, (outcome, status) in enumerate(outcomes):
        purchase_trace_id = trace_id or f"{number:032x}"
        result.purchases.append(
            Purchase("card", "o", purchase_trace_id, status, outcome, "", NOW / NANO, NOW / NANO)
        )
    return result


def canonical_records(purchase: Purchase, delay: int = 0) -> list[LogRecord]:
    """Return the two canonical log records of a successful purchase, ``delay`` ns after NOW."""
    fields: dict[str, Any] = {"trace_id": purchase.trace_id}
    records = (
        canonical("", "checkout", 200, "success", **fields),
        canonical("", "payment", 200, "authorised", **fields),
    )
    return [
        LogRecord(NOW + delay, record.service, record.severity, record.body, record.fields)
        for record in records
    ]


@pytest.mark.parametrize("together", [1, 5])
def test_every_page_of_log_records_is_read(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """Records on several pages are each read once, also when a page ends within equal times."""
    monkeypatch.setattr(log_check, "PAGE_SIZE", 12)
    run_ledger = ledger(*[("success", 200)] * 40)
    records = [
        record
        for number, purchase in enumerate(run_ledger.purchases)
        for record in canonical_records(purchase, -1_000_000 * (number // together))
    ]
    backends = PreparedBackends(records=records)
    check, others = asyncio.run(check_logs(cast("Backends", backends), run_ledger))
    assert check.passed, check.problems
    assert check.figures == "80 of 80 canonical log records in the log store"
    assert not others
    assert backends.pages > 5


def test_a_duplicate_log_record_fails() -> None:
    """A second canonical log record of one service fails the check and is named."""
    run_ledger = ledger(("success", 200))
    records = canonical_records(run_ledger.purchases[0])
    check, _ = asyncio.run(
        check_logs(cast("Backends", PreparedBackends(records=[*records, records[0]])), run_ledger)
    )
    assert not check.passed
    wrote = "wrote 'POST /checkout 200 success' (INFO)"
    assert check.problems == [f"{0:032x}: checkout {wrote}; {wrote}"]


def test_traces_are_compared_with_the_outcome_table() -> None:
    """A whole trace passes; an incomplete, missing or repeated one is named."""
    view = slow()
    run_ledger = ledger(("payment_slow", 504), trace_id=view.trace_id)
    check = asyncio.run(check_traces(cast("Backends", PreparedBackends(view.spans)), run_ledger))
    assert (check.passed, check.figures) == (True, "1 of 1 whole in the trace store, 4 spans")
    check = asyncio.run(
        check_traces(cast("Backends", PreparedBackends(view.spans[:3])), run_ledger)
    )
    assert "payment_slow has 3 spans" in check.problems[0]
    repeated = PreparedBackends([*view.spans, *map(deepcopy, view.spans[1:])])
    check = asyncio.run(check_traces(cast("Backends", repeated), run_ledger))
    assert check.problems == [f"{view.trace_id}: whole, but 3 of its 7 spans are repetitions"]
    check = asyncio.run(check_traces(cast("Backends", PreparedBackends()), run_ledger))
    assert check.problems == [f"{view.trace_id}: not in the trace store"]


class SearchableBackends(PreparedBackends):
    """Prepared backends in which the trace is found by a search, and its log records by its id."""

    async def requests(self, *_: object, **__: object) -> list[str]:
        """Return the id of the trace."""
        return [self.spans[0].trace_id]

    async def trace_logs(self, *_: object) -> list[LogRecord]:
        """Return the log records."""
        return self.records


def test_a_span_that_the_trace_store_has_lost_is_named() -> None:
    """The check says that an earlier query returned a span that is missing now."""
    view = slow()
    run_ledger = ledger(("payment_slow", 504), trace_id=view.trace_id)
    freshness = Freshness(cast("Backends", SearchableBackends(view.spans, view.logs)), None, 1)
    asyncio.run(freshness.watch(replace(run_ledger.purchases[0], finished=time.time())))
    remaining = PreparedBackends(view.spans[:3])
    check = asyncio.run(check_traces(cast("Backends", remaining), run_ledger, freshness.seen))
    lost = "; an earlier query of the trace store returned payment SERVER too"
    assert check.problems[0].endswith(lost)
    check = asyncio.run(check_traces(cast("Backends", remaining), run_ledger))
    assert "earlier" not in check.problems[0]


def test_counters_must_rise_by_exactly_the_purchases() -> None:
    """A wrong increase is named by its status, and an instance that is gone is left out."""
    run_ledger = ledger(("success", 200), ("declined", 402))
    backends = PreparedBackends()
    durations = f"{DURATION}_count"
    backends.counted = {
        REQUESTS: {("/checkout", "200", "a"): 8.0, ("/checkout", "402", "b"): 1.0},
        durations: {
            ("/checkout", "200", "a"): 1.0,
            ("/checkout", "402", "b"): 1.0,
            ("/charges", "200", "c"): 3.0,
        },
    }
    before = {
        (f"{REQUESTS} /checkout", "200", "a"): 7.0,
        (f"{durations} /charges", "200", "c"): 1.0,
    }
    gone = {(f"{REQUESTS} /checkout", "200", "gone"): 100.0}
    check = asyncio.run(check_metrics(cast("Backends", backends), run_ledger, before | gone, set()))
    assert check.passed, check.problems
    backends.counted[REQUESTS]["/checkout", "200", "a"] = 9.0
    check = asyncio.run(check_metrics(cast("Backends", backends), run_ledger, before, set()))
    assert check.problems == [f"{REQUESTS} /checkout 200: rose by 2, the ledger has 1"]


def test_an_exemplar_without_its_trace_is_named() -> None:
    """A route and status without exemplar, and an exemplar without trace, are named."""
    view = slow()
    run_ledger = ledger(("payment_slow", 504), trace_id=view.trace_id)
    backends = PreparedBackends(view.spans)
    backends.prepared_exemplars = view.exemplars
    assert asyncio.run(check_exemplars(cast("Backends", backends), run_ledger)).passed
    backends.spans = []
    backends.prepared_exemplars = [exemplar("checkout", "/checkout", 504, "2.5", 2.0)]
    check = asyncio.run(check_exemplars(cast("Backends", backends), run_ledger))
    assert check.problems == [
        "no exemplar for /charges 200",
        f"{view.trace_id}: an exemplar, but no trace in the trace store",
    ]


def test_an_exemplar_may_arrive_before_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check waits for the trace of an exemplar, because they are exported separately."""
    monkeypatch.setattr(check_module, "TIMEOUT_S", 10.0)
    monkeypatch.setattr(check_module, "POLL_INTERVAL_S", 0.0)
    view = slow()
    backends = PreparedBackends()
    backends.prepared_exemplars = view.exemplars

    async def late_trace(trace_id: str) -> list[Span]:
        """Return nothing for the first query of each trace id."""
        queried.append(trace_id)
        return view.spans if queried.count(trace_id) > 1 else []

    queried: list[str] = []
    monkeypatch.setattr(backends, "trace", late_trace)
    check = asyncio.run(
        check_exemplars(
            cast("Backends", backends), ledger(("payment_slow", 504), trace_id=view.trace_id)
        )
    )
    assert check.passed, check.problems
    assert len(queried) == 2 * len(set(queried))
