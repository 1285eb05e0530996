"""The file: rows go in, and a batch is in it once it is committed.

One connection, used by one thread (``writer``). Readers open the same file read-only, from other processes.
"""

import json
import logging
import sqlite3
import time
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from embedded.otlp import Batch, Point, Row, Source

log = logging.getLogger("embedded")

APPLICATION, VERSION = 0x3B111A25, 1
"""What the file says it is: ours, and of this layout."""
MAX_SERIES = 10_000
"""More than this is somebody's unbounded label, not a house of a few services."""
NANO = 10**9

SPAN = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LINE = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
SERIES = "INSERT INTO series (name, kind, labels, bounds, born) VALUES (?, ?, ?, ?, ?)"
POINT = "INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?)"


class Store:
    """An open file; ``retention`` keeps it under ``size`` bytes."""

    def __init__(self, path: Path, size: int) -> None:
        """Open ``path`` or make it; one that is not ours, of another version or damaged is put aside, and said so."""
        self.path, self.size = path, size
        self.sources: dict[Source, tuple[int, int]] = {}
        self.series: dict[tuple[str, ...], int] = {}
        self.reopen()

    def reopen(self) -> None:
        """Open the file anew; one that is damaged is put aside."""
        self.file = self._open()
        self.learn()

    def learn(self) -> None:
        """Believe the file alone: what a rolled-back transaction had named is gone with it."""
        self.sources.clear()
        found = self.file.execute("SELECT name, kind, labels, bounds, id FROM series").fetchall()
        self.series = {tuple(key): series for *key, series in found}

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.OperationalError:
            raise  # locked, no rights, no disk: not the file's fault
        except sqlite3.DatabaseError as error:
            self.put_aside(str(error))
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        file = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            whose = [file.execute(f"PRAGMA {each}").fetchone()[0] for each in ("application_id", "user_version")]
            empty = file.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if not empty:
                _check(whose)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before the batch is acknowledged
            file.execute(f"PRAGMA journal_size_limit = {4 * 1024**2}")
            # A bound for the worst case; retention keeps what is in use under ``size``.
            page = file.execute("PRAGMA page_size").fetchone()[0]
            file.execute(f"PRAGMA max_page_count = {int(1.25 * self.size) // page}")
            if empty:
                schema = files("embedded").joinpath("schema.sql").read_text()
                ids = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
                file.executescript(f"BEGIN; {schema} {ids} COMMIT;")
        except BaseException:
            file.close()
            raise
        return file

    def put_aside(self, reason: str) -> None:
        """Rename the file, with what belongs to it, and say so; nothing is overwritten."""
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % NANO:09d}"
        for ending in ("", "-wal", "-shm"):
            old = self.path.with_name(self.path.name + ending)
            if old.exists():
                old.rename(self.path.with_name(f"{self.path.name}.aside-{stamp}{ending}"))
        log.warning("%s is put aside as %s.aside-%s: %s", self.path, self.path.name, stamp, reason)

    def write(self, batches: Iterable[Batch]) -> None:
        """Store ``batches`` in one transaction; when this returns, they are on the disk. One that is there already is skipped.

        Raises:
            sqlite3.Error: Nothing of them is stored.
        """
        self.file.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                if self.file.execute("INSERT OR IGNORE INTO batch VALUES (?, ?)", (batch.digest, int(time.time()))).rowcount:
                    self._insert(batch)
            self.file.execute("COMMIT")
        except BaseException:
            if self.file.in_transaction:
                self.file.execute("ROLLBACK")
            self.learn()
            raise

    def _insert(self, batch: Batch) -> None:
        self.file.executemany(SPAN, self._with_source(batch.spans, 3))
        self.file.executemany(LINE, self._with_source(batch.lines, 3))
        for point in batch.points:
            self._insert_point(point, batch)
        told = (("spans", len(batch.spans)), ("lines", len(batch.lines)), ("points", len(batch.points)))
        self.file.executemany("UPDATE tally SET rows = rows + ?2 WHERE signal = ?1", told)

    def _with_source(self, rows: Iterable[tuple[Source, Row]], at: int) -> Iterable[Row]:
        return ((*row[:at], self._source(source), *row[at:]) for source, row in rows)

    def _source(self, source: Source) -> int:
        hour = int(time.time()) // 3600 * 3600
        known = self.sources.get(source)
        if known is None or known[1] != hour:
            same = "ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id"
            add = f"INSERT INTO source (service, instance, resource, scope, seen) VALUES (?, ?, ?, ?, ?) {same}"  # noqa: S608
            known = self.sources[source] = (self.file.execute(add, (*source, hour)).fetchone()[0], hour)
        return known[0]

    def _insert_point(self, point: Point, batch: Batch) -> None:
        key = (point.name, point.kind, point.labels, point.bounds)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                batch.refused[f"point of a new series: there are {MAX_SERIES} already"] += 1
                return
            series = self.series[key] = self.file.execute(SERIES, (*key, point.time)).lastrowid or 0
        value, count, buckets = point.value, point.count, point.buckets
        if point.delta:
            last = "SELECT value, count, buckets FROM point WHERE series = ? AND time < ? ORDER BY time DESC LIMIT 1"
            before = self.file.execute(last, (series, point.time)).fetchone()
            if before:
                value += before[0]
                if buckets is not None:
                    count, told = before[1] + (count or 0), json.loads(before[2])
                    buckets = [a + b for a, b in zip(told, buckets, strict=True)]
        told = None if buckets is None else json.dumps(buckets, separators=(",", ":"))
        self.file.execute(POINT, (series, point.time, point.start, value, count, told))
        self.file.executemany("INSERT INTO exemplar VALUES (?, ?, ?, ?, ?)", ((series, *each) for each in point.exemplars))

    def close(self) -> None:
        """Close the file; what is in the log goes into it."""
        self.file.close()


def _check(whose: list[int]) -> None:
    if whose != [APPLICATION, VERSION]:
        raise sqlite3.DatabaseError(f"it says it is {whose}, not {[APPLICATION, VERSION]}")
