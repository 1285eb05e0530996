"""One question at a time for however many visitors: an answer is shared for a second, a refresh for all who wait."""

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

LIFETIME, TIMEOUT = 1.0, 5.0
"""Seconds that an answer is good for, and after which a question is given up."""
PATIENCE, SOON, STALE = 0.7, 0.1, 5.0
"""Seconds that a visitor waits for a first answer, and for a fresh one, before the last is shown; and how long it may be."""
REST = 4.0
"""An answer that took long is good for so many times as long: no question keeps a backend busy for over a fifth of the time."""
AT_ONCE, ENTRIES = 4, 64
"""Questions under way at any time, and questions that are remembered."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """A ``value``, or what is wrong."""

    value: T | None = None
    error: str = ""


NONE: Answer[Any] = Answer(error="no answer yet")


@dataclass
class _Entry:
    answer: Answer[Any] = NONE
    due: float = 0.0
    task: asyncio.Task[None] | None = None


class Cache:
    """The last answer to each of the ``ENTRIES`` questions that were asked last."""

    def __init__(self, timeout: float = TIMEOUT, patience: float = PATIENCE) -> None:
        """Both in seconds."""
        self.timeout, self.patience = timeout, patience
        self.entries, self.room = OrderedDict[Hashable, _Entry](), asyncio.Semaphore(AT_ONCE)

    async def ask(
        self, key: Hashable, question: Callable[[], Awaitable[T]], lifetime: float = LIFETIME
    ) -> Answer[T]:
        """The answer to ``key``, at most ``lifetime`` seconds old if ``question`` can be answered in time; never raises."""
        entry = self.entries.setdefault(key, _Entry())
        self.entries.move_to_end(key)
        while len(self.entries) > ENTRIES:
            old = self.entries.popitem(last=False)[1]
            if old.task:
                old.task.cancel()
        if entry.task is None and (since := time.monotonic() - entry.due) >= 0:
            entry.answer = entry.answer if since < STALE else NONE
            entry.task = asyncio.create_task(self._refresh(entry, question, lifetime))
        if entry.task:
            await asyncio.wait(
                [entry.task], timeout=self.patience if entry.answer is NONE else SOON
            )
        return entry.answer

    async def _refresh(
        self, entry: _Entry, question: Callable[[], Awaitable[T]], lifetime: float
    ) -> None:
        try:
            async with self.room:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(self.timeout):
                        entry.answer = Answer(await question())
                except TimeoutError:
                    entry.answer = Answer(error=f"no answer within {self.timeout:g} s")
                except BackendError as error:
                    entry.answer = Answer(error=str(error))
                except (
                    Exception
                ) as error:  # a strange answer of one backend must not take the page along
                    log.exception("a question went wrong")
                    entry.answer = Answer(error=f"{type(error).__name__}: {error}")
                took = time.monotonic() - began
                entry.due = time.monotonic() + max(lifetime - took, took * REST)
        finally:
            entry.task = None

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [entry.task for entry in self.entries.values() if entry.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
