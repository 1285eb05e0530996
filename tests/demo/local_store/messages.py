"""Builds OTLP export requests for tests; all times are in nanoseconds since the epoch."""

import base64
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

NANO = 10**9
MIB = 1024**2
DELTA = 1
CUMULATIVE = 2
SCOPE = InstrumentationScope(name="tests")
SEVERITY_TEXTS = {9: "INFO", 13: "WARN", 17: "ERROR"}
VALUE_FIELDS = {
    bool: "bool_value",
    int: "int_value",
    float: "double_value",
    str: "string_value",
    bytes: "bytes_value",
}
ID_KEYS = {"traceid", "spanid", "parentspanid"}


def attributes(**values: Any) -> list[KeyValue]:  # noqa: ANN401  (any attribute value)
    """Return OTLP attributes from keyword arguments; ``__`` in a keyword becomes a dot."""
    return [
        KeyValue(key=key.replace("__", "."), value=AnyValue(**{VALUE_FIELDS[type(value)]: value}))
        for key, value in values.items()
    ]


def resource(service: str = "checkout", instance: str = "one") -> Resource:
    """Return the resource of one instance of a service in the namespace ``shop``."""
    return Resource(
        attributes=attributes(
            service__name=service, service__namespace="shop", service__instance__id=instance
        )
    )


def span(
    name: str = "work",
    *,
    start: int = 0,
    seconds: float = 0.1,
    error: bool = False,
    message: str = "failed",
    **fields: Any,  # noqa: ANN401  (any field)
) -> Span:
    """Return a SERVER span with new ids; ``fields`` replace any of its protobuf fields.

    It starts at ``start`` (by default now) and lasts ``seconds``. With ``error``, its status is
    ERROR, with ``message`` as its description.
    """
    start = start or time.time_ns()
    defaults: dict[str, Any] = {
        "trace_id": secrets.token_bytes(16),
        "span_id": secrets.token_bytes(8),
        "kind": Span.SPAN_KIND_SERVER,
    }
    return Span(
        name=name,
        start_time_unix_nano=start,
        end_time_unix_nano=start + int(seconds * NANO),
        status=Status(code=Status.STATUS_CODE_ERROR, message=message) if error else None,
        **(defaults | fields),
    )


def trace_request(*spans: Span, service: str = "checkout") -> ExportTraceServiceRequest:
    """Return the export request with ``spans`` of one service."""
    scope_spans = ScopeSpans(scope=SCOPE, spans=spans)
    resource_spans = ResourceSpans(resource=resource(service), scope_spans=[scope_spans])
    return ExportTraceServiceRequest(resource_spans=[resource_spans])


def log_record(text: str = "done", *, at: int = 0, severity: int = 9, **fields: Any) -> LogRecord:  # noqa: ANN401  (any field)
    """Return a log record with the body ``text`` and the time ``at``, by default now."""
    defaults: dict[str, Any] = {"severity_text": SEVERITY_TEXTS.get(severity, "")}
    return LogRecord(
        time_unix_nano=at or time.time_ns(),
        body=AnyValue(string_value=text),
        severity_number=severity,  # type: ignore[arg-type]
        **(defaults | fields),
    )


def log_request(*records: LogRecord, service: str = "checkout") -> ExportLogsServiceRequest:
    """Return the export request with log ``records`` of one service."""
    scope_logs = ScopeLogs(scope=SCOPE, log_records=records)
    resource_logs = ResourceLogs(resource=resource(service), scope_logs=[scope_logs])
    return ExportLogsServiceRequest(resource_logs=[resource_logs])


def number_point(value: float, *, at: int = 0, start: int = 0, **fields: Any) -> NumberDataPoint:  # noqa: ANN401  (any field)
    """Return a data point of a sum or a gauge, with the time ``at``, by default now.

    By default, it counts since one second (``NANO``) before ``at``.
    """
    at = at or time.time_ns()
    return NumberDataPoint(
        as_double=value, time_unix_nano=at, start_time_unix_nano=start or at - NANO, **fields
    )


def counter(
    name: str, *points: NumberDataPoint, temporality: int = CUMULATIVE, monotonic: bool = True
) -> Metric:
    """Return a sum metric with these data points, by default a cumulative, monotonic one."""
    data = Sum(
        data_points=points,
        aggregation_temporality=temporality,  # type: ignore[arg-type]
        is_monotonic=monotonic,
    )
    return Metric(name=name, sum=data)


def gauge(name: str, *points: NumberDataPoint) -> Metric:
    """Return a gauge metric with these data points."""
    return Metric(name=name, gauge=Gauge(data_points=points))


def histogram_point(  # noqa: PLR0913  (the fields of a histogram)
    counts: Sequence[int],
    bounds: Sequence[float] = (0.1, 1.0),
    *,
    total: float = 1.0,
    at: int = 0,
    start: int = 0,
    exemplars: Sequence[Exemplar] = (),
    attributes: Sequence[KeyValue] = (),
) -> HistogramDataPoint:
    """Return a data point of a histogram, with ``counts`` observations in its buckets.

    ``bounds`` are the upper bounds of all buckets but the last, ``total`` is the sum of the
    observations.
    """
    at = at or time.time_ns()
    return HistogramDataPoint(
        bucket_counts=counts,
        explicit_bounds=bounds,
        count=sum(counts),
        sum=total,
        time_unix_nano=at,
        start_time_unix_nano=start or at - NANO,
        exemplars=exemplars,
        attributes=attributes,
    )


def histogram(
    name: str, *points: HistogramDataPoint, unit: str = "s", temporality: int = CUMULATIVE
) -> Metric:
    """Return a histogram metric with these data points, by default cumulative and in seconds."""
    data = Histogram(
        data_points=points,
        aggregation_temporality=temporality,  # type: ignore[arg-type]
    )
    return Metric(name=name, unit=unit, histogram=data)


def exemplar(trace_id: bytes, value: float, *, at: int) -> Exemplar:
    """Return an exemplar of the trace ``trace_id`` with a random span id."""
    return Exemplar(
        as_double=value, time_unix_nano=at, trace_id=trace_id, span_id=secrets.token_bytes(8)
    )


def metric_request(
    *metrics: Metric, service: str = "checkout", instance: str = "one"
) -> ExportMetricsServiceRequest:
    """Return the export request with ``metrics`` of one instance of a service."""
    scope_metrics = ScopeMetrics(scope=SCOPE, metrics=metrics)
    resource_metrics = ResourceMetrics(
        resource=resource(service, instance), scope_metrics=[scope_metrics]
    )
    return ExportMetricsServiceRequest(resource_metrics=[resource_metrics])


def to_otlp_json(request: Message) -> bytes:
    """Return the request in OTLP's JSON encoding, with ids in hex; protobuf's own has base64."""
    return json.dumps(_with_hex_ids(json_format.MessageToDict(request))).encode()


def _with_hex_ids(value: Any, key: str = "") -> Any:  # noqa: ANN401  (any JSON value)
    if isinstance(value, dict):
        return {name: _with_hex_ids(member, name) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_hex_ids(element) for element in value]
    if key.lower() in ID_KEYS:
        return base64.b64decode(value).hex()
    return value
