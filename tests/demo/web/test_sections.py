"""Tests for events, links and stack traces below a row, and for where a row comes from."""

from typing import Any

import pytest

from tests.traces import CALL, ROOT, TRACE, TRACE_START, line, span
from three_pillar_demo.query.interface import LogRecord, Scope, Span, SpanEvent, SpanLink
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.sections import CUT, MAX_SECTIONS
from three_pillar_demo.web.trace_page import TracePage, trace_page
from three_pillar_demo.web.waterfall_row import Limits, WaterfallRow

OTHER_TRACE = "a" * 32
STACK = 'Traceback (most recent call last):\n  File "a.py", line 1\nOSError: gone'


def exception(stack_trace: str = STACK) -> SpanEvent:
    """Return the event of an exception, 12 ms after the start of the trace."""
    attributes = {
        "exception.type": "OSError",
        "exception.message": "gone",
        "exception.stacktrace": stack_trace,
    }
    return SpanEvent(TRACE_START + 12_000_000, "exception", attributes)


def page_of(*records: Span | LogRecord, limits: Limits | None = None) -> TracePage:
    """Return the page of a trace with ``records``."""
    spans = [record for record in records if isinstance(record, Span)]
    logs = [record for record in records if isinstance(record, LogRecord)]
    return trace_page(TraceView(TRACE, spans, logs, []), [], limits)


def row_of(record: Span | LogRecord, limits: Limits | None = None) -> WaterfallRow:
    """Return the row of a trace with one span or log record."""
    (row,) = page_of(record, limits=limits).rows
    return row


def test_an_exception_has_its_stack_trace_apart() -> None:
    """The stack trace of an exception is not one of its attributes, but a text of its own."""
    (section,) = row_of(span(ROOT, "", events=(exception(),))).sections
    assert section.heading == "Event exception at 12 ms"
    assert section.attributes == [("exception.message", "gone"), ("exception.type", "OSError")]
    assert section.stack_trace == STACK


@pytest.mark.parametrize(
    "record",
    [
        line(ROOT, "failed", exception_stacktrace=STACK),
        LogRecord(TRACE_START, "web", "ERROR", "failed", {}, {"exception.stacktrace": STACK}),
        span(ROOT, "", attributes={"code.stacktrace": STACK}),
    ],
)
def test_a_stack_trace_of_a_record_is_apart(record: Span | LogRecord) -> None:
    """A log record, or a span, with a stack trace among its attributes shows it as a text."""
    row = row_of(record)
    assert [section.stack_trace for section in row.sections] == [STACK]
    assert STACK not in [value for _, value in row.attributes]


def test_long_stack_traces_lose_their_middle() -> None:
    """Both ends of a long stack trace are shown; all of them together have a limit."""
    events = (exception("begin" + "x" * 5000 + "end"),) * 3
    limits = Limits(text=1000, all_texts=1500)
    first, second, third = row_of(span(ROOT, "", events=events), limits).sections
    assert first.stack_trace.startswith("begin")
    assert CUT in first.stack_trace
    assert first.stack_trace.endswith("end")
    assert len(first.stack_trace) + len(second.stack_trace) + len(third.stack_trace) <= 1500


def test_links_lead_to_their_span() -> None:
    """A link has the ids of the linked span, of this trace or of another one."""
    links = (
        SpanLink(OTHER_TRACE, "b" * 16, {"messaging.batch": 3}),
        SpanLink(TRACE, CALL, {}),
    )
    page = page_of(span(ROOT, "", links=links), span(CALL, ROOT, at=1))
    other, own = page.rows[0].sections
    assert (other.heading, other.trace_id) == ("Link to a span of another trace", OTHER_TRACE)
    assert other.attributes == [("messaging.batch", "3")]
    assert (own.heading, own.span_id) == ("Link to a span of this trace", CALL)
    assert page.row_keys[own.span_id] == page.rows[1].key


def test_hundreds_of_events_are_counted() -> None:
    """Of many events and links some are shown, and the number of the others."""
    link = SpanLink(OTHER_TRACE, "b" * 16, {})
    event = SpanEvent(TRACE_START, "retry", {})
    sections = row_of(span(ROOT, "", events=(event,) * 500, links=(link,) * 21)).sections
    headings = [section.heading for section in sections]
    assert headings.count("Event retry at 0.0 ms") == MAX_SECTIONS
    assert "480 more events, not shown" in headings
    assert "1 more link, not shown" in headings


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [("span id", ROOT), ("parent span id", CALL)]),
        (
            {"scope": Scope("go.opentelemetry.io/otelhttp", "0.60")},
            [
                ("span id", ROOT),
                ("parent span id", CALL),
                ("scope", "go.opentelemetry.io/otelhttp 0.60"),
            ],
        ),
        (
            {"dropped_attributes": 3, "dropped_links": 1},
            [
                ("span id", ROOT),
                ("parent span id", CALL),
                ("dropped before they were stored", "3 attributes, 1 links"),
            ],
        ),
    ],
)
def test_a_row_says_where_it_comes_from(
    changes: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """A span has its ids, its scope, and how much of it was dropped."""
    assert row_of(span(ROOT, CALL, **changes)).origin == expected


def test_a_row_leads_to_its_resource() -> None:
    """Two instances of one service have resources of their own, and their rows lead to them."""
    instances = [
        span(ROOT, "", resource={"service.instance.id": "a"}),
        span(CALL, ROOT, at=1, resource={"service.instance.id": "b"}),
    ]
    page = page_of(*instances)
    ids = [page.resource_ids[row.resource_key] for row in page.rows]
    assert ids == ["resource-1", "resource-2"]
    assert [service.attributes for service in page.services] == [
        [("service.instance.id", "a")],
        [("service.instance.id", "b")],
    ]
