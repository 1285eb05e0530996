"""Deletes the oldest rows of the store, by age and by size, in small steps while the store runs.

VACUUM is not used: SQLite uses freed pages again, so in a steady state the file does not grow.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from three_pillar_demo.local_store import database
from three_pillar_demo.local_store.otlp.checks import (
    MAX_AGE_HOURS,
    MAX_HOURS_AHEAD,
    MAX_POINT_AGE_HOURS,
)
from three_pillar_demo.local_store.series_table import MAX_SERIES
from three_pillar_demo.local_store.store import Store

NANO = 10**9
DIGEST_RETENTION_S = 3600
"""Seconds for which the digest of a batch is kept, so that the same batch is not stored twice.

An SDK sends a batch again within a minute, a proxy within minutes.
"""
RETENTION_HOURS = MAX_AGE_HOURS
"""The hours for which spans and log records are kept, as configured for Tempo and Loki."""
POINT_RETENTION_HOURS = MAX_POINT_AGE_HOURS
"""The hours for which metric points and exemplars are kept."""
GRACE_S = 600
"""Seconds that a row stays after its retention time.

A record is accepted up to its retention time. So the oldest accepted record can be read for this
long, and is not deleted at once.
"""
SOURCE_RETENTION_HOURS = RETENTION_HOURS + MAX_HOURS_AHEAD + 2
"""Hours for which a source (the sender of records) is kept after the last record from that source.

A source must be kept at least as long as all rows from it. The time is longer than
``RETENTION_HOURS`` for three reasons: a row's time may be ``MAX_HOURS_AHEAD`` hours in the future,
the column ``seen`` (the time of the last record) is rounded down to the hour, and ``GRACE_S``.
"""
MAX_WAL_BYTES = 8 * 1024**2
"""The size of the write-ahead log, in bytes, above which the log is moved to the database file."""
CHECKPOINT_TIMEOUT_MS = 200
"""Milliseconds for which moving the write-ahead log into the database file waits for readers."""
STALE_AFTER_S = 600
"""Seconds without a new point after which a series is stale.

Stale series are deleted, the oldest first, only when there are ``MAX_SERIES`` series. The deletion
makes room for new series, such as those of a restarted sender.
"""
MAX_STALE_SERIES = 100
"""The maximum number of stale series deleted by one call of ``delete_expired``."""
ROWS_PER_STEP = 500
"""The maximum number of spans, log records and exemplars (of each) that one step deletes.

The same number limits the points that one step deletes from each series. A step is one transaction.
Steps are short because a new batch must wait for the end of a step.
"""
MAX_STEPS = 20
"""The maximum number of steps, of ``ROWS_PER_STEP`` rows each, in one call of ``delete_expired``.

With a call every ten seconds, a thousand rows of each table can be deleted per second.
"""
POINT_STEP_NS = 60 * NANO
"""A time span in nanoseconds: if the file is too large, one step deletes the points of this span.

The time span begins at the oldest point.
"""

TIME_COLUMNS = {"span": "start", "log": "time", "exemplar": "time"}
OLDEST_POINT = """SELECT min(
  (SELECT time FROM point WHERE series = series.id ORDER BY time LIMIT 1)
) FROM series"""
DELETE_STALE_SERIES = """DELETE FROM point WHERE series IN (
  SELECT id FROM series WHERE NOT EXISTS
    (SELECT 1 FROM point WHERE series = series.id AND time >= ?)
  ORDER BY born LIMIT ?)"""
DELETE_OLD_POINTS = """DELETE FROM point WHERE series = ?1 AND time IN
(SELECT time FROM point WHERE series = ?1 AND time < ?2 ORDER BY time LIMIT ?3)"""
DELETE_EMPTY_SERIES = """DELETE FROM series WHERE NOT EXISTS
(SELECT 1 FROM point WHERE series = series.id)"""
DELETE_UNUSED_INSTRUMENTS = """DELETE FROM instrument
WHERE id NOT IN (SELECT instrument FROM series)"""
DELETE_ORPHANED_EXEMPLARS = "DELETE FROM exemplar WHERE series NOT IN (SELECT id FROM series)"


def delete_expired(store: Store) -> None:
    """Delete the rows that are older than their retention time and ``GRACE_S``.

    First, up to ``MAX_STEPS`` steps delete spans, log records and exemplars. Then a last step
    deletes points, digests and sources. If there are ``MAX_SERIES`` series, the last step also
    deletes stale series.
    """
    now_ns = time.time_ns()
    row_cutoff_ns = now_ns - (RETENTION_HOURS * 3600 + GRACE_S) * NANO
    point_cutoff_ns = now_ns - (POINT_RETENTION_HOURS * 3600 + GRACE_S) * NANO
    for _ in range(MAX_STEPS):
        with _transaction(store):
            deleted = [
                _delete_first_rows(store, "span", row_cutoff_ns),
                _delete_first_rows(store, "log", row_cutoff_ns),
                _delete_first_rows(store, "exemplar", point_cutoff_ns),
            ]
        if max(deleted) < ROWS_PER_STEP:
            break
    with _transaction(store):
        if store.points.series.count >= MAX_SERIES:
            stale_cutoff_ns = now_ns - STALE_AFTER_S * NANO
            store.connection.execute(DELETE_STALE_SERIES, (stale_cutoff_ns, MAX_STALE_SERIES))
        _delete_points(store, point_cutoff_ns)
        _delete_digests_and_sources(store, now_ns // NANO)
        # A write shows, also when nothing has expired, whether the file can be written.
        store.connection.execute("UPDATE tally SET rows = rows + 1")
        store.connection.execute("UPDATE tally SET rows = rows - 1")
    store.reload_caches()


def enforce_size_limit(store: Store, new_rows: int, spare_bytes: int = 0) -> None:
    """Delete the oldest rows until at most ``store.size_bytes`` of the file are in use.

    ``new_rows`` is the number of rows just written; a number below ``ROWS_PER_STEP`` counts as
    ``ROWS_PER_STEP``. The call stops after about three times as many rows, even if the file is
    still too large. ``spare_bytes`` is the space that must be free below ``store.max_bytes``, the
    size at which SQLite refuses to write.
    """
    limit_bytes = min(store.size_bytes, store.max_bytes - spare_bytes)
    rows_left = 3 * max(new_rows, ROWS_PER_STEP)
    while rows_left > 0 and used_bytes(store) > limit_bytes:
        with _transaction(store):
            has_rows = _delete_oldest(store)
        rows_left = rows_left - ROWS_PER_STEP if has_rows else 0
        store.reload_caches()
    _shorten_wal(store)


def used_bytes(store: Store) -> int:
    """Return the total size, in bytes, of the file's pages in use; free pages do not count."""
    pages = database.pragma(store.connection, "page_count")
    free_pages = database.pragma(store.connection, "freelist_count")
    return (pages - free_pages) * database.pragma(store.connection, "page_size")


