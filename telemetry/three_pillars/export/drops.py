"""Count the spans and log records that were not delivered to an OTLP receiver, by reason."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import structlog
from opentelemetry.metrics import CallbackOptions, Observation

from .session import RetryingSession

MAX_QUEUED_BYTES = 64 * 1024**2
"""The most bytes of encoded items in a queue; so large is a request of the SDK's exporter at most.
"""


class DropCounter:
    """Counts the items of one signal that were dropped, are queued, or are being exported.

    An item is a span or a log record.

    Attributes:
        signal: ``traces`` if the items are spans, ``logs`` if they are log records.
        queue_size: The capacity of the SDK's queue, in items; the batch processor sets it.
        queued: The number of items in the SDK's queue.
        queued_bytes: The size of these items, if they are encoded.
        in_flight: The number of items in the batch that is being exported; 0 between exports.
        unreported: The number of dropped items that no log record has reported yet.
        dropped: The number of dropped items by reason: ``queue_full``, ``shutdown``, ``failed``,
            or the HTTP status of the response that refused a batch.
    """

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.queue_size = 0
        self.reset()

    def reset(self) -> None:
        """Set all counts to zero, as in a new process; the queue must be empty."""
        self.queued = 0
        self.queued_bytes = 0
        self._sizes: deque[int] = deque()  # of the items in the queue, the oldest first
        self.in_flight = 0
        self.unreported = 0
        self.dropped: dict[str, int] = {}
        self.lock = Lock()

    def count_enqueued(self, byte_count: int = 0) -> bool:
        """Count one item as queued, or as dropped (``queue_full``) if the queue is full.

        ``byte_count`` is the size of an encoded item. Return whether the caller is to put the item
        into the queue. The result is False only if the queue has no room for its bytes: if it has
        too many items, the SDK drops the oldest one, so that there is room.
        """
        with self.lock:
            if self.queued_bytes + byte_count > MAX_QUEUED_BYTES:
                self._drop(1, "queue_full")
                return False
            self._sizes.append(byte_count)
            self.queued_bytes += byte_count
            if len(self._sizes) > self.queue_size:
                self.queued_bytes -= self._sizes.popleft()
                self._drop(1, "queue_full")
            self.queued = len(self._sizes)
            return True

    def count_failed(self, error: Exception) -> None:
        """Count one item as dropped (``failed``), which cannot be encoded because of ``error``."""
        with self.lock:
            self._drop(1, "failed")
        logging.getLogger(__name__).warning(f"cannot encode an item of {self.signal}: {error}")

    @contextmanager
    def track_export(self, count: int, session: RetryingSession) -> Iterator[None]:
        """Count ``count`` items as in flight during the block, then as delivered or dropped.

        The ``with`` block exports one batch. If ``session.last_error`` is empty afterwards, the
        items count as delivered. Otherwise they count as dropped, and ``session.last_error`` is the
        reason. This also holds if the block raises an exception.
        """
        with self.lock:
            for _ in range(min(count, len(self._sizes))):
                self.queued_bytes -= self._sizes.popleft()
            self.queued = len(self._sizes)
            self.in_flight = count
        # A batch that cannot be encoded is never sent, so the session would not set this.
        session.last_error = "failed"
        try:
            yield
        finally:
            self._export_ended(session.last_error)

    def _export_ended(self, error: str) -> None:
        """Count the batch in flight as delivered if ``error`` is empty, otherwise as dropped.

        ``error`` is the reason of the drop. After a delivered batch, log the number of items that
        were dropped and are not yet logged, if there are any.
        """
        to_report = 0
        with self.lock:
            if error:
                self._drop(self.in_flight, error)
            else:
                to_report = self.unreported
                self.unreported = 0
            self.in_flight = 0
        if to_report:
            structlog.get_logger().warning("telemetry dropped", signal=self.signal, count=to_report)

    def _drop(self, count: int, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.unreported += count

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Return the number of dropped items by reason, for the metric ``telemetry.dropped``."""
        return [
            Observation(count, {"signal": self.signal, "error.type": reason})
            for reason, count in list(self.dropped.items())
        ]

    def undelivered(self) -> int:
        """Return the number of items that were dropped, are queued, or are in flight."""
        with self.lock:
            return sum(self.dropped.values()) + self.queued + self.in_flight
