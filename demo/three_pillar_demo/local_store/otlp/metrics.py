"""Decodes the data points of an OTLP export request into ``Point`` objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from three_pillar_demo.local_store.otlp import points
from three_pillar_demo.local_store.otlp.batch import Batch, Instrument, Point
from three_pillar_demo.local_store.otlp.identity import StreamIdentity
from three_pillar_demo.local_store.values import (
    prometheus_label,
    prometheus_name,
    redacted_text,
    short_name,
    shown_text,
    stored_attributes,
    to_json,
    to_text,
    truncate,
)

PROMOTED = ("service.name", "service.namespace", "deployment.environment.name")
"""The resource attributes that become labels of each series, as configured in prometheus.yml."""
MAX_DESCRIPTION = 1024
"""The maximum length, in characters, of an instrument's description; a longer one is cut."""
MAX_UNIT = 63
"""The maximum length, in characters, of a unit, as OpenTelemetry has it; a longer one is cut."""


@dataclass(frozen=True)
class _SharedFields:
    """The fields of ``Point`` that all data points of one metric share."""

    identity: StreamIdentity
    name: str
    kind: str
    is_delta: bool
    resource_labels: dict[str, str]
    instrument: Instrument


def decode(request: Any, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    """Decode an ``ExportMetricsServiceRequest`` into ``batch``.

    Each valid data point is added to ``batch``; each invalid one is counted there as rejected.
    """
    for resource_metrics in request.resource_metrics:
        resource = resource_metrics.resource
        labels = _resource_labels(resource, batch)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                if metric.WhichOneof("data") is None:
                    metric_name = shown_text(metric.name)
                    batch.reject(f"metric {metric_name}: no data")
                    continue
                kind = _kind(metric)
                shared = _SharedFields(
                    StreamIdentity(resource, scope_metrics.scope, metric, kind),
                    name=prometheus_name(metric.name, metric.unit, kind),
                    kind=kind,
                    is_delta=_is_delta(metric),
                    resource_labels=labels,
                    instrument=_instrument(metric, kind),
                )
                _decode_points(metric, shared, batch)


def _resource_labels(resource: Resource, batch: Batch) -> dict[str, str]:
    """Return the labels that each series of ``resource`` gets.

    The labels are the attributes in ``PROMOTED`` and, as in Prometheus, ``job`` and ``instance``.
    ``job`` is the service's namespace and name, joined by a slash. ``instance`` is the attribute
    ``service.instance.id``.
    """
    attributes = {
        key: to_text(value)
        for key, value in stored_attributes(resource.attributes, batch).items()
        if value is not None
    }
    job_parts = [
        attributes[key] for key in ("service.namespace", "service.name") if key in attributes
    ]
    labels = {prometheus_label(key): attributes[key] for key in PROMOTED if key in attributes}
    labels["job"] = "/".join(job_parts)
    labels["instance"] = attributes.get("service.instance.id", "")
    return labels


def _kind(metric: Any) -> str:  # noqa: ANN401  (generated code)
    metric_type: str = metric.WhichOneof("data")
    if metric_type != "sum":
        return metric_type
    return "counter" if metric.sum.is_monotonic else "gauge"


def _instrument(metric: Any, kind: str) -> Instrument:  # noqa: ANN401  (generated code)
    is_up_down = kind == "gauge" and metric.WhichOneof("data") == "sum"
    return Instrument(
        name=redacted_text(short_name(metric.name)),
        kind="up_down_counter" if is_up_down else kind,
        unit=truncate(redacted_text(metric.unit), MAX_UNIT),
        description=truncate(redacted_text(metric.description), MAX_DESCRIPTION),
    )


def _is_delta(metric: Any) -> bool:  # noqa: ANN401  (generated code)
    data = getattr(metric, metric.WhichOneof("data"))
    temporality = getattr(data, "aggregation_temporality", 0)
    return bool(temporality == AGGREGATION_TEMPORALITY_DELTA)


def _decode_points(metric: Any, shared: _SharedFields, batch: Batch) -> None:  # noqa: ANN401  (generated code)
    metric_type = metric.WhichOneof("data")
    for data_point in getattr(metric, metric_type).data_points:
        problem = points.problem(data_point, metric_type) or batch.limit_problem()
        if problem:
            metric_name = shown_text(metric.name)
            batch.reject(f"data point of {metric_name}: {problem}")
        else:
            batch.points.append(_point(data_point, metric_type, shared, batch))


def _point(data_point: Any, metric_type: str, shared: _SharedFields, batch: Batch) -> Point:  # noqa: ANN401  (generated code)
    values = points.values(data_point, metric_type)
    labels = _labels(data_point.attributes, batch) | shared.resource_labels
    return Point(
        identity=shared.identity.of(data_point, values.get("bounds", "")),
        name=shared.name,
        kind=shared.kind,
        labels=to_json(dict(sorted(labels.items()))),
        is_delta=shared.is_delta,
        time=data_point.time_unix_nano,
        start=min(data_point.start_time_unix_nano, data_point.time_unix_nano),
        exemplars=() if metric_type == "summary" else points.exemplars(data_point, batch),
        instrument=shared.instrument,
        **values,
    )


def _labels(attributes: Sequence[KeyValue], batch: Batch) -> dict[str, str]:
    """Return attributes as labels; an attribute without a value is no label.

    As in Prometheus, the values of attributes that become the same label are joined by semicolons,
    in the order of the attributes' names.
    """
    labels: dict[str, str] = {}
    for key, value in sorted(stored_attributes(attributes, batch).items()):
        if value is None:
            continue
        name = prometheus_label(key)
        text = to_text(value)
        labels[name] = f"{labels[name]};{text}" if name in labels else text
    return labels