@contextmanager
def _transaction(store: Store) -> Iterator[None]:
    with store.connection:  # commits, or rolls back after an error
        store.connection.execute("BEGIN IMMEDIATE")
        yield


def _delete_oldest(store: Store) -> bool:
    """Delete the oldest rows or the oldest points in one step, and return True.

    If the store has neither rows nor points, delete all sources and return False.
    """
    candidates = []
    for table in TIME_COLUMNS:
        oldest_time = _oldest_time(store, table)
        if oldest_time is not None:
            candidates.append((oldest_time, table))
    (oldest_point_time,) = store.connection.execute(OLDEST_POINT).fetchone()
    if candidates:
        oldest_row_time, table_of_oldest = min(candidates)
        if oldest_point_time is None or oldest_row_time <= oldest_point_time:
            _delete_first_rows(store, table_of_oldest)
            return True
    if oldest_point_time is not None:
        _delete_points(store, oldest_point_time + POINT_STEP_NS)
        return True
    store.connection.execute("DELETE FROM source")  # only names are left
    return False


def _oldest_time(store: Store, table: str) -> int | None:
    """Return the oldest time, in ns, among the first ``ROWS_PER_STEP`` rows of ``table``.

    The result is None if the table is empty.
    """
    # The first row has arrived first, but its time is too late if its sender's clock is ahead.
    column = TIME_COLUMNS[table]
    first_rows = f"SELECT {column} FROM {table} ORDER BY rowid LIMIT {ROWS_PER_STEP}"  # noqa: S608  (of constants)
    oldest_time: int | None
    statement = f"SELECT min({column}) FROM ({first_rows})"  # noqa: S608  (of constants)
    (oldest_time,) = store.connection.execute(statement).fetchone()
    return oldest_time


def _delete_first_rows(store: Store, table: str, cutoff_ns: int | None = None) -> int:
    """Delete the first ``ROWS_PER_STEP`` rows of ``table``, and return how many were deleted.

    If ``cutoff_ns`` is given, rows with that time or a later time are kept.
    """
    first_rows = f"SELECT rowid FROM {table} ORDER BY rowid LIMIT {ROWS_PER_STEP}"  # noqa: S608  (of constants)
    statement = f"DELETE FROM {table} WHERE rowid IN ({first_rows})"  # noqa: S608  (of constants)
    if cutoff_ns is not None:
        statement += f" AND {TIME_COLUMNS[table]} < {cutoff_ns}"
    return store.connection.execute(statement).rowcount


def _delete_points(store: Store, cutoff_ns: int) -> None:
    """Delete points earlier than ``cutoff_ns``, and then the series that have no points left.

    Instruments without series are deleted as well. At most ``ROWS_PER_STEP`` points of each series
    are deleted.
    """
    for (series_id,) in store.connection.execute("SELECT id FROM series").fetchall():
        store.connection.execute(DELETE_OLD_POINTS, (series_id, cutoff_ns, ROWS_PER_STEP))
    deleted_series = store.connection.execute(DELETE_EMPTY_SERIES).rowcount
    if deleted_series:
        # SQLite may give the id of a deleted series to the next one, and so its exemplars.
        store.connection.execute(DELETE_ORPHANED_EXEMPLARS)
    store.connection.execute(DELETE_UNUSED_INSTRUMENTS)


def _delete_digests_and_sources(store: Store, now_s: int) -> None:
    digest_cutoff_s = now_s - DIGEST_RETENTION_S
    source_cutoff_s = now_s - SOURCE_RETENTION_HOURS * 3600
    store.connection.execute("DELETE FROM batch WHERE time < ?", (digest_cutoff_s,))
    store.connection.execute("DELETE FROM source WHERE seen < ?", (source_cutoff_s,))


def _shorten_wal(store: Store) -> None:
    """Move the write-ahead log into the database file if the log is over ``MAX_WAL_BYTES``.

    The log is then truncated. SQLite moves the log by itself only when no reader is active, so with
    constant readers the log would grow for ever.
    """
    wal = store.path.with_name(f"{store.path.name}-wal")
    if not wal.exists() or wal.stat().st_size <= MAX_WAL_BYTES:
        return
    timeout_ms = database.pragma(store.connection, "busy_timeout")
    store.connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_TIMEOUT_MS}")
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    store.connection.execute(f"PRAGMA busy_timeout = {timeout_ms}")
