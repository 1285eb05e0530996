"""Tests for the adjustment of times of services whose clocks disagree."""

import time
from dataclasses import replace
from typing import Any

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, TRACE_START, line, slow, span
from three_pillar_demo.query.interface import LogRecord, Span, SpanEvent
from three_pillar_demo.trace_view.clock_adjustment import Adjusted, adjusted
from three_pillar_demo.trace_view.clocks import clock_skews
from three_pillar_demo.trace_view.view import TraceView

MS = 1_000_000


def call_and_request(
    at: float,
    took: float,
    kinds: tuple[str, str] = ("CLIENT", "SERVER"),
    **request: Any,  # noqa: ANN401  (fields of a span)
) -> list[Span]:
    """Return a call of checkout from 10 to 110 ms, and the request of payment that it caused."""
    return [
        span(ROOT, "", took=130),
        span(CALL, ROOT, kinds[0], at=10, took=100),
        span(CHARGE, CALL, kinds[1], at=at, took=took, service="payment", **request),
    ]


def adjusted_of(*records: Span | LogRecord) -> Adjusted:
    """Return a trace of ``records`` with adjusted times."""
    spans = [record for record in records if isinstance(record, Span)]
    logs = [record for record in records if isinstance(record, LogRecord)]
    return adjusted(TraceView(TRACE, spans, logs, []))


def starts(view: TraceView) -> dict[str, float]:
    """Return the start of each span in milliseconds after the start of the trace, by its id."""
    return {span.span_id: (span.start - TRACE_START) / MS for span in view.spans}


@pytest.mark.parametrize(
    ("at", "took", "kinds", "expected"),
    [
        # In the middle of the call, as far as the call is longer.
        (-3000, 80, ("CLIENT", "SERVER"), 20),
        (5000, 80, ("CLIENT", "SERVER"), 20),
        # The work may go on after the call, so only its begin is known.
        (-3000, 500, ("CLIENT", "SERVER"), 10),
        (-3000, 500, ("PRODUCER", "CONSUMER"), 10),
        # Possible as it is.
        (20, 80, ("CLIENT", "SERVER"), 20),
        (60, 80, ("CLIENT", "SERVER"), 60),
        (10, 500, ("CLIENT", "SERVER"), 10),
        (500, 80, ("PRODUCER", "CONSUMER"), 500),
        # As precise as clocks are.
        (8, 80, ("CLIENT", "SERVER"), 8),
        # No call and its request.
        (-3000, 80, ("INTERNAL", "INTERNAL"), -3000),
    ],
)
def test_a_request_is_moved_into_its_call(
    at: float, took: float, kinds: tuple[str, str], expected: float
) -> None:
    """A request that cannot have been when its clock says is moved to where it can have been."""
    result = adjusted_of(*call_and_request(at, took, kinds))
    assert starts(result.view)[CHARGE] == expected
    assert starts(result.view)[ROOT] == 0
    shift = expected - at
    assert result.by_service == ({"payment": shift * MS} if shift else {})
    assert clock_skews(result.view) == []


def test_everything_of_the_clock_is_moved() -> None:
    """Spans below, their events, and log records of the service move by the same time."""
    event = SpanEvent(TRACE_START - 2_950 * MS, "retry", {})
    spans = call_and_request(-3000, 80, events=(event,))
    below = span(ORDER, CHARGE, "INTERNAL", at=-2990, took=10, service="payment")
    records = [
        line(CHARGE, "charged", at=-2980, service="payment"),
        line(ROOT, "ordered", at=120),
        line("nobody", "elsewhere", at=-1, service="mail"),
    ]
    result = adjusted_of(*spans, below, *records)
    assert starts(result.view)[ORDER] == 30
    charge = next(item for item in result.view.spans if item.span_id == CHARGE)
    assert charge.end - charge.start == 80 * MS
    assert charge.events[0].time == TRACE_START + 70 * MS
    times = {record.body: (record.time - TRACE_START) / MS for record in result.view.logs}
    assert times == {"charged": 40, "ordered": 120, "elsewhere": -1}
    moved = [item for item in (*result.view.spans, *result.view.logs) if id(item) in result.shifts]
    assert len(moved) == 3
    assert set(result.shifts.values()) == {3020 * MS}


def test_log_records_without_a_resource_move_with_their_span() -> None:
    """Records from Loki do not name the instance, so that of their span decides."""
    spans = call_and_request(-3000, 80, resource={"service.instance.id": "a"})
    result = adjusted_of(*spans, line(CHARGE, "charged", at=-2980, service="payment"))
    (record,) = result.view.logs
    assert record.time == TRACE_START + 40 * MS


