"""What is read in a trace: calls, gaps, who is alone, and whose clock is wrong."""

from dataclasses import replace
from typing import Any

import pytest

from three_pillar_demo.drills import runner, traces
from three_pillar_demo.query.interface import NANO, Span

STATUS = "http.response.status_code"


def span(at: float, took: float, kind: str, parent: str = "", service: str = "checkout") -> Span:
    """A span that begins ``at`` seconds; its id is its kind."""
    start, end = int(at * NANO), int((at + took) * NANO)
    about: dict[str, Any] = {STATUS: 200} if kind == "CLIENT" else {}
    if service == "payment":
        about["card.network"] = "visa"
    ids = ("1" * 32, f"{service}-{kind}", parent)
    return Span(
        *ids,
        service,
        kind,
        kind,
        start,
        end,
        error=False,
        message="",
        attributes=about,
        exceptions=(),
    )


def purchase(wait: float = 0.0, late: float = 0.0) -> list[Span]:
    """A purchase whose order waits before it is sent, at a payment whose clock is ``late`` seconds ahead."""
    return [
        span(0, 0.5 + wait, "SERVER"),
        span(0.01, 0.4 + wait, "INTERNAL", "checkout-SERVER"),
        span(0.01 + wait, 0.3, "CLIENT", "checkout-INTERNAL"),
        span(0.02 + wait + late, 0.2, "SERVER", "checkout-CLIENT", "payment"),
    ]


def test_an_ordinary_purchase() -> None:
    """One call, at once, answered by somebody who is there and inside of it."""
    spans = purchase()
    assert [
        traces.READ[each](spans) for each in ("calls", "gap", "lead", "alone", "outside")
    ] == pytest.approx([1, 0, 0.01, 0, 0])
    assert runner.odd(spans) == ""


def test_a_wait_before_the_call() -> None:
    """The gap is the time between the order's start and its call."""
    assert traces.gap(purchase(wait=0.7)) == pytest.approx(0.7)


def test_a_clock_that_is_ahead() -> None:
    """A child three seconds after its parent's end is outside; one that is a little late is not."""
    assert traces.outside(purchase(late=3)) == 1
    assert traces.outside(purchase(late=0.5)) == 0
    assert "outside of its parent" in runner.odd(purchase(late=3))


def test_somebody_who_answered_and_is_not_there() -> None:
    """A call with an answer and no child is alone; one that never arrived is not."""
    assert traces.alone(purchase()[:3]) == 1
    refused = [*purchase()[:2], replace(purchase()[2], attributes={})]
    assert traces.alone(refused) is None
    assert "its spans are" in runner.odd(purchase()[:3])


def test_a_share_is_of_those_that_have_the_span() -> None:
    """A trace without such a span neither counts for nor against."""
    found = [purchase(), purchase()[:3]]
    assert traces.share(found, ("payment", "SERVER"), "card.network", "visa") == 1
    assert traces.share(found, ("payment", "SERVER"), "card.network", "amex") == 0
    assert traces.share([purchase()[:3]], ("payment", "SERVER"), "card.network", "visa") is None
    assert traces.typical([], "calls") is None
