"""Computes the lines of an instrument from the points of the local store.

The rules for rates and quantiles are those of ``promql_math``. The buckets of a histogram are
extrapolated as their sum is; Prometheus extrapolates each of them, which differs only for a bucket
that was empty shortly before.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import add, sub
from typing import Any

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.instruments import (
    COUNTER,
    GAUGE,
    HISTOGRAMS,
    QUANTILES,
    SUMMARY,
    Line,
    quantile_name,
)
from three_pillar_demo.query.promql_math import (
    CounterSeries,
    RateWindow,
    histogram_quantile,
    without_resets,
)

Value = float | None


@dataclass(frozen=True)
class PointSeries:
    """The points of one series, in ascending time.

    Attributes:
        times: The times of the points, in seconds since the epoch.
        values: The values of a counter or gauge, or the numbers of observations.
        zero_time: The time, in seconds since the epoch, at which the series counts from zero; None
            if it counted before the first of these points.
        bounds: Of a histogram, the upper bounds of its buckets with the infinite one.
        buckets: Of a histogram or summary, the column ``buckets`` of each point.
    """

    times: Sequence[float]
    values: Sequence[float]
    zero_time: float | None = None
    bounds: tuple[float, ...] = ()
    buckets: Sequence[str] = ()

    def window(self, end: float, seconds: float) -> RateWindow:
        """Return the points in the ``seconds`` before ``end``."""
        return RateWindow(self.times, self.zero_time, end, seconds)

    @cached_property
    def counter(self) -> CounterSeries:
        """The series as a counter."""
        return CounterSeries(self.times, self.values, self.zero_time)

    @cached_property
    def raw_counts(self) -> list[tuple[int, ...]]:
        """Of a histogram, for each point the observations at or below each bound."""
        parsed = json.loads(f"[{','.join(self.buckets)}]")
        return [tuple(accumulate(counts)) for counts in parsed]

    @cached_property
    def counts(self) -> list[tuple[float, ...]]:
        """``raw_counts`` as they would be without resets to zero."""
        columns = [without_resets(column) for column in zip(*self.raw_counts, strict=True)]
        return list(zip(*columns, strict=True))

    @cached_property
    def quantiles(self) -> list[list[tuple[float, Value]]]:
        """Of a summary, the pairs of quantile and value of each point."""
        parsed: list[list[tuple[float, Value]]] = json.loads(f"[{','.join(self.buckets)}]")
        return parsed


def begin_of(series: Iterable[PointSeries]) -> float | None:
    """Return when the first of ``series`` begins, in seconds since the epoch; None without any.

    A series that counted before its first known point began at an unknown time before.
    """
    begins = [-math.inf if one.zero_time is None else one.zero_time for one in series]
    return min(begins, default=None)


def compute_lines(
    kind: str,
    series: Sequence[PointSeries],
    times: Sequence[float],
    window_s: float,
    begin: float | None = None,
) -> tuple[Line, ...]:
    """Return the lines of all ``series`` together, with one value for each of ``times``.

    Each value covers the ``window_s`` seconds before its time, as far as that is after ``begin``,
    at which the data of the instrument begin.
    """
    if kind in HISTOGRAMS:
        rate = _rate(series, times, window_s, begin)
        return (rate, *_bucket_quantiles(series, times, window_s))
    if kind == SUMMARY:
        rate = _rate(series, times, window_s, begin)
        return (rate, *_summary_quantiles(series, times, window_s))
    if kind == COUNTER:
        return (_rate(series, times, window_s, begin),)
    newest = [_newest(series, time, window_s) for time in times]
    return (Line("value", tuple(_combined(kind, values) for values in newest)),)


def _newest(series: Sequence[PointSeries], time: float, window_s: float) -> list[float]:
    """Return the newest value of each series that has one."""
    return [
        one.values[window.last_index]
        for one in series
        if (window := one.window(time, window_s)).last_index >= window.first_index
    ]


def _combined(kind: str, values: Sequence[float]) -> Value:
    """Return the average of gauges, or the sum of up-down counters; None without a value."""
    if not values:
        return None
    total = sum(values)
    return _finite(total / len(values) if kind == GAUGE else total)


def _rate(
    series: Sequence[PointSeries], times: Sequence[float], window_s: float, begin: float | None
) -> Line:
    values = []
    for time in times:
        factor = window_s / covered_seconds(time, window_s, begin)
        rates = (one.counter.rate(time, window_s) for one in series)
        values.append(_sum(rate if rate is None else rate * factor for rate in rates))
    return Line("rate", tuple(values))


def _sum(values: Iterable[Value]) -> Value:
    known = [value for value in values if value is not None]
    return _finite(sum(known)) if known else None


def _finite(value: float) -> Value:
    """Return ``value``, or None if it is beyond the range of numbers."""
    return value if math.isfinite(value) else None


def _bucket_quantiles(
    series: Sequence[PointSeries], times: Sequence[float], window_s: float
) -> list[Line]:
    columns: list[list[Value]] = [[] for _ in QUANTILES]
    for time in times:
        buckets = _bucket_rates(series, time, window_s)
        for column, quantile in zip(columns, QUANTILES, strict=True):
            column.append(histogram_quantile(quantile, buckets))
    return [
        Line(quantile_name(quantile), tuple(column))
        for quantile, column in zip(QUANTILES, columns, strict=True)
    ]


def _bucket_rates(
    series: Sequence[PointSeries], time: float, window_s: float
) -> dict[float, float]:
    """Return how often per second a value at or below each bound was observed, by bound."""
    by_bounds: dict[tuple[float, ...], list[float]] = {}
    for one in series:
        window = one.window(time, window_s)
        rate = one.counter.rate_in(window)
        if not rate:  # no increase, so that nothing is divided by zero below
            continue
        increases = list(map(sub, one.counts[window.last_index], one.counts[window.first_index]))
        if window.starts_at_zero:
            increases = list(map(add, increases, one.raw_counts[window.first_index]))
        factor = rate / increases[-1]
        rates = [increase * factor for increase in increases]
        before = by_bounds.get(one.bounds)
        by_bounds[one.bounds] = list(map(add, before, rates)) if before else rates
    buckets: dict[float, float] = defaultdict(float)
    for bounds, rates in by_bounds.items():
        for bound, rate in zip(bounds, rates, strict=True):
            buckets[bound] += rate
    return buckets


def _summary_quantiles(
    series: Sequence[PointSeries], times: Sequence[float], window_s: float
) -> list[Line]:
    """Return the quantiles that the sender computed; of several series the largest one."""
    by_time: list[dict[float, float]] = []
    for time in times:
        largest: dict[float, float] = {}
        for one in series:
            window = one.window(time, window_s)
            if window.last_index < window.first_index:
                continue
            for quantile, value in one.quantiles[window.last_index]:
                if value is not None:
                    largest[quantile] = max(value, largest.get(quantile, value))
        by_time.append(largest)
    names = sorted({quantile for values in by_time for quantile in values})
    return [
        Line(quantile_name(quantile), tuple(values.get(quantile) for values in by_time))
        for quantile in names
    ]


def point_series(rows: Sequence[Any], bounds: str, *, is_counted: bool) -> PointSeries:
    """Return the points of one series; ``rows`` have time, start, value, count and buckets.

    Times are in nanoseconds. ``bounds`` is the column of the table ``series``. ``is_counted`` says
    whether the series counts observations.
    """
    first_start = rows[0][1]
    return PointSeries(
        times=[row[0] / 1e9 for row in rows],
        values=[(row[3] if is_counted else row[2]) or 0.0 for row in rows],
        zero_time=first_start / 1e9 if first_start else None,
        bounds=(*json.loads(bounds), math.inf),
        buckets=[row[4] for row in rows] if is_counted else (),
    )
