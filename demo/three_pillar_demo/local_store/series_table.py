"""The rows of the table ``series``: finds the series of a data point, and tells senders apart.

Senders that cannot be told apart by their names send the same stream. Each of them has runs, one
after the other: a run lasts from the start of a cumulative stream to its newest point. Two runs
that overlap are of two senders, so each series has runs that do not overlap.
"""

import sqlite3
from dataclasses import dataclass

from three_pillar_demo.local_store.otlp.batch import Instrument, Point

MAX_SERIES = 10_000
"""The maximum number of metric series; points of further series are rejected.

A few services have far fewer series. A number over the maximum means that a label has unbounded
values.
"""
MAX_SENDERS = 16
"""The maximum number of senders of one stream at the same time, which should have one."""
CUMULATIVE_KINDS = {"counter", "histogram", "exponential_histogram", "summary"}

SELECT_SERIES = "SELECT identity, start, id, instrument FROM series ORDER BY id"
INSERT_SERIES = """INSERT INTO series (name, kind, labels, bounds, born, identity, start)
VALUES (?, ?, ?, ?, ?, ?, ?)"""
SELECT_INSTRUMENTS = "SELECT name, kind, unit, description, id FROM instrument"
INSERT_INSTRUMENT = "INSERT INTO instrument (name, kind, unit, description) VALUES (?, ?, ?, ?)"
UPDATE_SERIES = "UPDATE series SET instrument = ? WHERE id = ?"
SELECT_LAST_RUN = "SELECT start, time FROM point WHERE series = ? ORDER BY time DESC LIMIT 1"
SELECT_POINT_BEFORE = """SELECT start, time FROM point WHERE series = ? AND time <= ?
ORDER BY time DESC LIMIT 1"""
SELECT_POINT_AFTER = "SELECT start FROM point WHERE series = ? AND time > ? ORDER BY time LIMIT 1"


@dataclass
class Series:
    """A row of the table ``series``, with the last run of its sender.

    ``number`` is the column ``start``, which tells the series of one stream apart. The last run
    begins at ``run_start`` and has its newest point at ``last_time``. Both are None as long as
    they have not been read from the file. ``instrument`` is the id of its row in the table
    ``instrument``, or 0.
    """

    id: int
    number: int
    instrument: int = 0
    run_start: int | None = None
    last_time: int | None = None

    def add(self, point: Point) -> None:
        """Take note of a stored point of the series."""
        if self.last_time is None or point.time > self.last_time:
            self.run_start = point.start
            self.last_time = point.time


class SeriesTable:
    """The series of the file, cached by the identity of their stream."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read the series from the file of ``connection``."""
        self.connection = connection
        self.reload()

    def reload(self) -> None:
        """Read the series from the file again.

        After a rollback or a deletion, the cache could name rows that do not exist.
        """
        self.count = 0
        """The number of series in the file."""
        self.streams: dict[bytes, list[Series]] = {}
        for identity, *columns in self.connection.execute(SELECT_SERIES).fetchall():
            number, row_id, instrument = columns
            self._add(identity, Series(row_id, number, instrument))
        self.instruments: dict[Instrument, int] = {}
        for *fields, row_id in self.connection.execute(SELECT_INSTRUMENTS).fetchall():
            self.instruments[Instrument(*fields)] = row_id

    def series_or_reason(self, point: Point) -> Series | str:
        """Return the series of ``point``, and insert it if it is new.

        The result is the reason for a rejection, a text, if the series would be new and the file
        has ``MAX_SERIES`` series, or ``MAX_SENDERS`` of this stream, with runs at the same time.
        """
        senders = self.streams.get(point.identity)
        if senders is None:
            return self._insert_or_reason(point, 0)
        if point.is_delta or point.kind not in CUMULATIVE_KINDS or not point.start:
            return senders[0]
        for series in senders:
            if self._run_start(series) == point.start:
                return series
        for series in senders:
            if self._has_room_for(series, point):
                return series
        if len(senders) >= MAX_SENDERS:
            return f"data point: over {MAX_SENDERS} senders of one series"
        taken = {series.number for series in senders}
        number = point.start
        while number in taken:
            number += 1
        return self._insert_or_reason(point, number)

    def set_instrument(self, series: Series, instrument: Instrument) -> None:
        """Store what the sender says about the metric of ``series``, if that is not stored yet."""
        row_id = self.instruments.get(instrument)
        if row_id is None:
            row = (instrument.name, instrument.kind, instrument.unit, instrument.description)
            row_id = self.connection.execute(INSERT_INSTRUMENT, row).lastrowid or 0
            self.instruments[instrument] = row_id
        if series.instrument != row_id:
            self.connection.execute(UPDATE_SERIES, (row_id, series.id))
            series.instrument = row_id

    def _run_start(self, series: Series) -> int | None:
        """Return the start of the last run of ``series``; None if it has no stored point."""
        if series.run_start is None:
            row = self.connection.execute(SELECT_LAST_RUN, (series.id,)).fetchone()
            if row:
                series.run_start, series.last_time = row
        return series.run_start

    def _has_room_for(self, series: Series, point: Point) -> bool:
        """Return whether the run of ``point`` overlaps with no other run of ``series``.

        The run is a new one, after a restart of the sender, or an earlier run, of which a point
        arrives late. In the order of time, the points before and after it say which.
        """
        times = (series.id, point.time)
        before = self.connection.execute(SELECT_POINT_BEFORE, times).fetchone()
        if before and before[0] != point.start and before[1] > point.start:
            return False
        after = self.connection.execute(SELECT_POINT_AFTER, times).fetchone()
        return after is None or after[0] == point.start or after[0] >= point.time

    def _insert_or_reason(self, point: Point, number: int) -> Series | str:
        if self.count >= MAX_SERIES:
            return f"data point of a new series: over {MAX_SERIES} series"
        columns = (point.name, point.kind, point.labels, point.bounds, point.time)
        row = (*columns, point.identity, number)
        series = Series(self.connection.execute(INSERT_SERIES, row).lastrowid or 0, number)
        self._add(point.identity, series)
        return series

    def _add(self, identity: bytes, series: Series) -> None:
        self.streams.setdefault(identity, []).append(series)
        self.count += 1
