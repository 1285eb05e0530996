"""Answers the queries for instruments from the local store's SQLite file."""

import asyncio
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from three_pillar_demo.query import exponential, promql_math
from three_pillar_demo.query.instrument_math import (
    PointSeries,
    begin_of,
    compute_lines,
    point_series,
)
from three_pillar_demo.query.instruments import (
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    HISTOGRAMS,
    INTERVALS_PER_WINDOW,
    MAX_EXEMPLARS,
    MAX_GROUPS,
    MAX_INSTRUMENTS,
    MAX_WINDOW_S,
    SUMMARY,
    UP_DOWN_COUNTER,
    Group,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
    label_values,
    window_for,
)
from three_pillar_demo.query.interface import NANO, Exemplar
from three_pillar_demo.query.sqlite_reader import SqliteReader

MAX_CELLS = 400_000
"""The maximum number of values that one query reads: of all points, with all their buckets."""
CELLS_PER_POINT = {HISTOGRAM: 16, EXPONENTIAL_HISTOGRAM: 160, SUMMARY: 16}
"""How many values a point has, about, by its kind; a point of another kind has one.

A point of another kind still takes the time of ``MIN_CELLS_PER_POINT`` values.
"""
MIN_CELLS_PER_POINT = 8
MAX_SERIES = 2_500
"""The maximum number of series, the largest ones, whose points one query reads."""
MAX_SCANNED_EXEMPLARS = 50_000
"""The maximum number of exemplars of the time range, the newest ones, that a query looks at."""
COUNTED = (*HISTOGRAMS, SUMMARY)
"""The kinds whose points have a number of observations."""

KIND = "CASE coalesce(instrument.kind, '') WHEN '' THEN series.kind ELSE instrument.kind END"
SELECT_INSTRUMENTS = f"""SELECT coalesce(instrument.name, ''), series.name, {KIND},
  coalesce(unit, ''), max(coalesce(description, '')),
  coalesce(json_extract(labels, '$.service_name'), ''), count(*)
FROM series LEFT JOIN instrument ON instrument.id = series.instrument
WHERE EXISTS (SELECT 1 FROM point WHERE series = series.id AND time BETWEEN ? AND ?)
GROUP BY 1, 2, 3, 4, 6 ORDER BY 1, 2, 3, 4, 6 LIMIT {MAX_INSTRUMENTS}"""  # noqa: S608  (of constants)
OF_INSTRUMENT = f"""FROM series LEFT JOIN instrument ON instrument.id = series.instrument
WHERE (series.name = :name OR instrument.name = :name) AND {KIND} = :kind
AND (:service = '' OR json_extract(labels, '$.service_name') = :service)"""
SELECT_SERIES = f"""SELECT series.id, labels, bounds,
  (SELECT coalesce(count, value) FROM point WHERE series = series.id
    AND time BETWEEN :first AND :end ORDER BY time LIMIT 1) AS oldest,
  (SELECT coalesce(count, value) FROM point WHERE series = series.id
    AND time BETWEEN :first AND :end ORDER BY time DESC LIMIT 1) AS newest
{OF_INSTRUMENT}"""  # noqa: S608  (of constants)
# Of each series, the newest point in each cell of a grid of times.
SELECT_POINTS = """WITH RECURSIVE grid (cell_end) AS (
  SELECT :first UNION ALL SELECT cell_end + :cell FROM grid WHERE cell_end < :end
) SELECT point.series, time, point.start, point.value, count, buckets
FROM json_each(:ids) AS chosen CROSS JOIN grid JOIN point ON point.series = chosen.value
AND time = (SELECT max(time) FROM point WHERE series = chosen.value
  AND time > grid.cell_end - :cell AND time <= min(grid.cell_end, :end))
ORDER BY 1, 2"""
SELECT_EXEMPLARS = f"""SELECT exemplar.trace_id, value, time, labels, metric, bounds, chosen_kind
FROM (SELECT * FROM exemplar WHERE time BETWEEN :start AND :end
  ORDER BY time DESC LIMIT {MAX_SCANNED_EXEMPLARS}) AS exemplar
JOIN (SELECT series.id AS chosen_id, labels, series.name AS metric, bounds,
    series.kind AS chosen_kind {OF_INSTRUMENT}) ON chosen_id = exemplar.series
ORDER BY time DESC LIMIT {MAX_EXEMPLARS}"""  # noqa: S608  (of constants)


