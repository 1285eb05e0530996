"""Tests for the terminal rendering of a trace: layout, colours, and text from telemetry."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from tests.demo.trace_view.rendering import render
from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, slow, span
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.view import TraceView

RENDERED = """\
Trace 0af7651916cd43dd8448eb211c80319c
2026-01-01 00:00:00 UTC, 3003.0 ms, 4 spans, 3 log lines

  start  span or log line (times in ms)                 duration
    0.0  checkout POST /checkout server 504 ✗             2004.0  ━━━━━━━━━╸
    0.5  ├─ checkout place order internal ✗               2003.0  ━━━━━━━━━╸
         │  │  order.id=o-1 order.amount=9 order.currency=EUR
         │  │  order.outcome=payment_slow
         │  │  PaymentError: payment: no answer within 2 s
         │  │  Payment took too long
    1.0  │  ├─ checkout POST client ✗                     2001.0  ━━━━━━━━━╸
         │  │  │  ReadTimeout: no answer within 2 s
    2.0  │  │  └─ payment POST /charges server 200        3001.0  ━━━━━━━━━━━━━━
 3002.9  │  │     └─ INFO  POST /charges 200 authorised
 2003.0  │  └─ ERROR order not placed: payment: no answer within 2 s
 2004.2  └─ ERROR POST /checkout 504 payment_slow

Exemplars of this trace, in http_server_request_duration_seconds_bucket:
  checkout POST /checkout 504: 2.0042 s, in the bucket le=2.5
  payment POST /charges 200: 3.0011 s, in the bucket le=5

Why: checkout answered 504 payment_slow because its call to payment failed:
ReadTimeout: no answer within 2 s; payment answered 200 authorised 1.0 s after
checkout had given up.
"""


def test_slow_payment_at_80_columns() -> None:
    """Spans are below their parents, log records below their spans, and the explanation last."""
    assert render(slow()) == RENDERED


@pytest.mark.parametrize("width", [40, 60, 71, 72, 100])
def test_no_line_is_wider_than_the_console(width: int) -> None:
    """Everything wraps below its own branch, and narrow consoles show no bars."""
    text = render(slow(), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert ("━" in text) == (width >= 72)


def test_bar_is_in_proportion_to_the_trace() -> None:
    """A bar starts and ends where its span does, and the shortest span gets half a character."""
    spans = [
        span(ROOT, "", took=140),
        span(CALL, ROOT, at=70, took=35),
        span(CHARGE, ROOT, at=139.9, took=0.1),
    ]
    lines = render(TraceView(TRACE, spans, [], [])).splitlines()[4:7]
    bars = [line[66:] for line in lines]
    assert bars == ["━" * 14, " " * 7 + "━━━╸", " " * 13 + "╺"]


def test_versions_and_card_networks_are_shown() -> None:
    """The heading has each service's version once, and a span has its card network."""
    attributes = {"service.version": "0.2.0", "card.network": "visa"}
    spans = [
        span(ROOT, "", attributes={"service.version": "0.1.0"}),
        span(CHARGE, ROOT, service="payment", attributes=attributes),
    ]
    text = render(TraceView(TRACE, spans, [], []))
    assert text.splitlines()[2] == "checkout 0.1.0, payment 0.2.0"
    assert "card.network=visa" in text


def test_span_outside_its_caller_is_described() -> None:
    """A span that begins after its calling span had ended says so, unlike a late INTERNAL span."""
    spans = [
        span(ROOT, ""),
        span(CALL, ROOT, "CLIENT", took=90),
        span(CHARGE, CALL, at=3000),
        span(ORDER, ROOT, at=150),
    ]
    text = render(TraceView(TRACE, spans, [], []))
    assert text.count("its caller had ended") == 1
    assert "begins 2.9 s after its caller had ended" in text


def test_colour_is_for_terminals_only() -> None:
    """A pipe gets no escape sequences, and a terminal does."""
    assert "\x1b" not in render(slow())
    assert "\x1b[" in render(slow(), terminal=True)


HOSTILE_TEXT = "[red]a[/red] :smile: \x1b[2J\x07\u202e b\nc"
ESCAPED_TEXT = r"[red]a[/red] :smile: \x1b[2J\x07\u202e b c"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_from_telemetry_is_only_text(*, terminal: bool) -> None:
    """Markup, control characters, bidi overrides and line breaks are shown in escaped form."""
    view = slow()
    hostile_span = replace(
        view.spans[0],
        service=HOSTILE_TEXT,
        name=HOSTILE_TEXT,
        kind=HOSTILE_TEXT,
        message=HOSTILE_TEXT,
        exceptions=(f"{HOSTILE_TEXT}: {HOSTILE_TEXT}",),
        attributes={"http.response.status_code": HOSTILE_TEXT, "order.id": HOSTILE_TEXT},
    )
    logs = [
        replace(record, body=HOSTILE_TEXT, severity=HOSTILE_TEXT, service=HOSTILE_TEXT)
        for record in view.logs
    ]
    exemplars = [
        replace(exemplar, labels=dict.fromkeys(exemplar.labels, HOSTILE_TEXT))
        for exemplar in view.exemplars
    ]
    hostile_view = TraceView(TRACE, [hostile_span], logs, exemplars, (HOSTILE_TEXT,))
    text = render(hostile_view, 400, terminal=terminal)
    assert text.count(ESCAPED_TEXT) >= 16
    for forbidden in ("\x07", "\u202e", "\x1b[2J", "😄"):
        assert forbidden not in text


def test_printable_text_is_cut_at_its_limit() -> None:
    """A long text is cut and ends with an ellipsis."""
    assert printable("x" * 8192, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10
