"""Builds telemetry files as other tools write them."""

import gzip
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

import zstandard

NANO = 10**9
DAY_NS = 24 * 3600 * NANO
Json = dict[str, Any]


class Trace:
    """A trace of one SERVER span of ``shopfront`` and one log record, ``age_ns`` ago."""

    def __init__(self, age_ns: int = 0, body: str = "order 42 requested") -> None:
        """Choose new ids."""
        self.trace_id = secrets.token_hex(16)
        self.span_id = secrets.token_hex(8)
        self.time = time.time_ns() - age_ns
        self.body = body

    def spans(self, **changes: Any) -> Json:  # noqa: ANN401  (any field)
        """Return the object with ``resourceSpans``; ``changes`` replace fields of the span."""
        span = {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": "GET /order",
            "kind": 2,
            "startTimeUnixNano": str(self.time),
            "endTimeUnixNano": str(self.time + NANO),
            "events": [{"timeUnixNano": str(self.time + 7), "name": "retried"}],
            **changes,
        }
        return wrapped("Spans", "spans", [span])

    def logs(self) -> Json:
        """Return the object with ``resourceLogs``."""
        record = {
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "timeUnixNano": str(self.time + 5),
            "severityText": "INFO",
            "body": {"stringValue": self.body},
        }
        return wrapped("Logs", "logRecords", [record])


def wrapped(signal: str, name: str, records: Sequence[Any]) -> Json:
    """Return records of the service ``shopfront`` as one OTLP object."""
    service = {"key": "service.name", "value": {"stringValue": "shopfront"}}
    return {
        f"resource{signal}": [
            {
                "resource": {"attributes": [service]},
                f"scope{signal}": [{"scope": {"name": "tests"}, name: records}],
            }
        ]
    }


def metrics() -> Json:
    """Return an object with ``resourceMetrics``: one gauge with a point of now."""
    point = {"timeUnixNano": str(time.time_ns()), "asDouble": 0.5}
    return wrapped("Metrics", "metrics", [{"name": "load", "gauge": {"dataPoints": [point]}}])


def json_lines(*objects: Json) -> bytes:
    """Return objects as the Collector's file exporter writes them: one a line."""
    return b"".join(json.dumps(value).encode() + b"\n" for value in objects)


def pretty(*objects: Json) -> bytes:
    """Return a pretty-printed list of objects."""
    return json.dumps(objects, indent=2).encode()


def framed_zstd(*objects: Json) -> bytes:
    """Return objects as the file exporter writes them with ``compression: zstd``."""
    frames = [zstandard.compress(json.dumps(value).encode()) for value in objects]
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)


def gzipped(*objects: Json) -> bytes:
    """Return lines compressed with gzip, as a log rotation leaves them."""
    return gzip.compress(json_lines(*objects))


def zstd(*objects: Json) -> bytes:
    """Return lines compressed with the program ``zstd``."""
    return zstandard.compress(json_lines(*objects))


def one_object(*objects: Json) -> bytes:
    """Return one pretty-printed object with all lists of ``objects``, after a byte order mark."""
    merged: Json = {}
    for value in objects:
        merged |= value
    return b"\xef\xbb\xbf" + json.dumps(merged, indent=4).encode()
