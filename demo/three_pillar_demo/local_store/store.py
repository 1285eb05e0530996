"""Writes decoded batches to the SQLite file: each batch once, and completely or not at all.

Only the thread of ``writer.Writer`` uses the connection. Readers open the same file read-only from
other processes.
"""

import json
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from three_pillar_demo.local_store import database
from three_pillar_demo.local_store.otlp.batch import Batch, Point, Row, Source

MAX_SERIES = 10_000
"""The maximum number of metric series; points of further series are rejected.

A few services have far fewer series. A number over the maximum means that a label has unbounded
values.
"""
MAX_COUNT = 2**63 - 1
SIZE_MARGIN = 1.25
"""``Store.max_bytes`` divided by ``Store.size_bytes``.

The limit ``size_bytes`` is enforced after each write, so a write needs some space above the limit.
"""
SOURCE_COLUMN = 3
"""The position (from 0) of the column ``source`` in the tables ``span`` and ``log``."""

INSERT_BATCH = "INSERT OR IGNORE INTO batch VALUES (?, ?)"
INSERT_SPAN = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_LOG_RECORD = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_SOURCE = """INSERT INTO source (service, instance, resource, scope, seen)
VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id"""
INSERT_SERIES = "INSERT INTO series (name, kind, labels, bounds, born) VALUES (?, ?, ?, ?, ?)"
SELECT_LAST_POINT = """SELECT time, start, value, count, buckets FROM point WHERE series = ?
ORDER BY time DESC LIMIT 1"""
INSERT_POINT = "INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?)"
INSERT_EXEMPLAR = "INSERT INTO exemplar VALUES (?, ?, ?, ?, ?)"
ADD_TO_TALLY = "UPDATE tally SET rows = rows + ?2 WHERE signal = ?1"


