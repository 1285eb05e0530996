"""The file: rows go in, and a batch is in it once it is committed.

One connection, used by one thread (``writer``). Readers open the same file read-only, from other processes.
"""

import json
import logging
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from three_pillar_demo.local_store.otlp import Batch, Point, Row, Source

log = logging.getLogger("local_store")

APPLICATION, VERSION = 0x3B111A25, 1
"""What the file says it is: ours, and of this layout."""
MAX_SERIES = 10_000
"""More than this is somebody's unbounded label, not a house of a few services."""
MAX_COUNT = 2**63 - 1
NANO = 10**9

SPAN = "INSERT INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LINE = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
SERIES = "INSERT INTO series (name, kind, labels, bounds, born) VALUES (?, ?, ?, ?, ?)"
LAST = "SELECT time, start, value, count, buckets FROM point WHERE series = ? ORDER BY time DESC LIMIT 1"
POINT = "INSERT OR REPLACE INTO point VALUES (?, ?, ?, ?, ?, ?)"


class ForeignError(sqlite3.DatabaseError):
    """A whole database, but not ours, or of another version."""


class Store:
    """An open file; ``retention`` keeps it under ``size`` bytes."""

    def __init__(self, path: Path, size: int) -> None:
        """Open ``path`` or make it; one that is not ours, of another version or damaged is put aside, and said so."""
        self.path, self.size = path, size
        self.most = int(
            1.25 * size
        )  # for the worst case; retention keeps what is in use under ``size``
        self.sources: dict[Source, tuple[int, int]] = {}
        self.series: dict[tuple[str, ...], int] = {}
        self.open = False
        self._open()

    def start_anew(self, reason: str) -> None:
        """Put a damaged file aside: what is in it can still be looked at, and what comes is kept."""
        self.close()
        self.put_aside(reason)
        self._open()

    def learn(self) -> None:
        """Believe the file alone: what a rolled-back transaction had named is gone with it."""
        self.sources.clear()
        found = self.file.execute("SELECT name, kind, labels, bounds, id FROM series").fetchall()
        self.series = {tuple(key): series for *key, series in found}

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connect()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            odd = code_of(error) == sqlite3.SQLITE_ERROR  # an unknown format, or no table of ours
            marked = code_of(error) == sqlite3.SQLITE_READONLY and os.access(self.path, os.W_OK)
            if not (is_damage(error) or odd or marked):
                raise  # locked, no rights, no disk: not the file's fault
            self.put_aside(str(error))
            self._connect()

    def _connect(self) -> None:
        file = self.file = sqlite3.connect(
            self.path, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            whose = [
                file.execute(f"PRAGMA {each}").fetchone()[0]
                for each in ("application_id", "user_version")
            ]
            empty = file.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if not empty:
                _check(whose)
                for each in (
                    "BEGIN",
                    "UPDATE tally SET rows = rows",
                    "ROLLBACK",
                ):  # one that says it is read-only is found now
                    file.execute(each)
            file.execute("PRAGMA journal_mode = WAL")
            file.execute(
                "PRAGMA synchronous = FULL"
            )  # a commit is on the disk before the batch is acknowledged
            file.execute(f"PRAGMA journal_size_limit = {4 * 1024**2}")
            page = file.execute("PRAGMA page_size").fetchone()[0]
            file.execute(f"PRAGMA max_page_count = {self.most // page}")
            if empty:
                schema = files("three_pillar_demo.local_store").joinpath("schema.sql").read_text()
                ids = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
                file.executescript(f"BEGIN; {schema} {ids} COMMIT;")
            self.learn()
        except BaseException:
            file.close()
            raise
        self.open = True

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
        if not self.open:
            self._open()
        refused: list[tuple[Batch, Counter[str]]] = []
        self.file.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                refused.append((batch, batch.refused.copy()))
                if self.file.execute(
                    "INSERT OR IGNORE INTO batch VALUES (?, ?)", (batch.digest, int(time.time()))
                ).rowcount:
                    self._insert(batch)
            self.file.execute("COMMIT")
        except BaseException:
            if self.file.in_transaction:
                self.file.execute("ROLLBACK")
            for batch, before in refused:
                batch.refused = before
            self.learn()
            raise

    def _insert(self, batch: Batch) -> None:
        self.file.executemany(SPAN, self._with_source(batch.spans, 3))
        self.file.executemany(LINE, self._with_source(batch.lines, 3))
        before = batch.refused.total()
        for point in batch.points:
            self._insert_point(point, batch)
        points = len(batch.points) - (batch.refused.total() - before)
        told = (("spans", len(batch.spans)), ("lines", len(batch.lines)), ("points", points))
        self.file.executemany("UPDATE tally SET rows = rows + ?2 WHERE signal = ?1", told)

    def _with_source(self, rows: Iterable[tuple[Source, Row]], at: int) -> Iterable[Row]:
        return ((*row[:at], self._source(source), *row[at:]) for source, row in rows)

    def _source(self, source: Source) -> int:
        hour = int(time.time()) // 3600 * 3600
        known = self.sources.get(source)
        if known is None or known[1] != hour:
            same = "ON CONFLICT DO UPDATE SET seen = excluded.seen RETURNING id"
            add = f"INSERT INTO source (service, instance, resource, scope, seen) VALUES (?, ?, ?, ?, ?) {same}"  # noqa: S608
            known = self.sources[source] = (
                self.file.execute(add, (*source, hour)).fetchone()[0],
                hour,
            )
        return known[0]

    def _insert_point(self, point: Point, batch: Batch) -> None:
        key = (point.name, point.kind, point.labels, point.bounds)
        series = self.series.get(key)
        if series is None:
            if len(self.series) >= MAX_SERIES:
                batch.refused[f"point of a new series: there are {MAX_SERIES} already"] += 1
                return
            series = self.series[key] = self.file.execute(SERIES, (*key, point.time)).lastrowid or 0
        start, value, count, buckets = point.start, point.value, point.count, point.buckets
        if point.delta and (before := self.file.execute(LAST, (series,)).fetchone()):
            moment, start, sum_before, count_before, told = before
            value += sum_before
            if buckets is not None:
                count = count_before + (count or 0)
                buckets = [a + b for a, b in zip(json.loads(told), buckets, strict=True)]
            if moment >= point.time or not math.isfinite(value) or (count or 0) > MAX_COUNT:
                batch.refused["point of a delta that does not follow the one before"] += 1
                return
        told = None if buckets is None else json.dumps(buckets, separators=(",", ":"))
        self.file.execute(POINT, (series, point.time, start, value, count, told))
        self.file.executemany(
            "INSERT INTO exemplar VALUES (?, ?, ?, ?, ?)",
            ((series, *each) for each in point.exemplars),
        )

    def close(self) -> None:
        """Close the file; what is in the log goes into it."""
        self.open = False
        self.file.close()


def code_of(error: Exception) -> int:
    """What SQLite says it is, without where it was; 0 of any other error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: Exception) -> bool:
    """Whether the file is to blame: SQLite says so, or a text in it is none, which Python finds, also in SQLite's own words."""
    found = code_of(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    return (
        found
        or isinstance(error, UnicodeDecodeError | ForeignError)
        or "decode to UTF-8" in str(error)
    )


def _check(whose: list[int]) -> None:
    if whose != [APPLICATION, VERSION]:
        raise ForeignError(f"it says it is {whose}, not {[APPLICATION, VERSION]}")
