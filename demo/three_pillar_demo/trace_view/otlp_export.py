"""Writes a trace with its log records as OTLP JSON, in the form of the Collector's file exporter.

Each line is one JSON object: the first has all spans, the second all log records. Ids are hex
digits, 64-bit integers are strings and enumerations are numbers, as the OTLP specification says:
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

import base64
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from three_pillar_demo.query.interface import VERSION, LogRecord, Scope, Span, SpanEvent, SpanLink
from three_pillar_demo.query.loki_records import RECORD_FIELDS, loki_attributes
from three_pillar_demo.trace_view.view import TraceView

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
"""The names of the span kinds, each at the position that is its number in OTLP."""
STATUSES = ("UNSET", "OK", "ERROR")
"""The names of the span statuses, each at the position that is its number in OTLP."""
Json = dict[str, Any]
"""A JSON object."""
ResourceFields = tuple[Json, dict[str, str]]
"""The attributes of a resource, and the fields that Loki makes of them."""


def otlp_lines(view: TraceView) -> Iterator[str]:
    """Yield the lines: one with ``resourceSpans``, one with ``resourceLogs``, as far as there are.

    Together they have every span and log record of ``view``. A line has no line break.
    """
    if view.spans:
        spans = [
            (span.resource or _named(span.service), span.scope, _span(span)) for span in view.spans
        ]
        yield _to_json({"resourceSpans": _grouped(spans, "scopeSpans", "spans")})
    if view.logs:
        resources = _distinct_resources(view.spans)
        logs = [_log_with_source(record, resources) for record in view.logs]
        yield _to_json({"resourceLogs": _grouped(logs, "scopeLogs", "logRecords")})


def _grouped(
    records: list[tuple[Json, Scope, Json]], scopes_key: str, records_key: str
) -> list[Json]:
    """Return records below their instrumentation scopes, and these below their resources."""
    groups: dict[str, tuple[Json, dict[str, tuple[Scope, list[Json]]]]] = {}
    for resource, scope, record in records:
        _, scopes = groups.setdefault(_to_json(resource), (resource, {}))
        scope_key = _to_json([scope.name, scope.version, scope.attributes])
        _, scope_records = scopes.setdefault(scope_key, (scope, []))
        scope_records.append(record)
    return [
        {
            "resource": {"attributes": _attributes(resource)},
            scopes_key: [
                {"scope": _scope(scope), records_key: scope_records}
                for scope, scope_records in scopes.values()
            ],
        }
        for resource, scopes in groups.values()
    ]


def _named(service: str) -> Json:
    return {"service.name": service} if service else {}


def _scope(scope: Scope) -> Json:
    return _without_empty(
        {"name": scope.name, "version": scope.version, "attributes": _attributes(scope.attributes)}
    )


def _span(span: Span) -> Json:
    attributes = dict(span.attributes)
    # The queries have added this attribute of the resource.
    if VERSION in span.resource and attributes.get(VERSION) == span.resource[VERSION]:
        del attributes[VERSION]
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **_without_empty(
            {"traceState": span.trace_state, "parentSpanId": span.parent_id, "flags": span.flags}
        ),
        "name": span.name,
        "kind": _number(KINDS, span.kind),
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        **_without_empty(
            {
                "attributes": _attributes(attributes),
                "droppedAttributesCount": span.dropped_attributes,
                "events": [_event(event) for event in span.events],
                "droppedEventsCount": span.dropped_events,
                "links": [_link(link) for link in span.links],
                "droppedLinksCount": span.dropped_links,
            }
        ),
        "status": _without_empty({"message": span.message, "code": _number(STATUSES, span.status)}),
    }


def _event(event: SpanEvent) -> Json:
    return {
        "timeUnixNano": str(event.time),
        "name": event.name,
        **_without_empty(
            {
                "attributes": _attributes(event.attributes),
                "droppedAttributesCount": event.dropped_attributes,
            }
        ),
    }


def _link(link: SpanLink) -> Json:
    return {
        "traceId": link.trace_id,
        "spanId": link.span_id,
        **_without_empty(
            {
                "traceState": link.trace_state,
                "attributes": _attributes(link.attributes),
                "droppedAttributesCount": link.dropped_attributes,
                "flags": link.flags,
            }
        ),
    }


def _distinct_resources(spans: list[Span]) -> dict[str, list[ResourceFields]]:
    """Return the resources of each service, each with the fields that Loki makes of it."""
    found: dict[str, dict[str, Json]] = {}
    for span in spans:
        resource = span.resource or _named(span.service)
        found.setdefault(span.service, {})[_to_json(resource)] = resource
    return {
        service: [(resource, loki_attributes(resource)) for resource in resources.values()]
        for service, resources in found.items()
    }


def _log_with_source(
    record: LogRecord, resources: Mapping[str, list[ResourceFields]]
) -> tuple[Json, Scope, Json]:
    """Return the resource and the scope of a log record, and the record itself.

    A record from Loki has no resource of its own. Of the resources of its service's spans, it gets
    the one that agrees most with its fields. Its attributes are what its fields have in addition,
    under the names that Loki gives them.
    """
    if record.resource:
        return record.resource, record.scope, _log_record(record, record.attributes)
    unknown: ResourceFields = (_named(record.service), {})
    resource, fields = max(
        resources.get(record.service, [unknown]),
        key=lambda candidate: len(candidate[1].items() & record.fields.items()),
    )
    attributes = {
        name: value
        for name, value in record.fields.items()
        if name not in RECORD_FIELDS and fields.get(name) != value
    }
    return resource, record.scope, _log_record(record, attributes)


def _log_record(record: LogRecord, attributes: Json) -> Json:
    return {
        "timeUnixNano": str(record.time),
        **_without_empty(
            {
                "observedTimeUnixNano": str(record.observed_time or ""),
                "severityNumber": record.severity_number,
                "severityText": record.severity,
            }
        ),
        "body": {"stringValue": record.body},
        **_without_empty(
            {
                "attributes": _attributes(attributes),
                "droppedAttributesCount": record.dropped_attributes,
                "flags": record.flags,
                "traceId": record.fields.get("trace_id", ""),
                "spanId": record.fields.get("span_id", ""),
                "eventName": record.event_name,
            }
        ),
    }


def _attributes(attributes: Mapping[str, Any]) -> list[Json]:
    return [{"key": name, "value": _value(value)} for name, value in attributes.items()]


def _value(value: Any) -> Json:  # noqa: ANN401, PLR0911  (any attribute value, one return each)
    """Return an attribute's value as OTLP's ``AnyValue``; None becomes the empty value."""
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int() if -(2**63) <= value < 2**63:
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else _not_finite(value)}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list() | tuple():
            return {"arrayValue": {"values": [_value(element) for element in value]}}
        case dict():
            return {"kvlistValue": {"values": _attributes(value)}}
    return {"stringValue": str(value)}


def _not_finite(number: float) -> str:
    """Return the text that protobuf's JSON has for a number that JSON cannot write."""
    if math.isnan(number):
        return "NaN"
    return "Infinity" if number > 0 else "-Infinity"


def _number(names: tuple[str, ...], name: str) -> int:
    """Return OTLP's number of a kind or a status; a number that has no name stays as it is."""
    if name in names:
        return names.index(name)
    return int(name) if name.isdecimal() else 0


def _without_empty(fields: Json) -> Json:
    """Return the fields that have a value: protobuf's JSON leaves out zeros and empty texts."""
    return {name: value for name, value in fields.items() if value}


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
