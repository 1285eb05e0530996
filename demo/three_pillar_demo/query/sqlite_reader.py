"""Runs SELECT statements on the local store's file: read-only, in a thread, with a time limit."""

import asyncio
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from three_pillar_demo.query.interface import BackendError

TIMEOUT_S = 10.0
"""The time limit, in seconds, of one statement, and of the wait for a lock of the SQLite file."""
INSTRUCTIONS_PER_CHECK = 100_000
"""The number of SQLite virtual machine instructions between two checks of the time limit."""
INTERRUPT_INTERVAL_S = 0.1
LOWER = "lower_of_any_letter"
"""The name, in SQL, of a function that also changes letters outside of ASCII to lower case."""

Parameters = Sequence[object] | Mapping[str, object]


class SqliteReader:
    """A read-only connection to the SQLite file at ``path``, opened by the first statement.

    The file may be created, replaced or deleted at any time: each statement uses the current file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = f"{path.resolve().as_uri()}?mode=ro"
        self.connection: sqlite3.Connection | None = None
        self.inode = 0
        self.lock = asyncio.Lock()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.connection:
            self.connection.close()
            self.connection = None

    async def fetch(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Return all rows of a SELECT statement. Concurrent calls wait for each other.

        Raises:
            BackendError: The file is missing, unreadable or damaged, or the statement takes longer
                than ``TIMEOUT_S``.
        """
        async with self.lock:
            work = asyncio.ensure_future(asyncio.to_thread(self._fetch, statement, parameters))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await self._interrupt(work)
                raise
            except sqlite3.Error as error:
                raise BackendError(
                    f"the local store at {self.path}: {error} (see: demo status, demo logs store)"
                ) from error

    async def _interrupt(self, work: asyncio.Future[list[Any]]) -> None:
        """Interrupt the running statement, and wait until its thread has returned.

        The connection must not be used before the thread has returned.
        """
        while not work.done():
            if self.connection:
                self.connection.interrupt()
            await asyncio.wait([work], timeout=INTERRUPT_INTERVAL_S)

    def _fetch(self, statement: str, parameters: Parameters) -> list[Any]:
        connection = self._current_connection()
        deadline = time.monotonic() + TIMEOUT_S
        connection.set_progress_handler(lambda: time.monotonic() > deadline, INSTRUCTIONS_PER_CHECK)
        return connection.execute(statement, parameters).fetchall()

    def _current_connection(self) -> sqlite3.Connection:
        """Return a connection to the file that is at ``path`` now.

        The open connection is kept as long as ``path`` is the same file. The file changes if it is
        deleted, or if the store renames a damaged file and creates a new one.
        """
        inode = self.path.stat().st_ino if self.path.exists() else 0
        if self.connection is None or inode != self.inode:
            self.close()
            self.inode = inode
            self.connection = sqlite3.connect(
                self.uri, uri=True, timeout=TIMEOUT_S, check_same_thread=False
            )
            self.connection.create_function(LOWER, 1, str.lower, deterministic=True)
        return self.connection
