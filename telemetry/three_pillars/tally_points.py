"""Derive the request metrics from a tally, in the classes that the SDK hands to exporters."""

from collections.abc import Callable, Hashable, Iterable, Sequence

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from .request_labels import RequestLabels
from .request_tally import LATENCY_BUCKETS, Key, Sample, Series

CUMULATIVE = AggregationTemporality.CUMULATIVE
COUNT_DESCRIPTION = "HTTP requests answered."
DURATION_DESCRIPTION = "Time to the last byte."
STANDARD_DURATION = "http.server.request.duration"

Keyed = Sequence[tuple[Key, Series]]


def metrics(series: Keyed, time_ns: int, collected: int) -> list[Metric]:
    """Return the metrics of all applications in ``series`` at the Unix time ``time_ns``.

    Samples up to the number ``collected`` are no exemplars, because the reader has had them.
    """
    result = []
    for prefix in dict.fromkeys(key.prefix for key, _ in series):
        own = [(key, one) for key, one in series if key.prefix == prefix]
        counted = _merged(own, _counter_name)
        latencies = _merged(own, _latency_name)
        count_points = [
            _count_point(labels.of_counter(), one, time_ns, collected) for labels, one in counted
        ]
        latency_points = [
            _duration_point(labels.of_latency(), one, time_ns, collected)
            for labels, one in latencies
        ]
        counts = Sum(count_points, CUMULATIVE, is_monotonic=True)
        result.append(Metric(f"{prefix}.requests", COUNT_DESCRIPTION, "{request}", counts))
        result.append(_duration_metric(f"{prefix}.request.latency", latency_points))
    durations = _merged(series, _standard_name)
    standard_points = [
        _duration_point(labels.of_standard_duration(), one, time_ns, collected)
        for labels, one in durations
    ]
    if standard_points:
        result.append(_duration_metric(STANDARD_DURATION, standard_points))
    return result


def _counter_name(key: Key) -> Hashable:
    return (key.labels.method, key.labels.endpoint, key.labels.status)


def _latency_name(key: Key) -> Hashable:
    return key.labels.endpoint


def _standard_name(key: Key) -> Hashable:
    return key.labels


def _merged(
    series: Keyed, name: Callable[[Key], Hashable]
) -> Iterable[tuple[RequestLabels, Series]]:
    """Add up the series for which ``name`` is the same.

    Return each sum with the labels of one of its series.
    """
    sums: dict[Hashable, tuple[RequestLabels, Series]] = {}
    for key, one in series:
        _, total = sums.setdefault(name(key), (key.labels, Series(one.started_ns)))
        total.add(one)
    return sums.values()


def _duration_metric(name: str, points: Sequence[HistogramDataPoint]) -> Metric:
    return Metric(name, DURATION_DESCRIPTION, "s", Histogram(points, CUMULATIVE))


def _count_point(
    labels: dict[str, str], series: Series, time_ns: int, collected: int
) -> NumberDataPoint:
    # The SDK would choose one of the new measurements at random; here it is the newest.
    newest = max(_new_samples(series, collected), default=None)
    return NumberDataPoint(
        attributes=labels,
        start_time_unix_nano=series.started_ns,
        time_unix_nano=time_ns,
        value=sum(series.counts),
        exemplars=[_exemplar(newest, 1)] if newest else [],
    )


def _duration_point(
    labels: dict[str, str] | dict[str, str | int], series: Series, time_ns: int, collected: int
) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=labels,
        start_time_unix_nano=series.started_ns,
        time_unix_nano=time_ns,
        count=sum(series.counts),
        sum=series.sum,
        bucket_counts=tuple(series.counts),
        explicit_bounds=LATENCY_BUCKETS,
        min=series.min,
        max=series.max,
        exemplars=[_exemplar(sample, sample.seconds) for sample in _new_samples(series, collected)],
    )


def _new_samples(series: Series, collected: int) -> list[Sample]:
    return [sample for sample in series.newest if sample and sample.number > collected]


def _exemplar(sample: Sample, value: float) -> Exemplar:
    return Exemplar({}, value, sample.time_ns, sample.span_id, sample.trace_id)
