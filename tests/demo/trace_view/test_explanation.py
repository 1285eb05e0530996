"""Tests for the sentence that explains why a request ended as it did."""

from dataclasses import replace
from typing import Any

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, canonical, line, slow, span
from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.trace_view.explanation import explain, failure_reason, failures
from three_pillar_demo.trace_view.view import TraceView

STATUS = "http.response.status_code"


def explain_spans(*spans: Span) -> str:
    """Return the explanation of a trace that has only ``spans``."""
    return explain(TraceView(TRACE, list(spans), [], []))


@pytest.mark.parametrize(
    ("payment", "record", "expected"),
    [
        (
            {"error": True},
            line(CHARGE, "the gateway did not answer", service="payment", severity="ERROR"),
            'because payment logged "the gateway did not answer".',
        ),
        (
            {"error": True},
            line(
                CHARGE,
                "Exception on /charges [POST]",
                service="payment",
                severity="error",
                exception_type="java.lang.IllegalStateException",
                exception_message="the gateway: gone",
            ),
            "because payment raised IllegalStateException: the gateway: gone.",
        ),
        (
            {"error": True, "exceptions": ("IllegalStateException: gone",)},
            line(
                CHARGE,
                "it failed",
                service="payment",
                severity="error",
                exception_type="IllegalStateException",
            ),
            "because payment raised IllegalStateException: gone.",
        ),
        (
            {"error": True, "exceptions": ("RuntimeError: boom",)},
            None,
            "because payment raised RuntimeError: boom.",
        ),
        ({"error": True, "message": "out of order"}, None, "because payment said out of order."),
        ({"error": True, "attributes": {STATUS: "500"}}, None, "because payment answered 500."),
        (
            {"attributes": {STATUS: "200"}},
            canonical(CHARGE, "payment", 200, "declined"),
            "because payment answered 200 declined.",
        ),
    ],
)
def test_deepest_cause_is_named(
    payment: dict[str, Any], record: LogRecord | None, expected: str
) -> None:
    """The sentence quotes the deepest recorded failure: a log record, an exception or a status."""
    failed = "error" in payment
    spans = [
        span(ROOT, "", error=failed, attributes={STATUS: "502"}),
        span(CALL, ROOT, "CLIENT", error=failed, attributes={STATUS: "500"}),
        span(CHARGE, CALL, service="payment", **payment),
    ]
    logs = [canonical(ROOT, "checkout", 502, "some_outcome")]
    if record:
        logs.append(record)
    sentence = explain(TraceView(TRACE, spans, logs, []))
    assert sentence == f"checkout answered 502 some_outcome {expected}"


def test_call_that_reached_no_service_is_named_by_its_address() -> None:
    """Without a span of the callee, the sentence has the address that was called."""
    root = span(ROOT, "", error=True, attributes={STATUS: 503})
    call = span(
        CALL,
        ROOT,
        "CLIENT",
        error=True,
        attributes={"url.full": "http://127.0.0.1:8001/charges"},
        exceptions=("ConnectError: refused",),
    )
    assert explain_spans(root, call) == (
        "checkout answered 503 because its call to http://127.0.0.1:8001/charges failed: "
        "ConnectError: refused."
    )


def test_success_names_both_answers() -> None:
    """A success has the answers of both services."""
    root = span(ROOT, "", attributes={STATUS: "200"})
    charge = span(CHARGE, ROOT, service="payment", attributes={STATUS: "200"})
    assert explain_spans(root, charge) == "checkout answered 200; payment answered 200."


def test_failure_below_a_success_is_an_although() -> None:
    """A success with a failed part says that it succeeded although something failed."""
    root = span(ROOT, "", attributes={STATUS: "200"})
    charge = span(CHARGE, ROOT, service="payment", attributes={STATUS: "200"})
    retried = span(ORDER, ROOT, "INTERNAL", error=True, message="first try failed")
    assert explain_spans(root, charge, retried) == (
        "checkout answered 200 although checkout said first try failed."
    )


