"""Tests for what the sentence of a trace says about calls that were repeated."""

from dataclasses import replace

import pytest

from tests.traces import ORDER, ROOT, TRACE, span
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.repeated_calls import repeated_calls_clause
from three_pillar_demo.trace_view.view import TraceView

ADDRESS = {"server.address": "127.0.0.1", "server.port": 8001}


def attempts(count: int, *, arrived: int, failed: bool = True) -> list[Span]:
    """Return a purchase of ``count`` calls to one address, of which ``arrived`` reach payment."""
    spans = [
        span(ROOT, "", error=failed),
        span(ORDER, ROOT, "INTERNAL", name="place_order", error=failed),
    ]
    for number in range(count):
        call_id = f"ca{number:014x}"
        spans.append(span(call_id, ORDER, "CLIENT", error=failed, attributes=ADDRESS))
        if number < arrived:
            charge = span(f"c{number:015x}", call_id, service="payment", error=failed)
            spans.append(replace(charge, message="gone" if failed else ""))
    return spans


def sentence(spans: list[Span]) -> str:
    """Return the sentence about a trace of ``spans``."""
    return explain(TraceView(TRACE, spans, [], []))


def test_a_failure_after_retries_says_how_many_calls_there_were() -> None:
    """The sentence of a failed request has the number of calls that one span repeated."""
    expected = "because payment said gone; checkout made 5 calls to payment in place_order."
    assert sentence(attempts(5, arrived=5)).endswith(expected)


def test_a_success_says_how_many_calls_there_were() -> None:
    """The sentence of a successful request has the number of calls, too."""
    expected = "; checkout made 5 calls to payment in place_order."
    assert sentence(attempts(5, arrived=5, failed=False)).endswith(expected)


def test_a_single_call_is_not_counted() -> None:
    """The sentence of a request without repeated calls has no number of calls."""
    assert sentence(attempts(1, arrived=1)).endswith("because payment said gone.")


@pytest.mark.parametrize("arrived", [1, 4])
def test_calls_that_did_not_arrive_are_counted(arrived: int) -> None:
    """A call without a span of payment counts by its address, whichever call is looked at."""
    spans = attempts(5, arrived=arrived)
    view = TraceView(TRACE, spans, [], [])
    calls = [call for call in spans if call.kind == "CLIENT"]
    assert "made 5 calls to payment in" in repeated_calls_clause(calls[0], view)
    if arrived == 4:
        assert "made 5 calls to 127.0.0.1:8001 in" in repeated_calls_clause(calls[-1], view)


def test_calls_to_another_service_are_not_counted() -> None:
    """A call through the same proxy that reached another service is no repetition."""
    spans = attempts(2, arrived=1)
    other = span("d" * 16, spans[-1].span_id, service="stock")
    assert repeated_calls_clause(spans[3], TraceView(TRACE, [*spans, other], [], [])) == ""


def test_calls_of_two_callers_are_not_added() -> None:
    """Calls by two spans, one call each, are no repetition."""
    spans = attempts(2, arrived=2)
    spans[-2] = replace(spans[-2], parent_id=ROOT)
    assert repeated_calls_clause(spans[-1], TraceView(TRACE, spans, [], [])) == ""


def test_a_cycle_of_parents_ends() -> None:
    """Spans that are each other's parents, as broken senders make them, have no number of calls."""
    spans = [span(ROOT, ORDER), span(ORDER, ROOT, "INTERNAL")]
    assert repeated_calls_clause(spans[0], TraceView(TRACE, spans, [], [])) == ""
