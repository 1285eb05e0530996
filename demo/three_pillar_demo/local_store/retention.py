"""Retention: the oldest rows are deleted by age and by size, in small steps, while the store runs.

VACUUM is not used: SQLite uses freed pages again, so in a steady state the file does not grow.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from three_pillar_demo.local_store import database
from three_pillar_demo.local_store.otlp.checks import MAX_HOURS_AHEAD
from three_pillar_demo.local_store.store import MAX_SERIES, Store

NANO = 10**9
DIGEST_RETENTION_S = 3600
"""How long a batch's digest is kept.

An SDK sends a batch again within a minute, a proxy within minutes.
"""
RETENTION_HOURS = 48
"""The age of spans and log records, as configured for Tempo and Loki."""
POINT_RETENTION_HOURS = 6
"""The age of points and exemplars: points come every second, with traffic or without."""
SOURCE_RETENTION_HOURS = RETENTION_HOURS + MAX_HOURS_AHEAD + 1
"""A source stays while one of its rows may, and a row's time may be a day ahead."""
MAX_WAL_BYTES = 8 * 1024**2
"""The size of the write-ahead log after which it is moved into the file."""
CHECKPOINT_TIMEOUT_MS = 200
"""How long moving the write-ahead log into the file waits for readers."""
SILENT_AFTER_S = 600
"""At the limit of series, those without points for so long are deleted, the oldest first.

Otherwise a restarted sender, whose series are new, would be refused.
"""
MAX_SILENT_SERIES = 100
"""Silent series deleted by one run."""
ROWS_PER_STEP = 500
"""Rows that one step deletes, so that no commit waits long for it."""
MAX_STEPS = 20
"""Steps of one run. With a run every ten seconds, a thousand rows a second can be deleted."""
POINT_STEP_NS = 60 * NANO
"""By size, points are deleted up to so long after the oldest one."""

TIME_COLUMNS = {"span": "start", "log": "time", "exemplar": "time"}
OLDEST_POINT = """SELECT min(
  (SELECT time FROM point WHERE series = series.id ORDER BY time LIMIT 1)
) FROM series"""
DELETE_SILENT_SERIES = """DELETE FROM point WHERE series IN (
  SELECT id FROM series WHERE NOT EXISTS
    (SELECT 1 FROM point WHERE series = series.id AND time >= ?)
  ORDER BY born LIMIT ?)"""
DELETE_OLD_POINTS = """DELETE FROM point WHERE series = ?1 AND time IN
(SELECT time FROM point WHERE series = ?1 AND time < ?2 ORDER BY time LIMIT ?3)"""
DELETE_EMPTY_SERIES = """DELETE FROM series WHERE NOT EXISTS
(SELECT 1 FROM point WHERE series = series.id)"""
DELETE_ORPHANED_EXEMPLARS = "DELETE FROM exemplar WHERE series NOT IN (SELECT id FROM series)"


