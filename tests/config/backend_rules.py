"""Why a backend would refuse a record, according to its source code and its configuration file.

Loki: ``pkg/distributor/validator.go``, ``pkg/loghttp/push/otlp.go``. Tempo:
``modules/distributor/distributor.go``. Prometheus: ``storage/remote/write_otlp_handler.go`` and
``storage/remote/otlptranslator/``.
"""

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.field.otlp import python_attributes, python_value

LOKI: dict[str, Any] = yaml.safe_load(Path("config/loki.yaml").read_text())["limits_config"]
TEMPO: dict[str, Any] = yaml.safe_load(Path("config/tempo.yaml").read_text())
PROMETHEUS: dict[str, Any] = yaml.safe_load(Path("prometheus.yml").read_text())
LABELS = ("service.name", "service.namespace")
"""The resource attributes that Loki makes labels of."""
FIXED_ENTRIES = 12
"""How many entries of structured metadata Loki makes at most of a record without attributes."""
PROMETHEUS_MAX_AHEAD_S = 600
"""How far in the future a sample may be; a constant in Prometheus."""
MAX_LABEL_BYTES = 2**24
"""The size at which Prometheus cannot encode a label."""
MIN_SCALE = -4
"""The lowest scale of a native histogram."""
TEMPORALITIES = {
    "gauge": None,
    "summary": None,
    "sum": AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
    "histogram": AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
    "exponential_histogram": AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
}


def byte_count(text: str) -> int:
    """Return the number of bytes that a size such as ``256KB`` stands for."""
    units = {"KB": 2**10, "MB": 2**20, "GB": 2**30}
    return int(text[:-2]) * units[text[-2:]]


def seconds(text: str) -> float:
    """Return the number of seconds that a duration such as ``48h`` stands for."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]


def loki_reasons(resource: Resource, scope: InstrumentationScope, record: LogRecord) -> list[str]:
    """Return why Loki would refuse ``record``, or an empty list."""
    attributes = python_attributes(resource.attributes)
    labels = {name: str(attributes.pop(name)) for name in LABELS if name in attributes}
    entries = [
        *leaves(attributes),
        *leaves(python_attributes(scope.attributes)),
        *leaves(python_attributes(record.attributes)),
    ]
    size = sum(len(f"{name}{value}".encode()) for name, value in entries)
    size += len(record.severity_text) + len(record.event_name) + len(scope.name + scope.version)
    line = str(python_value(record.body)).encode()
    age = time.time() - (record.time_unix_nano or record.observed_time_unix_nano) / 1e9
    rules = {
        "too many entries": len(entries) + FIXED_ENTRIES
        > LOKI["max_structured_metadata_entries_count"],
        "entries too large": size > byte_count(LOKI["max_structured_metadata_size"]),
        "invalid name": not all(is_name(name) for name, _ in entries),
        "label too long": any(
            len(value.encode()) > LOKI["max_label_value_length"] for value in labels.values()
        ),
        "label not UTF-8": any("\N{REPLACEMENT CHARACTER}" in value for value in labels.values()),
        "line too long": len(line) > byte_count(LOKI["max_line_size"]),
        "too old": age > seconds(LOKI["reject_old_samples_max_age"]),
        "in the future": -age > seconds(LOKI["creation_grace_period"]),
    }
    return [reason for reason, refused in rules.items() if refused]


def leaves(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each entry that Loki makes of ``attributes``.

    A nested attribute becomes one entry for each leaf, whose name contains those of its parents.
    """
    for name, value in attributes.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{leaf}", text) for leaf, text in leaves(value))
        else:
            yield name, value


def is_name(name: str) -> bool:
    """Return whether something is left of ``name`` in a label name of Prometheus."""
    return re.search("[0-9A-Za-z]", name) is not None


def tempo_reasons(span: Span) -> list[str]:
    """Return why Tempo would refuse ``span``, or cut it without a mark; or an empty list."""
    limit = TEMPO["distributor"]["max_attribute_bytes"]
    texts = [
        attribute.value.string_value
        for attributes in (span.attributes, *(event.attributes for event in span.events))
        for attribute in attributes
    ]
    rules = {
        "invalid trace id": not any(span.trace_id),
        "invalid span id": not any(span.span_id),
        "attribute cut": any(len(text.encode()) > limit for text in texts),
    }
    return [reason for reason, refused in rules.items() if refused]


def prometheus_reasons(resource: Resource, metric: Metric) -> list[str]:
    """Return why Prometheus would refuse the request that contains ``metric``, or an empty list."""
    kind = metric.WhichOneof("data")
    if kind is None:
        return ["no data"]
    data = getattr(metric, kind)
    window = seconds(PROMETHEUS["storage"]["tsdb"]["out_of_order_time_window"])
    reasons = [] if data.data_points else ["no points"]
    if getattr(data, "aggregation_temporality", None) != TEMPORALITIES[kind]:
        reasons.append("temporality")
    if not is_name(metric.name) or len(metric.name) + len(metric.unit) >= MAX_LABEL_BYTES:
        reasons.append("invalid name")
    for point in data.data_points:
        attributes = {
            **python_attributes(resource.attributes),
            **python_attributes(point.attributes),
        }
        age = time.time() - point.time_unix_nano / 1e9
        exemplars = getattr(point, "exemplars", ())
        rules = {
            "invalid label": not all(is_name(name) for name in attributes),
            "label too long": any(
                len(str(value)) >= MAX_LABEL_BYTES for value in attributes.values()
            ),
            "too old": age > window,
            "in the future": -age > PROMETHEUS_MAX_AHEAD_S,
            "scale": getattr(point, "scale", math.inf) < MIN_SCALE,
            "exemplar without value": not all(
                exemplar.WhichOneof("value") for exemplar in exemplars
            ),
        }
        reasons += [reason for reason, refused in rules.items() if refused]
    return reasons
