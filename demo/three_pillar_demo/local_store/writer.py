"""The writer thread: it stores queued batches in groups, and reports the result for each batch."""

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
from three_pillar_demo.local_store.database import error_code, is_damage
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.store import Store

log = logging.getLogger("local_store")

MAX_QUEUED_BYTES = 64 * 1024**2
"""The maximum of ``Writer.queued_bytes``; a request that would exceed it is refused."""
MAX_BATCHES_PER_TRANSACTION = 64
RETENTION_INTERVAL_S = 10.0
"""Seconds between two runs of ``retention.delete_expired``."""
RETRY_INTERVAL_S = 1.0
"""Seconds between two attempts to write after an attempt has failed."""


class QueueFullError(Exception):
    """``Writer.queued_bytes`` would exceed ``MAX_QUEUED_BYTES``; the sender may retry later."""

    retry_after_s = 1
    """Seconds to wait before the request is sent again."""

    def __init__(self) -> None:
        super().__init__("write queue full, retry later")


class WriteError(Exception):
    """The batch could not be stored; the message has the reason, and the sender may retry later."""

    retry_after_s = 5
    """Seconds to wait before the request is sent again.

    An SDK sends a request at most six times. With pauses of 1 s, it would give up after 5 s; with
    pauses of 5 s, it keeps trying for 25 s, for example until a full disk has space again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot write to the store: {reason}")


@dataclass
class PendingBatch:
    """A queued batch with the future ``committed``, which reports the result of the write.

    A coroutine in the event loop ``loop`` waits for the future. ``release`` is called in the loop
    after the write, also if the coroutine was cancelled: the batch stays in memory until then.
    """

    batch: Batch
    loop: asyncio.AbstractEventLoop
    committed: "asyncio.Future[None]"
    release: Callable[[int], None]

    def resolve(self, error: Exception | None) -> None:
        """Resolve the future ``committed``.

        If ``error`` is not None, the waiting coroutine raises it; otherwise the write succeeded.
        Any thread may call this method.
        """
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no coroutine waits
            self.loop.call_soon_threadsafe(self._resolve_in_loop, error)

    def _resolve_in_loop(self, error: Exception | None) -> None:
        self.release(self.batch.size_bytes)
        if self.committed.done():  # the client has disconnected
            return
        if error:
            self.committed.set_exception(error)
        else:
            self.committed.set_result(None)


class Writer:
    """Writes batches to the store in a thread of its own, the only one that uses the store.

    ``queued_bytes`` is the size of the requests being received and of the decoded requests that
    wait to be written. ``last_error`` says why the file cannot be written now; it is an empty
    string while the file can be written.
    """

    def __init__(self, store: Store) -> None:
        """Start the thread, which writes to ``store``."""
        self.store = store
        self.queue: queue.SimpleQueue[PendingBatch | None] = queue.SimpleQueue()
        self.queued_bytes = 0
        self.last_error = ""
        self.thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.thread.start()

    def reserve(self, size_bytes: int) -> None:
        """Add ``size_bytes`` to ``queued_bytes``, for a request that is still being received.

        The sum stays, even if this method raises: the caller must always subtract ``size_bytes``
        again with ``release``.

        Raises:
            QueueFullError: ``queued_bytes`` now exceeds ``MAX_QUEUED_BYTES``.
        """
        self.queued_bytes += size_bytes
        if self.queued_bytes > MAX_QUEUED_BYTES:
            raise QueueFullError

    def release(self, size_bytes: int) -> None:
        """Subtract ``size_bytes`` from ``queued_bytes``."""
        self.queued_bytes -= size_bytes

    async def put(self, batch: Batch) -> None:
        """Queue ``batch`` and return once it is committed to the disk.

        Raises:
            QueueFullError: ``queued_bytes`` would exceed ``MAX_QUEUED_BYTES``.
            WriteError: The batch could not be stored.
        """
        if self.queued_bytes + batch.size_bytes > MAX_QUEUED_BYTES:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        pending = PendingBatch(batch, loop, loop.create_future(), self.release)
        self.queued_bytes += batch.size_bytes
        self.queue.put(pending)
        await pending.committed

    def stop(self) -> None:
        """Write all queued batches, then end the thread and close the file."""
        self.queue.put(None)
        self.thread.join()

    def _run(self) -> None:
        last_retention = 0.0
        stopping = False
        while not stopping:
            group, stopping = self._next_group()
            if group:
                self._write(group)
            is_due = time.monotonic() - last_retention > RETENTION_INTERVAL_S
            if self.last_error or is_due:
                if self._attempt(retention.delete_expired, self.store) is None:
                    self._clear_error()
                last_retention = time.monotonic()
        self.store.close()

    def _next_group(self) -> tuple[list[PendingBatch], bool]:
        """Return the batches of the next transaction, and whether the thread must stop after them.

        The method waits ``RETENTION_INTERVAL_S`` for the first batch, or ``RETRY_INTERVAL_S`` after
        an error. If no batch arrives in that time, the list is empty.
        """
        group: list[PendingBatch] = []
        try:
            pending = self.queue.get(
                timeout=RETRY_INTERVAL_S if self.last_error else RETENTION_INTERVAL_S
            )
            while pending is not None:
                group.append(pending)
                if len(group) == MAX_BATCHES_PER_TRANSACTION:
                    return group, False
                pending = self.queue.get_nowait()
        except queue.Empty:
            return group, False
        return group, True

    def _write(self, group: list[PendingBatch]) -> None:
        row_count = sum(pending.batch.record_count for pending in group)
        error = self._attempt(self.store.write, [pending.batch for pending in group])
        # While another connection holds the lock, each batch would wait for it again.
        if error is None or error_code(error) == sqlite3.SQLITE_BUSY:
            for pending in group:
                self._resolve(pending, error)
        else:
            self._write_one_by_one(group, row_count)
        self._attempt(retention.enforce_size_limit, self.store, row_count)

    def _write_one_by_one(self, group: list[PendingBatch], row_count: int) -> None:
        """Write each batch of ``group`` in its own transaction.

        This follows a failed transaction of the whole group: if one batch caused the failure, the
        other batches can still be stored.
        """
        largest_bytes = max(pending.batch.size_bytes for pending in group)
        self._attempt(retention.enforce_size_limit, self.store, row_count, 2 * largest_bytes)
        for pending in group:
            self._resolve(pending, self._attempt(self.store.write, [pending.batch]))

    def _resolve(self, pending: PendingBatch, error: Exception | None) -> None:
        if error is None:
            self._clear_error()
            pending.resolve(None)
        else:
            pending.resolve(WriteError(str(error)))

    def _attempt(self, work: Callable[..., None], *arguments: object) -> Exception | None:
        """Call ``work`` with ``arguments``; return the error it raised, or None.

        An error is recorded in ``last_error`` and never raised, because it would end the writer
        thread.
        """
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001  (a sender waits for the answer to any of them)
            self._record_error(error)
            return error
        return None

    def _record_error(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason != self.last_error:
            log.error("cannot write to the store: %s", reason)
        self.last_error = reason
        if is_damage(error):
            try:
                self.store.replace_file(reason)
            except Exception as create_error:  # noqa: BLE001  (the store retries by itself)
                log.error("cannot create a new store file: %s", create_error)

    def _clear_error(self) -> None:
        """Clear ``last_error`` after a successful write; log the recovery if there was an error."""
        if self.last_error:
            log.warning("writing to the store again")
        self.last_error = ""
