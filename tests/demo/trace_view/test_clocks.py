"""Tests for sentences about services whose clocks disagree."""

from typing import Any

import pytest

from tests.demo.trace_view.rendering import render
from tests.traces import CALL, CHARGE, ROOT, TRACE, slow, span
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.clocks import MAX_SENTENCES, clock_skews
from three_pillar_demo.trace_view.view import TraceView


def call_and_request(
    at: float,
    took: float,
    kinds: tuple[str, str] = ("CLIENT", "SERVER"),
    **call: Any,  # noqa: ANN401  (fields of a span)
) -> list[Span]:
    """Return a call of checkout from 0 to 100 ms, and the request of payment that it caused."""
    return [
        span(ROOT, "", took=120),
        span(CALL, ROOT, kinds[0], took=100, **call),
        span(CHARGE, CALL, kinds[1], at=at, took=took, service="payment", name="POST /charges"),
    ]


def skews(spans: list[Span]) -> list[str]:
    """Return the sentences about a trace that has only ``spans``."""
    return clock_skews(TraceView(TRACE, spans, [], []))


BEHIND = (
    "the clock of payment is {} or more behind checkout's: POST /charges begins that long before "
    "the call that caused it"
)
AHEAD = (
    "the clock of payment is {} or more ahead of checkout's: POST /charges begins that long after "
    "the call that caused it was answered"
)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (call_and_request(-3000, 90), [BEHIND.format("3.0 s")]),
        (call_and_request(-3_599_600, 90), [BEHIND.format("60 min")]),
        (call_and_request(-20 * 3_600_000, 90), [BEHIND.format("20.0 h")]),
        (call_and_request(-40, 90), [BEHIND.format("40 ms")]),
        (call_and_request(-40, 200), [BEHIND.format("40 ms")]),
        (call_and_request(140, 90), [AHEAD.format("40 ms")]),
        (call_and_request(3100, 90), [AHEAD.format("3.0 s")]),
        (call_and_request(3100, 9000), [AHEAD.format("3.0 s")]),
        (call_and_request(-40, 9, ("PRODUCER", "CONSUMER")), [BEHIND.format("40 ms")]),
        # As precise as clocks are.
        (call_and_request(-2, 90), []),
        (call_and_request(102, 90), []),
        # The caller has read the response before the server ends its span.
        (call_and_request(40, 90), []),
        # The work goes on after the answer.
        (call_and_request(5, 3000), []),
        (call_and_request(500, 90, ("PRODUCER", "CONSUMER")), []),
        (call_and_request(500, 90, ("INTERNAL", "INTERNAL")), []),
        # The caller gave up.
        (call_and_request(60, 90, error=True, message="timed out"), []),
        # A span without an end.
        (call_and_request(40, -1000), []),
    ],
)
def test_a_request_outside_of_its_call_shows_the_skew(
    spans: list[Span], expected: list[str]
) -> None:
    """A request that begins before its call, or after it was answered, shows the skew."""
    assert skews(spans) == expected


def test_the_largest_skew_of_two_services_is_told_once() -> None:
    """Several calls of the same service give one sentence, with the largest difference."""
    spans = call_and_request(-40, 90)
    spans += [span("b", ROOT, "CLIENT"), span("c", "b", at=-70, service="payment", name="GET /b")]
    sentences = skews(spans)
    assert len(sentences) == 1
    assert "70 ms or more behind" in sentences[0]


def test_instances_of_one_service_may_differ() -> None:
    """A service that calls another instance of itself is not compared with its own clock."""
    spans = [span(CALL, "", "CLIENT"), span(CHARGE, CALL, at=-40)]
    assert "the clock of checkout is 40 ms or more behind another instance's" in skews(spans)[0]


def test_many_skews_are_limited() -> None:
    """Of a hundred services with wrong clocks, those that differ most are named."""
    spans = [span(ROOT, "")]
    for number in range(100):
        spans.append(span(f"c{number}", ROOT, "CLIENT"))
        spans.append(span(f"r{number}", f"c{number}", at=-1000 * number, service=f"s{number}"))
    sentences = skews(spans)
    assert len(sentences) == MAX_SENTENCES
    assert "the clock of s99 is 99.0 s" in sentences[0]


def test_the_terminal_shows_the_skew() -> None:
    """The command prints the sentence as a note; a trace without skew has no note."""
    text = render(TraceView(TRACE, call_and_request(-40, 90), [], []), 200)
    assert f"Note: {BEHIND.format('40 ms')}" in text
    assert "Note:" not in render(slow(), 200)
