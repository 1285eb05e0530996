"""Computes rate, errors and durations from the points of the local store's histograms.

Unlike ``promql_math``, it counts whole requests without extrapolation, and reads only some points
of each series: so it is exact, and cheap for thousands of series.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from three_pillar_demo.query import exponential
from three_pillar_demo.query.promql_math import histogram_quantile
from three_pillar_demo.query.red_sources import BY_METRIC, RED_METRICS, is_failed
from three_pillar_demo.query.service_figures import PARTS, QUANTILES, Figures

MAX_EXPORT_INTERVAL_S = 90.0
"""The age, in seconds, up to which the newest point of a running service may be.

SDKs export every 60 s by default. The time since the newest point is left out of the figures.
"""

Labels = Mapping[str, str]
GroupOf = Callable[[Labels], str]
"""A function that returns the name of the service or route from the labels of a series."""


@dataclass(frozen=True)
class SeriesPoints:
    """One histogram series and some of its points, in the order of their time.

    A point is ``(time, start, count, sum, buckets)``, with times in seconds since the epoch.
    ``buckets`` is JSON, or None for a point between the first and the last one. The first point is
    the newest one at or before the start of the time range, if there is one. ``born`` is the time
    of the first point that was ever stored.
    """

    metric: str
    kind: str
    labels: dict[str, str]
    bounds: str
    born: float
    points: Sequence[tuple[float, float, int, float | None, str | None]]


@dataclass
class _Totals:
    """The sums over the series of one service or route."""

    requests: float = 0
    failed: float = 0
    seconds: float = 0
    has_sums: bool = True
    increases: dict[tuple[float, float], float] = field(default_factory=dict)
    """The number of requests between two times; most series of a process have the same times."""
    first: float = math.inf
    last: float = 0.0
    rows: list[tuple[int, list[Any]]] = field(default_factory=list)
    """The sign and the columns of each point for ``exponential.explicit_rows``."""


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
    runs = _first_points(series)
    result = []
    for name in sorted(groups):
        by_metric = groups[name]
        source = next(source for source in RED_METRICS if source.metric in by_metric)
        totals = _totals(by_metric[source.metric], runs, start)
        if totals.last > start:
            result.append(_figures(name, source.metric, totals, start, end, edge_s))
    return result


Run = tuple[object, ...]
"""What identifies a run of one instrument of a process, or of one series of it."""


def _run(series: SeriesPoints, run_start: float) -> Run:
    """Return what the series of one instrument of one process have in common."""
    return series.metric, series.labels.get("job"), series.labels.get("instance"), run_start


def _run_of_series(series: SeriesPoints, run_start: float) -> Run:
    """Return what only this series has, and parts of it that the store keeps as another one."""
    return series.metric, run_start, *sorted(series.labels.items())


def _first_points(series: Sequence[SeriesPoints]) -> dict[Run, float]:
    """Return the time of the first point of each run of a process, and of each of its series."""
    first: dict[Run, float] = {}
    for one in series:
        if one.points:
            run_start = one.points[0][1]
            for run in (_run(one, run_start), _run_of_series(one, run_start)):
                first[run] = min(one.born, first.get(run, math.inf))
    return first


def _totals(series: Sequence[SeriesPoints], runs: Mapping[Run, float], start: float) -> _Totals:
    totals = _Totals()
    for one in series:
        if not one.points:
            continue
        failed = is_failed(one.labels)
        for since, until, count, seconds in _increases(one, runs, start):
            totals.requests += count
            totals.failed += count if failed else 0
            totals.has_sums = totals.has_sums and seconds is not None
            totals.seconds += seconds or 0.0
            between = (since, until)
            totals.increases[between] = totals.increases.get(between, 0) + count
        known_since = max(start, min(one.points[0][0], _zero_time(one, runs, start) or math.inf))
        totals.first = min(totals.first, known_since)
        totals.last = max(totals.last, one.points[-1][0])
        totals.rows += _bucket_rows(one, runs, start)
    return totals


def _zero_time(series: SeriesPoints, runs: Mapping[Run, float], start: float) -> float | None:
    """Return when the first of the points counted from zero; None if that was not in the range.

    A series counts from zero if its process began in the range, or if other series of the process
    were stored before this one appeared.
    """
    time, run_start = series.points[0][:2]
    if time <= start:
        return None
    if run_start >= start:
        return run_start
    is_late = runs[_run(series, run_start)] < time
    # When two senders send the same series, the store goes on with one of them in a new one.
    is_new = runs[_run_of_series(series, run_start)] >= time
    return time if run_start and is_late and is_new else None


def _increases(
    series: SeriesPoints, runs: Mapping[Run, float], start: float
) -> Iterator[tuple[float, float, int, float | None]]:
    """Yield each increase of the series: since when, until when, requests, seconds (if known)."""
    zero_time = _zero_time(series, runs, start)
    if zero_time is not None:
        time, _, count, seconds, _ = series.points[0]
        yield zero_time, time, count, seconds
    for before, after in pairwise(series.points):
        if _is_reset(before, after):
            yield max(before[0], min(after[1], after[0])), after[0], after[2], after[3]
        else:
            seconds = None if before[3] is None or after[3] is None else after[3] - before[3]
            yield before[0], after[0], after[2] - before[2], seconds


def _is_reset(before: Sequence[Any], after: Sequence[Any]) -> bool:
    """Return whether the counter began again from zero between two points."""
    return bool(after[2] < before[2] or after[1] > before[0])


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


def _bucket_rows(
    series: SeriesPoints, runs: Mapping[Run, float], start: float
) -> list[tuple[int, list[Any]]]:
    """Return the points whose difference is the increase of the buckets, with their signs."""
    points = [point for point in series.points if point[4] is not None]
    first = points[0]
    last = points[-1]

    def row(point: Sequence[Any]) -> list[Any]:
        return [0, "{}", series.bounds, 0, 0, 0, point[2], point[4], series.kind]

    is_reset = any(_is_reset(*pair) for pair in pairwise(series.points))
    if is_reset or _zero_time(series, runs, start) is not None:
        return [(1, row(last))]
    return [(1, row(last)), (-1, row(first))] if last is not first else []


def _figures(  # noqa: PLR0913, PLR0917  (whose figures, and when)
    name: str, metric: str, totals: _Totals, start: float, end: float, edge_s: float
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


def _rates(totals: _Totals, start: float, end: float, edge_s: float) -> Iterator[float | None]:
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
    buckets = defaultdict[float, float](float)
    parsed_bounds: dict[str, list[float]] = {}
    for (sign, _), row in zip(signed_rows, rows, strict=True):
        text = row[exponential.BOUNDS]
        bounds = parsed_bounds.setdefault(text, [*json.loads(text), math.inf])
        counts = accumulate(json.loads(row[exponential.BUCKETS]))
        for bound, count in zip(bounds, counts, strict=True):
            buckets[bound] += sign * count
    return buckets
