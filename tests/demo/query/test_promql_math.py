"""Tests of ``promql_math``, by hand-computed values and by Prometheus' own program promtool."""

import json
import math
import random
import subprocess
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml

from three_pillar_demo.query.interface import NANO, RedSample
from three_pillar_demo.query.promql_math import (
    CounterSeries,
    Steps,
    histogram_quantile,
    red_samples,
)

INTERVAL_S = 10.0
INFINITY = math.inf
BOUNDS = [0.1, 0.5, 1.0]
TOLERANCE = "1e-12"
"""The absolute difference below which two values count as equal, despite rounding."""

BucketCounts = list[int]
"""The number of observations in each bucket at one time, not cumulative over buckets."""


@pytest.mark.parametrize(
    ("times", "values", "end", "window", "rate"),
    [
        # The point at the left edge is outside. (40 - 20) in 60 s, extrapolated by 30 s to it.
        pytest.param([0, 30, 60, 90], [10, 20, 30, 40], 90, 90, 30 / 90, id="to the left edge"),
        # 60 s are sampled at intervals of 30 s. Both edges, 20 s and 10 s away, are nearer than
        # 33 s.
        pytest.param([20, 50, 80], [20, 30, 40], 90, 90, 20 * 90 / 60 / 90, id="both edges near"),
        # The start is 70 s away, over 1.1 * 10 s: half an interval. The end is 10 s away.
        pytest.param([80, 90], [20, 30], 100, 100, 10 * (10 + 5 + 10) / 10 / 100, id="start far"),
        # The end is 60 s away: half an interval.
        pytest.param(
            [10, 20, 30], [50, 60, 70], 90, 90, 20 * (20 + 10 + 5) / 20 / 90, id="end far"
        ),
        # The counter would have been zero 10 s before its first point: 10 s, not 15.
        pytest.param(
            [15, 30, 45], [10, 25, 40], 60, 60, 30 * (30 + 10 + 15) / 30 / 60, id="not below zero"
        ),
        # 20, 30, a reset, 5 and 15 are an increase of 10 + 5 + 10.
        pytest.param([10, 20, 30, 40], [20, 30, 5, 15], 40, 40, 25 * 40 / 30 / 40, id="reset"),
        pytest.param([10, 20, 30], [7, 7, 7], 30, 30, 0.0, id="no increase"),
        pytest.param([10], [7], 30, 30, None, id="one point"),
        pytest.param([0, 10], [7, 9], 30, 20, None, id="none inside"),
        pytest.param([0, 10, 20], [7, 9, 10], 20, 20, 1 * 20 / 10 / 20, id="left edge outside"),
        pytest.param(
            [10, 20, 50], [7, 9, 99], 30, 30, 2 * (10 + 10 + 10) / 10 / 30, id="none after the end"
        ),
        pytest.param([], [], 30, 30, None, id="no points"),
    ],
)
def test_rate_follows_prometheus_rules(
    times: list[float], values: list[float], end: float, window: float, rate: float | None
) -> None:
    """Rates follow Prometheus' rules on extrapolation, counter resets and the window's edges."""
    expected = None if rate is None else pytest.approx(rate)
    assert CounterSeries(times, values).rate(end, window) == expected


@pytest.mark.parametrize(
    ("zero_time", "rate"),
    [
        # Zero at 5: 6 events in 25 s, extrapolated by half an average interval (12.5 s) to the end
        # and not to the start.
        pytest.param(5.0, 6 * (25 + 6.25) / 25 / 60, id="in the window"),
        pytest.param(0.0, 6 * (30 + 7.5) / 30 / 60, id="at the edge of the window"),
        # Two points, 4 events: half an interval (15 s) to the end, and back to the zero.
        pytest.param(-40.0, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="before the window"),
        pytest.param(15.0, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="not before the first point"),
        pytest.param(None, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="not the first point"),
    ],
)
def test_a_series_that_begins_in_the_window_counts_from_zero(
    zero_time: float | None, rate: float
) -> None:
    """The first event of a new series is in the rate, earlier events of an old one are not."""
    assert CounterSeries([15, 30], [2, 6], zero_time).rate(60, 60) == pytest.approx(rate)


def test_the_only_point_of_a_new_series_is_a_rate() -> None:
    """A single point of a series that begins in the window is enough for a rate."""
    assert CounterSeries([50], [1], 49).rate(60, 60) == pytest.approx(1 * (1 + 0.5) / 1 / 60)