@dataclass(frozen=True)
class _StoredSeries:
    """One series of the chosen instrument, with the size that decides which groups are returned."""

    id: int
    labels: dict[str, str]
    bounds: str
    size: float


async def instruments(reader: SqliteReader, start: float, end: float) -> list[Instrument]:
    """Return the instruments with points in the time range, ordered by name.

    The query looks up one point of each series in an index; the store has at most 10,000 series.
    """
    rows = await reader.fetch(SELECT_INSTRUMENTS, (int(start * NANO), int(end * NANO)))
    found: dict[tuple[str, ...], Instrument] = {}
    for sent_name, prometheus_name, kind, unit, description, service, count in rows:
        name = sent_name or prometheus_name
        key = (name, prometheus_name, kind, unit)
        before = found.get(key, Instrument(name, prometheus_name, kind, unit))
        found[key] = replace(
            before,
            description=before.description or description,
            services=(*before.services, service),
            series=before.series + count,
        )
    return sorted(found.values(), key=lambda instrument: instrument.name)


async def instrument_series(reader: SqliteReader, wanted: InstrumentQuery) -> InstrumentSeries:
    """Return the values of an instrument over time.

    The query reads at most ``MAX_CELLS`` values of the ``MAX_SERIES`` largest series: with many
    series, the points that it reads of each are further apart.
    """
    first = wanted.start - max(MAX_WINDOW_S, wanted.window)
    parameters = _parameters(wanted) | {"first": int(first * NANO), "end": int(wanted.end * NANO)}
    rows = await reader.fetch(SELECT_SERIES, parameters)
    series = await asyncio.to_thread(_stored_series, rows, wanted)
    groups = _largest_groups(series, wanted.by)
    chosen = [one for group in groups.values() for one in group]
    read = sorted(chosen, key=lambda one: -one.size)[:MAX_SERIES]
    cell = _cell(len(read), wanted, first)
    points = {"ids": json.dumps([one.id for one in read]), "cell": int(cell * NANO)}
    rows = await reader.fetch(SELECT_POINTS, parameters | points) if read else []
    answer = await asyncio.to_thread(_answer, wanted, series, groups, rows, cell)
    return replace(answer, unread_count=len(chosen) - len(read))


async def instrument_exemplars(reader: SqliteReader, wanted: InstrumentQuery) -> list[Exemplar]:
    """Return the newest exemplars of an instrument, newest first.

    The query looks at the newest ``MAX_SCANNED_EXEMPLARS`` exemplars of the time range.
    """
    times = {"start": int(wanted.start * NANO), "end": int(wanted.end * NANO)}
    rows = await reader.fetch(SELECT_EXEMPLARS, _parameters(wanted) | times)
    return [_exemplar(row) for row in rows]


def _parameters(wanted: InstrumentQuery) -> dict[str, object]:
    return {"name": wanted.name, "kind": wanted.kind, "service": wanted.service}


def _stored_series(rows: Sequence[Any], wanted: InstrumentQuery) -> list[_StoredSeries]:
    is_value = wanted.kind in {GAUGE, UP_DOWN_COUNTER}
    return [
        # After a reset, the newest value is the increase.
        _StoredSeries(
            row_id,
            json.loads(labels),
            bounds,
            newest if is_value or newest < oldest else newest - oldest,
        )
        for row_id, labels, bounds, oldest, newest in rows
        if newest is not None  # no points in the time range
    ]


def _largest_groups(series: Sequence[_StoredSeries], label: str) -> dict[str, list[_StoredSeries]]:
    """Return the series of the ``MAX_GROUPS`` largest groups, by the value of ``label``."""
    groups: dict[str, list[_StoredSeries]] = defaultdict(list)
    for one in series:
        groups[one.labels.get(label, "")].append(one)
    largest = sorted(
        groups.items(), key=lambda group: (-sum(one.size for one in group[1]), group[0])
    )
    return dict(largest[:MAX_GROUPS])


