"""Opens, creates and checks the store's SQLite file, and renames a file that is unusable."""

import logging
import os
import sqlite3
import time
from importlib.resources import files
from pathlib import Path

from three_pillar_demo.local_store.migrations import MIGRATIONS

log = logging.getLogger("local_store")

APPLICATION_ID = 0x3B111A25
"""The value of SQLite's ``application_id`` that marks a file as a local store's file."""
SCHEMA_VERSION = 4
"""The version of the tables in schema.sql.

A store's file contains this number as SQLite's ``user_version``. A file of an earlier version that
``MIGRATIONS`` knows is changed to this one.
"""
LOCK_TIMEOUT_S = 5.0
WAL_SIZE_LIMIT_BYTES = 4 * 1024**2
NANO = 10**9
FILE_SUFFIXES = ("", "-wal", "-shm")
"""The suffixes of the database file, its write-ahead log and that log's shared-memory index."""
WRITE_PROBE = ("BEGIN", "UPDATE tally SET rows = rows", "ROLLBACK")
"""SQL statements that test whether SQLite can write the file, and that change nothing.

They fail if the header of the file marks the file as read-only.
"""


class UnknownFormatError(sqlite3.DatabaseError):
    """The file is a SQLite database of another application or of another schema version."""


def connect(path: Path, max_bytes: int) -> sqlite3.Connection:
    """Return a connection to the SQLite file at ``path``.

    A new or empty file gets the tables of schema.sql, and a file of an earlier version in
    ``MIGRATIONS`` gets what it does not have. SQLite limits the size of the file to
    ``max_bytes``.

    Raises:
        sqlite3.Error: The file cannot be opened, written or created.
    """
    connection = sqlite3.connect(
        path, timeout=LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, max_bytes)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, max_bytes: int) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables:
        _migrate(connection)
        _check_format(connection)
        for statement in WRITE_PROBE:
            connection.execute(statement)
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit is on the disk before the batch is acknowledged.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_SIZE_LIMIT_BYTES}")
    page_size = pragma(connection, "page_size")
    connection.execute(f"PRAGMA max_page_count = {max_bytes // page_size}")
    if not tables:
        schema = files("three_pillar_demo.local_store").joinpath("schema.sql").read_text()
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
        connection.executescript(f"BEGIN; {schema} {marks} COMMIT;")


def _migrate(connection: sqlite3.Connection) -> None:
    """Change a store's file of an earlier version to ``SCHEMA_VERSION``, as far as possible."""
    if pragma(connection, "application_id") != APPLICATION_ID:
        return
    version = pragma(connection, "user_version")
    while version in MIGRATIONS:
        script = f"{MIGRATIONS[version]} PRAGMA user_version = {version + 1};"
        connection.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
        log.info("changed the store file from version %d to %d", version, version + 1)
        version += 1


def _check_format(connection: sqlite3.Connection) -> None:
    actual = [pragma(connection, "application_id"), pragma(connection, "user_version")]
    expected = [APPLICATION_ID, SCHEMA_VERSION]
    if actual != expected:
        raise UnknownFormatError(f"application_id and user_version are {actual}, not {expected}")


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of the SQLite PRAGMA ``name``, which must be an integer."""
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def move_aside(path: Path, reason: str) -> None:
    """Rename all files of the database (``FILE_SUFFIXES``), and log the new name and ``reason``.

    The new name contains the time, exact to the nanosecond, so that no other file is overwritten.
    """
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % NANO:09d}"
    new_name = f"{path.name}.aside-{stamp}"
    for suffix in FILE_SUFFIXES:
        old_path = path.with_name(path.name + suffix)
        if old_path.exists():
            old_path.rename(path.with_name(new_name + suffix))
    log.warning("%s moved aside to %s: %s", path, new_name, reason)


def is_unusable(path: Path, error: Exception) -> bool:
    """Return whether the content of the file at ``path`` is the cause of ``error``.

    ``error`` was raised when the file was opened. If the result is true, the store can replace the
    file by a new one. The result is false for a lock, a missing permission or a full disk.
    """
    code = error_code(error)
    # SQLite reports an unknown file format, and a missing table, as a plain SQLITE_ERROR.
    is_unknown_format = code == sqlite3.SQLITE_ERROR
    is_marked_read_only = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    return is_damage(error) or is_unknown_format or is_marked_read_only


def is_damage(error: Exception) -> bool:
    """Return whether ``error`` means that the file is damaged or of an unknown format."""
    # Text that is not UTF-8 is a sign of damage, too. For such text, Python raises
    # UnicodeDecodeError (if SQLite's error message contains the text) or an error whose message
    # contains "decode to UTF-8".
    return (
        error_code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        or isinstance(error, UnicodeDecodeError | UnknownFormatError)
        or "decode to UTF-8" in str(error)
    )


def is_of_record(error: Exception) -> bool:
    """Return whether ``error`` was raised because of the one record that was being written.

    If so, the other records can still be stored. The result is false if the file, the disk or the
    memory is the cause, so that any other record would fail as well.
    """
    if is_damage(error) or isinstance(error, OSError | MemoryError):
        return False
    if isinstance(error, sqlite3.Error):
        return isinstance(error, sqlite3.IntegrityError | sqlite3.DataError)
    return True


def error_code(error: Exception) -> int:
    """Return the primary result code of an error of SQLite, or 0 if SQLite did not raise ``error``.

    The primary result code is the lowest 8 bits of SQLite's extended result code.
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