@pytest.mark.parametrize(
    ("quantile", "buckets", "value"),
    [
        # 5 of 10 are up to 0.1, 9 up to 1: the eighth is three quarters between the bounds.
        pytest.param(
            0.8, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.1 + 0.9 * 3 / 4, id="between two bounds"
        ),
        pytest.param(0.25, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.05, id="first bucket begins at zero"),
        pytest.param(0.5, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.1, id="on a bound"),
        pytest.param(0.95, {0.1: 5, 1.0: 9, INFINITY: 10}, 1.0, id="beyond the last bound"),
        pytest.param(0.5, {-1.0: 5, 1.0: 9, INFINITY: 9}, -1.0, id="first bound negative"),
        pytest.param(0.5, {0.1: 0, 1.0: 0, INFINITY: 4}, 1.0, id="all beyond"),
        pytest.param(
            0.5, {0.1: 0, 1.0: 4, INFINITY: 4}, 0.1 + 0.9 * 2 / 4, id="first bucket empty"
        ),
        # In a sum over series with different bounds: 4 up to 0.5 are also 4 up to 1.
        pytest.param(0.5, {0.5: 4, 1.0: 3, INFINITY: 8}, 0.5, id="not monotonic"),
        pytest.param(0.5, {0.1: 0, INFINITY: 0}, None, id="no observations"),
        pytest.param(0.5, {INFINITY: 4}, None, id="no bounds"),
        pytest.param(0.5, {0.1: 4}, None, id="no infinite bucket"),
        pytest.param(0.5, {}, None, id="no buckets"),
        pytest.param(0.0, {0.1: 0, 1.0: 4, INFINITY: 4}, None, id="zero, first bucket empty"),
        pytest.param(1.0, {0.1: 4, 1.0: 4, INFINITY: 4}, 0.1, id="one"),
    ],
)
def test_histogram_quantile_follows_prometheus_rules(
    quantile: float, buckets: dict[float, float], value: float | None
) -> None:
    """Quantiles are interpolated as in Prometheus, with None where Prometheus has NaN."""
    expected = None if value is None else pytest.approx(value)
    assert histogram_quantile(quantile, buckets) == expected


def rows(
    series_id: int,
    status: str,
    points: list[tuple[float, BucketCounts]],
    born: float = -1.0,
    start: float = -1.0,
) -> list[Any]:
    """Return the rows of ``SELECT_HISTOGRAM_POINTS`` for one series.

    ``points`` are pairs of time and bucket counts. All times are in seconds.
    """
    labels = json.dumps({"http_response_status_code": status})
    return [
        (
            series_id,
            labels,
            json.dumps(BOUNDS),
            int(born * NANO),
            int(point_time * NANO),
            int(start * NANO),
            sum(counts),
            json.dumps(counts),
        )
        for point_time, counts in points
    ]


def test_red_adds_up_the_series_of_a_route() -> None:
    """Rates add up over series, errors are the share of 5xx, and quantiles use all buckets."""
    good = rows(1, "200", [(10, [0, 0, 0, 0]), (20, [3, 0, 0, 0]), (30, [6, 0, 0, 0])])
    bad = rows(2, "504", [(10, [0, 0, 0, 0]), (20, [0, 1, 0, 0]), (30, [0, 2, 0, 0])])
    [sample] = red_samples([*good, *bad], Steps(30, 30, 5, 30), (0.5, 0.95))
    # Both series are zero at 10, so nothing lies before: 8 events in a window of 30 s.
    assert sample.rate == pytest.approx(8 / 30)
    assert sample.errors == pytest.approx(0.25)
    assert list(sample.quantiles) == pytest.approx([0.1 * 4 / 6, 0.1 + 0.4 * (7.6 - 6) / 2])


def test_red_without_points_is_unknown() -> None:
    """Without points, rate, errors and quantiles are None at every step."""
    samples = red_samples([], Steps(0, 10, 5, 60), (0.5,))
    assert samples == [RedSample(time, None, None, (None,)) for time in (0, 5, 10)]


def test_red_without_events_is_a_rate_of_zero() -> None:
    """With points but no new requests, the rate is 0, and errors and quantiles are None."""
    idle = rows(1, "200", [(10, [1, 0, 0, 0]), (20, [1, 0, 0, 0])])
    assert red_samples(idle, Steps(20, 20, 5, 20), (0.5,)) == [RedSample(20, 0.0, None, (None,))]


def test_red_counts_the_first_request_of_a_route() -> None:
    """One failed request on a new route gives a rate, an error ratio of one and a quantile."""
    first_point = rows(1, "503", [(50, [0, 1, 0, 0])], born=50, start=49)
    [sample] = red_samples(first_point, Steps(60, 60, 5, 60), (0.5,))
    assert sample.rate == pytest.approx(1.5 / 60)
    assert sample.errors == 1.0
    assert list(sample.quantiles) == pytest.approx([0.1 + 0.4 / 2])


