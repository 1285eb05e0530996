"""Finds the services and routes in the local store's file, with their figures."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import Any

from three_pillar_demo.query import histogram_figures, span_figures, sqlite_rows
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.histogram_figures import GroupOf
from three_pillar_demo.query.histogram_totals import SeriesPoints
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.local_arrivals import IS_REQUEST
from three_pillar_demo.query.local_clocks import seconds_ahead
from three_pillar_demo.query.red_sources import RED_METRICS, route_of
from three_pillar_demo.query.service_figures import MAX_ROUTES, PARTS, Figures
from three_pillar_demo.query.span_figures import RequestSpan
from three_pillar_demo.query.sqlite_reader import SqliteReader

SPANS_SCANNED = 50_000
"""The number of spans, the newest ones, from which figures are computed at most."""
HOUR_S = 3600
MAX_POINTS = 24_000
"""The number of points, between the first and the last one of each series, that are read about."""
MAX_REMEMBERED = 5_000
"""The number of series whose labels are remembered, which take a kilobyte each."""
MIN_EDGES = 4
"""The number of points of each series that are read at least."""
RECEIVING_KINDS = (2, 5)
"""OTLP's numbers of the kinds SERVER and CONSUMER."""
METRIC_NAMES = json.dumps([source.metric for source in RED_METRICS])

SELECT_SERIES = """SELECT id, name, kind, labels, bounds, born FROM series
WHERE name IN (SELECT value FROM json_each(:names))
AND kind IN ('histogram', 'exponential_histogram')
AND (:service = '' OR json_extract(labels, '$.service_name') = :service)"""
# The newest point at each edge of the parts, the first point of a series that began in the range,
# and the buckets of the outermost ones: a few points of each series, found by the primary key.
SELECT_POINTS = f"""WITH wanted AS MATERIALIZED ({SELECT_SERIES}),
edge AS MATERIALIZED (SELECT key, value FROM json_each(:edges))
SELECT wanted.id, point.time, point.start, count, point.value,
  CASE WHEN edge.key IN (0, :last) OR point.time = born THEN buckets END
FROM wanted CROSS JOIN edge CROSS JOIN point
ON point.series = wanted.id AND point.time = (
  SELECT max(time) FROM point WHERE series = wanted.id AND time <= edge.value)
UNION ALL
SELECT wanted.id, point.time, point.start, count, value, buckets FROM wanted CROSS JOIN point
ON point.series = wanted.id AND point.time = born
WHERE born BETWEEN :start AND :end"""  # noqa: S608  (of constants)
SELECT_SPANS = f"""SELECT CASE WHEN :service = '' THEN service ELSE span.name END, kind, start,
start + duration, status, trace_id
FROM span CROSS JOIN source ON source.id = span.source
WHERE span.rowid > (SELECT max(rowid) - {SPANS_SCANNED} FROM span)
AND start BETWEEN :start AND :end AND {IS_REQUEST}
AND (:service = '' OR service = :service)
AND service NOT IN (SELECT value FROM json_each(:known))"""  # noqa: S608  (of constants)
SELECT_HAS_SENDER = """SELECT EXISTS (SELECT 1 FROM source
WHERE (:service = '' OR service = :service)
AND service NOT IN (SELECT value FROM json_each(:known)))"""
SELECT_OLDEST_SCANNED = f"""SELECT start FROM span
WHERE rowid = (SELECT max(rowid) - {SPANS_SCANNED} FROM span)"""  # noqa: S608  (of constants)
SELECT_SERVICES = """SELECT service FROM source WHERE seen >= :hour
UNION SELECT json_extract(labels, '$.service_name') FROM series WHERE (
  SELECT max(time) FROM point WHERE series = id AND time <= :end) >= :start"""


async def services(reader: SqliteReader, start: float, end: float) -> list[Figures]:
    """Return the figures of all services that were seen in the time range, sorted by name."""
    by_metrics = await _metric_figures(reader, start, end, "", _service_of)
    known = [figures.name for figures in by_metrics]
    by_spans = await _span_figures(reader, start, end, "", known)
    found = {figures.name: figures for figures in (*by_spans, *by_metrics)}
    parameters = {
        "hour": int(start) // HOUR_S * HOUR_S,
        "start": nanoseconds(start),
        "end": nanoseconds(end),
    }
    for (name,) in await reader.fetch(SELECT_SERVICES, parameters):
        if name:
            found.setdefault(name, Figures(name, "", start, end))
    without_requests = [figures.name for figures in found.values() if not figures.source]
    for name, ahead_s in (await seconds_ahead(reader, start, end, without_requests)).items():
        found[name] = replace(found[name], ahead=ahead_s)
    return [found[name] for name in sorted(found)]


