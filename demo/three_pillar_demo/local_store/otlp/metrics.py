"""Decodes the metrics of an OTLP export request into data points (``batch.Point``).

Sums, gauges and histograms with explicit bounds are supported, both cumulative and delta.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_DELTA,
    DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from three_pillar_demo.local_store.otlp.batch import Batch, Point, Source
from three_pillar_demo.local_store.otlp.checks import (
    MAX_INTEGER,
    are_valid_ids,
    source_of,
    time_problem,
)
from three_pillar_demo.local_store.values import (
    MAX_ATTRIBUTES,
    json_attributes,
    prometheus_label,
    prometheus_name,
    to_json,
    to_text,
    truncate,
)

MAX_BUCKETS = 500
"""The maximum number of bucket bounds of an accepted histogram; an SDK sends about ten."""
MAX_NAME_IN_REASON = 100
"""The maximum length of a metric's name, in characters, in the reason of a rejection."""
PROMOTED = ("service.name", "service.namespace", "deployment.environment.name")
"""The resource attributes that become labels of each series, as configured in prometheus.yml."""
SUPPORTED_TYPES = {"sum", "gauge", "histogram"}


@dataclass(frozen=True)
class _SharedFields:
    """The fields of ``Point`` that all data points of one metric share."""

    source: Source
    name: str
    kind: str
    is_delta: bool
    resource_labels: dict[str, str]


