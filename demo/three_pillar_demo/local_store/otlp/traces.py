"""Decodes the spans of an OTLP export request into rows of the table ``span``."""

from typing import Any

from three_pillar_demo.local_store.otlp.batch import Batch, Row
from three_pillar_demo.local_store.otlp.checks import (
    SPAN_ID_BYTES,
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
            source = source_of(resource_spans.resource, scope_spans.scope, batch)
            for span in scope_spans.spans:
                problem = _problem(span) or batch.limit_problem()
                if problem:
                    batch.reject(f"span: {problem}")
                else:
                    batch.spans.append((source, _row(span, batch)))


def _problem(span: Any) -> str:  # noqa: ANN401  (generated code)
    problem = time_problem("start_time_unix_nano", span.start_time_unix_nano)
    if not problem and span.end_time_unix_nano:
        problem = time_problem("end_time_unix_nano", span.end_time_unix_nano)
    if problem:
        return problem
    if not are_valid_ids(span.trace_id, span.span_id):
        return "invalid span or trace id"
    if not _is_valid_parent(span.parent_span_id):
        return "invalid parent span id"
    return ""


def _is_valid_parent(span_id: bytes) -> bool:
    """Return whether ``span_id`` is that of a parent, or absent or all zeros, as of a root span."""
    return len(span_id) in {0, SPAN_ID_BYTES}


def _row(span: Any, batch: Batch) -> Row:  # noqa: ANN401  (generated code)
    """Return a span as a row of the table ``span``; count in ``batch`` the parts left out of it.

    A span that ends before its start, or has no end, gets a duration of 0. The counts of dropped
    items include what the sender dropped and what the store leaves out.
    """
    duration = span.end_time_unix_nano - span.start_time_unix_nano
    attributes, dropped_attributes = counted_attributes(span, batch)
    events: list[dict[str, Any]] = []
    dropped_events = span.dropped_events_count
    if span.events:
        events = [_event(event, batch) for event in span.events[:MAX_ATTRIBUTES]]
        dropped_events += len(span.events) - len(events)
        batch.warn(f"event: over {MAX_ATTRIBUTES} in one span", len(span.events) - len(events))
    links: list[dict[str, Any]] = []
    dropped_links = span.dropped_links_count
    if span.links:
        links = _links(span.links, batch)
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


def _event(event: Any, batch: Batch) -> dict[str, Any]:  # noqa: ANN401  (generated code)
    attributes, dropped = counted_attributes(event, batch)
    fields = {
        "name": redacted_text(event.name),
        "time": event.time_unix_nano,
        "attributes": attributes,
    }
    return fields | {"dropped_attributes": dropped} if dropped else fields


def _links(links: Any, batch: Batch) -> list[dict[str, Any]]:  # noqa: ANN401  (generated code)
    valid_links = [link for link in links if are_valid_ids(link.trace_id, link.span_id)]
    kept_links = valid_links[:MAX_ATTRIBUTES]
    batch.warn("link: invalid span or trace id", len(links) - len(valid_links))
    batch.warn(f"link: over {MAX_ATTRIBUTES} in one span", len(valid_links) - len(kept_links))
    return [_link(link, batch) for link in kept_links]


def _link(link: Any, batch: Batch) -> dict[str, Any]:  # noqa: ANN401  (generated code)
    attributes, dropped = counted_attributes(link, batch)
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "trace_state": redacted_text(link.trace_state),
        "flags": link.flags,
        "attributes": attributes,
        "dropped_attributes": dropped,
    }