def test_refused_request_called_nobody() -> None:
    """A request that was refused at once says that no other service was called."""
    refused = span(ROOT, "", attributes={STATUS: "422"})
    assert explain_spans(refused) == "checkout answered 422, without calling anybody else."


def test_slow_success_names_the_slowest_part() -> None:
    """A slow success names the span that took most of the time by itself."""
    ok = {STATUS: "200"}
    spans = [
        span(ROOT, "", took=1200, attributes=ok),
        span(ORDER, ROOT, "INTERNAL", took=1190, name="place order"),
        span(CALL, ORDER, "CLIENT", at=900, took=200, attributes=ok),
        span(CHARGE, CALL, at=910, took=180, attributes=ok, service="payment"),
    ]
    assert explain_spans(*spans) == (
        "checkout answered 200; payment answered 200; "
        "1.0 of 1.2 s were checkout's own, in place order."
    )


@pytest.mark.parametrize("skew_ms", [0, -3_600_000, 3_600_000])
def test_own_time_is_told_by_one_clock(skew_ms: float) -> None:
    """The time of a called service is not its caller's own, however wrong its clock is."""
    answered = {STATUS: "200"}
    root = span(ROOT, "", took=2000, attributes=answered)
    call = span(CALL, ROOT, "CLIENT", at=10, took=1980, attributes=answered)
    charge = span(CHARGE, CALL, at=20 + skew_ms, took=1950, service="payment", name="POST /charges")
    charge = replace(charge, attributes=answered)
    assert explain_spans(root, call, charge).endswith(
        "; 1.9 of 2.0 s were payment's own, in POST /charges."
    )


def test_a_late_answer_is_told_by_one_clock() -> None:
    """How long after the end of its call an answer came does not count the difference of clocks."""
    view = slow()
    skewed = [
        replace(one, start=one.start - 3600 * NANO, end=one.end - 3600 * NANO)
        if one.service == "payment"
        else one
        for one in view.spans
    ]
    sentence = explain(replace(view, spans=skewed))
    assert "payment answered 200 authorised 1.0 s after checkout had given up" in sentence


def test_answered_call_without_a_callee_span() -> None:
    """A call whose callee left no span is described by its address and status."""
    root = span(ROOT, "", attributes={STATUS: "200"})
    attributes = {STATUS: "200", "url.full": "http://payment"}
    call = span(CALL, ROOT, "CLIENT", attributes=attributes)
    sentence = "checkout answered 200; its call to http://payment was answered 200."
    assert explain_spans(root, call) == sentence


def test_crash_names_its_exception() -> None:
    """A crash of the first service has the exception that it raised."""
    exceptions = ("KeyError: 'card'",)
    crashed = span(ROOT, "", error=True, attributes={STATUS: "500"}, exceptions=exceptions)
    assert explain_spans(crashed) == "checkout answered 500 because it raised KeyError: 'card'."


def test_failed_call_without_an_exception_has_its_status() -> None:
    """A failed call without an exception or an address is described by its status."""
    root = span(ROOT, "", attributes={STATUS: "502"})
    call = span(CALL, ROOT, "CLIENT", error=True, attributes={STATUS: "500"})
    assert explain_spans(root, call) == (
        "checkout answered 502 because its call to another service failed with 500."
    )


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        ("CONSUMER", True, "orders-worker failed in orders process because it raised OSError."),
        ("INTERNAL", False, "orders-worker completed orders process, without calling anybody"),
        ("PRODUCER", True, "orders-worker failed in orders process because it raised OSError."),
        ("SERVER", True, "orders-worker failed in orders process because it raised OSError."),
        ("SERVER", False, "orders-worker completed orders process, without calling anybody"),
    ],
)
def test_a_root_that_answers_nobody_fails_or_completes(
    kind: str, expected: str, *, error: bool
) -> None:
    """A job or a consumed message has no answer: the sentence says what failed or completed."""
    root = span(
        ROOT,
        "",
        kind,
        service="orders-worker",
        name="orders process",
        error=error,
        exceptions=("OSError",) if error else (),
    )
    assert explain_spans(root).startswith(expected)