def _cell(series_count: int, wanted: InstrumentQuery, first: float) -> float:
    """Return the seconds in which one point of each series is read."""
    cells_per_point = max(MIN_CELLS_PER_POINT, CELLS_PER_POINT.get(wanted.kind, 1))
    points_per_series = max(2.0, MAX_CELLS / cells_per_point / max(series_count, 1))
    return max(wanted.step / 2, (wanted.end - first) / points_per_series)


def _answer(
    wanted: InstrumentQuery,
    series: Sequence[_StoredSeries],
    groups: Mapping[str, Sequence[_StoredSeries]],
    rows: Sequence[Any],
    cell: float,
) -> InstrumentSeries:
    points = _points(wanted.kind, rows, {one.id: one.bounds for one in series})
    window = window_for(_interval(points.values()), wanted.window)
    if cell > wanted.step:  # the points that were read may be as far apart
        window = max(window, INTERVALS_PER_WINDOW * cell)
    times = _times(wanted, max(wanted.step, cell))
    begin = begin_of(points.values())
    return InstrumentSeries(
        times=tuple(times),
        groups=tuple(
            Group(
                value,
                compute_lines(
                    wanted.kind,
                    [points[one.id] for one in members if one.id in points],
                    times,
                    window,
                    begin,
                ),
            )
            for value, members in groups.items()
        ),
        group_count=len({one.labels.get(wanted.by, "") for one in series}),
        series_count=len(series),
        labels=tuple(label_values([one.labels for one in series], ())),
        window=window,
        begin=begin,
    )


def _times(wanted: InstrumentQuery, step: float) -> list[float]:
    """Return the times of the values, of which the last is the end of the time range."""
    count = int((wanted.end - wanted.start) / step + promql_math.ROUNDING_TOLERANCE)
    return [wanted.end - number * step for number in range(count, -1, -1)]


def _points(kind: str, rows: Sequence[Any], bounds: Mapping[int, str]) -> dict[int, PointSeries]:
    """Return the points of each series, by its id, from the rows of ``SELECT_POINTS``."""
    explicit_bounds = dict(bounds)
    if kind == EXPONENTIAL_HISTOGRAM:
        wide = [(row[0], "", "[]", 0, row[1], 0, row[4], row[5], kind) for row in rows]
        buckets = exponential.explicit_rows(wide)
        rows = [(*row[:5], found[7]) for row, found in zip(rows, buckets, strict=True)]
        explicit_bounds = {found[0]: found[2] for found in buckets}
    rows_by_series: dict[int, list[Any]] = defaultdict(list)
    for series_id, *columns in rows:
        rows_by_series[series_id].append(columns)
    return {
        series_id: point_series(series_rows, explicit_bounds[series_id], is_counted=kind in COUNTED)
        for series_id, series_rows in rows_by_series.items()
    }


def _interval(series: Iterable[PointSeries]) -> float:
    """Return the median, over all series, of their average seconds between two points."""
    intervals = sorted(
        (one.times[-1] - one.times[0]) / (len(one.times) - 1)
        for one in series
        if len(one.times) > 1
    )
    return float(intervals[len(intervals) // 2]) if intervals else 0.0


def _exemplar(row: Sequence[Any]) -> Exemplar:
    """Convert a row of ``SELECT_EXEMPLARS``, with the labels that Prometheus would have."""
    trace_id, value, timestamp, labels_json, name, bounds_json, kind = row
    labels = {"__name__": name}
    if kind == HISTOGRAM:
        bounds = json.loads(bounds_json)
        index = bisect_left(bounds, value)
        labels["__name__"] = f"{name}_bucket"
        labels["le"] = f"{bounds[index]:g}" if index < len(bounds) else "+Inf"
    return Exemplar(trace_id.hex(), value, timestamp / NANO, json.loads(labels_json) | labels)
