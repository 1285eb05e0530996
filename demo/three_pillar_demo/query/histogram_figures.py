"""Computes rate, errors and durations from the points of the local store's histograms.

Unlike ``promql_math``, it counts whole requests without extrapolation, and reads only some points
of each series: so it is exact, and cheap for thousands of series.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import add, sub
from typing import Any

from three_pillar_demo.query import exponential
from three_pillar_demo.query.histogram_totals import (
    SeriesPoints,
    Totals,
    first_points,
    totals_of,
)
from three_pillar_demo.query.promql_math import histogram_quantile
from three_pillar_demo.query.red_sources import BY_METRIC, RED_METRICS
from three_pillar_demo.query.service_figures import PARTS, QUANTILES, Figures

MAX_EXPORT_INTERVAL_S = 90.0
"""The age, in seconds, up to which the newest point of a running service may be.

SDKs export every 60 s by default. The time since the newest point is left out of the figures.
"""

Labels = Mapping[str, str]
GroupOf = Callable[[Labels], str]
"""A function that returns the name of the service or route from the labels of a series."""


def figures_by_group(
    series: Sequence[SeriesPoints], group_of: GroupOf, start: float, end: float, edge_s: float
) -> list[Figures]:
    """Return the figures of each group from ``start`` to ``end``, sorted by name.

    ``edge_s`` is the number of seconds between two times for which each series has a point.
    A group is counted by the first of ``RED_METRICS`` that it has. Groups without a point in the
    time range are left out.
    """
    groups = defaultdict[str, dict[str, list[SeriesPoints]]](lambda: defaultdict(list))
    for one in series:
        groups[group_of(one.labels)][one.metric].append(one)
    runs = first_points(series, start)
    result = []
    for name in sorted(groups):
        by_metric = groups[name]
        source = next(source for source in RED_METRICS if source.metric in by_metric)
        totals = totals_of(by_metric[source.metric], runs, start)
        if totals.last > start:
            result.append(_figures(name, source.metric, totals, start, end, edge_s))
    return result


def _spread(
    parts: list[float],
    count: float,
    since_until: tuple[float, float],
    limits: tuple[float, float],
    longest_s: float,
) -> None:
    """Add ``count`` to the parts of the range that lie between two times, in equal shares.

    Only the last ``longest_s`` seconds before the second time count.
    """
    start, end = limits
    since, until = since_until
    part_s = (end - start) / len(parts)
    # A sender with delta temporality sends nothing while there are no requests.
    since = min(max(since, until - longest_s, start), end)
    until = min(max(until, start), end)
    first = min(len(parts) - 1, int((since - start) / part_s))
    last = min(len(parts) - 1, int((until - start) / part_s))
    if first == last:
        parts[first] += count
        return
    for number in range(first, last + 1):
        overlap = min(until, start + (number + 1) * part_s) - max(since, start + number * part_s)
        parts[number] += count * max(0.0, overlap) / (until - since)


def _figures(  # noqa: PLR0913, PLR0917  (whose figures, and when)
    name: str, metric: str, totals: Totals, start: float, end: float, edge_s: float
) -> Figures:
    unit_s = BY_METRIC[metric].unit_s
    buckets = _buckets(totals.rows)
    quantiles = [histogram_quantile(quantile, buckets) for quantile in QUANTILES]
    has_mean = totals.has_sums and totals.requests > 0
    return Figures(
        name=name,
        source=BY_METRIC[metric].name,
        start=max(start, totals.first),
        end=totals.last if totals.last > end - MAX_EXPORT_INTERVAL_S else end,
        requests=totals.requests,
        failed=totals.failed,
        quantiles=tuple(None if value is None else value * unit_s for value in quantiles),
        mean=totals.seconds / totals.requests * unit_s if has_mean else None,
        rates=tuple(_rates(totals, start, end, edge_s)),
    )


def _rates(totals: Totals, start: float, end: float, edge_s: float) -> Iterator[float | None]:
    """Yield the rate of each part; None for a part before the first or after the last point."""
    part_s = (end - start) / PARTS
    parts = [0.0 for _ in range(PARTS)]
    for between, requests in totals.increases.items():
        _spread(parts, requests, between, (start, end), max(MAX_EXPORT_INTERVAL_S, edge_s))
    is_known = False
    for number, count in enumerate(parts):
        part_start = start + number * part_s
        known_s = min(part_start + part_s, totals.last) - max(part_start, totals.first)
        # The rate of a short time is not that of the part, unless there is nothing else.
        is_too_short = known_s < part_s / 2 and (is_known or not count)
        is_known = not is_too_short
        yield count / max(known_s, part_s / 2) if is_known else None


def _buckets(signed_rows: Sequence[tuple[int, list[Any]]]) -> dict[float, float]:
    """Return the increase of the cumulative buckets, by their upper bounds."""
    rows = exponential.explicit_rows([row for _, row in signed_rows])
    # Parsing all buckets at once takes a third of the time.
    counts_by_row = json.loads(f"[{','.join(row[exponential.BUCKETS] for row in rows)}]")
    sums: dict[str, list[int]] = {}
    for (sign, _), row, counts in zip(signed_rows, rows, counts_by_row, strict=True):
        bounds = row[exponential.BOUNDS]
        known = sums.get(bounds) or [0] * len(counts)
        sums[bounds] = list(map(add if sign > 0 else sub, known, counts))
    buckets = defaultdict[float, float](float)
    for bounds, total_counts in sums.items():
        for bound, count in zip(
            [*json.loads(bounds), math.inf], accumulate(total_counts), strict=True
        ):
            buckets[bound] += count
    return buckets
