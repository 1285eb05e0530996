"""Converts the spans in a response of Tempo's API, which are OTLP in JSON, to ``Span``.

Tempo leaves out every field that is zero or empty, as protobuf's JSON does, and writes a kind or a
status that has no name in OTLP as its number.
"""

import base64
import re
from typing import Any

from three_pillar_demo.query.interface import VERSION, Scope, Span, SpanEvent, SpanLink

QUALIFIED_NAME = re.compile(r"\*?[\w$]+(?:[.\\][\w$]+)+")
"""A class with its module or namespace, as Python, Java, .NET, Go and PHP write it."""


def spans_of(trace_id: str, batch: dict[str, Any]) -> list[Span]:
    """Return the spans in ``batch``, which is one element of ``batches`` in Tempo's response."""
    resource = _attributes(batch.get("resource", {}))
    return [
        _span(trace_id, resource, _scope(scope_spans.get("scope", {})), span)
        for scope_spans in batch.get("scopeSpans", [])
        for span in scope_spans.get("spans", [])
    ]


def _scope(scope: dict[str, Any]) -> Scope:
    return Scope(scope.get("name", ""), scope.get("version", ""), _attributes(scope))


def _span(trace_id: str, resource: dict[str, Any], scope: Scope, span: dict[str, Any]) -> Span:
    status = span.get("status", {})
    status_name = _enumeration(status.get("code", ""), "STATUS_CODE_") or "UNSET"
    events = tuple(_event(event) for event in span.get("events", []))
    attributes = _attributes(span)
    if VERSION in resource:
        attributes = {VERSION: resource[VERSION]} | attributes
    return Span(
        trace_id=trace_id,
        span_id=_hex_id(span.get("spanId", "")),
        parent_id=_hex_id(span.get("parentSpanId", "")),
        service=str(resource.get("service.name", "")),
        name=span.get("name", ""),
        kind=_enumeration(span.get("kind", ""), "SPAN_KIND_") or "UNSPECIFIED",
        start=int(span.get("startTimeUnixNano", 0)),
        end=int(span.get("endTimeUnixNano", 0)),
        error=status_name == "ERROR",
        message=status.get("message", ""),
        attributes=attributes,
        exceptions=tuple(
            exception_text(event.attributes) for event in events if event.name == "exception"
        ),
        status=status_name,
        events=events,
        links=tuple(_link(link) for link in span.get("links", [])),
        trace_state=span.get("traceState", ""),
        flags=span.get("flags", 0),
        dropped_attributes=span.get("droppedAttributesCount", 0),
        dropped_events=span.get("droppedEventsCount", 0),
        dropped_links=span.get("droppedLinksCount", 0),
        resource=resource,
        scope=scope,
    )


def _event(event: dict[str, Any]) -> SpanEvent:
    return SpanEvent(
        time=int(event.get("timeUnixNano", 0)),
        name=event.get("name", ""),
        attributes=_attributes(event),
        dropped_attributes=event.get("droppedAttributesCount", 0),
    )


def _link(link: dict[str, Any]) -> SpanLink:
    return SpanLink(
        trace_id=_hex_id(link.get("traceId", "")),
        span_id=_hex_id(link.get("spanId", "")),
        attributes=_attributes(link),
        trace_state=link.get("traceState", ""),
        flags=link.get("flags", 0),
        dropped_attributes=link.get("droppedAttributesCount", 0),
    )


def exception_text(attributes: dict[str, Any]) -> str:
    """Return ``Type: message`` from an exception event's attributes; a missing part is left out.

    The type has no module: ``httpx2.ReadTimeout`` becomes ``ReadTimeout``.
    """
    exception_type = attributes.get("exception.type")
    parts = (
        None if exception_type is None else class_name(str(exception_type)),
        attributes.get("exception.message"),
    )
    return ": ".join(str(part) for part in parts if part is not None)


def class_name(exception_type: str) -> str:
    """Return the name of a class without its module; a text of another form as it is."""
    if not QUALIFIED_NAME.fullmatch(exception_type):
        return exception_type
    return re.split(r"[.\\]", exception_type)[-1]


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    return {
        attribute.get("key", ""): _value(attribute.get("value", {}))
        for attribute in owner.get("attributes", [])
    }


def _value(encoded: dict[str, Any]) -> Any:  # noqa: ANN401  (any attribute value)
    """Return an attribute's value from OTLP's JSON, such as 7 from ``{"intValue": "7"}``."""
    match encoded:
        case {"intValue": value}:
            return int(value)
        case {"doubleValue": value}:
            return float(value)
        case {"arrayValue": value}:
            return [_value(element) for element in value.get("values", [])]
        case {"kvlistValue": value}:
            return {
                entry.get("key", ""): _value(entry.get("value", {}))
                for entry in value.get("values", [])
            }
    return next(iter(encoded.values()), None)


def _enumeration(value: str | int, prefix: str) -> str:
    """Return the name of an enumeration's value without ``prefix``, or its number as text."""
    return str(value).removeprefix(prefix)


def _hex_id(encoded: str) -> str:
    """Convert a trace or span id from base64, as in Tempo's JSON, to hex digits."""
    return base64.b64decode(encoded).hex()
