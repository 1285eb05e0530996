"""Writes data points to the tables ``point``, ``series`` and ``exemplar``, and tells streams apart.

Nothing stored is overwritten: a point that is stored already is skipped, and a different point of
the same stream and time is rejected.
"""

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from three_pillar_demo.local_store.otlp.batch import Point
from three_pillar_demo.local_store.otlp.exponential import Exponential

MAX_SERIES = 10_000
"""The maximum number of metric series; points of further series are rejected.

A few services have far fewer series. A number over the maximum means that a label has unbounded
values.
"""
MAX_SENDERS = 16
"""The maximum number of senders of one stream, which should have one, that are told apart."""
MAX_COUNT = 2**63 - 1
CUMULATIVE_KINDS = {"counter", "histogram", "exponential_histogram", "summary"}

SELECT_SERIES = "SELECT identity, start, id FROM series"
INSERT_SERIES = """INSERT INTO series (name, kind, labels, bounds, born, identity, start)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
SELECT_LAST_POINT = """SELECT time, start, value, count, buckets, min, max FROM point
WHERE series = ? ORDER BY time DESC LIMIT 1"""
SELECT_POINT = """SELECT start, value, count, buckets, min, max FROM point
WHERE series = ? AND time = ?"""
INSERT_POINT = "INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
INSERT_EXEMPLAR = "INSERT INTO exemplar VALUES (?, ?, ?, ?, ?)"


@dataclass
class _Series:
    """A row of the table ``series``, with the last run of its sender.

    A run begins at ``start`` and has its newest point at ``last_time``. Both are None as long as
    they have not been read from the file.
    """

    id: int
    start: int | None = None
    last_time: int | None = None


class PointTable:
    """The series of the file, cached by identity, and the methods that insert points."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the series from the file of ``connection``."""
        self.connection = connection
        self.reload()

    def reload(self) -> None:
        """Read the series from the file again.

        After a rollback or a deletion, the cache could name rows that do not exist.
        """
        rows = self.connection.execute(SELECT_SERIES).fetchall()
        self.series = {(identity, start): _Series(row_id) for identity, start, row_id in rows}
        self.senders = Counter(identity for identity, _, _ in rows)

    def insert_point(self, point: Point) -> str:
        """Store ``point`` with its exemplars, and return an empty string.

        If ``point`` is rejected, return the reason instead. A point that is stored already is
        skipped, and so are its exemplars.
        """
        series = self._series(point)
        if series is None:
            return f"data point of a new series: over {MAX_SERIES} series"
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
        if series.last_time is None or point.time > series.last_time:
            series.start = point.start
            series.last_time = point.time
        exemplars = ((series.id, *exemplar) for exemplar in point.exemplars)
        self.connection.executemany(INSERT_EXEMPLAR, exemplars)
        return ""

    def _series(self, point: Point) -> _Series | None:
        """Return the series of ``point``, and insert it if it is new.

        The result is None if the series is new and there are already ``MAX_SERIES`` series. If two
        senders that cannot be told apart by their names send the same stream, each has a series.
        """
        series = self.series.get((point.identity, 0))
        if series is None:
            return self._insert_series(point, 0)
        if point.is_delta or point.kind not in CUMULATIVE_KINDS or not point.start:
            return series
        if not self._is_of_another_sender(point, series):
            return series
        other = self.series.get((point.identity, point.start))
        if other is None and self.senders[point.identity] < MAX_SENDERS:
            other = self._insert_series(point, point.start)
        return other or series

    def _is_of_another_sender(self, point: Point, series: _Series) -> bool:
        """Return whether the run of ``point`` overlaps with the last run of ``series``.

        A run of a cumulative stream lasts from its start to its newest point. One sender has one
        run after the other, so a run that overlaps with another one is of another sender.
        """
        if series.last_time is None or series.start is None:
            row = self.connection.execute(SELECT_LAST_POINT, (series.id,)).fetchone()
            if row is None:
                return False
            series.last_time, series.start = row[:2]
        return (
            point.start != series.start
            and point.start < series.last_time
            and series.start < point.time
        )

    def _insert_series(self, point: Point, start: int) -> _Series | None:
        if len(self.series) >= MAX_SERIES:
            return None
        columns = (point.name, point.kind, point.labels, point.bounds, point.time)
        row = (*columns, point.identity, start)
        series = _Series(self.connection.execute(INSERT_SERIES, row).lastrowid or 0)
        self.series[point.identity, start] = series
        self.senders[point.identity] += 1
        return series

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
            value=None if value is None or point.value is None else value + point.value,
            count=None if point.count is None else (count or 0) + point.count,
            buckets=_added_buckets(buckets, point),
            minimum=_extreme(min, minimum, point.minimum),
            maximum=_extreme(max, maximum, point.maximum),
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


def _extreme(
    choose: Callable[[float, float], float], first: float | None, second: float | None
) -> float | None:
    if first is None or second is None:
        return None
    return choose(first, second)


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
