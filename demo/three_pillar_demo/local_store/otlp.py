"""OTLP in, rows out: what each signal's request says, with what is wrong in it refused by name.

Follows opentelemetry-proto 1.x. Metrics get the names and labels that Prometheus' own OTLP receiver would give them.
"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from three_pillar_demo.local_store.values import (
    MAX_ATTRIBUTES,
    attributes,
    cut,
    dumped,
    label,
    prometheus_name,
    severity_of,
    text,
    told,
    value_of,
)

MAX_TIME = 2**63 - 1
MAX_RECORDS, MAX_BUCKETS = 20_000, 500
"""Of one request, and of one histogram; an SDK sends some hundred, and has some ten."""
AHEAD = 24 * 3600 * 10**9
"""A record from further in the future than this has a broken clock: it would be the newest for days."""
TRACE_ID, SPAN_ID = 16, 8
PROMOTED = ("service.name", "service.namespace", "deployment.environment.name")
"""Resource attributes that become labels, as in prometheus.yml."""

Row = tuple[Any, ...]
Source = tuple[str, str, str, str]
"""service, instance, resource and scope, the latter two as JSON."""


@dataclass
class Batch:
    """What one request holds: rows by source, ready to be stored, and what was refused, by reason."""

    digest: bytes = b""
    size: int = 0
    spans: list[tuple[Source, Row]] = field(default_factory=list)
    lines: list[tuple[Source, Row]] = field(default_factory=list)
    points: list["Point"] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def full(self) -> str:
        """What is wrong with one more record, once there are ``MAX_RECORDS``."""
        taken = len(self.spans) + len(self.lines) + len(self.points)
        return f"{MAX_RECORDS} others in its request" if taken >= MAX_RECORDS else ""


@dataclass(frozen=True)
class Point:
    """One point of a series; ``delta`` says that it counts from the one before, not from the start."""

    source: Source
    name: str
    kind: str
    labels: str
    bounds: str
    delta: bool
    time: int
    start: int
    value: float
    count: int | None
    buckets: list[int] | None
    exemplars: tuple[tuple[int, bytes, bytes, float], ...]


def traces(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Take the spans of an ``ExportTraceServiceRequest``."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            source = _source(resource.resource, scope.scope)
            for span in scope.spans:
                if (
                    problem := _unusable(span.start_time_unix_nano)
                    or _bad_ids(span.trace_id, span.span_id)
                    or batch.full
                ):
                    batch.refused[f"span with {problem}"] += 1
                    continue
                events = [
                    {
                        "name": told(each.name),
                        "time": each.time_unix_nano,
                        "attributes": attributes(each.attributes),
                    }
                    for each in span.events[:MAX_ATTRIBUTES]
                ]
                parent = (
                    span.parent_span_id
                    if len(span.parent_span_id) == SPAN_ID and any(span.parent_span_id)
                    else None
                )
                duration = max(
                    0, min(span.end_time_unix_nano, MAX_TIME) - span.start_time_unix_nano
                )
                about = (
                    span.kind,
                    span.start_time_unix_nano,
                    duration,
                    span.status.code,
                    told(span.status.message),
                )
                row = (
                    span.trace_id,
                    span.span_id,
                    parent,
                    told(span.name),
                    *about,
                    dumped(attributes(span.attributes)),
                )
                batch.spans.append((source, (*row, dumped(events))))


def logs(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Take the lines of an ``ExportLogsServiceRequest``. One without a usable trace id is kept, without it."""
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            source = _source(resource.resource, scope.scope)
            for line in scope.log_records:
                moment = line.time_unix_nano or line.observed_time_unix_nano or time.time_ns()
                if problem := _unusable(moment) or batch.full:
                    batch.refused[f"log record with {problem}"] += 1
                    continue
                joined = not _bad_ids(line.trace_id, line.span_id)
                ids = (line.trace_id, line.span_id) if joined else (None, None)
                body = value_of(line.body)
                said = (
                    told(body)
                    if isinstance(body, str)
                    else ""
                    if body is None
                    else told(dumped(body))
                )
                severity = cut(line.severity_text) or severity_of(line.severity_number)
                row = (
                    moment,
                    *ids,
                    line.severity_number,
                    severity,
                    said,
                    dumped(attributes(line.attributes)),
                )
                batch.lines.append((source, row))


