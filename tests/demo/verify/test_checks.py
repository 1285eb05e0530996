"""The proofs on backends made by hand: pages of log lines, counters by instance, and what is said when something is missing."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from tests.traces import canonical, exemplar, slow
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import DURATION, NANO, Backends, Exemplar, LogRecord, Span
from three_pillar_demo.verify import checks
from three_pillar_demo.verify.ledger import Ledger

NOW = time.time_ns()


class Kept:
    """Backends that hold what the test put there."""

    names: Mapping[str, str] = {
        "traces": "the trace store",
        "logs": "the log store",
        "metrics": "the metric store",
    }

    def __init__(
        self, spans: list[Span] | None = None, lines: list[LogRecord] | None = None
    ) -> None:
        """Hold ``spans`` of one trace, and ``lines``."""
        self.spans, self.held = spans or [], lines or []
        self.counted: dict[str, dict[tuple[str, ...], float]] = {}
        self.dots: list[Exemplar] = []
        self.pages = 0

    async def trace(self, trace_id: str) -> list[Span]:
        """Its spans."""
        return [span for span in self.spans if span.trace_id == trace_id]

    async def logs(
        self, start: float, end: float, *, canonical: bool, limit: int
    ) -> list[LogRecord]:
        """The newest that fit."""
        assert canonical
        self.pages += 1
        fits = [line for line in self.held if start <= line.time / NANO <= end]
        return sorted(fits, key=lambda line: line.time, reverse=True)[:limit]

    async def counters(
        self, name: str, by: Sequence[str], where: Mapping[str, str]
    ) -> dict[tuple[str, ...], float]:
        """What the test put there."""
        assert by[-1] == "instance"
        assert where == ({"endpoint": "/checkout"} if name == checks.REQUESTS else {})
        return self.counted.get(name, {})

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """What the test put there."""
        assert start < end
        return self.dots


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SETTLE_SECONDS", 0.0)


def ledger(*outcomes: tuple[str, int], trace_id: str = "") -> Ledger:
    """What a customer saw, by outcome and status; traces are numbered, or the only one is ``trace_id``."""
    found = Ledger(started=NOW / NANO - 60)
    for number, (outcome, status) in enumerate(outcomes):
        ours = trace_id or f"{number:032x}"
        found.purchases.append(
            Purchase("card", "o", ours, status, outcome, "", NOW / NANO, NOW / NANO)
        )
    return found


def said(purchase: Purchase, after: int = 0) -> list[LogRecord]:
    """The two canonical lines of a successful purchase, ``after`` nanoseconds."""
    about: dict[str, Any] = {"trace_id": purchase.trace_id}
    plain = (
        canonical("", "checkout", 200, "success", **about),
        canonical("", "payment", 200, "authorised", **about),
    )
    return [
        LogRecord(NOW + after, each.service, each.severity, each.body, each.fields)
        for each in plain
    ]


@pytest.mark.parametrize("together", [1, 5])
def test_every_page_of_log_lines_is_read(monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """More lines than one answer can hold are all found once, also when lines of one moment lie across two pages."""
    monkeypatch.setattr(checks, "PAGE", 12)
    bought = ledger(*[("success", 200)] * 40)
    lines = [
        line
        for number, each in enumerate(bought.purchases)
        for line in said(each, -1_000_000 * (number // together))
    ]
    backends = Kept(lines=lines)
    check, others = asyncio.run(checks.logs(cast("Backends", backends), bought))
    assert check.passed, check.missing
    assert check.figures == "80 of 80 canonical lines in the log store"
    assert not others
    assert backends.pages > 5


def test_a_line_that_came_twice_fails() -> None:
    """Each service writes one canonical line, so a second one is an error, and named."""
    bought = ledger(("success", 200))
    lines = said(bought.purchases[0])
    check, _ = asyncio.run(checks.logs(cast("Backends", Kept(lines=[*lines, lines[0]])), bought))
    assert not check.passed
    assert check.missing == [
        f"{0:032x}: checkout said 'POST /checkout 200 success' (INFO); said 'POST /checkout 200 success' (INFO)"
    ]


def test_traces_are_compared_with_the_outcome_table() -> None:
    """A whole trace passes, one without its last span or without any is named with the store that lacks it."""
    story = slow()
    bought = ledger(("payment_slow", 504), trace_id=story.trace_id)
    check = asyncio.run(checks.traces(cast("Backends", Kept(story.spans)), bought))
    assert (check.passed, check.figures) == (True, "1 of 1 whole in the trace store, 4 spans")
    check = asyncio.run(checks.traces(cast("Backends", Kept(story.spans[:3])), bought))
    assert "payment_slow has 3 spans" in check.missing[0]
    check = asyncio.run(checks.traces(cast("Backends", Kept()), bought))
    assert check.missing == [f"{story.trace_id}: not in the trace store"]


def test_counters_must_rise_by_exactly_what_was_bought() -> None:
    """Differences count by status and instance; one too many is named, and an instance that is gone is left out."""
    bought = ledger(("success", 200), ("declined", 402))
    backends = Kept()
    durations = f"{DURATION}_count"
    backends.counted = {
        checks.REQUESTS: {("/checkout", "200", "a"): 8.0, ("/checkout", "402", "b"): 1.0},
        durations: {
            ("/checkout", "200", "a"): 1.0,
            ("/checkout", "402", "b"): 1.0,
            ("/charges", "200", "c"): 3.0,
        },
    }
    before = {
        (f"{checks.REQUESTS} /checkout", "200", "a"): 7.0,
        (f"{durations} /charges", "200", "c"): 1.0,
    }
    gone = {(f"{checks.REQUESTS} /checkout", "200", "gone"): 100.0}
    check = asyncio.run(checks.metrics(cast("Backends", backends), bought, before | gone, set()))
    assert check.passed, check.missing
    backends.counted[checks.REQUESTS]["/checkout", "200", "a"] = 9.0
    check = asyncio.run(checks.metrics(cast("Backends", backends), bought, before, set()))
    assert check.missing == [f"{checks.REQUESTS} /checkout 200: rose by 2, the ledger has 1"]


def test_an_exemplar_without_its_trace_is_named() -> None:
    """Every answer has an exemplar, and each exemplar leads somewhere, or it is said which does not."""
    story = slow()
    bought = ledger(("payment_slow", 504), trace_id=story.trace_id)
    backends = Kept(story.spans)
    backends.dots = story.exemplars
    assert asyncio.run(checks.exemplars(cast("Backends", backends), bought)).passed
    backends.spans = []
    backends.dots = [exemplar("checkout", "/checkout", 504, "2.5", 2.0)]
    check = asyncio.run(checks.exemplars(cast("Backends", backends), bought))
    assert check.missing == [
        "no exemplar for /charges 200",
        f"{story.trace_id}: an exemplar, but no trace in the trace store",
    ]


def test_an_exemplar_may_be_there_before_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exemplars and traces travel apart: that of another customer is waited for, like one's own."""
    monkeypatch.setattr(checks, "SETTLE_SECONDS", 10.0)
    monkeypatch.setattr(checks, "POLL_SECONDS", 0.0)
    story = slow()
    backends = Kept()
    backends.dots = story.exemplars

    async def arrives(trace_id: str) -> list[Span]:
        """Nothing when it is asked first."""
        asked.append(trace_id)
        return story.spans if asked.count(trace_id) > 1 else []

    asked: list[str] = []
    monkeypatch.setattr(backends, "trace", arrives)
    check = asyncio.run(
        checks.exemplars(
            cast("Backends", backends), ledger(("payment_slow", 504), trace_id=story.trace_id)
        )
    )
    assert check.passed, check.missing
    assert len(asked) == 2 * len(set(asked))