def test_many_calls_narrow_the_difference() -> None:
    """All calls between two services limit the difference together, whichever came first."""
    spans = [span(ROOT, "", took=1000)]
    for number, (before, after) in enumerate([(1, 60), (60, 1), (30, 30)]):
        call_id = f"call{number}"
        at = number * 200
        spans.append(span(call_id, ROOT, "CLIENT", at=at, took=100))
        spans.append(
            span(
                f"request{number}",
                call_id,
                at=at + before - 3000,
                took=100 - before - after,
                service="payment",
            )
        )
    result = adjusted_of(*spans)
    assert starts(result.view)["request0"] == 1
    assert starts(result.view)["request1"] == 260


def test_a_clock_that_was_set_meanwhile_obeys_the_callers() -> None:
    """If no difference suits all calls, no request begins before the call that caused it."""
    spans = [span(ROOT, "", took=1000)]
    for number, skew in enumerate((-3000, -5000)):
        spans.append(span(f"c{number}", ROOT, "CLIENT", at=number * 200, took=100))
        spans.append(
            span(f"r{number}", f"c{number}", at=number * 200 + skew, took=90, service="payment")
        )
    result = adjusted_of(*spans)
    moved = starts(result.view)
    assert moved["r0"] >= 0
    assert moved["r1"] == 200


def test_a_chain_of_services_is_moved_along() -> None:
    """A service behind one with a wrong clock is moved too, if its clock agrees with that one."""
    spans = call_and_request(-3000, 80)
    behind = [
        span("call2", CHARGE, "CLIENT", at=-2990, took=50, service="payment"),
        span("bank", "call2", at=-2980, took=30, service="bank"),
    ]
    result = adjusted_of(*spans, *behind)
    assert starts(result.view)["bank"] == 40
    assert result.by_service == {"bank": 3020 * MS, "payment": 3020 * MS}


@pytest.mark.parametrize("name", ["service.instance.id", "host.name"])
def test_instances_have_clocks_of_their_own(name: str) -> None:
    """Of two instances of one service only the one with the wrong clock is moved."""
    spans = [
        *call_and_request(-3000, 80, resource={name: "a"}),
        span("call2", ROOT, "CLIENT", at=20, took=50),
        span("right", "call2", at=30, took=30, service="payment", resource={name: "b"}),
    ]
    moved = starts(adjusted_of(*spans).view)
    assert (moved[CHARGE], moved["right"]) == (20, 30)


def test_a_caller_is_moved_if_the_called_clock_is_known() -> None:
    """The first root is right, so a second caller of the same service is what has to move."""
    spans = [
        *call_and_request(20, 80),
        span("call2", "", "CLIENT", at=9010, took=100, service="mail"),
        span("request2", "call2", at=200, took=80, service="payment"),
    ]
    result = adjusted_of(*spans)
    assert starts(result.view) == {ROOT: 0, CALL: 10, CHARGE: 20, "call2": 190, "request2": 200}
    assert result.by_service == {"mail": -8820 * MS}


def test_a_trace_whose_clocks_agree_is_left_as_it_is() -> None:
    """Nothing is moved, nor copied, where nothing is impossible."""
    view = slow()
    assert adjusted(view).view is view
    empty = TraceView(TRACE, [], [line(ROOT, "alone")], [])
    assert adjusted(empty).view is empty


def test_broken_trees_are_adjusted() -> None:
    """Cycles, repeated ids and spans that end before they begin neither stop nor move anything."""
    cycle = [span("a", "b", "CLIENT"), span("b", "a", "SERVER", service="payment")]
    backwards = [
        span(CALL, "", "CLIENT", took=-50),
        span(CHARGE, CALL, at=-3000, service="payment"),
        span(CHARGE, CALL, at=-3000, service="payment"),
        span("self", "self", "CLIENT"),
    ]
    assert len(adjusted_of(*cycle, *backwards).view.spans) == 6


def test_a_large_trace_is_adjusted_in_linear_time() -> None:
    """Ten thousand calls take about a second of CPU at most, not minutes."""
    spans = [span(ROOT, "", took=10**6)]
    for number in range(5000):
        spans.append(span(f"c{number}", ROOT, "CLIENT", at=number, took=100))
        request = span(f"r{number}", f"c{number}", at=number - 3000, took=90, service="payment")
        spans.append(replace(request, resource={"service.instance.id": str(number % 7)}))
    started = time.process_time()
    result = adjusted_of(*spans)
    assert time.process_time() - started < 10
    assert len(result.shifts) == 5000
