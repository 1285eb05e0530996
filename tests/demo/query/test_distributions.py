"""Tests that exponential histograms and summaries are kept, and answer as explicit ones do."""

import math
import random
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    Summary,
    SummaryDataPoint,
)

from tests.demo.local_store.messages import (
    CUMULATIVE,
    DELTA,
    NANO,
    attributes,
    exemplar,
    gauge,
    metric_request,
    number_point,
)
from tests.demo.local_store.stores import InMemoryStore
from tests.demo.query.test_local import DURATION, run
from three_pillar_demo.local_store.otlp.exponential import MAX_MERGED_BUCKETS, Exponential
from three_pillar_demo.query import interface

START = time.time_ns() - 100 * NANO
LABELS = attributes(http__route="/a", http__response__status_code=200)
Buckets = ExponentialHistogramDataPoint.Buckets
QUANTILES = (0.1, 0.5, 0.9, 0.99)


@pytest.fixture(autouse=True)
def recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set ``START`` anew for each test, because this module may have been imported long before."""
    monkeypatch.setattr(sys.modules[__name__], "START", time.time_ns() - 100 * NANO)


def buckets_of(values: Sequence[float], scale: int) -> Buckets:
    """Return the buckets that count ``values``, which are all positive, as protobuf's fields."""
    indexes = [math.ceil(math.log2(value) * 2.0**scale) - 1 for value in values]
    if not indexes:
        return Buckets()
    counts = [indexes.count(index) for index in range(min(indexes), max(indexes) + 1)]
    return Buckets(offset=min(indexes), bucket_counts=counts)


def point(
    values: Sequence[float],
    second: int,
    *,
    scale: int = 4,
    since: int = 0,
    labels: Sequence[KeyValue] = LABELS,
    **fields: Any,  # noqa: ANN401  (any field)
) -> ExponentialHistogramDataPoint:
    """Return a point that observed ``values``, at ``second`` seconds after ``START``.

    It counts since ``since`` seconds after ``START``.
    """
    return ExponentialHistogramDataPoint(
        time_unix_nano=START + second * NANO,
        start_time_unix_nano=START + since * NANO,
        attributes=labels,
        count=len(values),
        sum=sum(values),
        min=min(values),
        max=max(values),
        scale=scale,
        zero_count=sum(value == 0 for value in values),
        positive=buckets_of([value for value in values if value > 0], scale),
        negative=buckets_of([-value for value in values if value < 0], scale),
        **fields,
    )


def send(
    in_memory_store: InMemoryStore,
    *points: ExponentialHistogramDataPoint,
    temporality: int = CUMULATIVE,
) -> None:
    """Send points of the histogram of request durations; all of them must be stored."""
    data = ExponentialHistogram(data_points=points, aggregation_temporality=temporality)  # type: ignore[arg-type]
    metric = Metric(name=DURATION, unit="s", exponential_histogram=data)
    response = in_memory_store.send("metrics", metric_request(metric))
    assert (response.status_code, response.content) == (200, b"")


def sample(in_memory_store: InMemoryStore, second: int) -> interface.RedSample:
    """Return the rate and the quantiles over all of the history until ``second``."""
    at = START / NANO + second + 0.001  # seconds as floats are not exact to the nanosecond
    [result] = run(
        in_memory_store.path,
        lambda backends: backends.red(
            "checkout", "/a", at, at, window=second + 1.0, quantiles=QUANTILES
        ),
    )
    answer: interface.RedSample = result
    return answer


def counters_of(
    in_memory_store: InMemoryStore, name: str, *by: str
) -> dict[tuple[str, ...], float]:
    """Return the current values of a metric by labels, read through the query interface."""
    values: dict[tuple[str, ...], float]
    values = run(in_memory_store.path, lambda backends: backends.counters(name, by))
    return values


def durations(count: int, seed: int = 1) -> list[float]:
    """Return durations in seconds, from some milliseconds to some seconds."""
    chance = random.Random(seed)  # noqa: S311  (no secret)
    return [chance.lognormvariate(-2, 1) for _ in range(count)]


