"""An answer that lacks what an earlier one had is partial; an error is none."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from three_pillar_demo.chaos.answer_watch import Answers, AnswerWatch
from three_pillar_demo.chaos.audit import StoreAudit
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.verify.check import poll_until
from three_pillar_demo.verify.sampling import Sampling

ROUNDS = 2


@dataclass
class Stores:
    """Stands for a ``StoreAudit``: what the stores answer in each round of questions.

    Attributes:
        spans: The number of spans of the one trace, or None for an error.
        records: The number of canonical log records.
        counts: The value of each counter.
    """

    spans: list[int | None] = field(default_factory=lambda: [4, 4])
    records: list[int | None] = field(default_factory=lambda: [8, 8])
    counts: list[int | None] = field(default_factory=lambda: [20, 20])
    sampling: Sampling = field(default_factory=Sampling)
    round: int = 0

    @property
    def backends(self) -> "Stores":
        """The backends, which are asked for traces."""
        return self

    def _value(self, values: list[int | None]) -> int:
        value = values[min(self.round, ROUNDS - 1)]
        if value is None:
            raise BackendError("a part does not answer")
        return value

    async def trace(self, _trace_id: str) -> list[SimpleNamespace]:
        """Return the spans of the trace."""
        return [SimpleNamespace(span_id=str(number)) for number in range(self._value(self.spans))]

    async def count_canonical_records(self) -> Counter[tuple[str, str]]:
        """Return the canonical log records."""
        return Counter((str(number), "checkout") for number in range(self._value(self.records)))

    async def counted_statuses(self, name: str, _within_s: float) -> Counter[str]:
        """Return a counter; the second one ends the round."""
        value = self._value(self.counts)
        self.round += name == "payment_requests_total"
        return Counter({"200": value})


def watched(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Return the answers of at least ``ROUNDS`` rounds of questions."""
    monkeypatch.setattr("three_pillar_demo.chaos.answer_watch.INTERVAL_S", 0.01)
    purchase = cast("Purchase", SimpleNamespace(trace_id="a" * 32, status=200))
    watch = AnswerWatch(cast("StoreAudit", stores), lambda: [purchase])

    async def all_are_answered() -> bool:
        answers = watch.answers
        return answers.whole + answers.refused + answers.partial >= 4 * ROUNDS

    async def run() -> None:
        task = asyncio.create_task(watch.watch(60))
        assert await poll_until(all_are_answered)
        task.cancel()

    asyncio.run(run())
    return watch.answers


def test_answers_that_grow_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """More spans, records and counts than before are no sign of a loss."""
    answers = watched(Stores([3, 4], [8, 9], [20, 21]), monkeypatch)
    assert (answers.refused, answers.partial) == (0, 0)
    assert answers.descriptions == []


@pytest.mark.parametrize(
    ("stores", "description"),
    [
        (Stores(spans=[4, 3]), f"trace {'a' * 32}: 3 spans after 4"),
        (Stores(spans=[4, 0]), f"trace {'a' * 32}: 0 spans after 4"),
        (Stores(records=[8, 6]), "log records: 2 of 8 lacking"),
        (Stores(counts=[20, 19]), "checkout_requests_total: 19 after 20"),
        (Stores(counts=[20, 0]), "payment_requests_total: 0 after 20"),
    ],
)
def test_an_answer_with_less_than_before_is_partial(
    monkeypatch: pytest.MonkeyPatch, stores: Stores, description: str
) -> None:
    """An answer that lacks a span, a log record or a count is described."""
    answers = watched(stores, monkeypatch)
    assert description in answers.descriptions
    assert 0 < len(answers.descriptions) <= answers.partial


@pytest.mark.parametrize(
    "stores", [Stores(spans=[4, None]), Stores(records=[8, None]), Stores(counts=[20, None])]
)
def test_an_error_is_no_partial_answer(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> None:
    """A store that answers with an error says that it does not know, and the watch goes on."""
    answers = watched(stores, monkeypatch)
    assert answers.refused > 0
    assert answers.partial == 0


def test_a_trace_that_may_be_dropped_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under tail sampling only traces that are certain to be kept are asked for."""
    nothing_kept = Sampling(cast("object", SimpleNamespace(is_kept=lambda *_: False)))  # type: ignore[arg-type]
    answers = watched(Stores(spans=[4, 0], sampling=nothing_kept), monkeypatch)
    assert answers.partial == 0