def metrics(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Take the points of an ``ExportMetricsServiceRequest``: sums, gauges and explicit histograms, also as deltas."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            source = _source(resource.resource, scope.scope)
            for metric in scope.metrics:
                what = metric.WhichOneof("data")
                if what not in {"sum", "gauge", "histogram"}:
                    points = getattr(metric, what).data_points if what else [None]
                    batch.refused[
                        f"{what or 'metric without data'} {cut(metric.name, 100)}: not kept"
                    ] += len(points)
                    continue
                data = getattr(metric, what)
                kind = (
                    "counter"
                    if what == "sum" and data.is_monotonic
                    else "histogram"
                    if what == "histogram"
                    else "gauge"
                )
                delta = (
                    what != "gauge"
                    and data.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA
                )
                name, common = (
                    prometheus_name(metric.name, metric.unit, kind),
                    _labels(resource.resource),
                )
                for each in data.data_points:
                    if (
                        problem := _unusable(each.time_unix_nano)
                        or _unusable_point(each, kind)
                        or batch.full
                    ):
                        batch.refused[f"point of {cut(metric.name, 100)} with {problem}"] += 1
                        continue
                    labels = {
                        label(key): text(value)
                        for key, value in attributes(each.attributes).items()
                    } | common
                    batch.points.append(
                        _point(
                            each,
                            source,
                            name,
                            kind,
                            dumped(dict(sorted(labels.items()))),
                            delta=delta,
                        )
                    )


def _point(each: Any, source: Source, name: str, kind: str, labels: str, *, delta: bool) -> Point:  # noqa: ANN401, PLR0913
    histogram = kind == "histogram"
    return Point(
        source=source,
        name=name,
        kind=kind,
        labels=labels,
        bounds=dumped(list(each.explicit_bounds)) if histogram else "[]",
        delta=delta,
        time=each.time_unix_nano,
        start=min(each.start_time_unix_nano, each.time_unix_nano),
        value=each.sum if histogram else _number(each),
        count=each.count if histogram else None,
        buckets=(list(each.bucket_counts) or [each.count]) if histogram else None,
        exemplars=tuple(_exemplars(each.exemplars[:MAX_ATTRIBUTES])),
    )


def _source(resource: Resource, scope: Any) -> Source:  # noqa: ANN401  (generated code)
    about = attributes(resource.attributes)
    who = {"name": cut(scope.name, 256), "version": cut(scope.version, 256)}
    return (
        text(about.get("service.name", "unknown_service")),
        text(about.get("service.instance.id", "")),
        dumped(about),
        dumped(who),
    )


def _labels(resource: Resource) -> dict[str, str]:
    about = {key: text(value) for key, value in attributes(resource.attributes).items()}
    job = "/".join(about[key] for key in ("service.namespace", "service.name") if key in about)
    promoted = {label(key): about[key] for key in PROMOTED if key in about}
    return promoted | {"job": job, "instance": about.get("service.instance.id", "")}


def _unusable(moment: int) -> str:
    return (
        "no time"
        if not moment
        else "a time in the future"
        if moment > time.time_ns() + AHEAD
        else ""
    )


def _bad_ids(trace_id: bytes, span_id: bytes) -> str:
    good = len(trace_id) == TRACE_ID and len(span_id) == SPAN_ID and any(trace_id) and any(span_id)
    return "" if good else "an id that is none"


def _unusable_point(point: Any, kind: str) -> str:  # noqa: ANN401  (generated code)
    if point.flags & 1:
        return "no recorded value"
    if kind != "histogram":
        return "" if math.isfinite(_number(point)) else "a value that is no number"
    bounds: Sequence[float] = point.explicit_bounds
    if len(bounds) > MAX_BUCKETS:
        return f"over {MAX_BUCKETS} buckets"
    ordered = all(math.isfinite(each) for each in bounds) and all(
        a < b for a, b in pairwise(bounds)
    )
    fits = len(point.bucket_counts) == len(bounds) + 1 or not (bounds or point.bucket_counts)
    adds_up = point.count <= MAX_TIME and sum(point.bucket_counts) == (
        point.count if point.bucket_counts else 0
    )
    return (
        ""
        if ordered and fits and adds_up and math.isfinite(point.sum)
        else "buckets that do not fit together"
    )


def _number(point: Any) -> float:  # noqa: ANN401  (generated code)
    return float(point.as_int if point.WhichOneof("value") == "as_int" else point.as_double)


def _exemplars(found: Iterable[Any]) -> Iterator[tuple[int, bytes, bytes, float]]:
    for each in found:
        value = _number(each)
        if not (
            _bad_ids(each.trace_id, each.span_id) or _unusable(each.time_unix_nano)
        ) and math.isfinite(value):
            yield each.time_unix_nano, each.trace_id, each.span_id, value
