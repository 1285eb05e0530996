"""Converts the data points of each metric type to the values of a ``Point``, after checking them.

A value that the sender left out is None, never 0.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from opentelemetry.proto.metrics.v1.metrics_pb2 import DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK

from three_pillar_demo.local_store.otlp import exponential
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.otlp.checks import (
    MAX_INTEGER,
    MAX_POINT_AGE_HOURS,
    are_valid_ids,
    time_problem,
)
from three_pillar_demo.local_store.otlp.exponential import MAX_BUCKETS
from three_pillar_demo.local_store.values import MAX_ATTRIBUTES, to_json

MAX_QUANTILES = 500
NUMBER_TYPES = {"sum", "gauge"}


def problem(data_point: Any, metric_type: str) -> str:  # noqa: ANN401  (generated code)
    """Return why a data point is rejected; an empty string if it is valid."""
    reason = time_problem("time_unix_nano", data_point.time_unix_nano, MAX_POINT_AGE_HOURS)
    if reason:
        return reason
    if data_point.flags & DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
        return "no recorded value"
    return VALUE_PROBLEMS[metric_type](data_point)


def values(data_point: Any, metric_type: str) -> dict[str, Any]:  # noqa: ANN401  (generated code)
    """Return the fields of a ``Point`` that contain the values of a valid data point."""
    if metric_type in NUMBER_TYPES:
        return {"value": number(data_point)}
    if metric_type == "summary":
        quantiles = [
            (quantile.quantile, _finite(quantile.value)) for quantile in data_point.quantile_values
        ]
        return {"value": _finite(data_point.sum), "count": data_point.count, "quantiles": quantiles}
    fields = {
        "value": data_point.sum if data_point.HasField("sum") else None,
        "count": data_point.count,
        "minimum": _finite(data_point.min) if data_point.HasField("min") else None,
        "maximum": _finite(data_point.max) if data_point.HasField("max") else None,
    }
    if metric_type == "exponential_histogram":
        return {**fields, "buckets": exponential.of_point(data_point)}
    return {
        **fields,
        "bounds": to_json(list(data_point.explicit_bounds)),
        # Without bounds, all observations are in the one bucket that has no upper bound.
        "buckets": list(data_point.bucket_counts) or [data_point.count],
    }


def number(owner: Any) -> float | None:  # noqa: ANN401  (generated code)
    """Return the value of a ``NumberDataPoint`` or an ``Exemplar``; None if it has none."""
    match owner.WhichOneof("value"):
        case "as_int":
            return float(owner.as_int)
        case "as_double":
            return float(owner.as_double)
    return None


def exemplars(
    data_point: Any,  # noqa: ANN401  (generated code)
    batch: Batch,
) -> tuple[tuple[int, bytes, bytes, float], ...]:
    """Return the exemplars of a data point: time (ns since the epoch), trace id, span id, value.

    Both ids are empty if they are missing or invalid. An exemplar that cannot be stored is counted
    in ``batch`` by its reason.
    """
    rows = []
    for exemplar in data_point.exemplars[:MAX_ATTRIBUTES]:
        value = number(exemplar)
        reason = time_problem("time_unix_nano", exemplar.time_unix_nano, MAX_POINT_AGE_HOURS)
        if not reason:
            reason = _exemplar_problem(value)
        if reason or value is None:
            batch.warn(f"exemplar: {reason}")
            continue
        ids = (b"", b"")
        if are_valid_ids(exemplar.trace_id, exemplar.span_id):
            ids = (exemplar.trace_id, exemplar.span_id)
        rows.append((exemplar.time_unix_nano, *ids, value))
    if len(data_point.exemplars) > MAX_ATTRIBUTES:
        batch.warn(
            f"exemplar: over {MAX_ATTRIBUTES} in one data point",
            len(data_point.exemplars) - MAX_ATTRIBUTES,
        )
    return tuple(rows)


def _exemplar_problem(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "no finite value"
    return ""


def _number_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    value = number(data_point)
    if value is None:
        return "no value"
    if not math.isfinite(value):
        return "value is NaN or infinite"
    return ""


def _total_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    if data_point.count > MAX_INTEGER or not math.isfinite(data_point.sum):
        return "inconsistent buckets, bounds, count or sum"
    return ""


def _exponential_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    return _total_problem(data_point) or exponential.problem(data_point)


def _histogram_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    bounds = data_point.explicit_bounds
    if _total_problem(data_point):
        return _total_problem(data_point)
    if len(bounds) > MAX_BUCKETS:
        return f"over {MAX_BUCKETS} buckets"
    if _are_ascending(bounds) and _has_matching_counts(data_point):
        return ""
    return "inconsistent buckets, bounds, count or sum"


def _are_ascending(bounds: Sequence[float]) -> bool:
    return all(math.isfinite(bound) for bound in bounds) and all(
        lower < upper for lower, upper in pairwise(bounds)
    )


def _has_matching_counts(data_point: Any) -> bool:  # noqa: ANN401  (generated code)
    """Return whether a histogram's buckets match its bounds and its total count.

    For n bounds there must be n + 1 buckets. The counts of the buckets must add up to the total
    count. A histogram without buckets must have no bounds.
    """
    if not data_point.bucket_counts:
        return not data_point.explicit_bounds
    return (
        len(data_point.bucket_counts) == len(data_point.explicit_bounds) + 1
        and sum(data_point.bucket_counts) == data_point.count
    )


def _summary_problem(data_point: Any) -> str:  # noqa: ANN401  (generated code)
    # A sum that is no number is absent.
    if data_point.count > MAX_INTEGER or math.isinf(data_point.sum):
        return "count or sum out of range"
    if len(data_point.quantile_values) > MAX_QUANTILES:
        return f"over {MAX_QUANTILES} quantiles"
    quantiles = [quantile.quantile for quantile in data_point.quantile_values]
    if all(0 <= quantile <= 1 for quantile in quantiles) and _are_ascending(sorted(quantiles)):
        return ""
    return "quantiles repeated or outside 0 to 1"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


VALUE_PROBLEMS: Mapping[str, Callable[[Any], str]] = {
    "sum": _number_problem,
    "gauge": _number_problem,
    "histogram": _histogram_problem,
    "exponential_histogram": _exponential_problem,
    "summary": _summary_problem,
}
"""The functions that return why the values of a data point are rejected, by metric type."""
