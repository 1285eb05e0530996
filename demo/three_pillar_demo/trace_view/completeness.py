"""Finds the spans, log records and exemplars of a trace that have not arrived yet."""

from collections.abc import Iterator, Sequence

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.view import TraceView, is_canonical

CONNECTION_ERRORS = {"ConnectError", "ConnectTimeout"}
"""Values of ``error.type`` for a call that did not reach the called service.

The called service has no span for such a call.
"""


def missing_spans(spans: Sequence[Span]) -> Iterator[str]:
    """Yield a description of each span that must exist but is not among ``spans``.

    The parent of each span must exist. For each call that reached another service, the SERVER span
    of that service must exist.
    """
    span_ids = {span.span_id for span in spans}
    parent_ids = {span.parent_id for span in spans}
    for span in spans:
        if span.parent_id and span.parent_id not in span_ids:
            yield f"the parent of {span.service}'s span {span.name}"
        if _reached_callee(span) and span.span_id not in parent_ids:
            callee = span.attributes.get("url.full", "another service")
            yield f"the span at the other end of {span.service}'s call to {callee}"


def missing_logs(spans: Sequence[Span], logs: Sequence[LogRecord]) -> Iterator[str]:
    """Yield a description of each canonical log record that has not arrived.

    Each SERVER span must have a canonical log record: a service writes one for each request.
    """
    logged_span_ids = {record.fields.get("span_id") for record in logs if is_canonical(record)}
    for span in spans:
        if span.kind == "SERVER" and span.span_id not in logged_span_ids:
            yield f"{span.service}'s log line of {span.name}"


def has_all_exemplars(view: TraceView) -> bool:
    """Return True if each service with a SERVER span has an exemplar that points to the trace."""
    answered = {span.service for span in view.spans if span.kind == "SERVER"}
    with_exemplar = {exemplar.labels.get("service_name", "") for exemplar in view.exemplars}
    return answered <= with_exemplar


def _reached_callee(span: Span) -> bool:
    return span.kind == "CLIENT" and span.attributes.get("error.type") not in CONNECTION_ERRORS
