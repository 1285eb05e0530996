"""Count the spans and log records that never reached a receiver, by signal and reason."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import structlog
from opentelemetry.metrics import CallbackOptions, Observation

from .session import RetryingSession


class DropCounter:
    """Counts the items of one signal that were dropped, and those that are still on the way.

    Attributes:
        signal: ``traces`` or ``logs``.
        queue_size: The capacity of the SDK's queue; the batch processor sets it.
        queued: The items in that queue.
        in_flight: The items of the batch that is being exported.
        unreported: The dropped items that no log record has reported yet.
        dropped: The dropped items by reason: ``queue_full``, ``shutdown``, ``failed``, or the HTTP
            status of the response that refused a batch.
    """

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.queue_size = 0
        self.queued = 0
        self.in_flight = 0
        self.unreported = 0
        self.dropped: dict[str, int] = {}
        self.lock = Lock()

    def count_enqueued(self) -> None:
        """Count one more item in the queue; a full queue drops its oldest item."""
        with self.lock:
            self.queued += 1
            if self.queued > self.queue_size:
                self.queued = self.queue_size
                self._drop(1, "queue_full")

    @contextmanager
    def track_export(self, count: int, session: RetryingSession) -> Iterator[None]:
        """Count a batch of ``count`` items as in flight, and afterwards as delivered or dropped.

        ``session.last_error`` says which, even when the export raised an exception.
        """
        with self.lock:
            self.queued -= count
            self.in_flight = count
        # A batch that cannot be encoded is never sent, so the session would not set this.
        session.last_error = "failed"
        try:
            yield
        finally:
            self._export_ended(session.last_error)

    def _export_ended(self, error: str) -> None:
        """Count the batch in flight; log the drops so far once a batch has been delivered again."""
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
        """Return the values of the metric ``telemetry.dropped``, one for each reason."""
        return [
            Observation(count, {"signal": self.signal, "error.type": reason})
            for reason, count in list(self.dropped.items())
        ]

    def undelivered(self) -> int:
        """Return how many items were dropped, or are still queued or in flight."""
        with self.lock:
            return sum(self.dropped.values()) + self.queued + self.in_flight