def assert_quantiles(answer: interface.RedSample, values: Sequence[float], scale: int) -> None:
    """Assert that each quantile is that of ``values``, within the width of two buckets.

    One width is that of the bucket; the other one is for the extrapolation of the rates.
    """
    factor = 2.0 ** (2 * 2.0**-scale)
    ordered = sorted(values)
    for quantile, result in zip(QUANTILES, answer.quantiles, strict=True):
        exact = ordered[math.ceil(quantile * len(ordered)) - 1]
        assert result is not None
        assert exact / factor <= result <= exact * factor


def test_a_cumulative_histogram_has_rate_and_quantiles(in_memory_store: InMemoryStore) -> None:
    """The rate, the count, the sum and the quantiles are those of the observations."""
    values = durations(400)
    send(in_memory_store, point(values[:200], 30), point(values, 60))
    answer = sample(in_memory_store, 60)
    assert answer.rate == pytest.approx(400 / 61, rel=0.02)
    assert_quantiles(answer, values, 4)
    for suffix, total in (("_count", 400), ("_sum", sum(values))):
        counters = counters_of(in_memory_store, interface.DURATION + suffix, "http_route")
        assert counters == {("/a",): pytest.approx(total)}
    stored = in_memory_store.rows("SELECT kind, min, max FROM points ORDER BY time")
    assert stored[-1] == ("exponential_histogram", min(values), max(values))


def test_the_scale_may_change(in_memory_store: InMemoryStore) -> None:
    """Points of one series with different scales are merged at the lower one."""
    values = durations(300)
    for second, scale in ((20, 5), (40, 4), (60, 3)):
        send(in_memory_store, point(values[: 5 * second], second, scale=scale))
    assert_quantiles(sample(in_memory_store, 60), values, 3)
    stored = in_memory_store.rows("SELECT buckets ->> 'scale' FROM point ORDER BY time")
    assert stored == [(5,), (4,), (3,)]


def test_few_buckets_are_read_at_the_scale_of_the_values(in_memory_store: InMemoryStore) -> None:
    """Points of different scales keep the precision of the lowest scale among them."""
    values = [0.9] * 100 + [1.1] * 100
    for second, scale in ((30, 10), (60, 7)):
        send(in_memory_store, point(values, second, scale=scale))
    quantiles = sample(in_memory_store, 60).quantiles
    assert quantiles[0] == pytest.approx(0.9, rel=0.01)
    assert quantiles[3] == pytest.approx(1.1, rel=0.01)


def test_delta_histograms_are_added(in_memory_store: InMemoryStore) -> None:
    """Delta points with different scales are added, with their minimum and maximum."""
    values = durations(300)
    for number, scale in enumerate((6, 3, 5)):
        part = values[100 * number : 100 * number + 100]
        delta = point(part, 20 * number + 20, scale=scale, since=20 * number)
        send(in_memory_store, delta, temporality=DELTA)
    assert_quantiles(sample(in_memory_store, 60), values, 3)
    [row] = in_memory_store.rows(
        "SELECT count, value, min, max FROM points ORDER BY time DESC LIMIT 1"
    )
    assert row == (300, pytest.approx(sum(values)), min(values), max(values))


def test_zero_and_negative_values_count(in_memory_store: InMemoryStore) -> None:
    """Quantiles are right among negative values, zeros and positive values."""
    values = [-4.0] * 20 + [-0.3] * 20 + [0.0] * 20 + [0.2] * 20 + [3.0] * 20
    send(in_memory_store, point(values, 60, zero_threshold=1e-6))
    results = sample(in_memory_store, 60).quantiles
    assert results[0] == pytest.approx(-4, rel=0.1)
    assert results[1] == pytest.approx(0, abs=1e-5)
    assert results[2] == pytest.approx(3, rel=0.1)


