"""One trace as text: where everything stands, why it ended so, and that telemetry's text is only ever text."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, canonical, line, slow, span
from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.view import TraceView, rows, why

PICTURE = """\
Trace 0af7651916cd43dd8448eb211c80319c
2026-01-01 00:00:00 UTC, 3003.0 ms, 4 spans, 3 log lines

at (ms)  span or log line                              took (ms)
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

Exemplars that point here, in http_server_request_duration_seconds_bucket:
  checkout POST /checkout 504: 2.0042 s, in the bucket le=2.5
  payment POST /charges 200: 3.0011 s, in the bucket le=5

Why: checkout answered 504 payment_slow because its call to payment failed:
ReadTimeout: no answer within 2 s; payment answered 200 authorised 1.0 s after
checkout had given up.
"""


def draw(story: TraceView, width: int = 80, *, terminal: bool = False) -> str:
    """What a console of that width shows."""
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="truecolor" if terminal else None,
    )
    with console.capture() as shown:
        console.print(Drawing(story))
    return shown.get()


def test_a_slow_payment_reads_at_80_columns() -> None:
    """Spans stand under their parents, lines under their spans in the order of time, and the last sentence says why."""
    assert draw(slow()) == PICTURE


@pytest.mark.parametrize("width", [40, 60, 71, 72, 100])
def test_no_line_is_wider_than_the_console(width: int) -> None:
    """Everything wraps below its own branch; bars are drawn only where there is room for them."""
    text = draw(slow(), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert ("━" in text) == (width >= 72)


def test_a_bar_lies_where_its_span_lies() -> None:
    """A bar starts and ends in proportion to the trace, and the shortest span still gets half a character."""
    spans = [
        span(ROOT, "", took=140),
        span(CALL, ROOT, at=70, took=35),
        span(CHARGE, ROOT, at=139.9, took=0.1),
    ]
    bars = [text[66:] for text in draw(TraceView(TRACE, spans, [], [])).splitlines()[4:7]]
    assert bars == ["━" * 14, " " * 7 + "━━━╸", " " * 13 + "╺"]


def test_versions_and_networks_are_shown() -> None:
    """Each service's version stands in the head, once, and a card's network with its span: some failures are theirs."""
    about = {"service.version": "0.2.0", "card.network": "visa"}
    spans = [
        span(ROOT, "", attributes={"service.version": "0.1.0"}),
        span(CHARGE, ROOT, service="payment", attributes=about),
    ]
    text = draw(TraceView(TRACE, spans, [], []))
    assert text.splitlines()[2] == "checkout 0.1.0, payment 0.2.0"
    assert "card.network=visa" in text


def test_a_span_beside_its_caller_is_told() -> None:
    """A span that begins after the call that made it had ended says so; one that outlives its parent does not."""
    spans = [
        span(ROOT, ""),
        span(CALL, ROOT, "CLIENT", took=90),
        span(CHARGE, CALL, at=3000),
        span(ORDER, ROOT, at=150),
    ]
    text = draw(TraceView(TRACE, spans, [], []))
    assert text.count("begins") == 1
    assert "begins 2.9 s after its caller had ended" in text


def test_colour_is_for_terminals_only() -> None:
    """In a pipe there is no escape sequence; on a terminal there is."""
    assert "\x1b" not in draw(slow())
    assert "\x1b[" in draw(slow(), terminal=True)


EVIL = "[red]a[/red] :smile: \x1b[2J\x07\u202e b\nc"
SHOWN = r"[red]a[/red] :smile: \x1b[2J\x07\u202e b c"


@pytest.mark.parametrize("terminal", [False, True])
def test_text_from_telemetry_is_only_text(*, terminal: bool) -> None:
    """Markup, control characters, bidirectional overrides and line breaks in any field are shown, never obeyed."""
    story = slow()
    bad = replace(
        story.spans[0],
        service=EVIL,
        name=EVIL,
        kind=EVIL,
        message=EVIL,
        exceptions=(f"{EVIL}: {EVIL}",),
        attributes={"http.response.status_code": EVIL, "order.id": EVIL},
    )
    lines = [replace(each, body=EVIL, severity=EVIL, service=EVIL) for each in story.lines]
    exemplars = [replace(each, labels=dict.fromkeys(each.labels, EVIL)) for each in story.exemplars]
    text = draw(TraceView(TRACE, [bad], lines, exemplars, (EVIL,)), 400, terminal=terminal)
    assert text.count(SHOWN) >= 16
    assert not {"\x07", "\u202e", "\x1b[2J", "😄"} & set(text) | {
        each for each in ("\x1b[2J", "😄") if each in text
    }


def test_clean_keeps_its_limit() -> None:
    """A long text is cut, and says that it is."""
    assert printable("x" * 8192, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10


def test_ids_that_repeat_or_make_a_ring_end() -> None:
    """A trace with nonsense for ids is drawn, each span at most once."""
    ring = [span(CALL, CHARGE), span(CHARGE, CALL)]
    assert [row.node for row in rows(TraceView(TRACE, [span(ROOT, ""), *ring], [], []))] == [
        span(ROOT, "")
    ]
    twins = [span(ROOT, ""), span(CALL, ROOT), span(ROOT, CALL)]
    assert [row.depth for row in rows(TraceView(TRACE, twins, [], []))] == [0, 1, 2]
    assert draw(TraceView(TRACE, twins, [], []))


def test_what_has_no_parent_here_is_a_root() -> None:
    """A span whose parent is missing and a line of an unknown span are shown, the line with its service."""
    story = TraceView(
        TRACE, [span(CHARGE, "elsewhere", service="payment")], [line("nobody", "lost", at=5)], []
    )
    assert [row.depth for row in rows(story)] == [0, 0]
    assert "INFO  lost (checkout)" in draw(story)


ANSWERED = "http.response.status_code"


@pytest.mark.parametrize(
    ("payment", "said", "expected"),
    [
        (
            {"error": True},
            line(CHARGE, "the gateway did not answer", service="payment", severity="ERROR"),
            'because payment logged "the gateway did not answer".',
        ),
        (
            {"error": True, "exceptions": ("a.b.RuntimeError: boom",)},
            None,
            "because payment raised RuntimeError: boom.",
        ),
        ({"error": True, "message": "out of order"}, None, "because payment said out of order."),
        ({"error": True, "attributes": {ANSWERED: "500"}}, None, "because payment answered 500."),
        (
            {"attributes": {ANSWERED: "200"}},
            canonical(CHARGE, "payment", 200, "declined"),
            "because payment answered 200 declined.",
        ),
    ],
)
def test_why_names_the_deepest_cause(
    payment: dict[str, Any], said: LogRecord | None, expected: str
) -> None:
    """The sentence quotes the deepest failure that anybody recorded: a log line, an exception, a status."""
    spans = [
        span(ROOT, "", error="error" in payment, attributes={ANSWERED: "502"}),
        span(CALL, ROOT, "CLIENT", error="error" in payment, attributes={ANSWERED: "500"}),
        span(CHARGE, CALL, service="payment", **payment),
    ]
    lines = [canonical(ROOT, "checkout", 502, "some_outcome"), *([said] if said else [])]
    assert (
        why(TraceView(TRACE, spans, lines, [])) == f"checkout answered 502 some_outcome {expected}"
    )


def test_why_of_a_call_that_reached_nobody() -> None:
    """Without a span at the other end, the address says who was called."""
    call = span(
        CALL,
        ROOT,
        "CLIENT",
        error=True,
        attributes={"url.full": "http://127.0.0.1:8001/charges"},
        exceptions=("httpx2.ConnectError: refused",),
    )
    story = TraceView(TRACE, [span(ROOT, "", error=True, attributes={ANSWERED: 503}), call], [], [])
    assert (
        why(story)
        == "checkout answered 503 because its call to http://127.0.0.1:8001/charges failed: ConnectError: refused."
    )


def test_why_of_what_went_well() -> None:
    """Success names both answers, a refused request that nobody else was asked, a crash its exception."""
    spans = [
        span(ROOT, "", attributes={ANSWERED: "200"}),
        span(CHARGE, ROOT, service="payment", attributes={ANSWERED: "200"}),
    ]
    assert why(TraceView(TRACE, spans, [], [])) == "checkout answered 200; payment answered 200."
    refused = [span(ROOT, "", attributes={ANSWERED: "422"})]
    assert (
        why(TraceView(TRACE, refused, [], []))
        == "checkout answered 422, without calling anybody else."
    )
    ok = {"http.response.status_code": "200"}
    waited = [
        span(ROOT, "", took=1200, attributes=ok),
        span(ORDER, ROOT, "INTERNAL", took=1190, name="place order"),
    ]
    waited += [span(CALL, ORDER, "CLIENT", at=900, took=200, attributes=ok)]
    waited += [span(CHARGE, CALL, at=910, took=180, attributes=ok, service="payment")]
    assert why(TraceView(TRACE, waited, [], [])) == (
        "checkout answered 200; payment answered 200; 1.0 of 1.2 s were checkout's own, in place order."
    )
    called = {"http.response.status_code": "200", "url.full": "http://payment"}
    alone = [
        span(ROOT, "", attributes={"http.response.status_code": "200"}),
        span(CALL, ROOT, "CLIENT", attributes=called),
    ]
    assert why(TraceView(TRACE, alone, [], [])) == (
        "checkout answered 200; its call to http://payment was answered 200, and who answered it is not on record."
    )
    crashed = [
        span(ROOT, "", error=True, attributes={ANSWERED: "500"}, exceptions=("KeyError: 'card'",))
    ]
    assert (
        why(TraceView(TRACE, crashed, [], []))
        == "checkout answered 500 because it raised KeyError: 'card'."
    )
    told_little = [
        span(ROOT, "", attributes={ANSWERED: "502"}),
        span(CALL, ROOT, "CLIENT", error=True, attributes={ANSWERED: "500"}),
    ]
    assert (
        why(TraceView(TRACE, told_little, [], []))
        == "checkout answered 502 because its call to another service failed with 500."
    )
    retried = [*spans, span(ORDER, ROOT, "INTERNAL", error=True, message="first try failed")]
    assert (
        why(TraceView(TRACE, retried, [], []))
        == "checkout answered 200 although checkout said first try failed."
    )
