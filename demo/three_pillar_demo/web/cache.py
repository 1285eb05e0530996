"""A cache of query results: all visitors who need the same query share one run of the query."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from three_pillar_demo.query.interface import BackendError

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
T = TypeVar("T")

LIFETIME_S = 1.0
"""How long a result is returned without a new query, in seconds."""
TIMEOUT_S = 5.0
"""How long a query may run, in seconds."""
FIRST_WAIT_S = 0.7
"""How long a visitor waits for the first result of a query, in seconds."""
REFRESH_WAIT_S = 0.15
"""How long a visitor waits for a new result, in seconds, before the previous one is shown."""
STALE_AFTER_S = 5.0
"""A result that is overdue by this number of seconds is discarded when its query runs again."""
REST_FACTOR = 4.0
"""The shortest pause before a query runs again, as a multiple of the duration of its last run.

With a factor of 4, a query keeps its backend busy for at most a fifth of the time.
"""
MAX_CONCURRENT = 4
"""The number of queries that may run at the same time."""
MAX_ENTRIES = 64
"""The number of queries whose results are kept."""


@dataclass(frozen=True)
class QueryResult(Generic[T]):
    """The ``value`` that a query returned, or the ``error`` that it ended with."""

    value: T | None = None
    error: str = ""


PENDING: QueryResult[Any] = QueryResult(error="no answer yet")
"""The result of a query that has not ended yet, and has no previous result to show."""


@dataclass
class _Entry:
    """One query: its newest result, when this result must be refreshed, and the running task.

    ``task`` is None while the query does not run.
    """

    result: QueryResult[Any] = PENDING
    due: float = 0.0
    """When the result must be refreshed, on the monotonic clock."""
    task: asyncio.Task[None] | None = None


class QueryCache:
    """Keeps the newest result of each of the ``MAX_ENTRIES`` most recently used queries."""

    def __init__(self, timeout: float = TIMEOUT_S, first_wait: float = FIRST_WAIT_S) -> None:
        """Create an empty cache.

        ``timeout`` limits each query, and ``first_wait`` how long ``get`` waits for the first
        result of a query; both are in seconds.
        """
        self.timeout = timeout
        self.first_wait = first_wait
        self.entries = OrderedDict[Hashable, _Entry]()
        self.slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def get(
        self,
        key: Hashable,
        query: Callable[[], Awaitable[T]],
        lifetime: float = LIFETIME_S,
        first_wait: float | None = None,
    ) -> QueryResult[T]:
        """Return the kept result of ``query``, or run ``query`` again when the kept result is due.

        ``key`` identifies the query in the cache. A result is due ``lifetime`` seconds after its
        query began to run, or later if ``REST_FACTOR`` demands a longer pause. A kept result that
        is overdue by ``STALE_AFTER_S`` is discarded.

        While ``query`` runs, wait for the new result: ``REFRESH_WAIT_S`` if there is a kept result;
        if there is none, ``first_wait``, or else that of the cache. If ``query`` still runs after
        the wait, return the kept result, or ``PENDING`` if there is none.

        An exception of ``query`` becomes the ``error`` of the result.
        """
        return await self._get(key, lambda: self._limited(query), lifetime, first_wait)

    async def get_computed(
        self,
        key: Hashable,
        query: Callable[[], Awaitable[Answer]],
        compute: Callable[[Answer], T],
    ) -> QueryResult[T]:
        """Return what ``compute`` makes of the answer of ``query``, kept and shared as by ``get``.

        ``compute`` runs in a thread, because it may take long enough to block the event loop. The
        time limit is that of the query alone. Otherwise a large answer would never be shown on a
        slow machine: the computation would be given up, and begin again with the next refresh.
        """

        async def work() -> T:
            answer = await self._limited(query)
            return await asyncio.to_thread(compute, answer)

        return await self._get(key, work, LIFETIME_S, None)

    async def _get(
        self,
        key: Hashable,
        work: Callable[[], Awaitable[T]],
        lifetime: float,
        first_wait: float | None,
    ) -> QueryResult[T]:
        """Return the kept result of ``work``, or run it again, as ``get`` describes."""
        entry = self._use_entry(key)
        overdue = time.monotonic() - entry.due
        if entry.task is None and overdue >= 0:
            if overdue >= STALE_AFTER_S:
                entry.result = PENDING
            entry.task = asyncio.create_task(self._refresh(entry, work, lifetime))
        if entry.task:
            wait = REFRESH_WAIT_S
            if entry.result is PENDING:
                wait = self.first_wait if first_wait is None else first_wait
            await asyncio.wait([entry.task], timeout=wait)
        return entry.result

    def kept(self, key: Hashable) -> QueryResult[Any]:
        """Return the kept result of a query, however old it is, and run nothing."""
        entry = self.entries.get(key)
        return entry.result if entry else PENDING

    async def close(self) -> None:
        """Cancel the running queries and wait for their end."""
        tasks = [entry.task for entry in self.entries.values() if entry.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _use_entry(self, key: Hashable) -> _Entry:
        """Return the entry of ``key`` and mark it as the most recently used one.

        Entries beyond ``MAX_ENTRIES`` are dropped, and their queries are cancelled.
        """
        entry = self.entries.setdefault(key, _Entry())
        self.entries.move_to_end(key)
        while len(self.entries) > MAX_ENTRIES:
            _, oldest = self.entries.popitem(last=False)
            if oldest.task:
                oldest.task.cancel()
        return entry

    async def _refresh(
        self, entry: _Entry, work: Callable[[], Awaitable[T]], lifetime: float
    ) -> None:
        try:
            async with self.slots:
                started = time.monotonic()
                entry.result = await self._run(work)
                finished = time.monotonic()
                duration = finished - started
                entry.due = finished + max(lifetime - duration, duration * REST_FACTOR)
        finally:
            entry.task = None

    async def _limited(self, query: Callable[[], Awaitable[T]]) -> T:
        """Return the answer of ``query``; raise ``TimeoutError`` after the time limit."""
        async with asyncio.timeout(self.timeout):
            return await query()

    async def _run(self, work: Callable[[], Awaitable[T]]) -> QueryResult[T]:
        """Return the result of ``work``; its exception becomes the error of the result."""
        try:
            return QueryResult(await work())
        except TimeoutError:
            return QueryResult(error=f"no answer within {self.timeout:g} s")
        except BackendError as error:
            return QueryResult(error=str(error))
        except Exception as error:
            # An unexpected answer of one backend must not take the whole page down.
            log.exception("query failed")
            return QueryResult(error=f"{type(error).__name__}: {error}")