def test_a_wide_range_of_values_is_bounded(in_memory_store: InMemoryStore) -> None:
    """From the smallest to the largest number, all observations are in at most 320 buckets."""
    for number in range(40):
        values = [2.0 ** (50 * number - 1000)]
        send(
            in_memory_store,
            point(values, number + 1, scale=20, since=number),
            temporality=DELTA,
        )
    rows = in_memory_store.rows("SELECT buckets FROM point ORDER BY time")
    newest = Exponential.from_json(rows[-1][0])
    assert sum(newest.positive.values()) == 40
    assert max(newest.positive) - min(newest.positive) < MAX_MERGED_BUCKETS
    assert sample(in_memory_store, 60).quantiles[1] is not None


def test_a_larger_zero_bucket_absorbs_smaller_values(in_memory_store: InMemoryStore) -> None:
    """Observations below the threshold of a later delta point are counted in its zero bucket."""
    first = point([0.01] * 5 + [3.0] * 5, 10)
    second = point([0.0] * 5 + [5.0] * 5, 20, since=10, zero_threshold=0.1)
    send(in_memory_store, first, second, temporality=DELTA)
    [*_, (newest,)] = in_memory_store.rows("SELECT buckets FROM point ORDER BY time")
    merged = Exponential.from_json(newest)
    assert (merged.zero_count, sum(merged.positive.values())) == (10, 10)
    assert merged.threshold >= 0.1


@pytest.mark.parametrize("scale", range(-10, 21))
def test_the_smallest_and_largest_numbers_are_accepted(
    in_memory_store: InMemoryStore, scale: int
) -> None:
    """At every scale, the buckets of the first and the last double are stored and can be read."""
    buckets = {
        value: ExponentialHistogramDataPoint.Buckets(
            offset=math.ceil(math.log2(value) * 2.0**scale) - 1, bucket_counts=[1, 0]
        )
        for value in (5e-324, 2.0**-1022, sys.float_info.max)
    }
    for number, bucket in enumerate(buckets.values()):
        for sign in ("positive", "negative"):
            extreme = point([1.0], 10)
            extreme.attributes.extend(attributes(number=number, sign=sign))
            extreme.scale = scale
            extreme.ClearField("positive")
            getattr(extreme, sign).CopyFrom(bucket)
            send(in_memory_store, extreme)
    assert in_memory_store.rows("SELECT count(*) FROM point") == [(6,)]
    answer = sample(in_memory_store, 10)
    assert all(quantile is not None and math.isfinite(quantile) for quantile in answer.quantiles)


@pytest.mark.parametrize(
    ("scale", "offset"), [(0, -1076), (4, -1075 * 16 - 1), (0, 1024), (-10, 1)]
)
def test_buckets_of_no_number_are_rejected(
    in_memory_store: InMemoryStore, scale: int, offset: int
) -> None:
    """A count in a bucket that is below or above all doubles is rejected by name."""
    outside = point([1.0], 10)
    outside.scale = scale
    outside.positive.offset = offset
    data = ExponentialHistogram(data_points=[outside])
    metric = Metric(name=DURATION, unit="s", exponential_histogram=data)
    response = in_memory_store.send("metrics", metric_request(metric))
    assert b"offset outside the range of numbers" in response.content


@pytest.mark.parametrize(
    "threshold", [5e-324, 1e-300, 1.0, 1e300, 1e308, sys.float_info.max], ids=str
)
@pytest.mark.parametrize("scale", [-10, -3, 0, 8, 20])
def test_no_threshold_breaks_the_sum(
    in_memory_store: InMemoryStore, scale: int, threshold: float
) -> None:
    """Delta points with the smallest and the largest thresholds are added, at every scale."""
    value = sys.float_info.max
    for second in (10, 20):
        delta = point([value], second, scale=0, since=second - 10, zero_threshold=threshold)
        delta.sum = 1.0
        delta.scale = scale
        delta.positive.offset = (1023 << scale) if scale > 0 else (1023 >> -scale)
        send(in_memory_store, delta, temporality=DELTA)
    [(buckets, count)] = in_memory_store.rows(
        "SELECT buckets, count FROM point ORDER BY time DESC LIMIT 1"
    )
    total = Exponential.from_json(buckets)
    assert count == 2
    assert total.zero_count + sum(total.positive.values()) == 2
    assert math.isfinite(total.threshold)


