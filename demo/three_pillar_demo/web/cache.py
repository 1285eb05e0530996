"""A cache of query results: however many visitors there are, a query runs once at a time."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from three_pillar_demo.query.interface import BackendError

log = logging.getLogger(__name__)
T = TypeVar("T")

LIFETIME_S = 1.0
"""How long a result counts as fresh."""
TIMEOUT_S = 5.0
"""How long a query may run."""
FIRST_WAIT_S = 0.7
"""How long a visitor waits for the first result of a query."""
REFRESH_WAIT_S = 0.1
"""How long a visitor waits for a fresh result before the previous one is shown."""
STALE_AFTER_S = 5.0
"""How long the previous result may be shown after it should have been refreshed."""
REST_FACTOR = 4.0
"""A result stays fresh for at least this many times as long as its query took.

So no query keeps a backend busy for more than a fifth of the time.
"""
MAX_CONCURRENT = 4
"""Queries that run at the same time."""
MAX_ENTRIES = 64
"""Queries whose results are kept."""


@dataclass(frozen=True)
class QueryResult(Generic[T]):
    """The ``value`` that a query returned, or the ``error`` that it ended with."""

    value: T | None = None
    error: str = ""


PENDING: QueryResult[Any] = QueryResult(error="no answer yet")
"""The result of a query that still runs for the first time."""


@dataclass
class _Entry:
    result: QueryResult[Any] = PENDING
    due: float = 0.0
    """When the result must be refreshed, on the monotonic clock."""
    task: asyncio.Task[None] | None = None


class QueryCache:
    """Keeps the last result of each of the ``MAX_ENTRIES`` most recently used queries."""

    def __init__(self, timeout: float = TIMEOUT_S, first_wait: float = FIRST_WAIT_S) -> None:
        """Limit each query and a visitor's first wait, both in seconds."""
        self.timeout = timeout
        self.first_wait = first_wait
        self.entries = OrderedDict[Hashable, _Entry]()
        self.slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def get(
        self, key: Hashable, query: Callable[[], Awaitable[T]], lifetime: float = LIFETIME_S
    ) -> QueryResult[T]:
        """Return the result of ``query``, which is known by ``key``; never raises.

        The result is at most ``lifetime`` seconds old if the query answers in time. Otherwise
        it is the previous result, or ``PENDING``.
        """
        entry = self._use_entry(key)
        overdue = time.monotonic() - entry.due
        if entry.task is None and overdue >= 0:
            if overdue >= STALE_AFTER_S:
                entry.result = PENDING
            entry.task = asyncio.create_task(self._refresh(entry, query, lifetime))
        if entry.task:
            wait = self.first_wait if entry.result is PENDING else REFRESH_WAIT_S
            await asyncio.wait([entry.task], timeout=wait)
        return entry.result

    async def close(self) -> None:
        """Cancel the queries that run."""
        tasks = [entry.task for entry in self.entries.values() if entry.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _use_entry(self, key: Hashable) -> _Entry:
        """Return the entry of ``key`` as the most recent one, and drop the oldest ones."""
        entry = self.entries.setdefault(key, _Entry())
        self.entries.move_to_end(key)
        while len(self.entries) > MAX_ENTRIES:
            _, oldest = self.entries.popitem(last=False)
            if oldest.task:
                oldest.task.cancel()
        return entry

    async def _refresh(
        self, entry: _Entry, query: Callable[[], Awaitable[T]], lifetime: float
    ) -> None:
        try:
            async with self.slots:
                started = time.monotonic()
                entry.result = await self._run(query)
                finished = time.monotonic()
                duration = finished - started
                entry.due = finished + max(lifetime - duration, duration * REST_FACTOR)
        finally:
            entry.task = None

    async def _run(self, query: Callable[[], Awaitable[T]]) -> QueryResult[T]:
        try:
            async with asyncio.timeout(self.timeout):
                return QueryResult(await query())
        except TimeoutError:
            return QueryResult(error=f"no answer within {self.timeout:g} s")
        except BackendError as error:
            return QueryResult(error=str(error))
        except Exception as error:
            # An unexpected answer of one backend must not take the whole page down.
            log.exception("query failed")
            return QueryResult(error=f"{type(error).__name__}: {error}")