def delete_expired(store: Store) -> None:
    """Delete what is older than its retention, in at most ``MAX_STEPS`` steps."""
    now = time.time_ns()
    oldest_row = now - RETENTION_HOURS * 3600 * NANO
    oldest_point = now - POINT_RETENTION_HOURS * 3600 * NANO
    for _ in range(MAX_STEPS):
        with _transaction(store):
            deleted = [
                _delete_first_rows(store, "span", oldest_row),
                _delete_first_rows(store, "log", oldest_row),
                _delete_first_rows(store, "exemplar", oldest_point),
            ]
        if max(deleted) < ROWS_PER_STEP:
            break
    with _transaction(store):
        if len(store.series) >= MAX_SERIES:
            silent_since = now - SILENT_AFTER_S * NANO
            store.connection.execute(DELETE_SILENT_SERIES, (silent_since, MAX_SILENT_SERIES))
        _delete_points(store, oldest_point)
        _delete_digests_and_sources(store, now // NANO)
        # A write shows, also when nothing has expired, whether the file can be written.
        store.connection.execute("UPDATE tally SET rows = rows + 1")
        store.connection.execute("UPDATE tally SET rows = rows - 1")
    store.reload_caches()


def make_room(store: Store, new_rows: int, spare_bytes: int = 0) -> None:
    """Delete the oldest rows while more than ``size_bytes`` of the file is in use.

    At most three times as many rows are deleted as ``new_rows`` have come. Afterwards,
    ``spare_bytes`` fit under the hard limit of the file.
    """
    limit = min(store.size_bytes, store.max_bytes - spare_bytes)
    rows_left = 3 * max(new_rows, ROWS_PER_STEP)
    while rows_left > 0 and used_bytes(store) > limit:
        with _transaction(store):
            has_rows = _delete_oldest(store)
        rows_left = rows_left - ROWS_PER_STEP if has_rows else 0
        store.reload_caches()
    _shorten_wal(store)


def used_bytes(store: Store) -> int:
    """Return the bytes of the pages in use."""
    pages = database.pragma(store.connection, "page_count")
    free_pages = database.pragma(store.connection, "freelist_count")
    return (pages - free_pages) * database.pragma(store.connection, "page_size")


@contextmanager
def _transaction(store: Store) -> Iterator[None]:
    with store.connection:  # commits, or rolls back after an error
        store.connection.execute("BEGIN IMMEDIATE")
        yield


def _delete_oldest(store: Store) -> bool:
    """Delete one step of the oldest rows or points; return whether there were any."""
    oldest_times = {table: _oldest_time(store, table) for table in TIME_COLUMNS}
    candidates = [(at, table) for table, at in oldest_times.items() if at is not None]
    oldest_row = min(candidates, default=None)
    oldest_point = store.connection.execute(OLDEST_POINT).fetchone()[0]
    if oldest_row is not None and (oldest_point is None or oldest_row[0] <= oldest_point):
        _delete_first_rows(store, oldest_row[1])
        return True
    if oldest_point is not None:
        _delete_points(store, oldest_point + POINT_STEP_NS)
        return True
    store.connection.execute("DELETE FROM source")  # only names are left
    return False


def _oldest_time(store: Store, table: str) -> int | None:
    """Return the oldest time among the rows that one step would delete.

    The first row alone would not do: a single clock that is ahead would decide.
    """
    column = TIME_COLUMNS[table]
    first_rows = f"SELECT {column} FROM {table} ORDER BY rowid LIMIT {ROWS_PER_STEP}"  # noqa: S608  (of constants)
    oldest: int | None
    oldest = store.connection.execute(f"SELECT min({column}) FROM ({first_rows})").fetchone()[0]  # noqa: S608  (of constants)
    return oldest


def _delete_first_rows(store: Store, table: str, before: int | None = None) -> int:
    """Delete the first ``ROWS_PER_STEP`` rows; return how many were deleted.

    With ``before``, only those of them with an earlier time are deleted.
    """
    first_rows = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT {ROWS_PER_STEP}"  # noqa: S608  (of constants)
    statement = f"DELETE FROM {table} WHERE rowid IN ({first_rows})"  # noqa: S608  (of constants)
    if before is not None:
        statement += f" AND {TIME_COLUMNS[table]} < {before}"
    return store.connection.execute(statement).rowcount


def _delete_points(store: Store, before: int) -> None:
    """Delete points earlier than ``before``, one step a series, and series without points."""
    for (series_id,) in store.connection.execute("SELECT id FROM series").fetchall():
        store.connection.execute(DELETE_OLD_POINTS, (series_id, before, ROWS_PER_STEP))
    deleted_series = store.connection.execute(DELETE_EMPTY_SERIES).rowcount
    if deleted_series:
        # SQLite may give the id of a deleted series to the next one, and so its exemplars.
        store.connection.execute(DELETE_ORPHANED_EXEMPLARS)


def _delete_digests_and_sources(store: Store, now_s: int) -> None:
    oldest_digest = now_s - DIGEST_RETENTION_S
    oldest_source = now_s - SOURCE_RETENTION_HOURS * 3600
    store.connection.execute("DELETE FROM batch WHERE time < ?", (oldest_digest,))
    store.connection.execute("DELETE FROM source WHERE seen < ?", (oldest_source,))


def _shorten_wal(store: Store) -> None:
    """Move a long write-ahead log into the file and truncate it.

    SQLite does that by itself only when no reader is active, so with constant readers the log would
    grow for ever.
    """
    wal = store.path.with_name(f"{store.path.name}-wal")
    if not wal.exists() or wal.stat().st_size <= MAX_WAL_BYTES:
        return
    timeout_ms = database.pragma(store.connection, "busy_timeout")
    store.connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_MS}")
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    store.connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
