"""Computes PromQL's ``rate`` and ``histogram_quantile`` from the points of the local store.

The rules are those of Prometheus 3 (``extrapolatedRate`` in promql/functions.go, ``BucketQuantile``
in promql/quantile.go), without copied code. They are documented at
https://prometheus.io/docs/prometheus/latest/querying/functions/.

One rule differs from Prometheus' default on purpose: a series that begins inside the window counts
from zero, so that its first event is not lost. Prometheus does the same if its feature
``use-start-timestamps`` is on.
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add, gt
from typing import Any

from three_pillar_demo.query.interface import NANO, RedSample
from three_pillar_demo.query.red_sources import is_failed

EXTRAPOLATION_THRESHOLD = 1.1
"""A rate is extrapolated to an edge of its window if a point is nearer to the edge than this.

The unit of the distance is the average interval between two points. See rule 3 in ``RateWindow``.
"""
MIN_BUCKETS = 2
"""The minimum number of buckets for a quantile: one with a finite bound, and the infinite one."""
ROUNDING_TOLERANCE = 1e-9
"""Added to a number of steps before rounding down, so that no step is lost to a rounding error."""


class RateWindow:
    """The points of a counter series in the ``seconds`` before ``end``, for computing a rate.

    ``times`` are the times, in seconds, of the known points of the series. ``zero_time`` is the
    time, in seconds, at which the series started at zero. It is None if the first point of the
    series is not among the known points.

    The rules are those of Prometheus' function ``extrapolatedRate``, with one difference in rule 2.
    The names in brackets are variables of that function.

    1. A point exactly at the window's start (``rangeStart``) is outside.
    2. A rate needs two points. Unlike in Prometheus, the zero at ``zero_time`` counts as a point.
    3. The points seldom lie at the edges of the window, so the increase is extrapolated towards
       each edge. If the edge is nearer than 1.1 average intervals between points
       (``extrapolationThreshold``), the extrapolation reaches the edge. Otherwise, it covers half
       an average interval.
    4. Towards the window's start, the extrapolation ends at the time at which the counter would
       have been zero (``durationToZero``). ``CounterSeries.rate_in`` applies this rule.

    Attributes:
        first_index: The position in ``times`` of the window's first point.
        last_index: The position in ``times`` of the window's last point.
        starts_at_zero: Whether the zero at ``zero_time`` is in the window and counts as a point.
        sampled_s: Seconds between the first and last point; if not positive, there is no rate.
        to_start_s: Seconds of extrapolation before the first point. Only set if there is a rate.
        sampled_and_to_end_s: ``sampled_s`` and the seconds of extrapolation after the last point.
            Only set if there is a rate.
    """

    def __init__(
        self, times: Sequence[float], zero_time: float | None, end: float, seconds: float
    ) -> None:
        start = end - seconds
        self.seconds = seconds
        self.first_index = bisect_right(times, start)
        self.last_index = bisect_right(times, end) - 1
        # A series that began before the window did not rise from zero in it, though its first
        # known point may be inside.
        self.starts_at_zero = (
            zero_time is not None
            and self.first_index == 0
            and self.last_index >= 0
            and start <= zero_time < times[0]
        )
        self.sampled_s = 0.0
        if self.last_index < self.first_index:
            return
        intervals = self.last_index - self.first_index
        first_time = times[self.first_index]
        if zero_time is not None and self.starts_at_zero:
            intervals += 1
            first_time = zero_time
        self.sampled_s = times[self.last_index] - first_time
        if self.sampled_s <= 0:
            return
        average_interval_s = self.sampled_s / intervals
        self.to_start_s = _extrapolated_s(first_time - start, average_interval_s)
        to_end_s = _extrapolated_s(end - times[self.last_index], average_interval_s)
        self.sampled_and_to_end_s = self.sampled_s + to_end_s


def _extrapolated_s(to_edge_s: float, average_interval_s: float) -> float:
    """Return the seconds to extrapolate to an edge of the window (rule 3 of ``RateWindow``)."""
    if to_edge_s < average_interval_s * EXTRAPOLATION_THRESHOLD:
        return to_edge_s
    return average_interval_s / 2


class CounterSeries:
    """The points of one counter series: ascending ``times`` in seconds, and their ``values``.

    ``zero_time`` is the time, in seconds, at which the series started at zero. It is None if the
    first point of the series is not among these points.
    """

    def __init__(
        self, times: Sequence[float], values: Sequence[float], zero_time: float | None = None
    ) -> None:
        self.times = times
        self.values = values
        self.zero_time = zero_time
        self.without_resets = without_resets(values)

    def rate(self, end: float, seconds: float) -> float | None:
        """Return the average increase per second in the ``seconds`` before ``end``.

        The result is None if there are too few points (rule 2 of ``RateWindow``).
        """
        return self.rate_in(RateWindow(self.times, self.zero_time, end, seconds))

    def rate_in(self, window: RateWindow) -> float | None:
        """Return the average increase per second in ``window``.

        ``window`` must have been created with this series' ``times`` and ``zero_time``. The result
        is None if the window has too few points (rule 2 of ``RateWindow``).
        """
        if window.sampled_s <= 0:
            return None
        increase = self.without_resets[window.last_index] - self.without_resets[window.first_index]
        first_value = self.values[window.first_index]
        if window.starts_at_zero:
            increase += first_value
            first_value = 0.0
        if increase <= 0:
            return 0.0
        # Rule 4: counters cannot be negative, so the extrapolation ends at their zero.
        to_zero_s = window.sampled_s * first_value / increase
        extrapolated_s = window.sampled_and_to_end_s + min(window.to_start_s, to_zero_s)
        return increase * extrapolated_s / window.sampled_s / window.seconds


def without_resets(values: Sequence[float]) -> Sequence[float]:
    """Return the values that the counter would have if it had never been reset to zero.

    As in Prometheus' function ``extrapolatedRate``, a decrease is a reset: the value before the
    decrease is added to all later values.
    """
    if not any(map(gt, values, values[1:])):
        return values
    lost = accumulate(before if before > after else 0.0 for before, after in pairwise(values))
    return [values[0], *map(add, values[1:], lost)]


def histogram_quantile(quantile: float, buckets: Mapping[float, float]) -> float | None:
    """Return the value below which the share ``quantile`` (0 to 1) of all observations lies.

    ``buckets`` maps the upper bound of each bucket to the number of observations at or below the
    bound. The rules are those of Prometheus' function ``BucketQuantile``, which returns NaN where
    this function returns None:

    1. A quantile needs the infinite bucket, at least one other bucket and at least one observation.
       Otherwise the result is None.
    2. Within a bucket, the interpolation is linear.
    3. The lowest bucket begins at zero. If its bound is zero or negative, its result is the bound.
    4. In the infinite bucket, the result is the highest finite bound.
    """
    bounds = sorted(buckets)
    if len(bounds) < MIN_BUCKETS or bounds[-1] != math.inf or buckets[math.inf] <= 0:
        return None
    # As in ensureMonotonicAndIgnoreSmallDeltas: sums over series with different bounds may
    # decrease, so each bucket counts at least as much as the one below it.
    counts = list(accumulate((buckets[bound] for bound in bounds), max))
    rank = quantile * counts[-1]
    index = bisect_left(counts, rank)
    if index >= len(bounds) - 1:
        return bounds[-2]
    if index == 0 and bounds[0] <= 0:
        return bounds[0]
    lower_bound = bounds[index - 1] if index else 0.0
    count_below = counts[index - 1] if index else 0.0
    if not counts[index]:  # the quantile 0 of an empty lowest bucket: NaN in Prometheus
        return None
    position = rank - count_below
    width = bounds[index] - lower_bound
    return lower_bound + width * position / (counts[index] - count_below)


@dataclass(frozen=True)
class Steps:
    """The times of the samples to compute: every ``step`` from ``start`` to ``end``.

    Each sample covers the ``window`` before its time. ``start`` and ``end`` are seconds since the
    epoch; ``step`` and ``window`` are lengths in seconds.
    """

    start: float
    end: float
    step: float
    window: float

    def times(self) -> list[float]:
        """Return the time of each sample, in seconds since the epoch."""
        count = int((self.end - self.start) / self.step + ROUNDING_TOLERANCE) + 1
        return [self.start + number * self.step for number in range(count)]


@dataclass(frozen=True)
class _Histogram:
    """One histogram series: the counter of all its requests, and one counter for each bucket.

    ``is_failed`` says whether the series counts requests that the server failed.
    ``buckets`` are pairs: an upper bound (seconds), and the counter of requests at or below it.
    """

    is_failed: bool
    requests: CounterSeries
    buckets: list[tuple[float, CounterSeries]]


def red_samples(rows: Sequence[Any], steps: Steps, quantiles: Sequence[float]) -> list[RedSample]:
    """Return the rate, error ratio and duration quantiles of a route at each of the ``steps``.

    ``rows`` are those of ``sqlite_rows.SELECT_HISTOGRAM_POINTS``, for all series of the route.
    """
    rows_by_series: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        rows_by_series[row[0]].append(row)
    histograms = [_histogram(series_rows) for series_rows in rows_by_series.values()]
    return [
        _sample(sample_time, steps.window, histograms, quantiles) for sample_time in steps.times()
    ]


def _histogram(rows: Sequence[Any]) -> _Histogram:
    """Convert rows to a histogram; ``rows`` are the points of one series, in ascending time."""
    _, labels, bounds, born, first_time, first_start, _, _ = rows[0]
    times = [row[4] / NANO for row in rows]
    zero_time = first_start / NANO if born == first_time else None
    counts = [row[6] for row in rows]
    # Parsing all buckets at once takes a third of the time.
    buckets_by_point = json.loads(f"[{','.join(row[7] for row in rows)}]")
    cumulative = zip(*map(accumulate, buckets_by_point), strict=True)
    return _Histogram(
        is_failed=is_failed(json.loads(labels)),
        requests=CounterSeries(times, counts, zero_time),
        buckets=[
            (bound, CounterSeries(times, values, zero_time))
            for bound, values in zip([*json.loads(bounds), math.inf], cumulative, strict=True)
        ],
    )


def _sample(
    sample_time: float,
    window_s: float,
    histograms: Sequence[_Histogram],
    quantiles: Sequence[float],
) -> RedSample:
    """Return the rate, error ratio and quantiles of all ``histograms`` together at one time.

    ``sample_time`` and ``window_s``, the length of the window before it, are in seconds.
    """
    total = 0.0
    failed = 0.0
    is_known = False
    buckets: dict[float, float] = defaultdict(float)
    for histogram in histograms:
        # All buckets of a series have the same times, so one window serves them all.
        window = RateWindow(
            histogram.requests.times, histogram.requests.zero_time, sample_time, window_s
        )
        rate = histogram.requests.rate_in(window)
        if rate is None:
            continue
        is_known = True
        total += rate
        if histogram.is_failed:
            failed += rate
        for bound, series in histogram.buckets:
            buckets[bound] += series.rate_in(window) or 0.0
    return RedSample(
        time=sample_time,
        rate=total if is_known else None,
        errors=failed / total if total else None,
        quantiles=tuple(histogram_quantile(quantile, buckets) for quantile in quantiles),
    )
