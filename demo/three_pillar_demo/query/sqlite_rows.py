"""SELECT statements for the tables of local_store/schema.sql, and the conversion of their rows."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from three_pillar_demo.query.interface import (
    DURATION,
    VERSION,
    Exemplar,
    LogRecord,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
)
from three_pillar_demo.query.otlp_json import exception_text

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
"""The names of OTLP's span kinds; the position of a name, from 0, is OTLP's number of the kind."""
STATUSES = ("UNSET", "OK", "ERROR")
"""The names of OTLP's span statuses; the position of a name, from 0, is OTLP's number."""
STATUS_ERROR = 2
"""OTLP's number for the span status ERROR."""
NANO = 10**9

SELECT_SPANS = """SELECT trace_id, span_id, parent_id, service, name, kind, start,
start + duration, status, message, attributes, events, resource, scope, links, trace_state, flags,
dropped_attributes, dropped_events, dropped_links
FROM span JOIN source ON source.id = span.source"""
SELECT_TRACE = f"{SELECT_SPANS} WHERE trace_id = ? ORDER BY start, span.rowid"
# CROSS JOIN makes SQLite read the log records first, in the order of their index.
SELECT_LOG_RECORDS = """SELECT time, service, severity_text, body, attributes, trace_id, span_id,
resource, scope, severity, observed, event_name, flags, dropped_attributes
FROM log CROSS JOIN source ON source.id = source"""
SELECT_HISTOGRAM_POINTS = """SELECT series.id, labels, bounds, born, time, point.start, count,
buckets, kind FROM series JOIN point ON series = id
WHERE name = ? AND kind IN ('histogram', 'exponential_histogram')
AND json_extract(labels, '$.service_name') = ? AND json_extract(labels, '$.http_route') = ?
AND time BETWEEN ? AND ? ORDER BY series.id, time"""
SELECT_CURRENT_POINTS = """SELECT labels, name, kind, value, count, buckets FROM series
JOIN point ON point.series = series.id AND time = (
  SELECT max(time) FROM point WHERE series = series.id AND time > ?)
WHERE name IN (?, ?)"""
SELECT_EXEMPLARS = """SELECT exemplar.trace_id, value, time, labels, bounds, kind FROM exemplar
JOIN series ON series.id = exemplar.series WHERE time BETWEEN ? AND ? AND name = ? ORDER BY time"""
SELECT_SERVICE_CALLS = """SELECT caller.service, called.service, sum(calls), sum(failed) FROM (
  SELECT client.source AS client, server.source AS server, count(*) AS calls,
    sum(client.status = 2 OR server.status = 2) AS failed
  FROM span AS server INDEXED BY span_server JOIN span AS client INDEXED BY span_client
    ON client.kind = 3 AND client.trace_id = server.trace_id AND client.span_id = server.parent_id
  WHERE server.kind = 2 AND server.start BETWEEN ? AND ? GROUP BY 1, 2
) JOIN source AS caller ON caller.id = client JOIN source AS called ON called.id = server
WHERE caller.service != called.service GROUP BY 1, 2 ORDER BY 1, 2"""
SELECT_NEWEST_TIME = {
    "traces": """SELECT max(start + duration) FROM
(SELECT start, duration FROM span ORDER BY rowid DESC LIMIT 1000)
WHERE start + duration <= :now""",
    "logs": "SELECT max(time) FROM log WHERE time <= :now",
    "metrics": """SELECT max(
(SELECT time FROM point WHERE series = series.id AND time <= :now ORDER BY time DESC LIMIT 1))
FROM series""",
}
"""For each pillar, the SELECT statement that returns the time of the newest record until ``now``.

The time is in nanoseconds since the epoch, or NULL if there is no record. For traces, it is the end
of a span, among the 1,000 that were stored last. A record that a sender dates in the future would
hide that no others arrive, so it does not count.
"""


