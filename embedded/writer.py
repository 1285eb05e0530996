"""The one thread that writes: takes what has queued up into one transaction, and says when it is on the disk."""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from embedded import retention
from embedded.otlp import Batch
from embedded.store import Store

log = logging.getLogger("embedded")

MAX_WAITING = 64 * 1024**2
"""Bytes of requests that may wait for the disk; one more is told to come again."""
TOGETHER = 64
"""Batches in one transaction, at most."""
TIDY_SECONDS = 10.0
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class BusyError(Exception):
    """The disk is behind: come again."""


class StoreError(Exception):
    """The batch could not be stored: come again. The text says why."""


@dataclass
class Waiting:
    """A batch, and who waits for it."""

    batch: Batch
    loop: asyncio.AbstractEventLoop
    stored: "asyncio.Future[None]"

    def tell(self, error: Exception | None) -> None:
        """Wake up who waits, on its own loop."""
        self.loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: Exception | None) -> None:
        if not self.stored.done():  # a client that hung up is not there any more
            self.stored.set_exception(error) if error else self.stored.set_result(None)


class Writer:
    """Owns the store while it runs; ``trouble`` says what is wrong with the disk now, empty when nothing is."""

    def __init__(self, store: Store) -> None:
        """Start the thread."""
        self.store = store
        self.queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self.waiting = 0
        self.trouble = ""
        self.thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.thread.start()

    async def put(self, batch: Batch) -> None:
        """Return once ``batch`` is on the disk.

        Raises:
            BusyError: Too much waits already.
            StoreError: It could not be stored.
        """
        if self.waiting + batch.size > MAX_WAITING:
            raise BusyError
        loop = asyncio.get_running_loop()
        waiting = Waiting(batch, loop, loop.create_future())
        self.waiting += batch.size
        self.queue.put(waiting)
        try:
            await waiting.stored
        finally:
            self.waiting -= batch.size

    def stop(self) -> None:
        """Write what waits, then end the thread and close the file."""
        self.queue.put(None)
        self.thread.join()

    def _run(self) -> None:
        tidied = 0.0
        going = True
        while going:
            group: list[Waiting] = []
            try:
                first = self.queue.get(timeout=TIDY_SECONDS)
                while first and len(group) < TOGETHER:
                    group.append(first)
                    first = self.queue.get_nowait()
                going = first is not None or len(group) == TOGETHER
            except queue.Empty:
                pass
            self._write(group)
            if time.monotonic() - tidied > TIDY_SECONDS:
                self._guarded(lambda: retention.tidy(self.store))
                tidied = time.monotonic()
        self.store.close()

    def _write(self, group: list[Waiting]) -> None:
        if not group:
            return
        if self._guarded(lambda: self.store.write(each.batch for each in group)) is None:
            for each in group:
                each.tell(None)
        else:  # one of them may be the reason: none of the others pays for it
            for each in group:
                error = self._guarded(lambda batch=each.batch: self.store.write([batch]))  # type: ignore[misc]
                each.tell(error and StoreError(str(error)))
        came = sum(len(each.batch.spans) + len(each.batch.lines) + len(each.batch.points) for each in group)
        self._guarded(lambda: retention.make_room(self.store, came))

    def _guarded(self, work: Callable[[], None]) -> Exception | None:
        """Do ``work``; returns what went wrong with it. Nothing ends this thread but ``stop``."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is, somebody waits for the answer)
            reason = f"{type(error).__name__}: {error}"
            if reason != self.trouble:
                log.error("cannot store: %s", reason)
            self.trouble = reason
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode in DAMAGED:
                self._start_anew(reason)
            return error
        if self.trouble:
            log.warning("storing again")
        self.trouble = ""
        return None

    def _start_anew(self, reason: str) -> None:
        """Put a damaged file aside: what is in it can still be looked at, and what comes is kept."""
        try:
            self.store.close()
            self.store.put_aside(reason)
            self.store.reopen()
        except Exception as error:  # noqa: BLE001  (as above; the next batch tries again)
            log.error("no new file: %s", error)
