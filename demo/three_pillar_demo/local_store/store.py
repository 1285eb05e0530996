"""Writes decoded batches to the SQLite file: each batch once, and completely or not at all.

Only the thread of ``writer.Writer`` uses the connection. Readers open the same file read-only from
other processes.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from three_pillar_demo.local_store import database
from three_pillar_demo.local_store.database import is_of_record
from three_pillar_demo.local_store.otlp.batch import Batch, Row, Source
from three_pillar_demo.local_store.point_table import PointTable

SIZE_MARGIN = 1.25
"""``Store.max_bytes`` divided by ``Store.size_bytes``.

The limit ``size_bytes`` is enforced after each write, so a write needs some space above the limit.
"""
SOURCE_COLUMN = 3
"""The position (from 0) of the column ``source`` in the tables ``span`` and ``log``."""

INSERT_BATCH = "INSERT OR IGNORE INTO batch VALUES (?, ?, '{}')"
SELECT_REJECTED = "SELECT rejected FROM batch WHERE digest = ?"
UPDATE_REJECTED = "UPDATE batch SET rejected = ? WHERE digest = ?"
INSERT_SPAN = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_LOG_RECORD = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_SOURCE = """INSERT INTO source (service, instance, resource, scope, seen)
VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id"""
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
        self.is_open = False
        self._open()

    def replace_file(self, reason: str) -> None:
        """Rename the file, so that it can still be examined, and continue with a new one."""
        self.close()
        database.move_aside(self.path, reason)
        self._open()

    def reload_caches(self) -> None:
        """Read the cached series from the file again, and empty the cache of source ids.

        After a rollback or a deletion, the caches could name rows that do not exist.
        """
        self.sources.clear()
        self.points.series.reload()

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
        self.sources.clear()
        try:
            self.points = PointTable(self.connection)
        except BaseException:
            self.connection.close()
            raise
        self.is_open = True

    def write(self, batches: Iterable[Batch]) -> None:
        """Store ``batches`` in one transaction, which is on the disk when this method returns.

        Records that cannot be stored are counted in the counter ``rejected`` of their batch. A
        batch with the digest of a stored one is a retry: it is skipped, and gets the same counts.

        Raises:
            Exception: The transaction failed, and none of the batches is stored.
        """
        if not self.is_open:
            self._open()
        rejected_before: list[tuple[Batch, Counter[str]]] = []
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                rejected_before.append((batch, batch.rejected.copy()))
                self._write(batch)
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            for batch, rejected in rejected_before:
                batch.rejected = rejected
            self.reload_caches()
            raise

    def _write(self, batch: Batch) -> None:
        row = (batch.digest, int(time.time()))
        is_new = self.connection.execute(INSERT_BATCH, row).rowcount > 0
        if is_new or not batch.is_recognisable:
            rejected = self._insert(batch)
            if rejected:
                encoded = json.dumps(rejected)
                self.connection.execute(UPDATE_REJECTED, (encoded, batch.digest))
        else:
            (encoded,) = self.connection.execute(SELECT_REJECTED, (batch.digest,)).fetchone()
            rejected = json.loads(encoded)
        for reason, count in rejected.items():
            batch.reject(reason, count)

    def _insert(self, batch: Batch) -> dict[str, int]:
        """Insert all rows of ``batch``; return how many records were rejected, by reason."""
        rejected: Counter[str] = Counter()
        tables = (
            ("spans", "span", INSERT_SPAN, batch.spans),
            ("lines", "log record", INSERT_LOG_RECORD, batch.log_records),
        )
        for signal, record_name, statement, records in tables:
            rejected_before = rejected.total()
            # A map continues behind an invalid record; a generator would end with the exception.
            rows = map(self._with_source_id, records)
            for _ in range(len(records) + 1):
                try:
                    self.connection.executemany(statement, rows)
                    break
                except Exception as error:  # noqa: BLE001  (raised again unless of the record)
                    rejected[_rejection_reason(record_name, error)] += 1
            stored_count = len(records) - (rejected.total() - rejected_before)
            self.connection.execute(ADD_TO_TALLY, (signal, stored_count))
        rejected_points = self._insert_points(batch)
        stored_count = len(batch.points) - rejected_points.total()
        self.connection.execute(ADD_TO_TALLY, ("points", stored_count))
        return rejected + rejected_points

    def _insert_points(self, batch: Batch) -> Counter[str]:
        """Insert the points of ``batch``; return how many were rejected, by reason."""
        rejected: Counter[str] = Counter()
        for point in batch.points:
            try:
                reason = self.points.insert_point(point)
            except Exception as error:  # noqa: BLE001  (raised again unless of the point)
                reason = _rejection_reason(f"data point of {point.name}", error)
            if reason:
                rejected[reason] += 1
        return rejected

    def _with_source_id(self, record: tuple[Source, Row]) -> Row:
        source, row = record
        return (*row[:SOURCE_COLUMN], self._source_id(source), *row[SOURCE_COLUMN:])

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

    def close(self) -> None:
        """Close the file.

        If no other process has the file open, SQLite moves the write-ahead log into the file.
        """
        self.is_open = False
        self.connection.close()


def _rejection_reason(record_name: str, error: Exception) -> str:
    """Return why a record is rejected whose writing raised ``error``.

    Raises:
        Exception: ``error`` itself, if the record is not its cause.
    """
    if not is_of_record(error):
        raise error
    return f"{record_name}: cannot be stored, {type(error).__name__}"
