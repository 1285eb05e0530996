"""OTLP requests in which one item, or its resource or scope, is just over a limit of a backend.

Each case is a function that changes the second of three items, and what the item has afterwards.
"""

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value: TypeAlias = "str | int | float | bytes | Sequence[Value] | Mapping[str, Value]"

HOUR_S = 3600
DAY_S = 24 * HOUR_S
MANY = {f"name.{number}": "value" for number in range(300)}
"""More attributes than Loki accepts entries."""
LAST_FOREIGN = "\u8ba2\u5355"
FOREIGN = {"\u7528\u6237": "1", LAST_FOREIGN: "2"}
"""Attributes whose names have no letter of ASCII, and must stay two."""
NOT_UTF8 = "PLACEHOLDER"
"""A text that ``invalid_bytes`` replaces by bytes that are not UTF-8; protobuf accepts none."""
CUT = "[truncated]"
DROPPED = "collector.dropped_attributes"


@dataclass(frozen=True)
class LogCase:
    """A log record over a limit.

    Attributes:
        edit: Changes the record, its resource and its scope.
        mark: A text that the record, its resource or its scope contains after the Collector.
    """

    edit: Callable[[LogRecord, Resource, InstrumentationScope], object]
    mark: str


@dataclass(frozen=True)
class SpanCase:
    """A span over a limit; ``mark`` is a text that it or its resource contains afterwards."""

    edit: Callable[[Span, Resource], object]
    mark: str


@dataclass(frozen=True)
class MetricCase:
    """A metric over a limit; ``mark`` is a text that it or its resource contains afterwards."""

    edit: Callable[[Metric, Resource], object]
    mark: str