def to_span(row: Sequence[Any]) -> Span:
    """Convert a row of ``SELECT_SPANS`` to a ``Span``."""
    (
        trace_id,
        span_id,
        parent_id,
        service,
        name,
        kind,
        start,
        end,
        status,
        message,
        attributes,
        events_json,
        resource,
        scope,
        links,
        trace_state,
        flags,
        dropped_attributes,
        dropped_events,
        dropped_links,
    ) = row
    events = tuple(SpanEvent(**event) for event in json.loads(events_json))
    return Span(
        trace_id=trace_id.hex(),
        span_id=span_id.hex(),
        parent_id=parent_id.hex() if parent_id else "",
        service=service,
        name=name,
        kind=KINDS[kind] if 0 <= kind < len(KINDS) else str(kind),
        start=start,
        end=end,
        error=status == STATUS_ERROR,
        message=message,
        attributes=_version_of(resource) | json.loads(attributes),
        exceptions=tuple(
            exception_text(event.attributes) for event in events if event.name == "exception"
        ),
        status=STATUSES[status] if 0 <= status < len(STATUSES) else str(status),
        events=events,
        links=tuple(SpanLink(**link) for link in json.loads(links)),
        trace_state=trace_state,
        flags=flags,
        dropped_attributes=dropped_attributes,
        dropped_events=dropped_events,
        dropped_links=dropped_links,
        resource=dict(_parsed_json(resource)),
        scope=Scope(**_parsed_json(scope)),
    )


def to_log_record(row: Sequence[Any]) -> LogRecord:
    """Convert a row of ``SELECT_LOG_RECORDS`` to a ``LogRecord``."""
    (
        timestamp,
        service,
        severity,
        body,
        attributes_json,
        trace_id,
        span_id,
        resource,
        scope,
        severity_number,
        observed_time,
        event_name,
        flags,
        dropped_attributes,
    ) = row
    attributes = json.loads(attributes_json)
    fields = {
        key.replace(".", "_"): value if isinstance(value, str) else json.dumps(value)
        for key, value in (_version_of(resource) | attributes).items()
        if value is not None
    }
    if trace_id:
        fields["trace_id"] = trace_id.hex()
    if span_id:
        fields["span_id"] = span_id.hex()
    return LogRecord(
        timestamp,
        service,
        severity,
        body,
        fields,
        attributes,
        severity_number,
        observed_time,
        event_name,
        flags,
        dropped_attributes,
        dict(_parsed_json(resource)),
        Scope(**_parsed_json(scope)),
    )


def to_exemplar(row: Sequence[Any]) -> Exemplar:
    """Convert a row of ``SELECT_EXEMPLARS`` to an ``Exemplar`` with the labels of its bucket."""
    trace_id, value, timestamp, labels, bounds, kind = row
    bucket_labels = {"__name__": DURATION}  # as of a native histogram in Prometheus
    if kind == "histogram":
        bucket_labels = {
            "__name__": f"{DURATION}_bucket",
            "le": _bucket_bound(value, json.loads(bounds)),
        }
    return Exemplar(trace_id.hex(), value, timestamp / NANO, json.loads(labels) | bucket_labels)


def _version_of(resource: str) -> dict[str, Any]:
    """Return the attribute ``VERSION`` of a resource (JSON), or an empty dict if it has none."""
    version = _parsed_json(resource).get(VERSION)
    return {VERSION: version} if version else {}


def current_values(row: Sequence[Any], name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield the labels and the value of each Prometheus series ``name`` in one row.

    ``row`` is a row of ``SELECT_CURRENT_POINTS``. A summary has one series for each quantile, with
    the label ``quantile``, and the series ``_sum`` and ``_count``. A histogram has these two, and
    its own name stands for its sum.
    """
    labels_json, metric_name, kind, value, count, buckets = row
    labels = json.loads(labels_json)
    is_number = kind in {"counter", "gauge"}
    if name == metric_name and kind == "summary":
        for quantile, quantile_value in json.loads(buckets or "[]"):
            if quantile_value is not None:
                yield labels | {"quantile": f"{quantile:g}"}, quantile_value
    elif name == f"{metric_name}_count" and not is_number:
        yield labels, count
    elif value is not None and (name == metric_name or not is_number):
        yield labels, value


@lru_cache
def _parsed_json(text: str) -> dict[str, Any]:
    """Return a resource or a scope, which many rows share, from its JSON; it must not be changed.

    The cache makes it cheap to convert many rows of the same sender.
    """
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _bucket_bound(value: float, bounds: Sequence[float]) -> str:
    """Return the upper bound of the bucket that counts ``value``, as text such as 0.5 or +Inf."""
    index = bisect_left(bounds, value)
    return f"{bounds[index]:g}" if index < len(bounds) else "+Inf"


def id_bytes(trace_id: str) -> bytes:
    """Return a trace id as bytes, as the store keeps it; empty bytes for invalid hex."""
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return b""
