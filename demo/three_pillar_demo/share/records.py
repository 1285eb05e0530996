"""The spans, log records and metrics of OTLP JSON: found in documents, and moved in time."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True)
class Signal:
    """The names that OTLP JSON has for one signal: its lists, from the resources to the records."""

    name: str
    resources: str
    scopes: str
    records: str
    noun: str


SIGNALS = (
    Signal("traces", "resourceSpans", "scopeSpans", "spans", "span"),
    Signal("logs", "resourceLogs", "scopeLogs", "logRecords", "log record"),
    Signal("metrics", "resourceMetrics", "scopeMetrics", "metrics", "metric"),
)
TRACES, LOGS, METRICS = SIGNALS
FORMER_NAMES = {
    "resourceSpans": ("resource_spans", "batches"),
    "resourceLogs": ("resource_logs",),
    "resourceMetrics": ("resource_metrics",),
    "scopeSpans": ("scope_spans", "instrumentationLibrarySpans"),
    "scopeLogs": ("scope_logs", "instrumentationLibraryLogs"),
    "scopeMetrics": ("scope_metrics", "instrumentationLibraryMetrics"),
    "logRecords": ("log_records", "logs"),
}
"""Other names of the lists: protobuf's own, those of OTLP before 0.15, and Tempo's ``batches``."""
ID_BYTES = {"traceId": 16, "spanId": 8, "parentSpanId": 8}
"""The length, in bytes, of the ids in a record."""
TRACE_ID = re.compile("(?!0{32})[0-9a-f]{32}")
"""The pattern of a valid trace id; in OTLP, an id of zeros is none."""
TIMES = ("startTimeUnixNano", "endTimeUnixNano", "timeUnixNano", "observedTimeUnixNano")
"""The fields with times, in nanoseconds since the epoch, in a record and in what it contains."""
VALUES = {"attributes", "body"}
"""The fields of a record that hold what the application has written, without times of OTLP."""
METRIC_KINDS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")
"""The fields of a metric, one of which has its points."""
MAX_DIGITS = 20
"""The number of digits of the largest integer of 64 bits."""


@dataclass(frozen=True)
class Record:
    """A span, a log record or a metric, with the resource and the scope that it belongs to."""

    signal: Signal
    resource: Json
    scope: Json
    value: Json

    @property
    def trace_id(self) -> str:
        """The trace id, as 32 hex digits; "" if the record has none, or an invalid one."""
        trace_id = str(self.value.get("traceId") or "").lower()
        return trace_id if TRACE_ID.fullmatch(trace_id) else ""

    @property
    def span_id(self) -> str:
        """The span id, as hex digits; "" if the record has none."""
        return str(self.value.get("spanId") or "").lower()

    @property
    def time(self) -> int:
        """The start of a span, or the time of a log record; 0 if it has none, and for a metric."""
        names = ("startTimeUnixNano",) if self.signal is TRACES else ("timeUnixNano", TIMES[3])
        return next(filter(None, (to_int(self.value.get(name)) for name in names)), 0)

    def times(self) -> Iterator[int]:
        """Yield the times that are not 0, in nanoseconds since the epoch.

        They are the start and the end of a span, the time of a log record, and the times of a
        metric's points.
        """
        found = [self.time]
        if self.signal is TRACES:
            found.append(to_int(self.value.get("endTimeUnixNano")))
        elif self.signal is METRICS:
            found = [
                to_int(_object(point).get("timeUnixNano"))
                for kind in METRIC_KINDS
                for point in _list(_object(self.value.get(kind)), "dataPoints")
            ]
        yield from filter(None, found)

    @property
    def body(self) -> str:
        """The body of a log record if it is a text; "" otherwise."""
        body = self.value.get("body")
        text = body.get("stringValue") if isinstance(body, dict) else None
        return text if isinstance(text, str) else ""


def records_of(document: Any) -> Iterator[Record | str]:  # noqa: ANN401  (any JSON value)
    """Yield the records of a document, and a text for each part of it that is no telemetry.

    The document is an object with ``resourceSpans``, ``resourceLogs`` or ``resourceMetrics``, or a
    list of such objects. Tempo's answers are accepted too: they call the first one ``batches``, and
    their ids are base64.
    """
    if isinstance(document, list):
        for element in document:
            yield from records_of(element)
        return
    if isinstance(document, dict) and isinstance(document.get("trace"), dict):
        document = document["trace"]  # the second version of Tempo's API
    if not isinstance(document, dict) or not any(
        _list(document, signal.resources) for signal in SIGNALS
    ):
        if document != {}:
            yield "neither resourceSpans nor resourceLogs nor resourceMetrics in it"
        return
    for signal in SIGNALS:
        for resource_entry in _list(document, signal.resources):
            yield from _records_of_resource(signal, resource_entry)


def _records_of_resource(signal: Signal, entry: Any) -> Iterator[Record | str]:  # noqa: ANN401  (any JSON value)
    if not isinstance(entry, dict):
        yield f"an element of {signal.resources} is no object"
        return
    resource = _object(entry.get("resource"))
    for scope_entry in _list(entry, signal.scopes):
        if not isinstance(scope_entry, dict):
            yield f"an element of {signal.scopes} is no object"
            continue
        scope = _object(scope_entry.get("scope") or scope_entry.get("instrumentationLibrary"))
        for value in _list(scope_entry, signal.records):
            if isinstance(value, dict):
                yield Record(signal, resource, scope, _with_hex_ids(value))
            else:
                yield f"a {signal.noun} is no object"


def _list(owner: Json, name: str) -> list[Any]:
    for key in (name, *FORMER_NAMES.get(name, ())):
        value = owner.get(key)
        if isinstance(value, list):
            return value
    return []


def _object(value: Any) -> Json:  # noqa: ANN401  (any JSON value)
    return value if isinstance(value, dict) else {}


def _with_hex_ids(value: Json) -> Json:
    """Return a record in which ids that were base64 are hex digits, as OTLP has them."""
    changes: Json = {}
    for name, length in ID_BYTES.items():
        encoded = value.get(name)
        if isinstance(encoded, str) and encoded and len(encoded) != 2 * length:
            try:
                decoded = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                continue
            if len(decoded) == length:
                changes[name] = decoded.hex()
    links = value.get("links")
    if isinstance(links, list):
        changes["links"] = [
            _with_hex_ids(link) if isinstance(link, dict) else link for link in links
        ]
    return {**value, **changes}


def to_int(value: Any) -> int:  # noqa: ANN401  (any JSON value)
    """Return a 64-bit integer of OTLP JSON, a text or a number; 0 for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        # Python refuses to read a number of over 4,300 digits.
        return int(value) if len(value) <= MAX_DIGITS else 0
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value) if value == value and abs(value) < 2**64 else 0  # noqa: PLR0124  (NaN)
    return 0


def moved(value: Any, by_ns: int) -> Any:  # noqa: ANN401  (any JSON value)
    """Return a copy of a record, and of all that it contains, with its times ``by_ns`` later."""
    if isinstance(value, list):
        return [moved(element, by_ns) for element in value]
    if not isinstance(value, dict):
        return value
    copy = {}
    for name, element in value.items():
        if name in TIMES and to_int(element):
            copy[name] = str(to_int(element) + by_ns)
        else:
            copy[name] = element if name in VALUES else moved(element, by_ns)
    return copy
