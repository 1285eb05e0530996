"""Sample traces as backends return them: one slow purchase, and builders for their parts."""

from dataclasses import replace
from typing import Any

from three_pillar_demo.query.interface import Exemplar, LogRecord, Span
from three_pillar_demo.trace_view.view import TraceView

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACE_START = 1_767_225_600 * 10**9
"""The start of each sample trace in nanoseconds since the epoch: 2026-01-01 00:00:00 UTC."""
NANOSECONDS_PER_MS = 10**6
ROOT = "root000000000000"
ORDER = "order00000000000"
CALL = "call000000000000"
CHARGE = "charge0000000000"
"""The id of payment's span; ``ROOT``, ``ORDER``, ``CALL`` and ``CHARGE`` are the span ids of a
purchase, from parent to child."""


def span(
    span_id: str,
    parent_id: str,
    kind: str = "SERVER",
    *,
    at: float = 0,
    took: float = 100,
    **changes: Any,  # noqa: ANN401  (the types of the fields)
) -> Span:
    """Return a span of checkout that begins ``at`` ms after the trace and lasts ``took`` ms.

    ``changes`` replace other fields of the span.
    """
    start = TRACE_START + round(at * NANOSECONDS_PER_MS)
    default = Span(
        trace_id=TRACE,
        span_id=span_id,
        parent_id=parent_id,
        service="checkout",
        name="POST /checkout",
        kind=kind,
        start=start,
        end=start + round(took * NANOSECONDS_PER_MS),
        error=False,
        message="",
        attributes={},
        exceptions=(),
    )
    return replace(default, **changes)


def line(
    span_id: str,
    body: str,
    *,
    at: float = 0,
    service: str = "checkout",
    severity: str = "INFO",
    **fields: str,
) -> LogRecord:
    """Return a log record written ``at`` ms after the start of the trace.

    ``fields`` are added to its attributes.
    """
    return LogRecord(
        TRACE_START + round(at * NANOSECONDS_PER_MS),
        service,
        severity,
        body,
        {"trace_id": TRACE, "span_id": span_id, **fields},
    )


def canonical(
    span_id: str,
    service: str,
    status: int,
    outcome: str,
    **options: Any,  # noqa: ANN401  (those of line)
) -> LogRecord:
    """Return the canonical log record of a request, which sums up the request.

    ``options`` are those of ``line()``.
    """
    route = "/checkout" if service == "checkout" else "/charges"
    fields = {"http_response_status_code": str(status), "outcome": outcome}
    return line(span_id, f"POST {route} {status} {outcome}", service=service, **options | fields)


def exemplar(service: str, route: str, status: int, le: str, value: float) -> Exemplar:
    """Return an exemplar of the standard request histogram.

    ``value`` is the duration in seconds, ``le`` the upper bound of its bucket.
    """
    labels = {
        "__name__": "http_server_request_duration_seconds_bucket",
        "service_name": service,
        "http_route": route,
        "http_request_method": "POST",
        "http_response_status_code": str(status),
        "le": le,
    }
    return Exemplar(TRACE, value, TRACE_START / 10**9, labels)


def slow() -> TraceView:
    """Return a purchase in which checkout gives up after 2 s and payment answers after 3 s."""
    order: dict[str, Any] = {
        "order.id": "o-1",
        "order.amount": 9,
        "order.currency": "EUR",
        "error.type": "payment_slow",
        "order.outcome": "payment_slow",
    }
    spans = [
        span(ROOT, "", took=2004, error=True, attributes={"http.response.status_code": "504"}),
        span(
            ORDER,
            ROOT,
            "INTERNAL",
            at=0.5,
            took=2003,
            name="place order",
            error=True,
            message="Payment took too long",
            attributes=order,
            exceptions=("PaymentError: payment: no answer within 2 s",),
        ),
        span(
            CALL,
            ORDER,
            "CLIENT",
            at=1,
            took=2001,
            name="POST",
            error=True,
            message="ReadTimeout: no answer within 2 s",
            attributes={"error.type": "ReadTimeout", "url.full": "http://127.0.0.1:8001/charges"},
            exceptions=("ReadTimeout: no answer within 2 s",),
        ),
        span(
            CHARGE,
            CALL,
            at=2,
            took=3001,
            service="payment",
            name="POST /charges",
            attributes={"http.response.status_code": "200"},
        ),
    ]
    records = [
        line(ORDER, "order not placed: payment: no answer within 2 s", at=2003, severity="ERROR"),
        canonical(ROOT, "checkout", 504, "payment_slow", at=2004.2, severity="ERROR"),
        canonical(CHARGE, "payment", 200, "authorised", at=3002.9),
    ]
    exemplars = [
        exemplar("payment", "/charges", 200, "5", 3.0011),
        exemplar("checkout", "/checkout", 504, "2.5", 2.0042),
    ]
    return TraceView(TRACE, spans, records, exemplars)
