"""Computes rate, errors and durations of one service over time from the local store's file."""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from three_pillar_demo.query import exponential, promql_math, span_figures, sqlite_rows
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.interface import NANO, Exemplar, RedSample
from three_pillar_demo.query.local_services import request_spans
from three_pillar_demo.query.promql_math import Steps
from three_pillar_demo.query.red_sources import RED_METRICS, is_failed
from three_pillar_demo.query.service_figures import (
    INTERVALS_PER_WINDOW,
    MAX_EXEMPLARS,
    ServiceRed,
    while_beginning,
)
from three_pillar_demo.query.sqlite_reader import SqliteReader

SELECT_METRICS = """SELECT name, min(newest - (
  SELECT max(time) FROM point WHERE series = id AND time < newest)) FROM (
  SELECT id, name, (SELECT max(time) FROM point WHERE series = id AND time <= :end) AS newest
  FROM series WHERE name IN (SELECT value FROM json_each(:names))
  AND kind IN ('histogram', 'exponential_histogram')
  AND json_extract(labels, '$.service_name') = :service
) WHERE newest >= :start GROUP BY name"""
SELECT_POINTS = """SELECT series.id, labels, bounds, born, time, point.start, count, buckets, kind
FROM series JOIN point ON series = id
WHERE name = :name AND kind IN ('histogram', 'exponential_histogram')
AND json_extract(labels, '$.service_name') = :service
AND time BETWEEN :start AND :end ORDER BY series.id, time"""
SELECT_EXEMPLARS = """SELECT exemplar.trace_id, value, time, labels, bounds, kind, name
FROM exemplar JOIN series ON series.id = exemplar.series
WHERE time BETWEEN :start AND :end AND name = :name
AND json_extract(labels, '$.service_name') = :service ORDER BY time DESC LIMIT :limit"""


async def service_red(
    reader: SqliteReader, service: str, steps: Steps, quantiles: Sequence[float]
) -> ServiceRed:
    """Return rate, errors and durations of ``service`` at each of the ``steps``."""
    parameters: dict[str, Any] = {
        "service": service,
        "names": json.dumps([source.metric for source in RED_METRICS]),
        "start": nanoseconds(steps.start),
        "end": nanoseconds(steps.end),
        "limit": MAX_EXEMPLARS,
    }
    intervals = dict(await reader.fetch(SELECT_METRICS, parameters))
    source = next((source for source in RED_METRICS if source.metric in intervals), None)
    if source is None:
        return await _from_spans(reader, service, steps, quantiles)
    interval_s = (intervals[source.metric] or 0) / NANO
    window = max(steps.window, INTERVALS_PER_WINDOW * interval_s)
    wide_steps = Steps(steps.start, steps.end, steps.step, window)
    parameters["name"] = source.metric
    exemplars = await reader.fetch(SELECT_EXEMPLARS, parameters)
    parameters["start"] = nanoseconds(steps.start - window)
    rows = await reader.fetch(SELECT_POINTS, parameters)
    samples = await asyncio.to_thread(_samples, rows, wide_steps, quantiles, source.unit_s)
    return ServiceRed(
        source.name,
        window,
        tuple(samples),
        tuple(_exemplar(row, source.unit_s) for row in exemplars),
    )


async def _from_spans(
    reader: SqliteReader, service: str, steps: Steps, quantiles: Sequence[float]
) -> ServiceRed:
    """Return the values that the newest spans of a service without a histogram give."""
    spans, since = await request_spans(reader, steps.start - steps.window, steps.end, service)
    source, requests = span_figures.received(spans)
    if not source:
        return ServiceRed("", steps.window)
    samples = await asyncio.to_thread(
        span_figures.red_samples, requests, steps, quantiles, known_since=since
    )
    newest = sorted(requests, key=lambda span: span.end)[-MAX_EXEMPLARS:]
    exemplars = tuple(span_figures.exemplar_of_span(service, span) for span in newest)
    return ServiceRed(source, steps.window, tuple(samples), exemplars)


def _samples(
    rows: Sequence[Any], steps: Steps, quantiles: Sequence[float], unit_s: float
) -> list[RedSample]:
    counted = promql_math.red_samples(
        merged_rows(exponential.explicit_rows(rows)), steps, quantiles
    )
    samples = while_beginning(counted, steps.window, _begin(rows))
    return [
        replace(
            sample,
            quantiles=tuple(
                None if value is None else value * unit_s for value in sample.quantiles
            ),
        )
        for sample in samples
    ]


def _begin(rows: Sequence[Any]) -> float | None:
    """Return when the first series began, in seconds since the epoch; None if before the rows.

    ``rows`` are those of ``SELECT_POINTS``, which are ordered by series and time.
    """
    begins: dict[int, float] = {}
    for series_id, _, _, born, time, start, *_ in rows:
        begins.setdefault(series_id, start / NANO if born == time else -math.inf)
    first = min(begins.values(), default=-math.inf)
    return first if math.isfinite(first) else None


def merged_rows(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """Return rows of histogram points in which the series of a process are added to each other.

    Series are added if their points have the same times, which is so for nearly all series of a
    process, and if both or neither of them count failures. A service with a hundred routes then
    needs not much more time than one with a single route.
    """
    rows_by_series = defaultdict[int, list[Sequence[Any]]](list)
    for row in rows:
        rows_by_series[row[0]].append(row)
    groups = defaultdict[tuple[Any, ...], list[list[Sequence[Any]]]](list)
    for series in rows_by_series.values():
        _, labels_json, bounds, born, first_time, *_ = series[0]
        labels = json.loads(labels_json)
        process = (labels.get("job"), labels.get("instance"))
        times = tuple((row[4], row[5]) for row in series)
        key = (is_failed(labels), process, bounds, born == first_time, times)
        groups[key].append(series)
    return [row for members in groups.values() for row in _sum(members)]


def _sum(members: Sequence[Sequence[Sequence[Any]]]) -> Sequence[Sequence[Any]]:
    """Return the rows of one series that counts what all ``members`` count."""
    if len(members) == 1:
        return members[0]
    result = []
    for rows in zip(*members, strict=True):
        buckets = [
            sum(counts) for counts in zip(*(json.loads(row[7]) for row in rows), strict=True)
        ]
        result.append((*rows[0][:6], sum(row[6] for row in rows), json.dumps(buckets)))
    return result


def _exemplar(row: Sequence[Any], unit_s: float) -> Exemplar:
    *columns, metric = row
    exemplar = sqlite_rows.to_exemplar(columns)
    labels = exemplar.labels | {"__name__": metric}
    return Exemplar(exemplar.trace_id, exemplar.value * unit_s, exemplar.time, labels)
