"""Adds up what the histogram series of one service or route have counted in a time range.

Whole requests are counted, without extrapolation. Series whose points have the same times, as those
of one process have, are added to each other first: a service may have hundreds of them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import add, gt, sub
from typing import Any

from three_pillar_demo.query.red_sources import is_failed


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
    labels: Mapping[str, str]
    bounds: str
    born: float
    points: Sequence[tuple[float, float, int, float | None, str | None]]


@dataclass
class Totals:
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

    def add_increase(self, since: float, until: float, count: float) -> None:
        """Add to the number of requests between two times."""
        between = (since, until)
        self.increases[between] = self.increases.get(between, 0) + count


Run = tuple[object, ...]
"""What identifies a run of one instrument of a process, or of one series of it."""


def first_points(series: Sequence[SeriesPoints], start: float) -> dict[Run, float]:
    """Return the time of the first point of each run of a process, and of each of its series.

    The result is empty if all series are older than the time range, which begins at ``start``: then
    it does not matter.
    """
    first: dict[Run, float] = {}
    if not any(one.points and one.points[0][0] > start for one in series):
        return first
    for one in series:
        if one.points:
            run_start = one.points[0][1]
            for run in (_run(one, run_start), _run_of_series(one, run_start)):
                first[run] = min(one.born, first.get(run, math.inf))
    return first


def totals_of(series: Sequence[SeriesPoints], runs: Mapping[Run, float], start: float) -> Totals:
    """Return the totals of ``series`` since ``start``; ``runs`` is the result of ``first_points``.

    The series are those of one metric.
    """
    totals = Totals()
    counts_by_times: dict[tuple[float, ...], list[int]] = {}
    for one in series:
        if not one.points:
            continue
        times, starts, counts, sums, _ = zip(*one.points, strict=True)
        # As _is_reset says of each pair of points.
        is_reset = any(map(gt, counts, counts[1:])) or any(map(gt, starts[1:], times))
        zero_time = _zero_time(one, runs, start)
        has_failed = is_failed(one.labels)
        if is_reset or zero_time is not None or None in sums:
            _add_each_increase(totals, one, zero_time, has_failed=has_failed)
        else:
            known = counts_by_times.get(times)
            counts_by_times[times] = list(map(add, known, counts)) if known else list(counts)
            totals.failed += counts[-1] - counts[0] if has_failed else 0
            totals.seconds += sums[-1] - sums[0]
        known_since = max(start, min(times[0], zero_time or math.inf))
        totals.first = min(totals.first, known_since)
        totals.last = max(totals.last, times[-1])
        totals.rows += _bucket_rows(one, is_from_zero=is_reset or zero_time is not None)
    for times, sums_of_counts in counts_by_times.items():
        totals.requests += sums_of_counts[-1] - sums_of_counts[0]
        changes = map(sub, sums_of_counts[1:], sums_of_counts)
        for (since, until), count in zip(pairwise(times), changes, strict=True):
            totals.add_increase(since, until, count)
    return totals


def _run(series: SeriesPoints, run_start: float) -> Run:
    """Return what the series of one instrument of one process have in common."""
    return series.metric, series.labels.get("job"), series.labels.get("instance"), run_start


def _run_of_series(series: SeriesPoints, run_start: float) -> Run:
    """Return what only this series has, and parts of it that the store keeps as another one."""
    return series.metric, run_start, *sorted(series.labels.items())


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


def _add_each_increase(
    totals: Totals, series: SeriesPoints, zero_time: float | None, *, has_failed: bool
) -> None:
    """Add one series to ``totals``: one that counts from zero, or that lacks a sum."""
    for since, until, count, seconds in _increases(series, zero_time):
        totals.requests += count
        totals.failed += count if has_failed else 0
        totals.has_sums = totals.has_sums and seconds is not None
        totals.seconds += seconds or 0.0
        totals.add_increase(since, until, count)


def _increases(
    series: SeriesPoints, zero_time: float | None
) -> Iterator[tuple[float, float, int, float | None]]:
    """Yield each increase of the series: since when, until when, requests, seconds (if known)."""
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


def _bucket_rows(series: SeriesPoints, *, is_from_zero: bool) -> list[tuple[int, list[Any]]]:
    """Return the points whose difference is the increase of the buckets, with their signs.

    ``is_from_zero`` says whether the buckets of the last point were counted from zero.
    """
    points = [point for point in series.points if point[4] is not None]
    first = points[0]
    last = points[-1]

    def row(point: Sequence[Any]) -> list[Any]:
        return [0, "{}", series.bounds, 0, 0, 0, point[2], point[4], series.kind]

    if is_from_zero:
        return [(1, row(last))]
    return [(1, row(last)), (-1, row(first))] if last is not first else []
