"""What bounds the file: the oldest rows go, by age and by size, in small steps while it serves.

No VACUUM: freed pages are used again, so in a steady state the file does not grow.
"""

import time

from three_pillar_demo.local_store.store import MAX_SERIES, NANO, Store

REMEMBER_SECONDS = 3600
"""How long the digest of a batch is kept: an SDK sends one again within a minute, a proxy within minutes."""
KEEP_HOURS, KEEP_POINT_HOURS = 48, 6
"""As Tempo and Loki are set here; points come every second whether anything happens or not."""
FORGET_HOURS = KEEP_HOURS + 25
"""A source stays while a row of its may: a row may be from a day ahead (``otlp.AHEAD``)."""
LOG_BYTES, PATIENCE_MS = 8 * 1024**2, 200
"""How long the log may be before it is put into the file, and how long that may wait for readers to end."""
SILENT_SECONDS, SILENT_STEP = 600, 100
"""Where all series are taken, those silent for so long go, so many at each tidying: who starts again has new ones."""
STEP = 500
"""Rows that one step of deletion takes, so that no commit waits long for it."""
STEPS = 20
"""Steps of one tidying: every ten seconds, so a thousand rows a second can go."""
OLDEST = {
    "span": (
        "start",
        f"SELECT min(start) FROM (SELECT start FROM span ORDER BY rowid LIMIT {STEP})",
    ),
    "log": ("time", f"SELECT min(time) FROM (SELECT time FROM log ORDER BY rowid LIMIT {STEP})"),  # noqa: S608
    "exemplar": (
        "time",
        f"SELECT min(time) FROM (SELECT time FROM exemplar ORDER BY rowid LIMIT {STEP})",
    ),
}
"""The column of the time, and the oldest of the rows that would go next: one clock that is ahead does not decide."""
SILENT = (
    "DELETE FROM point WHERE series IN (SELECT id FROM series WHERE NOT EXISTS "
    "(SELECT 1 FROM point WHERE series = series.id AND time >= ?) ORDER BY born LIMIT ?)"
)
OLDEST_POINT = "SELECT min((SELECT time FROM point WHERE series = series.id ORDER BY time LIMIT 1)) FROM series"


def tidy(store: Store) -> None:
    """Delete what is too old, in at most ``STEPS`` steps. Called now and then."""
    now = time.time_ns()
    old, old_point = now - KEEP_HOURS * 3600 * NANO, now - KEEP_POINT_HOURS * 3600 * NANO
    for _ in range(STEPS):
        with store.file:
            store.file.execute("BEGIN IMMEDIATE")
            gone = [
                _delete(store, table, each)
                for table, each in (("span", old), ("log", old), ("exemplar", old_point))
            ]
        if max(gone) < STEP:
            break
    with store.file:
        store.file.execute("BEGIN IMMEDIATE")
        if len(store.series) >= MAX_SERIES:
            store.file.execute(SILENT, (now - SILENT_SECONDS * NANO, SILENT_STEP))
        _delete_points(store, old_point)
        store.file.execute("DELETE FROM batch WHERE time < ?", (now // NANO - REMEMBER_SECONDS,))
        store.file.execute(
            "DELETE FROM source WHERE seen < ?", (now // NANO - FORGET_HOURS * 3600,)
        )
        for change in (1, -1):  # says, also when nothing was old, whether the file can be written
            store.file.execute("UPDATE tally SET rows = rows + ?", (change,))
    store.learn()


def make_room(store: Store, came: int, spare: int = 0) -> None:
    """While more than ``size`` is in use, delete the oldest, at most three times the rows that ``came``.

    ``spare`` bytes are to fit in besides, under what the file may have at most.
    """
    left, limit = 3 * max(came, STEP), min(store.size, store.most - spare)
    while left > 0 and used(store) > limit:
        found = (
            (store.file.execute(head).fetchone()[0], table) for table, (_, head) in OLDEST.items()
        )
        oldest, lead = min(
            ((moment, table) for moment, table in found if moment is not None), default=(0, "")
        )
        point = store.file.execute(OLDEST_POINT).fetchone()[0]
        with store.file:
            store.file.execute("BEGIN IMMEDIATE")
            if lead and (point is None or oldest <= point):
                _delete(store, lead, None)
            elif point is not None:
                _delete_points(store, point + 60 * NANO)
            else:  # nothing but names is left
                store.file.execute("DELETE FROM source")
                left = 0
        left -= STEP
        store.learn()
    _shorten_log(store)


def _shorten_log(store: Store) -> None:
    """Put the log into the file where SQLite alone does not come to it: while somebody always reads it would grow for ever."""
    log = store.path.with_name(f"{store.path.name}-wal")
    if log.exists() and log.stat().st_size > LOG_BYTES:
        before = store.file.execute("PRAGMA busy_timeout").fetchone()[0]
        store.file.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}")
        store.file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        store.file.execute(f"PRAGMA busy_timeout = {before}")


def used(store: Store) -> int:
    """Bytes of the pages in use."""
    pages, free, page = (
        store.file.execute(f"PRAGMA {each}").fetchone()[0]
        for each in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page)


def _delete(store: Store, table: str, before: int | None) -> int:
    """Delete the first ``STEP`` rows, or of these the ones from ``before`` that time; returns how many."""
    first = f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT {STEP})"  # noqa: S608
    return store.file.execute(
        first + (f" AND {OLDEST[table][0]} < {before}" if before is not None else "")
    ).rowcount


def _delete_points(store: Store, before: int) -> None:
    """Delete points from ``before`` that time, and series that have none left."""
    for (series,) in store.file.execute("SELECT id FROM series").fetchall():
        store.file.execute(
            "DELETE FROM point WHERE series = ?1 AND time IN "
            "(SELECT time FROM point WHERE series = ?1 AND time < ?2 ORDER BY time LIMIT ?3)",
            (series, before, STEP),
        )
    gone = store.file.execute(
        "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM point WHERE series = series.id)"
    ).rowcount
    if (
        gone
    ):  # the next series gets the number of the last one that went, and would get its exemplars
        store.file.execute("DELETE FROM exemplar WHERE series NOT IN (SELECT id FROM series)")
