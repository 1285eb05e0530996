"""The functions that read a number from a trace: calls, waits, missing spans, clock offsets."""

from dataclasses import replace
from typing import Any

import pytest

from three_pillar_demo.drills import runner, traces
from three_pillar_demo.query.interface import NANO, Span

STATUS = "http.response.status_code"
PAYMENT_SERVER = ("payment", "SERVER")


def span(
    start_s: float, duration_s: float, kind: str, parent: str = "", service: str = "checkout"
) -> Span:
    """Return a span whose id is its service and kind, such as ``checkout-CLIENT``."""
    attributes: dict[str, Any] = {STATUS: 200} if kind == "CLIENT" else {}
    if service == "payment":
        attributes["card.network"] = "visa"
    return Span(
        trace_id="1" * 32,
        span_id=f"{service}-{kind}",
        parent_id=parent,
        service=service,
        name=kind,
        kind=kind,
        start=int(start_s * NANO),
        end=int((start_s + duration_s) * NANO),
        error=False,
        message="",
        attributes=attributes,
        exceptions=(),
    )


def purchase(wait: float = 0.0, clock_offset: float = 0.0) -> list[Span]:
    """Return the spans of a purchase.

    The order waits ``wait`` seconds before it calls payment, whose clock is ``clock_offset``
    seconds ahead.
    """
    return [
        span(0, 0.5 + wait, "SERVER"),
        span(0.01, 0.4 + wait, "INTERNAL", "checkout-SERVER"),
        span(0.01 + wait, 0.3, "CLIENT", "checkout-INTERNAL"),
        span(0.02 + wait + clock_offset, 0.2, "SERVER", "checkout-CLIENT", "payment"),
    ]


def test_an_ordinary_purchase() -> None:
    """An ordinary purchase has one call without a wait, and payment's span is inside it."""
    spans = purchase()
    figures = [traces.FIGURES[name](spans) for name in ("calls", "gap", "lead", "alone", "outside")]
    assert figures == pytest.approx([1, 0, 0.01, 0, 0])
    assert runner.trace_problem(spans) == ""


def test_a_wait_before_the_call() -> None:
    """A wait of 0.7 s between the start of an order and its call to payment is measured."""
    assert traces.seconds_before_first_call(purchase(wait=0.7)) == pytest.approx(0.7)


def test_a_clock_that_is_ahead() -> None:
    """A clock of payment that is 3 s ahead is found, and one that is 0.5 s ahead is not."""
    assert traces.has_span_outside_parent(purchase(clock_offset=3)) == 1
    assert traces.has_span_outside_parent(purchase(clock_offset=0.5)) == 0
    assert "outside its parent" in runner.trace_problem(purchase(clock_offset=3))


def test_an_answered_call_without_a_child_span() -> None:
    """A call that was answered without a span of payment is found, but not an unanswered call."""
    without_payment = purchase()[:3]
    assert traces.has_call_without_child(without_payment) == 1
    unanswered = [*purchase()[:2], replace(purchase()[2], attributes={})]
    assert traces.has_call_without_child(unanswered) is None
    assert "its spans are" in runner.trace_problem(without_payment)


def test_a_share_is_of_the_traces_with_the_span() -> None:
    """A trace without a span of payment does not count in a share of payment's spans."""
    sample = [purchase(), purchase()[:3]]
    assert traces.share(sample, PAYMENT_SERVER, "card.network", "visa") == 1
    assert traces.share(sample, PAYMENT_SERVER, "card.network", "amex") == 0
    assert traces.share([purchase()[:3]], PAYMENT_SERVER, "card.network", "visa") is None
    assert traces.typical([], "calls") is None
