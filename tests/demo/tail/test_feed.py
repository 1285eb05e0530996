"""Tests for the order in which ``demo tail`` prints, and for backends that stop answering."""

import asyncio
from typing import Any

import pytest

from tests.traces import ROOT, line
from three_pillar_demo.query.interface import Arrival, BackendError, LogRecord
from three_pillar_demo.tail import feed as feeding
from three_pillar_demo.tail.feed import HOLD_S, ReorderBuffer, feed


class ScriptedArrivals:
    """Arrivals that return scripted lists in turn, or raise a scripted error."""

    def __init__(self, *polls: list[Arrival] | BackendError, behind: int = 0) -> None:
        """Return ``polls`` in this order; the first ``behind`` polls leave records out."""
        self.polls = list(polls)
        self.behind = behind
        self.is_behind = False

    async def begin(self, limit: int) -> list[Arrival]:
        """Return that many records."""
        return [line(ROOT, f"history {number}") for number in range(limit)]

    async def poll(self) -> list[Arrival]:
        """Return the next list, or raise the next error."""
        self.is_behind = self.behind > 0
        self.behind -= 1
        if not self.polls:
            return []
        answer = self.polls.pop(0)
        if isinstance(answer, BackendError):
            raise answer
        return answer


def bodies(arrivals: list[Arrival]) -> list[str]:
    """Return the texts of log records."""
    return [arrival.body for arrival in arrivals if isinstance(arrival, LogRecord)]


def test_records_that_arrive_together_are_ordered_by_time() -> None:
    """Within the time for which records are held back, an older one overtakes a newer one."""
    buffer = ReorderBuffer()
    buffer.add([line(ROOT, "second", at=20)], now=0)
    buffer.add([line(ROOT, "first", at=10), line(ROOT, "third", at=30)], now=HOLD_S / 2)
    assert buffer.release(now=HOLD_S / 2) == []
    assert bodies(buffer.release(now=HOLD_S)) == ["first", "second"]
    assert bodies(buffer.release(now=2 * HOLD_S)) == ["third"]
    assert buffer.release(now=3 * HOLD_S) == []


def test_a_late_record_is_released_out_of_order() -> None:
    """A record that arrives after newer ones were released is released too, never dropped."""
    buffer = ReorderBuffer()
    buffer.add([line(ROOT, "new", at=1000)], now=0)
    assert bodies(buffer.release(now=HOLD_S)) == ["new"]
    buffer.add([line(ROOT, "late", at=1)], now=HOLD_S)
    assert bodies(buffer.release(now=2 * HOLD_S)) == ["late"]


def test_a_clock_that_is_ahead_holds_up_nobody() -> None:
    """A record with a time in the future waits no longer than others, and others not for it."""
    buffer = ReorderBuffer()
    buffer.add([line(ROOT, "future", at=10**9), line(ROOT, "now", at=1)], now=0)
    assert bodies(buffer.release(now=HOLD_S)) == ["now", "future"]


def test_what_is_held_back_is_not_lost_at_the_end() -> None:
    """The records that still wait when the command ends are returned once, in order."""
    buffer = ReorderBuffer()
    buffer.add([line(ROOT, "b", at=2), line(ROOT, "a", at=1)], now=0)
    assert bodies(buffer.rest()) == ["a", "b"]
    assert buffer.rest() == []


def collect(arrivals: ScriptedArrivals, count: int, lines: int = 0) -> tuple[list[str], list[str]]:
    """Return the first ``count`` texts that the feed yields, and what it reported."""
    reports: list[str] = []

    async def run() -> list[str]:
        texts: list[str] = []
        batches = feed(arrivals, lines, ReorderBuffer(), reports.append)
        async for batch in batches:
            texts += bodies(batch)
            if len(texts) >= count:
                break
        await batches.aclose()
        return texts

    return asyncio.run(asyncio.wait_for(run(), timeout=60)), reports


@pytest.fixture
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "POLL_INTERVAL_S", 0)
    monkeypatch.setattr(feeding, "HOLD_S", 0)


@pytest.mark.usefixtures("_no_waiting")
def test_history_comes_first() -> None:
    """The feed yields the history, then what arrives."""
    texts, reports = collect(ScriptedArrivals([line(ROOT, "new")]), 3, lines=2)
    assert texts == ["history 0", "history 1", "new"]
    assert reports == []


@pytest.mark.usefixtures("_no_waiting")
def test_an_outage_is_reported_once_and_survived() -> None:
    """A backend that stops answering is named once, and what arrived meanwhile follows."""
    down = BackendError("the store is away")
    arrivals = ScriptedArrivals([line(ROOT, "before")], down, down, [line(ROOT, "after")])
    texts, reports = collect(arrivals, 2)
    assert texts == ["before", "after"]
    assert reports == ["waiting, because the store is away", "answered again"]


@pytest.mark.usefixtures("_no_waiting")
def test_a_feed_that_is_behind_does_not_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a poll leaves records out, the next poll follows at once."""
    pauses: list[float] = []

    async def pause(seconds: float, *_: Any) -> None:  # noqa: ANN401  (what sleep accepts)
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", pause)
    arrivals = ScriptedArrivals([line(ROOT, "a")], [line(ROOT, "b")], [line(ROOT, "c")], behind=2)
    texts, _ = collect(arrivals, 3)
    assert texts == ["a", "b", "c"]
    assert pauses == []
