"""Tests for ``demo tour``: when it succeeds."""

import asyncio
import io
import time

import pytest
from rich.console import Console

from tests.traces import TRACE, slow
from three_pillar_demo import tour
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query import connect
from three_pillar_demo.stack import background
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.ledger import Ledger


def purchase(outcome: str) -> Purchase:
    """Return an answered purchase with this outcome."""
    return Purchase("slow", "order-1", TRACE, 504, outcome, "", time.time(), time.time())


def run_tour(monkeypatch: pytest.MonkeyPatch, outcome: str, *, verdict: bool | None) -> bool:
    """Run the tour with one check that has ``verdict`` and one purchase; return if it succeeds."""

    async def verify_with(*_: object) -> tuple[list[Check], Ledger]:
        return [Check("traces", verdict, "1 of 1")], Ledger([purchase(outcome)])

    async def gather(*_: object) -> TraceView:
        return slow()

    monkeypatch.setattr(tour, "_checkout_answers", lambda: True)
    monkeypatch.setattr(connect, "running_mode", lambda: "compose")
    monkeypatch.setattr(tour, "verify_with", verify_with)
    monkeypatch.setattr(tour, "gather", gather)
    console = Console(file=io.StringIO())
    return asyncio.run(tour.tour(console, console))


@pytest.mark.parametrize(
    ("verdict", "outcome", "succeeds"),
    [
        pytest.param(True, "payment_slow", True, id="passed"),
        pytest.param(None, "payment_slow", True, id="not judged"),
        pytest.param(False, "payment_slow", False, id="failed"),
        pytest.param(True, "success", False, id="no failed purchase to show"),
    ],
)
def test_the_tour_succeeds_only_when_every_check_passed(
    monkeypatch: pytest.MonkeyPatch, outcome: str, *, verdict: bool | None, succeeds: bool
) -> None:
    """The tour succeeds only when no check failed and a failed purchase was shown."""
    assert run_tour(monkeypatch, outcome, verdict=verdict) is succeeds


def test_the_tour_starts_a_stack_beside_another_clones(monkeypatch: pytest.MonkeyPatch) -> None:
    """If another clone's checkout answers, the tour starts a stack of its own."""
    started: list[str] = []

    def start(_console: Console, mode: str) -> None:
        started.append(mode)

    monkeypatch.setattr(background, "start", start)
    assert run_tour(monkeypatch, "payment_slow", verdict=True)
    assert started == []
    monkeypatch.setattr(connect, "running_mode", lambda: "local")
    console = Console(file=io.StringIO())
    assert asyncio.run(tour.tour(console, console))
    assert started == ["local"]