@pytest.mark.parametrize("severity", ["error", "Error", "CRITICAL", "SEVERE", "FATAL2"])
def test_errors_of_any_logger_are_reasons(severity: str) -> None:
    """A record's severity counts as an error in the spelling of any logging library."""
    root = span(ROOT, "", service="web", attributes={STATUS: 500})
    record = line(ROOT, "database is away", service="web", severity=severity)
    sentence = explain(TraceView(TRACE, [root], [record], []))
    assert sentence == 'web answered 500 because it logged "database is away".'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "Traceback (most recent call last):\n  File x\na.OutOfStock: item 7",
            "a.OutOfStock: item 7",
        ),
        ("no stock\n\tat shop.Stock.take(Stock.java:7)", "no stock"),
        ('{"message": "no stock", "item": 7}', "no stock item=7"),
    ],
)
def test_a_sentence_quotes_one_line_of_a_body(body: str, said: str) -> None:
    """Of a body with several lines, or a map, the line that says most is the reason."""
    root = span(ROOT, "", service="web", attributes={STATUS: 500})
    record = line(ROOT, body, service="web", severity="ERROR")
    sentence = explain(TraceView(TRACE, [root], [record], []))
    assert sentence == f'web answered 500 because it logged "{said}".'


def test_an_error_without_a_body_is_no_reason() -> None:
    """An error record without a body leaves the word to what the span has recorded."""
    root = span(ROOT, "", service="web", error=True, message="no stock", attributes={STATUS: 500})
    record = line(ROOT, "", service="web", severity="ERROR")
    sentence = explain(TraceView(TRACE, [root], [record], []))
    assert sentence == "web answered 500 because it said no stock."


def test_a_status_message_that_repeats_the_exception_is_shown_once() -> None:
    """Instrumentations copy the exception's text to the status; it is one failure, not two."""
    failed = span(ROOT, "", message="database is away", exceptions=("OSError: database is away",))
    assert failures(failed) == ["OSError: database is away"]
    failed = span(ROOT, "", message="order not placed", exceptions=("OSError: away",))
    assert failures(failed) == ["OSError: away", "order not placed"]


def test_the_reason_of_one_request_is_below_its_span() -> None:
    """Of a request inside of a trace, the reason is in its own subtree, wherever others failed."""
    root = span(ROOT, "", service="web", error=True)
    call = span(CALL, ROOT, "CLIENT", service="web", at=1, error=True)
    other = span(ORDER, ROOT, service="mail", at=2, error=True, exceptions=("Other: x",))
    stock = span(CHARGE, CALL, service="stock", at=3, error=True)
    record = line(CHARGE, "database is away", service="stock", severity="ERROR")
    view = TraceView(TRACE, [root, call, other, stock], [record], [])
    assert failure_reason(view, stock) == 'it logged "database is away"'
    assert failure_reason(view, other) == "it raised Other: x"
    assert failure_reason(view, root) == 'stock logged "database is away"'
    unexplained = TraceView(TRACE, [span(ROOT, "", error=True)], [], [])
    assert failure_reason(unexplained, unexplained.spans[0]) == ""


def test_a_failed_span_without_a_reason_does_not_hide_one() -> None:
    """The span of FastAPI's instrumentation for sending an error response is not the reason."""
    root = span(
        ROOT, "", error=True, attributes={STATUS: "500"}, exceptions=("RuntimeError: boom",)
    )
    send = span(ORDER, ROOT, "INTERNAL", error=True, attributes={STATUS: "500"})
    sentence = explain_spans(root, send)
    assert sentence == "checkout answered 500 because it raised RuntimeError: boom."
    # Where nothing else failed, it is all that is known.
    alone = explain_spans(span(ROOT, "", attributes={STATUS: "500"}), send)
    assert alone == "checkout answered 500 because checkout answered 500."