async def routes(reader: SqliteReader, service: str, start: float, end: float) -> list[Figures]:
    """Return the figures of the routes of ``service``, those with the most requests first."""
    found = await _metric_figures(reader, start, end, service, route_of)
    found = found or await _span_figures(reader, start, end, service, [])
    by_requests = sorted(found, key=lambda figures: (-figures.requests, figures.name))
    return by_requests[:MAX_ROUTES]


def _service_of(labels: Mapping[str, str]) -> str:
    return labels.get("service_name", "")


async def _metric_figures(
    reader: SqliteReader, start: float, end: float, service: str, group_of: GroupOf
) -> list[Figures]:
    """Return the figures of services or routes that have a histogram of request durations."""
    parameters: dict[str, Any] = {
        "names": METRIC_NAMES,
        "service": service,
        "start": nanoseconds(start),
        "end": nanoseconds(end),
    }
    series = await reader.fetch(SELECT_SERIES, parameters)
    # With thousands of series, fewer points of each one show how the rate has changed.
    last = max(MIN_EDGES, min(PARTS, MAX_POINTS // max(1, len(series))))
    edges = [nanoseconds(start + (end - start) * number / last) for number in range(last + 1)]
    parameters |= {"edges": json.dumps(edges), "last": last}
    points = await reader.fetch(SELECT_POINTS, parameters) if series else []
    found = await asyncio.to_thread(
        histogram_figures.figures_by_group,
        await asyncio.to_thread(_with_points, series, points),
        group_of,
        start,
        end,
        (end - start) / last,
    )
    return [figures for figures in found if figures.name]


_time_of = itemgetter(0)


@lru_cache(MAX_REMEMBERED)
def _parsed_labels(labels: str) -> Mapping[str, str]:
    """Return the labels of a series from their JSON; they must not be changed."""
    parsed: dict[str, str] = json.loads(labels)
    return parsed


def _with_points(series: Sequence[Any], rows: Sequence[Any]) -> list[SeriesPoints]:
    """Return the series with their points, from the rows of the two statements."""
    points_by_series = defaultdict[int, dict[float, Any]](dict)
    for series_id, time, point_start, count, total, buckets in rows:
        points = points_by_series[series_id]
        # The same point may be the newest at several edges, and have buckets at some of them.
        if buckets is not None or time not in points:
            points[time] = (time / NANO, point_start / NANO, count, total, buckets)
    return [
        SeriesPoints(
            name,
            kind,
            _parsed_labels(labels),
            bounds,
            born / NANO,
            sorted(points_by_series[series_id].values(), key=_time_of),
        )
        for series_id, name, kind, labels, bounds, born in series
    ]


async def _span_figures(
    reader: SqliteReader, start: float, end: float, service: str, known: Sequence[str]
) -> list[Figures]:
    """Return the figures of services or routes by their newest spans, except those ``known``."""
    spans, since = await request_spans(reader, start, end, service, known)
    return await asyncio.to_thread(span_figures.figures_by_group, spans, start, end, since)


async def request_spans(
    reader: SqliteReader, start: float, end: float, service: str, known: Sequence[str] = ()
) -> tuple[list[RequestSpan], float]:
    """Return the spans of requests, and since when they are complete, in seconds.

    They are those of all services except the ``known`` ones, grouped by service, or those of one
    ``service``, grouped by their names.
    """
    parameters = {
        "start": nanoseconds(start),
        "end": nanoseconds(end),
        "service": service,
        "known": json.dumps(list(known)),
    }
    [(has_sender,)] = await reader.fetch(SELECT_HAS_SENDER, parameters)
    if not has_sender:
        return [], start  # The search would read many spans, and find none.
    oldest = await reader.fetch(SELECT_OLDEST_SCANNED)
    since = max(start, oldest[0][0] / NANO) if oldest else start
    rows = await reader.fetch(SELECT_SPANS, parameters)
    spans = [
        RequestSpan(
            group,
            kind in RECEIVING_KINDS,
            ended / NANO,
            max(0, ended - begun) / NANO,
            status == sqlite_rows.STATUS_ERROR,
            trace_id.hex(),
        )
        for group, kind, begun, ended, status, trace_id in rows
        if begun >= nanoseconds(since)
    ]
    return spans, since