def decode(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Decode an ``ExportMetricsServiceRequest`` into ``batch``.

    Each valid data point is added to ``batch``; each invalid one is counted there as rejected.
    """
    for resource_metrics in request.resource_metrics:
        labels = _resource_labels(resource_metrics.resource)
        for scope_metrics in resource_metrics.scope_metrics:
            source = source_of(resource_metrics.resource, scope_metrics.scope)
            for metric in scope_metrics.metrics:
                _decode_metric(metric, source, labels, batch)


def _resource_labels(resource: Resource) -> dict[str, str]:
    """Return the labels that each series of ``resource`` gets.

    The labels are the attributes in ``PROMOTED`` and, as in Prometheus, ``job`` and ``instance``.
    ``job`` is the service's namespace and name, joined by a slash. ``instance`` is the attribute
    ``service.instance.id``.
    """
    attributes = {
        key: to_text(value) for key, value in json_attributes(resource.attributes).items()
    }
    job_parts = [
        attributes[key] for key in ("service.namespace", "service.name") if key in attributes
    ]
    labels = {prometheus_label(key): attributes[key] for key in PROMOTED if key in attributes}
    labels["job"] = "/".join(job_parts)
    labels["instance"] = attributes.get("service.instance.id", "")
    return labels


def _decode_metric(metric: Any, source: Source, labels: dict[str, str], batch: Batch) -> None:  # noqa: ANN401  (generated code)
    metric_name = truncate(metric.name, MAX_NAME_IN_REASON)
    metric_type = metric.WhichOneof("data")
    if metric_type is None:
        batch.rejected[f"metric {metric_name}: no data"] += 1
        return
    data = getattr(metric, metric_type)
    if metric_type not in SUPPORTED_TYPES:
        reason = f"{metric_type} {metric_name}: unsupported metric type"
        batch.rejected[reason] += len(data.data_points)
        return
    kind = _kind(metric_type, data)
    shared = _SharedFields(
        source=source,
        name=prometheus_name(metric.name, metric.unit, kind),
        kind=kind,
        is_delta=_is_delta(metric_type, data),
        resource_labels=labels,
    )
    for data_point in data.data_points:
        problem = (
            time_problem("time_unix_nano", data_point.time_unix_nano)
            or _value_problem(data_point, kind)
            or batch.limit_problem()
        )
        if problem:
            batch.rejected[f"data point of {metric_name}: {problem}"] += 1
        else:
            batch.points.append(_point(data_point, shared))


def _kind(metric_type: str, data: Any) -> str:  # noqa: ANN401  (generated code)
    if metric_type == "histogram":
        return "histogram"
    if metric_type == "sum" and data.is_monotonic:
        return "counter"
    return "gauge"


def _is_delta(metric_type: str, data: Any) -> bool:  # noqa: ANN401  (generated code)
    has_temporality = metric_type != "gauge"
    return has_temporality and data.aggregation_temporality == AGGREGATION_TEMPORALITY_DELTA


def _value_problem(data_point: Any, kind: str) -> str:  # noqa: ANN401  (generated code)
    """Return why a data point's value is rejected; an empty string if it is valid."""
    if data_point.flags & DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
        return "no recorded value"
    if kind == "histogram":
        return _histogram_problem(data_point)
    if not math.isfinite(_number(data_point)):
        return "value is NaN or infinite"
    return ""


def _histogram_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    bounds = data_point.explicit_bounds
    if len(bounds) > MAX_BUCKETS:
        return f"over {MAX_BUCKETS} buckets"
    is_consistent = (
        _are_ascending(bounds)
        and _has_matching_counts(data_point)
        and math.isfinite(data_point.sum)
    )
    if is_consistent:
        return ""
    return "inconsistent buckets, bounds, count or sum"


def _are_ascending(bounds: Sequence[float]) -> bool:
    return all(math.isfinite(bound) for bound in bounds) and all(
        lower < upper for lower, upper in pairwise(bounds)
    )


def _has_matching_counts(data_point: Any) -> bool:  # noqa: ANN401  (generated code)
    """Return whether a histogram's buckets match its bounds and its total count.

    For n bounds there must be n + 1 buckets. The counts of the buckets must add up to the total
    count. A histogram without buckets must have no bounds. The total count must be at most
    ``MAX_INTEGER``.
    """
    if data_point.count > MAX_INTEGER:
        return False
    if not data_point.bucket_counts:
        return not data_point.explicit_bounds
    return (
        len(data_point.bucket_counts) == len(data_point.explicit_bounds) + 1
        and sum(data_point.bucket_counts) == data_point.count
    )


def _point(data_point: Any, shared: _SharedFields) -> Point:  # noqa: ANN401  (generated code)
    labels = {
        prometheus_label(key): to_text(value)
        for key, value in json_attributes(data_point.attributes).items()
    }
    labels |= shared.resource_labels
    bounds = "[]"
    count = None
    buckets = None
    if shared.kind == "histogram":
        bounds = to_json(list(data_point.explicit_bounds))
        value = data_point.sum
        count = data_point.count
        # Without bounds, all observations are in the one bucket that has no upper bound.
        buckets = list(data_point.bucket_counts) or [data_point.count]
    else:
        value = _number(data_point)
    return Point(
        source=shared.source,
        name=shared.name,
        kind=shared.kind,
        labels=to_json(dict(sorted(labels.items()))),
        bounds=bounds,
        is_delta=shared.is_delta,
        time=data_point.time_unix_nano,
        start=min(data_point.start_time_unix_nano, data_point.time_unix_nano),
        value=value,
        count=count,
        buckets=buckets,
        exemplars=_exemplars(data_point.exemplars[:MAX_ATTRIBUTES]),
    )


def _number(data_point: Any) -> float:  # noqa: ANN401  (generated code)
    if data_point.WhichOneof("value") == "as_int":
        return float(data_point.as_int)
    return float(data_point.as_double)


def _exemplars(exemplars: Iterable[Any]) -> tuple[tuple[int, bytes, bytes, float], ...]:
    """Return the exemplars that have valid ids, a valid time and a finite value.

    Each becomes a tuple of time (ns since the epoch), trace id, span id and value.
    """
    rows = []
    for exemplar in exemplars:
        value = _number(exemplar)
        is_usable = (
            are_valid_ids(exemplar.trace_id, exemplar.span_id)
            and not time_problem("time_unix_nano", exemplar.time_unix_nano)
            and math.isfinite(value)
        )
        if is_usable:
            rows.append((exemplar.time_unix_nano, exemplar.trace_id, exemplar.span_id, value))
    return tuple(rows)