class Store:
    """The open SQLite file of the local store.

    The module ``retention`` deletes the oldest rows when the file uses more than ``size_bytes``.
    SQLite refuses to write more than ``max_bytes``.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        """Open the file at ``path``, or create it.

        A damaged file, or a file of another application or schema version, is renamed first.

        Raises:
            OSError: The folder cannot be created.
            sqlite3.Error: The file cannot be opened or created.
        """
        self.path = path
        self.size_bytes = size_bytes
        self.max_bytes = int(SIZE_MARGIN * size_bytes)
        self.sources: dict[Source, tuple[int, int]] = {}
        self.series: dict[tuple[str, ...], int] = {}
        self.is_open = False
        self._open()

    def replace_file(self, reason: str) -> None:
        """Rename the file, so that it can still be examined, and continue with a new one."""
        self.close()
        database.move_aside(self.path, reason)
        self._open()

    def reload_caches(self) -> None:
        """Read the cached series ids from the file again, and empty the cache of source ids.

        After a rollback or a deletion, the caches could name rows that do not exist.
        """
        self.sources.clear()
        rows = self.connection.execute("SELECT name, kind, labels, bounds, id FROM series")
        self.series = {tuple(key): series_id for *key, series_id in rows.fetchall()}

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connect()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if not database.is_unusable(self.path, error):
                raise
            database.move_aside(self.path, str(error))
            self._connect()

    def _connect(self) -> None:
        self.connection = database.connect(self.path, self.max_bytes)
        try:
            self.reload_caches()
        except BaseException:
            self.connection.close()
            raise
        self.is_open = True

    def write(self, batches: Iterable[Batch]) -> None:
        """Store ``batches`` in one transaction, which is on the disk when this method returns.

        A batch that is stored already is skipped. Data points that cannot be stored are counted in
        the counter ``rejected`` of their batch.

        Raises:
            sqlite3.Error: The transaction failed, and none of the batches is stored.
        """
        if not self.is_open:
            self._open()
        rejected_before: list[tuple[Batch, Counter[str]]] = []
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                rejected_before.append((batch, batch.rejected.copy()))
                digest = (batch.digest, int(time.time()))
                is_new = self.connection.execute(INSERT_BATCH, digest).rowcount > 0
                if is_new:
                    self._insert(batch)
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            for batch, rejected in rejected_before:
                batch.rejected = rejected
            self.reload_caches()
            raise

    def _insert(self, batch: Batch) -> None:
        self.connection.executemany(INSERT_SPAN, self._with_source_ids(batch.spans))
        self.connection.executemany(INSERT_LOG_RECORD, self._with_source_ids(batch.log_records))
        stored_points = 0
        for point in batch.points:
            reason = self._insert_point(point)
            if reason:
                batch.rejected[reason] += 1
            else:
                stored_points += 1
        totals = (
            ("spans", len(batch.spans)),
            ("lines", len(batch.log_records)),
            ("points", stored_points),
        )
        self.connection.executemany(ADD_TO_TALLY, totals)

    def _with_source_ids(self, rows: Iterable[tuple[Source, Row]]) -> Iterator[Row]:
        for source, row in rows:
            yield (*row[:SOURCE_COLUMN], self._source_id(source), *row[SOURCE_COLUMN:])

    def _source_id(self, source: Source) -> int:
        """Return the id of the table row for ``source``, and insert the row if it is missing.

        The row's column ``seen``, the hour of the last record, is updated once an hour.
        """
        hour = int(time.time()) // 3600 * 3600
        source_id, seen_hour = self.sources.get(source, (0, 0))
        if seen_hour != hour:
            (source_id,) = self.connection.execute(INSERT_SOURCE, (*source, hour)).fetchone()
            self.sources[source] = (source_id, hour)
        return source_id

    def _insert_point(self, point: Point) -> str:
        """Store ``point`` with its exemplars, and return an empty string.

        If ``point`` is rejected, return the reason instead.
        """
        series_id = self._series_id(point)
        if series_id is None:
            return f"data point of a new series: over {MAX_SERIES} series"
        if point.is_delta:
            cumulative_point = self._add_to_previous(point, series_id)
            if cumulative_point is None:
                return "delta data point: not after the previous one, or sum out of range"
            point = cumulative_point
        buckets = None
        if point.buckets is not None:
            buckets = json.dumps(point.buckets, separators=(",", ":"))
        self.connection.execute(
            INSERT_POINT, (series_id, point.time, point.start, point.value, point.count, buckets)
        )
        exemplars = ((series_id, *exemplar) for exemplar in point.exemplars)
        self.connection.executemany(INSERT_EXEMPLAR, exemplars)
        return ""

    def _series_id(self, point: Point) -> int | None:
        """Return the id of the series of ``point``, and insert the series if it is new.

        The result is None if the series is new and there are already ``MAX_SERIES`` series.
        """
        key = (point.name, point.kind, point.labels, point.bounds)
        series_id = self.series.get(key)
        if series_id is None and len(self.series) < MAX_SERIES:
            series_id = self.connection.execute(INSERT_SERIES, (*key, point.time)).lastrowid or 0
            self.series[key] = series_id
        return series_id

    def _add_to_previous(self, point: Point, series_id: int) -> Point | None:
        """Return a delta point as a cumulative point: its values plus those of the previous point.

        The previous point is the newest stored point of the series. If the series has no stored
        point, ``point`` itself is returned. The result is None if ``point`` is not newer than the
        previous point, or if a sum is out of range.
        """
        previous = self.connection.execute(SELECT_LAST_POINT, (series_id,)).fetchone()
        if previous is None:
            return point
        previous_time, start, value, count, buckets = previous
        total = replace(point, start=start, value=value + point.value)
        if point.buckets is not None:
            sums = [a + b for a, b in zip(json.loads(buckets), point.buckets, strict=True)]
            total = replace(total, count=count + (point.count or 0), buckets=sums)
        is_valid = (
            previous_time < point.time
            and math.isfinite(total.value)
            and (total.count or 0) <= MAX_COUNT
        )
        return total if is_valid else None

    def close(self) -> None:
        """Close the file.

        If no other process has the file open, SQLite moves the write-ahead log into the file.
        """
        self.is_open = False
        self.connection.close()
