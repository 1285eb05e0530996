"""The one thread that writes: takes what has queued up into one transaction, and says when it is on the disk."""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from three_pillar_demo.local_store import retention
from three_pillar_demo.local_store.otlp import Batch
from three_pillar_demo.local_store.store import Store, code_of, is_damage

log = logging.getLogger("local_store")

MAX_WAITING = 64 * 1024**2
"""Bytes of requests that may wait for the disk; one more is told to come again."""
TOGETHER = 64
"""Batches in one transaction, at most."""
TIDY_SECONDS, TROUBLED_SECONDS = 10.0, 1.0
"""How often the file is tidied, and how often it is tried again while it cannot be written."""


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
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
                each = self.queue.get(timeout=TROUBLED_SECONDS if self.trouble else TIDY_SECONDS)
                while each and len(group) < TOGETHER - 1:
                    group.append(each)
                    each = self.queue.get_nowait()
                going = each is not None
                group += [each] if each else []
            except queue.Empty:
                pass
            self._write(group)
            if self.trouble or time.monotonic() - tidied > TIDY_SECONDS:
                if self._guarded(lambda: retention.tidy(self.store)) is None:
                    self._well()
                tidied = time.monotonic()
        self.store.close()

    def _write(self, group: list[Waiting]) -> None:
        if not group:
            return
        came = sum(
            len(each.batch.spans) + len(each.batch.lines) + len(each.batch.points) for each in group
        )
        error = self._guarded(lambda: self.store.write(each.batch for each in group))
        if (
            error is None or code_of(error) == sqlite3.SQLITE_BUSY
        ):  # somebody else's lock would hold up each of them again
            for each in group:
                self._tell(each, error)
        else:  # one of them may be the reason: none of the others pays for it
            largest = max(each.batch.size for each in group)
            self._guarded(lambda: retention.make_room(self.store, came, 2 * largest))
            for each in group:
                self._tell(each, self._guarded(lambda batch=each.batch: self.store.write([batch])))  # type: ignore[misc]
        self._guarded(lambda: retention.make_room(self.store, came))

    def _tell(self, waiting: Waiting, error: Exception | None) -> None:
        if error is None:
            self._well()
        waiting.tell(error and StoreError(str(error)))

    def _guarded(self, work: Callable[[], None]) -> Exception | None:
        """Do ``work``; returns what went wrong with it. Nothing ends this thread but ``stop``."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  (whatever it is, somebody waits for the answer)
            reason = f"{type(error).__name__}: {error}"
            if reason != self.trouble:
                log.error("cannot store: %s", reason)
            self.trouble = reason
            if is_damage(error):
                try:
                    self.store.start_anew(reason)
                except Exception as again:  # noqa: BLE001  (as above; the store tries again by itself)
                    log.error("no new file: %s", again)
            return error
        return None

    def _well(self) -> None:
        """Something was written: what was wrong with the disk is not any more."""
        if self.trouble:
            log.warning("storing again")
        self.trouble = ""
