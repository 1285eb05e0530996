"""Writes data points to the tables ``point`` and ``exemplar``.

Nothing stored is overwritten: a point that is stored already is skipped, and a different point of
the same stream and time is rejected.
"""

import json
import math
import operator
import sqlite3
from collections.abc import Callable
from dataclasses import replace

from three_pillar_demo.local_store.otlp.batch import Point
from three_pillar_demo.local_store.otlp.exponential import Exponential
from three_pillar_demo.local_store.series_table import SeriesTable

MAX_COUNT = 2**63 - 1

SELECT_LAST_POINT = """SELECT time, start, value, count, buckets, min, max FROM point
WHERE series = ? ORDER BY time DESC LIMIT 1"""
SELECT_POINT = """SELECT start, value, count, buckets, min, max FROM point
WHERE series = ? AND time = ?"""
INSERT_POINT = "INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_EXEMPLAR = "INSERT INTO exemplar VALUES (?, ?, ?, ?, ?)"


class PointTable:
    """Inserts points, with their exemplars, and the series that are new."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the series from the file of ``connection``."""
        self.connection = connection
        self.series = SeriesTable(connection)

    def insert_point(self, point: Point) -> str:
        """Store ``point`` with its exemplars, and return an empty string.

        If ``point`` is rejected, return the reason instead. A point that is stored already is
        skipped, and so are its exemplars.
        """
        series = self.series.series_or_reason(point)
        if isinstance(series, str):
            return series
        if point.is_delta:
            total = self._add_to_previous(point, series.id)
            if total is None:
                return "delta data point: not after the previous one, or sum out of range"
            point = total
        values = _stored_values(point)
        row = (series.id, point.time, *values)
        if not self.connection.execute(INSERT_POINT, row).rowcount:
            stored = self.connection.execute(SELECT_POINT, (series.id, point.time)).fetchone()
            if stored != values:
                return "data point: another one of the same series and time is stored"
            return ""
        series.add(point)
        self.series.set_instrument(series, point.instrument)
        exemplars = ((series.id, *exemplar) for exemplar in point.exemplars)
        self.connection.executemany(INSERT_EXEMPLAR, exemplars)
        return ""

    def _add_to_previous(self, point: Point, series_id: int) -> Point | None:
        """Return a delta point as a cumulative point: its values plus those of the previous point.

        The previous point is the newest stored point of the series. If the series has no stored
        point, ``point`` itself is returned. The result is None if ``point`` is not newer than the
        previous point, or if a sum is out of range.
        """
        previous = self.connection.execute(SELECT_LAST_POINT, (series_id,)).fetchone()
        if previous is None:
            return point
        previous_time, start, value, count, buckets, minimum, maximum = previous
        total = replace(
            point,
            start=start,
            count=None if point.count is None else (count or 0) + point.count,
            buckets=_added_buckets(buckets, point),
        )
        if point.count == 0:  # an interval without observations has no sum and no extremes
            total = replace(total, value=value, minimum=minimum, maximum=maximum)
        elif count != 0:
            total = replace(
                total,
                value=_combined(operator.add, value, point.value),
                minimum=_combined(min, minimum, point.minimum),
                maximum=_combined(max, maximum, point.maximum),
            )
        is_valid = (
            previous_time < point.time
            and math.isfinite(total.value or 0.0)
            and (total.count or 0) <= MAX_COUNT
        )
        return total if is_valid else None


def _added_buckets(stored: str | None, point: Point) -> list[int] | Exponential | None:
    """Return the buckets of ``point`` plus the ``stored`` ones (JSON) of the previous point."""
    if isinstance(point.buckets, Exponential):
        return Exponential.from_json(stored or "").plus(point.buckets)
    if point.buckets is None:
        return None
    return [a + b for a, b in zip(json.loads(stored or ""), point.buckets, strict=True)]


def _combined(
    combine: Callable[[float, float], float], first: float | None, second: float | None
) -> float | None:
    if first is None or second is None:
        return None
    return combine(first, second)


def _stored_values(point: Point) -> tuple[int | float | str | None, ...]:
    """Return the columns of the table ``point`` from ``start`` on."""
    buckets: str | None = None
    if isinstance(point.buckets, Exponential):
        buckets = point.buckets.to_json()
    elif point.buckets is not None:
        buckets = json.dumps(point.buckets, separators=(",", ":"))
    elif point.quantiles is not None:
        buckets = json.dumps(point.quantiles, separators=(",", ":"))
    return (point.start, point.value, point.count, buckets, point.minimum, point.maximum)
