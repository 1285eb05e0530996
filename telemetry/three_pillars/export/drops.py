"""What a process could not deliver: counted by signal and reason, and told of in one line when somebody listens again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

import structlog
from opentelemetry.metrics import CallbackOptions, Observation

from .session import Session


class Losses:
    """Counts what goes into one signal's queue and what comes out of it; what is too much for the queue was dropped."""

    def __init__(self, signal: str) -> None:
        self.signal, self.size, self.lock = signal, 0, Lock()
        self.queued = self.on_the_way = self.untold = 0
        self.lost: dict[str, int] = {}

    def given(self) -> None:
        """Note one more for the queue; a full one drops its oldest."""
        with self.lock:
            self.queued += 1
            if self.queued > self.size:
                self.queued = self.size
                self._lose(1, "queue_full")

    @contextmanager
    def batch(self, count: int, session: Session) -> Iterator[None]:
        """Note a batch that left the queue, and at the end what became of it, whatever happened: ``session`` knows."""
        with self.lock:
            self.queued -= count
            self.on_the_way = count
        session.refusal = "failed"  # until somebody answers: what cannot be encoded is never sent
        try:
            yield
        finally:
            self._ended(session.refusal)

    def _ended(self, reason: str) -> None:
        with self.lock:
            if reason:
                self._lose(self.on_the_way, reason)
            self.on_the_way, untold = 0, 0 if reason else self.untold
            self.untold -= untold
        if untold:
            structlog.get_logger().warning("telemetry dropped", signal=self.signal, count=untold)

    def _lose(self, count: int, reason: str) -> None:
        self.lost[reason] = self.lost.get(reason, 0) + count
        self.untold += count

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Tell the metric ``telemetry.dropped``."""
        return [
            Observation(count, {"signal": self.signal, "error.type": reason})
            for reason, count in list(self.lost.items())
        ]

    def undelivered(self) -> int:
        """How many did not arrive, at the end: lost, or still waiting."""
        return sum(self.lost.values()) + self.queued + self.on_the_way
