"""Says what a service answered, from its span and its canonical log record."""

from three_pillar_demo.query.interface import Span
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.calls import GRPC_STATUSES, callee_name, status_of
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.view import TraceView, is_canonical

MIN_ERROR_STATUS = 400
"""The lowest HTTP status that counts as an error: 400 to 499 are also errors to the customer."""


def answer_clause(span: Span, view: TraceView) -> str:
    """Return a clause like ``checkout answered 500 gateway_timeout``.

    A span without the status of an answer, such as that of a job or a consumed message, gives a
    clause like ``billing failed in send invoices``. The status of a CLIENT span is that of the
    called service: ``cron's call to http://stock/ was answered 200``.
    """
    status, outcome = recorded_answer(span, view)
    answer = printable(f"{status} {outcome}".strip())
    if answer and span.kind == "CLIENT":
        return f"{service_text(span.service)}'s call to {callee_name(span)} was answered {answer}"
    if answer:
        return f"{service_text(span.service)} answered {answer}"
    verb = "failed in" if span.error else "completed"
    return f"{service_text(span.service)} {verb} {span_text(span.name)}"


def is_unwanted(span: Span, view: TraceView) -> bool:
    """Return True if ``span`` has error status, an HTTP status from 400, or a gRPC error."""
    status, _ = recorded_answer(span, view)
    if span.error or status in GRPC_STATUSES[1:]:
        return True
    return status.isdecimal() and int(status) >= MIN_ERROR_STATUS


def recorded_answer(span: Span, view: TraceView) -> tuple[str, str]:
    """Return the status and the outcome of ``span``, each "" when it is unknown.

    The outcome comes from the canonical log record of the span. The status comes from the span, or
    from the canonical log record when the span has no status.
    """
    fields: dict[str, str] = {}
    for record in view.logs_by_span.get(span.span_id, []):
        if is_canonical(record):
            fields = record.fields
            break
    status = status_of(span) or fields.get("http_response_status_code", "")
    return status, fields.get("outcome", "")