def digest(name: str) -> str:
    """Return what the Collector makes of a name without a letter or digit of ASCII."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def any_value(value: Value) -> AnyValue:
    """Return ``value`` as a value of OTLP."""
    if isinstance(value, Mapping):
        return AnyValue(kvlist_value=KeyValueList(values=key_values(value)))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return AnyValue(array_value=ArrayValue(values=[any_value(item) for item in value]))
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(double_value=value)


def key_values(attributes: Mapping[str, Value]) -> list[KeyValue]:
    """Return ``attributes`` in the form of OTLP."""
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def nanoseconds(seconds_from_now: float = 0) -> int:
    """Return the time that many seconds from now, in nanoseconds since 1970."""
    return time.time_ns() + int(seconds_from_now * 1e9)


def of_record(attributes: Mapping[str, Value]) -> Callable[[LogRecord, object, object], object]:
    """Return a function that adds ``attributes`` to a log record."""
    return lambda record, _resource, _scope: record.attributes.extend(key_values(attributes))


def of_resource(attributes: Mapping[str, Value]) -> Callable[..., object]:
    """Return a function that adds ``attributes`` to the resource of a log record."""
    return lambda _record, resource, _scope: resource.attributes.extend(key_values(attributes))


def of_scope(attributes: Mapping[str, Value]) -> Callable[..., object]:
    """Return a function that adds ``attributes`` to the scope of a log record."""
    return lambda _record, _resource, scope: scope.attributes.extend(key_values(attributes))


def with_body(body: Value) -> Callable[[LogRecord, object, object], object]:
    """Return a function that gives a log record ``body``."""
    return lambda record, _resource, _scope: record.body.CopyFrom(any_value(body))


def with_time(time_ns: int, observed_ns: int) -> Callable[[LogRecord, object, object], object]:
    """Return a function that gives a log record a time and the time at which it was observed."""

    def edit(record: LogRecord, _resource: object, _scope: object) -> None:
        record.time_unix_nano = time_ns
        record.observed_time_unix_nano = observed_ns

    return edit


def log_text(field: str, text: str) -> Callable[[LogRecord, object, object], object]:
    """Return a function that gives a field of a log record ``text``."""
    return lambda record, _resource, _scope: setattr(record, field, text)


def log_cases() -> dict[str, LogCase]:
    """Return the cases of log records, whose times are relative to now."""
    now = nanoseconds()
    milliseconds = now // 1_000_000
    original = "collector.original_time"
    return {
        "two names without a Latin letter": LogCase(
            of_record(FOREIGN), f"attribute_{digest(LAST_FOREIGN)}"
        ),
        "many attributes": LogCase(of_record(MANY), DROPPED),
        "many attributes, one is no number": LogCase(of_record({**MANY, "x": math.nan}), DROPPED),
        "many leaves": LogCase(of_record({"nested": MANY}), '{\\"name.0'),
        "long names of parents": LogCase(of_record({"n" * 2000: MANY}), "name.0"),
        "large attributes": LogCase(of_record(dict.fromkeys(MANY, "v" * 20_000)), CUT),
        "large attribute": LogCase(of_record({"name": "v" * 3_000_000}), CUT),
        "large list": LogCase(of_record({"name": ["v" * 1000] * 3000}), CUT),
        "large bytes": LogCase(of_record({"name": b"v" * 3_000_000}), CUT),
        "long names": LogCase(of_record({name + "n" * 20_000: "v" for name in MANY}), DROPPED),
        "empty name": LogCase(of_record({"": "value"}), f"attribute_{digest('')}"),
        "name of underscores": LogCase(of_record({"___": "value"}), "attribute_"),
        "many resource attributes": LogCase(of_resource(MANY), DROPPED),
        "many resource leaves": LogCase(of_resource({"nested": MANY}), '{\\"name.0'),
        "large resource": LogCase(of_resource(dict.fromkeys(MANY, "v" * 20_000)), CUT),
        "empty resource name": LogCase(of_resource({"": "value"}), "attribute_"),
        "label": LogCase(of_resource({"service.namespace": "s" * 3000}), CUT),
        "label that is not UTF-8": LogCase(of_resource({"service.namespace": NOT_UTF8}), "??"),
        "many scope attributes": LogCase(of_scope(MANY), DROPPED),
        "large scope": LogCase(of_scope(dict.fromkeys(MANY, "v" * 20_000)), CUT),
        "scope name": LogCase(
            lambda _record, _resource, scope: setattr(scope, "name", "s" * 3_000_000), CUT
        ),
        "line": LogCase(with_body("b" * 300_000), CUT),
        "largest line": LogCase(with_body("b" * 19_000_000), CUT),
        "line of wide characters": LogCase(with_body("\N{EURO SIGN}" * 300_000), CUT),
        "large object as body": LogCase(with_body({"name": "b" * 300_000, "list": ["x"]}), CUT),
        "large bytes as body": LogCase(with_body(b"b" * 300_000), CUT),
        "severity": LogCase(log_text("severity_text", "s" * 100_000), CUT),
        "event name": LogCase(log_text("event_name", "e" * 3_000_000), CUT),
        "eight days old": LogCase(with_time(nanoseconds(-8 * DAY_S), now), original),
        "in milliseconds": LogCase(with_time(milliseconds, milliseconds), original),
        "in the future": LogCase(with_time(nanoseconds(HOUR_S), now), original),
        "beyond 64 bits with a sign": LogCase(with_time(2**63 + 10**18, now), original),
        "only observed, in milliseconds": LogCase(with_time(0, milliseconds), "kind"),
    }


def span_cases() -> dict[str, SpanCase]:
    """Return the cases of spans."""

    def events(span: Span, _resource: object) -> None:
        span.events.add(name="e" * 3000, attributes=key_values({"stack": "v" * 20_000}))

    def attributes(value: Value) -> Callable[[Span, object], object]:
        return lambda span, _resource: span.attributes.extend(key_values({"name": value}))

    def text(field: str, value: str | bytes) -> Callable[[Span, object], object]:
        return lambda span, _resource: setattr(span, field, value)

    generated = "collector.generated_id"
    return {
        "attribute": SpanCase(attributes("v" * 20_000), CUT),
        "attribute of wide characters": SpanCase(attributes("\N{EURO SIGN}" * 8192), CUT),
        "largest attribute": SpanCase(attributes("v" * 19_000_000), CUT),
        "largest list": SpanCase(attributes(["v" * 1000] * 15_000), "name"),
        "event": SpanCase(events, CUT),
        "name": SpanCase(text("name", "n" * 3_000_000), CUT),
        "status": SpanCase(
            lambda span, _resource: setattr(span.status, "message", "m" * 20_000), CUT
        ),
        "resource": SpanCase(
            lambda _span, resource: resource.attributes.extend(key_values({"n": "v" * 20_000})), CUT
        ),
        "no trace id": SpanCase(text("trace_id", b""), generated),
        "trace id of zeros": SpanCase(text("trace_id", bytes(16)), generated),
        "no span id": SpanCase(text("span_id", b""), generated),
    }


def metric_cases() -> dict[str, MetricCase]:
    """Return the cases of metrics, which are gauges before they are changed."""

    def point(metric: Metric) -> NumberDataPoint:
        first: NumberDataPoint = metric.gauge.data_points[0]
        return first

    def named(name: str, unit: str = "") -> Callable[[Metric, object], object]:
        return lambda metric, _resource: metric.MergeFrom(Metric(name=name, unit=unit))

    def attributes(names: Mapping[str, Value]) -> Callable[[Metric, object], object]:
        return lambda metric, _resource: point(metric).attributes.extend(key_values(names))

    def of_the_resource(names: Mapping[str, Value]) -> Callable[[object, Resource], object]:
        return lambda _metric, resource: resource.attributes.extend(key_values(names))

    def at(time_ns: int) -> Callable[[Metric, object], object]:
        return lambda metric, _resource: setattr(point(metric), "time_unix_nano", time_ns)

    def total(temporality: int) -> Callable[[Metric, object], object]:
        def edit(metric: Metric, _resource: object) -> None:
            points = [point(metric)]
            metric.sum.CopyFrom(
                type(metric.sum)(
                    data_points=points,
                    is_monotonic=True,
                    aggregation_temporality=AggregationTemporality.Name(temporality),
                )
            )

        return edit

    def histogram(metric: Metric, _resource: object) -> None:
        metric.histogram.aggregation_temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        )
        metric.histogram.data_points.add(
            time_unix_nano=nanoseconds(),
            start_time_unix_nano=nanoseconds(-1),
            count=3,
            sum=1.5,
            bucket_counts=[1, 2],
            explicit_bounds=[0.25],
            exemplars=[{"time_unix_nano": nanoseconds(), "trace_id": secrets.token_bytes(16)}],
        )

    def wide_buckets(metric: Metric, _resource: object) -> None:
        metric.exponential_histogram.aggregation_temporality = (
            AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
        )
        buckets = metric.exponential_histogram.data_points.add(
            time_unix_nano=nanoseconds(), count=3, sum=1.5, scale=-5
        )
        buckets.positive.bucket_counts.extend([1, 2])

    replaced = "collector.replaced_time"
    return {
        "three days old": MetricCase(at(nanoseconds(-3 * DAY_S)), replaced),
        "in milliseconds": MetricCase(at(nanoseconds() // 1_000_000), replaced),
        "without a time": MetricCase(at(0), replaced),
        "in the future": MetricCase(at(nanoseconds(HOUR_S)), replaced),
        "name without a Latin letter": MetricCase(named("\u7528\u6237"), "collector.original_name"),
        "no name": MetricCase(named(""), "metric_"),
        "long name": MetricCase(named("n" * 18_000_000), "nnn"),
        "long unit": MetricCase(named("name", "u" * 18_000_000), "name"),
        "empty attribute name": MetricCase(attributes({"": "value"}), "attribute_"),
        "attribute name": MetricCase(attributes({"\u7528\u6237": "value"}), "attribute_"),
        "largest attribute": MetricCase(attributes({"name": "v" * 18_000_000}), CUT),
        "attribute that is not UTF-8": MetricCase(attributes({"name": NOT_UTF8}), "??"),
        "resource name": MetricCase(of_the_resource({"___": "value"}), "attribute_"),
        "delta": MetricCase(total(AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA), "case"),
        "unspecified temporality": MetricCase(
            total(AggregationTemporality.AGGREGATION_TEMPORALITY_UNSPECIFIED),
            "collector.assumed_temporality",
        ),
        "delta histogram, exemplar without a value": MetricCase(histogram, "exemplars"),
        "buckets too wide": MetricCase(wide_buckets, "collector.dropped_buckets"),
    }


def resource_of(case: str) -> Resource:
    """Return the resource of a case, with the service as its name."""
    return Resource(attributes=key_values({"service.name": case, "service.instance.id": case}))


def log_request(case: LogCase, trace_id: bytes = b"") -> bytes:
    """Return a request of three log records; ``case`` is the second, with a resource of its own.

    All three have the ``trace_id``.
    """
    request = ExportLogsServiceRequest()
    for kind in ("before", "over the limit", "after"):
        logs = request.resource_logs.add(resource=resource_of(kind))
        scope_logs = logs.scope_logs.add()
        record = scope_logs.log_records.add(
            time_unix_nano=nanoseconds(),
            observed_time_unix_nano=nanoseconds(),
            body=any_value("text"),
            attributes=key_values({"kind": kind}),
            trace_id=trace_id,
        )
        if kind == "over the limit":
            case.edit(record, logs.resource, scope_logs.scope)
    return invalid_bytes(request.SerializeToString())


def span_request(case: SpanCase) -> bytes:
    """Return a request of three spans; ``case`` is the second, with a resource of its own."""
    request = ExportTraceServiceRequest()
    for kind in ("before", "over the limit", "after"):
        spans = request.resource_spans.add(resource=resource_of(kind))
        span = spans.scope_spans.add().spans.add(
            trace_id=secrets.token_bytes(16),
            span_id=secrets.token_bytes(8),
            name="name",
            start_time_unix_nano=nanoseconds(-1),
            end_time_unix_nano=nanoseconds(),
            attributes=key_values({"kind": kind}),
        )
        if kind == "over the limit":
            case.edit(span, spans.resource)
    return invalid_bytes(request.SerializeToString())


def metric_request(case: MetricCase) -> bytes:
    """Return a request of three metrics; ``case`` is the second, with a resource of its own."""
    request = ExportMetricsServiceRequest()
    for kind in ("before", "over the limit", "after"):
        metrics = request.resource_metrics.add(resource=resource_of(kind))
        metric = metrics.scope_metrics.add().metrics.add(name="")
        metric.gauge.data_points.add(
            time_unix_nano=nanoseconds(), as_double=1.5, attributes=key_values({"case": kind})
        )
        if kind == "over the limit":
            case.edit(metric, metrics.resource)
        else:
            metric.name = "neighbour"
    return invalid_bytes(request.SerializeToString())


def invalid_bytes(message: bytes) -> bytes:
    """Return ``message`` with bytes that are not UTF-8 in place of ``NOT_UTF8``."""
    return message.replace(NOT_UTF8.encode(), b"\xff\xfe" + bytes(NOT_UTF8[2:], "ascii"))
