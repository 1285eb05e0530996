"""Prometheus' own arithmetic, on points of counters: ``rate`` with its extrapolation and resets, and ``histogram_quantile``.

After promql/functions.go of Prometheus 3 (extrapolatedRate, bucketQuantile): the rules, not the code. One thing is different,
on purpose: a series that is born inside the window counts from zero, so its first event is not lost.
"""

import json
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from backends.questions import NANO, Red

FAULT = "5"
"""How the statuses begin that are the service's own fault."""
EXTRAPOLATE = 1.1
"""Up to so many average intervals from the window's edge, a series is taken to go on to the edge; else half an interval."""


class Counter:
    """One series: moments in seconds, ascending, and values with resets taken out.

    ``begin`` is when it was zero, for a series whose first point this is; None when there were others before.
    """

    def __init__(self, times: Sequence[float], values: Sequence[float], begin: float | None = None) -> None:
        self.times, self.raw, self.begin = times, values, begin
        self.whole = list(values)
        lost = 0.0
        for at in range(1, len(values)):
            if values[at] < values[at - 1]:
                lost += values[at - 1]
            self.whole[at] = values[at] + lost

    def rate(self, end: float, window: float) -> float | None:
        """The average rate a second over the ``window`` seconds before ``end``; None when it is not known."""
        start = end - window
        first, last = bisect_right(self.times, start), bisect_right(self.times, end) - 1
        if last < first:
            return None
        begin, low, count = self.times[first], self.raw[first], last - first + 1
        rise = self.whole[last] - self.whole[first]
        if first == 0 and self.begin is not None:
            begin, low, count, rise = max(start, min(self.begin, begin)), 0.0, count + 1, rise + self.raw[0]
        if count < 2 or self.times[last] <= begin:  # noqa: PLR2004  (a rate is between two points)
            return None
        sampled = self.times[last] - begin
        interval = sampled / (count - 1)
        to_start, to_end = begin - start, end - self.times[last]
        to_start = to_start if to_start < interval * EXTRAPOLATE else interval / 2
        if rise > 0 and low >= 0:
            to_start = min(to_start, sampled * low / rise)  # not further back than where it would have been zero
        to_end = to_end if to_end < interval * EXTRAPOLATE else interval / 2
        return rise * (sampled + to_start + to_end) / sampled / window


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """The ``share`` quantile of a histogram: what lies at or under each upper bound, infinity among them; None of nothing."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds and bounds[-1] == math.inf else 0.0
    if total <= 0 or len(bounds) < 2:  # noqa: PLR2004  (the last one has no upper bound)
        return None
    rank = share * total
    at = next((at for at, bound in enumerate(bounds) if buckets[bound] >= rank), len(bounds) - 1)
    if at == len(bounds) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[at - 1], buckets[bounds[at - 1]]) if at else (0.0, 0.0)
    return low + (bounds[at] - low) * (rank - below) / (buckets[bounds[at]] - below)


def red(rows: list[Any], span: tuple[float, float, float, float], shares: Sequence[float]) -> list[Red]:
    """Rate, errors and quantiles out of points: series, labels, bounds, born, time, start, count, buckets; in this order.

    ``span`` is start, end, step and window, in seconds.
    """
    start, end, step, window = span
    series: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        series[row[0]].append(row)
    counts: list[tuple[bool, Counter]] = []
    buckets: list[tuple[float, Counter]] = []
    for points in series.values():
        _, labels, bounds, born, first, since, _, _ = points[0]
        times = [row[4] / NANO for row in points]
        begin = since / NANO if born == first else None
        failed = str(json.loads(labels).get("http_response_status_code", "")).startswith(FAULT)
        counts.append((failed, Counter(times, [row[6] for row in points], begin)))
        told = [list(accumulate(json.loads(row[7]))) for row in points]
        for at, bound in enumerate([*json.loads(bounds), math.inf]):
            buckets.append((bound, Counter(times, [each[at] for each in told], begin)))
    found = []
    for number in range(int((end - start) / step + 1e-9) + 1):
        moment = start + number * step
        rates = [(failed, rate) for failed, each in counts if (rate := each.rate(moment, window)) is not None]
        total = sum(rate for _, rate in rates)
        under: dict[float, float] = defaultdict(float)
        for bound, each in buckets:
            under[bound] += each.rate(moment, window) or 0.0
        errors = sum(rate for failed, rate in rates if failed) / total if total else None
        found.append(Red(moment, total if rates else None, errors, tuple(quantile(share, under) for share in shares)))
    return found
