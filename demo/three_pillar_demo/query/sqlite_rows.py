"""The embedded store's rows: how they are asked for, and what they are in the words of the questions."""

import json
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from three_pillar_demo.query.interface import DURATION, VERSION, LogRecord, Span

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
ERROR = 2
"""OTLP's number for a status."""
SPAN = """SELECT trace_id, span_id, parent_id, service, name, kind, start, start + duration, status, message, attributes,
events, resource FROM span JOIN source ON source.id = span.source WHERE trace_id = ? ORDER BY start, span.rowid"""
# CROSS: the lines come first, in their order.
LINE = """SELECT time, service, severity_text, body, attributes, trace_id, span_id, resource FROM log
CROSS JOIN source ON source.id = source"""
POINTS = """SELECT series.id, labels, bounds, born, time, point.start, count, buckets FROM series
JOIN point ON series = id WHERE name = ? AND json_extract(labels, '$.service_name') = ?
AND json_extract(labels, '$.http_route') = ? AND time BETWEEN ? AND ? ORDER BY series.id, time"""
EXEMPLARS = """SELECT exemplar.trace_id, value, time, labels, bounds FROM exemplar
JOIN series ON series.id = exemplar.series WHERE time BETWEEN ? AND ? AND name = ? ORDER BY time"""
EDGES = """SELECT caller.service, called.service, sum(calls), sum(failed) FROM (
  SELECT client.source AS client, server.source AS server, count(*) AS calls,
    sum(client.status = 2 OR server.status = 2) AS failed
  FROM span AS server INDEXED BY span_server JOIN span AS client INDEXED BY span_client
    ON client.kind = 3 AND client.trace_id = server.trace_id AND client.span_id = server.parent_id
  WHERE server.kind = 2 AND server.start BETWEEN ? AND ? GROUP BY 1, 2
) JOIN source AS caller ON caller.id = client JOIN source AS called ON called.id = server
WHERE caller.service != called.service GROUP BY 1, 2 ORDER BY 1, 2"""
NEWEST = {
    "traces": "SELECT max(start + duration) FROM (SELECT start, duration FROM span WHERE kind = 2 ORDER BY start DESC LIMIT 1)",
    "logs": "SELECT max(time) FROM log",
    "metrics": "SELECT max((SELECT time FROM point WHERE series = series.id ORDER BY time DESC LIMIT 1)) FROM series",
}


def span(row: Sequence[Any]) -> Span:
    """A row of ``SPAN``."""
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
        events,
        resource,
    ) = row
    exceptions = (each["attributes"] for each in json.loads(events) if each["name"] == "exception")
    said = (
        ": ".join(str(each[key]) for key in ("exception.type", "exception.message") if key in each)
        for each in exceptions
    )
    ids = (trace_id.hex(), span_id.hex(), parent_id.hex() if parent_id else "")
    named = (service, name, KINDS[kind] if 0 <= kind < len(KINDS) else str(kind))
    about = version(resource) | json.loads(attributes)
    return Span(*ids, *named, start, end, status == ERROR, message, about, tuple(said))


def line(row: Sequence[Any]) -> LogRecord:
    """A row of ``LINE``."""
    moment, service, severity, body, attributes, trace_id, span_id, resource = row
    about = version(resource) | json.loads(attributes)
    fields = {
        key.replace(".", "_"): v if isinstance(v, str) else json.dumps(v)
        for key, v in about.items()
    }
    ids = {"trace_id": trace_id.hex(), "span_id": span_id.hex()} if trace_id else {}
    return LogRecord(moment, service, severity, body, fields | ids)


@lru_cache
def version(resource: str) -> dict[str, Any]:
    """The version of the service that spoke, as an attribute; nothing if it did not say."""
    told = json.loads(resource).get(VERSION)
    return {VERSION: told} if told else {}


def bucket(value: float, bounds: Sequence[float]) -> dict[str, str]:
    """The label of the bucket that ``value`` was counted in."""
    at = bisect_left(bounds, value)
    return {
        "le": f"{bounds[at]:g}" if at < len(bounds) else "+Inf",
        "__name__": f"{DURATION}_bucket",
    }


def id_of(trace_id: str) -> bytes:
    """A trace id as the store keeps it; of what is none, an id that no trace has."""
    try:
        return bytes.fromhex(trace_id)
    except ValueError:
        return b""
