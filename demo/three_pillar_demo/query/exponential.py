"""Converts the points of exponential histograms to points with explicit buckets, for PromQL's math.

The bucket with the index i counts values above ``2 ** (i * 2 ** -scale)``, up to
``2 ** ((i + 1) * 2 ** -scale)``. Halving all indexes gives the buckets of the next lower scale.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MAX_BUCKETS = 160
"""The maximum number of converted buckets of each sign, which is also the default of the SDKs."""
MAX_EXPONENT = 1024
"""Two to the power of this is just over the largest double."""
KIND = "exponential_histogram"
BUCKETS = 7
"""The position (from 0) of the column ``buckets`` in a row of ``SELECT_HISTOGRAM_POINTS``."""
BOUNDS = 2
"""The position of the column ``bounds`` in such a row."""

Counts = dict[int, int]


@dataclass(frozen=True)
class _Layout:
    """The buckets that all converted points share: the scale, and a range of indexes for each sign.

    ``threshold`` is the largest zero threshold of the points.
    """

    scale: int
    positive: range
    negative: range
    threshold: float

    def zero_bound(self) -> float:
        """Return the upper bound of the zero bucket, at most the lower bound of the next ones."""
        lowest = [
            _power(indexes.start, self.scale)
            for indexes in (self.positive, self.negative)
            if indexes
        ]
        return min([self.threshold, *lowest])

    def bounds(self) -> list[float]:
        """Return the upper bounds of the buckets in ascending order, without the infinite one."""
        zero_bound = self.zero_bound()
        bounds: list[float] = []
        if self.negative:
            bounds = [-_power(index, self.scale) for index in (*self.negative, self.negative.stop)]
            bounds.reverse()
            # Between the negative buckets and the zero bucket, there is an empty one.
            zero_start = -max(zero_bound, sys.float_info.min)
            bounds += [zero_start] if zero_start > bounds[-1] else []
        bounds.append(zero_bound)
        if self.positive:
            powers = [_power(index, self.scale) for index in (*self.positive, self.positive.stop)]
            bounds += powers if powers[0] > zero_bound else powers[1:]
        return bounds

    def counts(self, point: dict[str, Any], bounds: Sequence[float]) -> list[int]:
        """Return the number of observations of ``point`` in each bucket.

        ``bounds`` are those of this layout. The last bucket is the infinite one, which is empty.
        """
        counts = [0] * (len(bounds) + 1)
        counts[bounds.index(self.zero_bound())] = point["zero"]
        for index, count in _at_scale(point, "negative", self.scale).items():
            counts[self.negative.stop - index] = count
        first_position = len(bounds) - len(self.positive)
        for index, count in _at_scale(point, "positive", self.scale).items():
            counts[first_position + index - self.positive.start] = count
        return counts


def explicit_rows(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return rows of ``sqlite_rows.SELECT_HISTOGRAM_POINTS`` with explicit buckets only.

    The last column, the kind, is removed. All exponential points get the same buckets: the largest
    scale that all of them can have, as in Prometheus, with at most ``MAX_BUCKETS`` of each sign.
    """
    points = [json.loads(row[BUCKETS]) if row[-1] == KIND else None for row in rows]
    exponential = [point for point in points if point]
    if not exponential:
        return [row[:-1] for row in rows]
    layout = _common_layout(exponential)
    bounds = layout.bounds()
    bounds_json = json.dumps(bounds)
    result: list[Sequence[Any]] = []
    for row, point in zip(rows, points, strict=True):
        columns = list(row[:-1])
        if point:
            columns[BOUNDS] = bounds_json
            columns[BUCKETS] = json.dumps(layout.counts(point, bounds))
        result.append(columns)
    return result


def _common_layout(points: Sequence[dict[str, Any]]) -> _Layout:
    scale = min(point["scale"] for point in points)
    positive = _index_range(points, "positive", scale)
    negative = _index_range(points, "negative", scale)
    while max(len(positive), len(negative)) > MAX_BUCKETS:
        scale -= 1
        positive = _halved(positive)
        negative = _halved(negative)
    return _Layout(scale, positive, negative, max(point["threshold"] for point in points))


def _index_range(points: Sequence[dict[str, Any]], sign: str, scale: int) -> range:
    indexes = [index >> (point["scale"] - scale) for point in points for index, _ in point[sign]]
    return range(min(indexes), max(indexes) + 1) if indexes else range(0)


def _halved(indexes: range) -> range:
    return range(indexes.start >> 1, (indexes.stop + 1) >> 1) if indexes else indexes


def _at_scale(point: dict[str, Any], sign: str, scale: int) -> Counts:
    shift = point["scale"] - scale
    counts: Counts = {}
    for index, count in point[sign]:
        counts[index >> shift] = counts.get(index >> shift, 0) + count
    return counts


def _power(index: int, scale: int) -> float:
    """Return the lower bound of a positive bucket."""
    exponent = index * 2.0**-scale
    return sys.float_info.max if exponent >= MAX_EXPONENT else float(2.0**exponent)