def test_exemplars_are_kept(in_memory_store: InMemoryStore) -> None:
    """Exemplars of an exponential histogram can be read with the labels of the histogram."""
    exemplars = [exemplar(b"t" * 16, 0.4, at=START + NANO)]
    send(in_memory_store, point([0.4], 10, exemplars=exemplars))
    [stored] = run(in_memory_store.path, lambda backends: backends.exemplars(0, START / NANO + 100))
    assert (stored.trace_id, stored.value) == ((b"t" * 16).hex(), 0.4)
    assert (stored.labels["http_route"], stored.labels["__name__"]) == ("/a", interface.DURATION)
    assert "le" not in stored.labels


@pytest.mark.parametrize("empty_first", [False, True])
def test_an_empty_interval_keeps_the_sum(
    in_memory_store: InMemoryStore,
    empty_first: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """An interval without observations takes nothing from the sum and the extremes."""
    observed = [point([1.0, 4.0], 10), point([2.0, 7.0], 30, since=20)]
    empty = point([1.0], 20, since=10)
    for field in ("count", "sum", "min", "max", "positive"):
        empty.ClearField(field)
    if empty_first:
        empty.time_unix_nano = START + NANO
    points = [empty, *observed] if empty_first else [observed[0], empty, observed[1]]
    for delta in points:
        send(in_memory_store, delta, temporality=DELTA)
    rows = in_memory_store.rows("SELECT value, count, min, max FROM point ORDER BY time")
    assert rows[-1] == (14.0, 4, 1.0, 7.0)
    assert rows[0] == ((None, 0, None, None) if empty_first else (5.0, 2, 1.0, 4.0))


def test_an_absent_sum_is_absent(in_memory_store: InMemoryStore) -> None:
    """A histogram without a sum, as one with negative values has none, keeps its count alone."""
    without_sum = point([-1.0, 1.0], 90)
    without_sum.ClearField("sum")
    without_sum.ClearField("min")
    send(in_memory_store, without_sum)
    rows = in_memory_store.rows("SELECT value, count, min, max FROM point")
    assert rows == [(None, 2, None, 1.0)]
    assert counters_of(in_memory_store, f"{interface.DURATION}_sum") == {}


def test_a_summary_has_quantiles_sum_and_count(in_memory_store: InMemoryStore) -> None:
    """The quantiles, the sum and the count of a summary are those that were sent."""
    summary_point = SummaryDataPoint(
        time_unix_nano=START + 90 * NANO,
        start_time_unix_nano=START,
        attributes=LABELS,
        count=7,
        sum=3.5,
        quantile_values=[
            SummaryDataPoint.ValueAtQuantile(quantile=0.5, value=0.4),
            SummaryDataPoint.ValueAtQuantile(quantile=0.99, value=1.5),
            SummaryDataPoint.ValueAtQuantile(quantile=1.0, value=math.nan),
        ],
    )
    metric = Metric(name="rpc.wait", unit="s", summary=Summary(data_points=[summary_point]))
    response = in_memory_store.send("metrics", metric_request(metric))
    assert (response.status_code, response.content) == (200, b"")
    expected = {
        "rpc_wait_seconds": {("/a", "0.5"): 0.4, ("/a", "0.99"): 1.5},
        "rpc_wait_seconds_sum": {("/a", ""): 3.5},
        "rpc_wait_seconds_count": {("/a", ""): 7.0},
    }
    for name, values in expected.items():
        assert counters_of(in_memory_store, name, "http_route", "quantile") == values


def test_a_gauge_may_be_called_count(in_memory_store: InMemoryStore) -> None:
    """A metric whose own name ends in ``_count`` is found by its name."""
    in_memory_store.send("metrics", metric_request(gauge("thread.count", number_point(12))))
    assert counters_of(in_memory_store, "thread_count") == {(): 12.0}