class Generator(random.Random):
    """Generates random series with resets, gaps and idle times, the same for the same seed."""

    def bucket_counts(self, buckets: int, points: int) -> list[BucketCounts | None]:
        """Return a histogram's bucket counts at each point, or None for a missing point."""
        result: list[BucketCounts | None] = []
        counts = [self.randrange(20) for _ in range(buckets)]
        activity = self.random()
        for _ in range(points):
            if self.random() < 0.08:
                counts = [0 for _ in range(buckets)]
            counts = [
                count + (self.randrange(9) if self.random() < activity else 0) for count in counts
            ]
            result.append(None if self.random() < 0.2 else counts)
        return result


def promtool_values(bucket_counts: list[BucketCounts | None], bucket: int) -> str:
    """Return the values of one cumulative bucket in the notation of promtool's test files."""
    return " ".join(
        "_" if counts is None else str(list(accumulate(counts))[bucket]) for counts in bucket_counts
    )


def input_series(series: dict[str, list[BucketCounts | None]]) -> list[dict[str, str]]:
    """Return promtool's input series for histograms, given by HTTP status."""
    result = []
    for status, bucket_counts in series.items():
        for bucket, bound in enumerate([*BOUNDS, "+Inf"]):
            name = f'it_bucket{{status="{status}", le="{bound}"}}'
            result.append({"series": name, "values": promtool_values(bucket_counts, bucket)})
        name = f'it_count{{status="{status}"}}'
        result.append({"series": name, "values": promtool_values(bucket_counts, len(BOUNDS))})
    return result


def expectation(query: str, at: float, value: float | None) -> dict[str, Any]:
    """Return a promtool test that ``query`` gives ``value`` at the time ``at`` in seconds.

    If ``value`` is None, the query must have no result.
    """
    samples = [{"labels": "{}", "value": 1}]
    if value is None:
        samples = []
    elif math.isnan(value):
        query = f"{query} != bool {query}"  # only NaN differs from itself
    else:
        query = f"abs({query} - {value!r}) < bool {TOLERANCE}"
    return {"expr": query, "eval_time": f"{at * 1000:.0f}ms", "exp_samples": samples}


def expectations(
    sample: RedSample, quantiles: tuple[float, ...], window: float
) -> list[dict[str, Any]]:
    """Return promtool tests that Prometheus computes the values of ``sample``."""
    over_window = f"[{window:.0f}s]"
    rate = f"sum(rate(it_count{over_window}))"
    tests = [expectation(rate, sample.time, sample.rate)]
    if sample.rate and sample.errors:
        error_rate = f'sum(rate(it_count{{status="500"}}{over_window}))'
        tests.append(expectation(f"({error_rate} / {rate})", sample.time, sample.errors))
    for quantile, value in zip(quantiles, sample.quantiles, strict=True):
        buckets = f"sum by (le) (rate(it_bucket{over_window}))"
        query = f"histogram_quantile({quantile}, {buckets})"
        is_nan = value is None and sample.rate is not None
        tests.append(expectation(query, sample.time, math.nan if is_nan else value))
    return tests


def promtool_group(generator: Generator) -> dict[str, Any]:
    """Return a promtool test group: random series, and the values of ``red_samples`` for them."""
    series = {status: generator.bucket_counts(4, 30) for status in ("200", "500")}
    series_rows: list[Any] = []
    for series_id, (status, bucket_counts) in enumerate(series.items()):
        points = [
            (INTERVAL_S * number, counts)
            for number, counts in enumerate(bucket_counts)
            if counts is not None
        ]
        series_rows += rows(series_id, status, points)
    window = generator.choice([20.0, 35.0, 60.0, 120.0])
    steps = Steps(generator.choice([20.0, 25.0, 31.0, 60.0]), 300.0, 17.0, window)
    quantiles = (0.5, 0.95)
    tests: list[dict[str, Any]] = []
    for sample in red_samples(series_rows, steps, quantiles):
        tests += expectations(sample, quantiles, window)
    return {
        "interval": f"{INTERVAL_S:.0f}s",
        "input_series": input_series(series),
        "promql_expr_test": tests,
    }


@pytest.mark.full
@pytest.mark.timeout(3600)  # promtool may have to be built
def test_prometheus_computes_the_same(promtool: Path, tmp_path: Path) -> None:
    """Prometheus computes the same values as ``promql_math`` for 120 random series."""
    generator = Generator(3)
    groups = [promtool_group(generator) for _ in range(60)]
    file = tmp_path / "promql_math.test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "10s", "tests": groups}))
    result = subprocess.run(
        [promtool, "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[:3000]
