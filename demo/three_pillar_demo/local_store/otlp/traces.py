"""Decodes the spans of an OTLP export request into rows of the table ``span``."""

from typing import Any

from three_pillar_demo.local_store.otlp.batch import Batch, Row
from three_pillar_demo.local_store.otlp.checks import (
    MAX_INTEGER,
    are_valid_ids,
    is_valid_span_id,
    source_of,
    time_problem,
)
from three_pillar_demo.local_store.values import (
    MAX_ATTRIBUTES,
    counted_attributes,
    redacted_text,
    to_json,
)


def decode(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Decode an ``ExportTraceServiceRequest`` into ``batch``.

    Each valid span is added to ``batch``; each invalid one is counted there as rejected.
    """
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            source = source_of(resource_spans.resource, scope_spans.scope)
            for span in scope_spans.spans:
                problem = _problem(span) or batch.limit_problem()
                if problem:
                    batch.reject(f"span: {problem}")
                else:
                    batch.spans.append((source, _row(span)))


def _problem(span: Any) -> str:  # noqa: ANN401  (generated code)
    problem = time_problem("start_time_unix_nano", span.start_time_unix_nano)
    if not problem and not are_valid_ids(span.trace_id, span.span_id):
        problem = "invalid span or trace id"
    return problem


def _row(span: Any) -> Row:  # noqa: ANN401  (generated code)
    """Return a span as a row of the table ``span``.

    A span that ends before its start gets a duration of 0. The counts of dropped items include
    what the sender dropped and what is over the limits of the store.
    """
    duration = min(span.end_time_unix_nano, MAX_INTEGER) - span.start_time_unix_nano
    attributes, dropped_attributes = counted_attributes(span)
    events: list[dict[str, Any]] = []
    dropped_events = span.dropped_events_count
    if span.events:
        events = [_event(event) for event in span.events[:MAX_ATTRIBUTES]]
        dropped_events += len(span.events) - len(events)
    links: list[dict[str, Any]] = []
    dropped_links = span.dropped_links_count
    if span.links:
        valid_links = [link for link in span.links if are_valid_ids(link.trace_id, link.span_id)]
        links = [_link(link) for link in valid_links[:MAX_ATTRIBUTES]]
        dropped_links += len(span.links) - len(links)
    return (
        span.trace_id,
        span.span_id,
        _parent_id(span.parent_span_id),
        redacted_text(span.name),
        span.kind,
        span.start_time_unix_nano,
        max(0, duration),
        span.status.code,
        redacted_text(span.status.message),
        to_json(attributes),
        to_json(events) if events else "[]",
        to_json(links) if links else "[]",
        redacted_text(span.trace_state),
        span.flags,
        dropped_attributes,
        dropped_events,
        dropped_links,
    )


def _parent_id(span_id: bytes) -> bytes | None:
    return span_id if is_valid_span_id(span_id) else None


def _event(event: Any) -> dict[str, Any]:  # noqa: ANN401  (generated code)
    attributes, dropped = counted_attributes(event)
    fields = {
        "name": redacted_text(event.name),
        "time": event.time_unix_nano,
        "attributes": attributes,
    }
    return fields | {"dropped_attributes": dropped} if dropped else fields


def _link(link: Any) -> dict[str, Any]:  # noqa: ANN401  (generated code)
    attributes, dropped = counted_attributes(link)
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "trace_state": redacted_text(link.trace_state),
        "flags": link.flags,
        "attributes": attributes,
        "dropped_attributes": dropped,
    }
