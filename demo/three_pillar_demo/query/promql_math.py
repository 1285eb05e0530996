"""Prometheus' own arithmetic, on points of counters: ``rate`` with its extrapolation and resets, and ``histogram_quantile``.

After promql/functions.go of Prometheus 3 (extrapolatedRate, bucketQuantile): the rules, not the code. One thing is different,
on purpose: a series that is born inside the window counts from zero, so its first event is not lost.
"""

import json
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from operator import add, gt
from typing import Any

from three_pillar_demo.query.interface import NANO, RedSample

FAULT = "5"
"""How the statuses begin that are the service's own fault."""
EXTRAPOLATE = 1.1
"""Up to so many average intervals from the window's edge, a series is taken to go on to the edge; else half an interval."""


class Window:
    """The points of a series in the ``seconds`` before ``end``: which they are, and what lies between them and the edges.

    ``begin`` is when the series was zero, if its very first point is among ``times``; None when there were others before.
    """

    def __init__(
        self, times: Sequence[float], begin: float | None, end: float, seconds: float
    ) -> None:
        start = end - seconds
        self.first, self.last = bisect_right(times, start), bisect_right(times, end) - 1
        # One that counted before the window began, but was not heard of, did not rise by all that in the window.
        self.born = (
            self.first == 0 and self.last >= 0 and begin is not None and start <= begin < times[0]
        )
        self.seconds, count = seconds, self.last - self.first + 1 + self.born
        known = self.last >= self.first and count > 1  # a rate is between two points
        since = (begin if self.born and begin is not None else times[self.first]) if known else end
        self.sampled = times[self.last] - since if known else 0.0
        if self.sampled > 0:
            interval = self.sampled / (count - 1)
            self.to_start, to_end = (
                edge if edge < interval * EXTRAPOLATE else interval / 2
                for edge in (since - start, end - times[self.last])
            )
            self.reach = self.sampled + to_end


class Counter:
    """One series: ``times`` in seconds, ascending, and its values; what was lost in resets is put back."""

    def __init__(
        self, times: Sequence[float], values: Sequence[float], begin: float | None = None
    ) -> None:
        self.times, self.raw, self.begin = times, values, begin
        self.whole = values
        if any(map(gt, values, values[1:])):
            resets = accumulate(a if a > b else 0.0 for a, b in pairwise(values))
            self.whole = [values[0], *map(add, values[1:], resets)]

    def rate(self, end: float, seconds: float) -> float | None:
        """The average rate a second over the ``seconds`` before ``end``; None when it is not known."""
        return self.rate_in(Window(self.times, self.begin, end, seconds))

    def rate_in(self, window: Window) -> float | None:
        """The same in a window that is worked out already."""
        if window.sampled <= 0:
            return None
        low = 0.0 if window.born else self.raw[window.first]
        rise = (
            self.whole[window.last]
            - self.whole[window.first]
            + (self.raw[0] if window.born else 0.0)
        )
        if rise <= 0:
            return 0.0
        # Not further back than where it would have been zero.
        return (
            rise
            * (window.reach + min(window.to_start, window.sampled * low / rise))
            / window.sampled
            / window.seconds
        )


def quantile(share: float, buckets: Mapping[float, float]) -> float | None:
    """The ``share`` quantile of a histogram: what lies at or under each upper bound, infinity among them; None of nothing."""
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds and bounds[-1] == math.inf else 0.0
    if total <= 0 or len(bounds) < 2:  # noqa: PLR2004  (the last one has no upper bound)
        return None
    under = list(
        accumulate((buckets[bound] for bound in bounds), max)
    )  # of different layouts summed, one may be less
    rank = share * under[-1]
    at = bisect_left(under, rank)
    if at >= len(bounds) - 1:
        return bounds[-2]
    if at == 0 and bounds[0] <= 0:
        return bounds[0]
    low, below = (bounds[at - 1], under[at - 1]) if at else (0.0, 0.0)
    return low + (bounds[at] - low) * (rank - below) / (under[at] - below) if under[at] else None


def red(
    rows: list[Any], span: tuple[float, float, float, float], shares: Sequence[float]
) -> list[RedSample]:
    """Rate, errors and quantiles out of points: series, labels, bounds, born, time, start, count, buckets; in this order.

    ``span`` is start, end, step and window, in seconds.
    """
    start, end, step, window = span
    series: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        series[row[0]].append(row)
    known: list[tuple[bool, Counter, list[tuple[float, Counter]]]] = []
    for points in series.values():
        _, labels, bounds, born, first, since, _, _ = points[0]
        times = [row[4] / NANO for row in points]
        begin = since / NANO if born == first else None
        failed = str(json.loads(labels).get("http_response_status_code", "")).startswith(FAULT)
        parsed = json.loads(
            f"[{','.join(row[7] for row in points)}]"
        )  # at once: a third of the time
        told = zip(*map(accumulate, parsed), strict=True)
        buckets = [
            (bound, Counter(times, values, begin))
            for bound, values in zip([*json.loads(bounds), math.inf], told, strict=True)
        ]
        known.append((failed, Counter(times, [row[6] for row in points], begin), buckets))
    return [
        _at(start + number * step, window, known, shares)
        for number in range(int((end - start) / step + 1e-9) + 1)
    ]


def _at(
    moment: float,
    seconds: float,
    known: Sequence[tuple[bool, Counter, list[tuple[float, Counter]]]],
    shares: Sequence[float],
) -> RedSample:
    total, failures, seen = 0.0, 0.0, False
    under: dict[float, float] = defaultdict(float)
    for failed, requests, buckets in known:
        window = Window(requests.times, requests.begin, moment, seconds)
        if (rate := requests.rate_in(window)) is None:
            continue
        seen, total, failures = True, total + rate, failures + rate * failed
        for bound, each in buckets:
            under[bound] += each.rate_in(window) or 0.0
    quantiles = tuple(quantile(share, under) for share in shares)
    return RedSample(
        moment, total if seen else None, failures / total if total else None, quantiles
    )
