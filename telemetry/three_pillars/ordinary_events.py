"""Structlog processor for the fast path ``log``: an ordinary event is handled in one pass.

Without it, four processors add the time, make each value valid, redact, and build a log record of
OpenTelemetry's classes. Here the time is read once, and the encoder of the event finds in its cache
that the values are valid and have nothing to redact. Every other event goes through the four.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from time import time_ns
from typing import Any, cast

from opentelemetry import trace
from opentelemetry._logs import get_logger
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.sdk._logs import LoggerProvider
from structlog.typing import EventDict, Processor, WrappedLogger

from .export.batch import CountingBatchLogRecordProcessor
from .export.encoded_events import EventEncoder

NANOSECONDS = 10**9
NANOSECONDS_IN_MICROSECOND = 1000

# This module uses what is not public in the SDK: the processors and the limits of a provider.
# ruff: noqa: SLF001


class OrdinaryEvents:
    """Structlog processor that does the work of ``other_processors``, in one pass if possible."""

    def __init__(
        self,
        provider: LoggerProvider,
        queue: CountingBatchLogRecordProcessor,
        other_processors: Sequence[Processor],
    ) -> None:
        """Put the ordinary events of ``provider`` into ``queue``, its only processor.

        Raises:
            AttributeError: The SDK has changed.
        """
        self._queue = queue
        self._other_processors = other_processors
        # As StructlogProcessor does it, so that both have the same instrumentation scope.
        logger: Any = get_logger(StructlogProcessor.__module__, logger_provider=provider)
        self._logger = logger  # its private attributes are not typed
        self._all_processors = logger._multi_log_record_processor
        self._encoder = EventEncoder(logger._log_record_limits)
        if self._all_processors._log_record_processors != (queue,):
            raise AttributeError("the logger provider has another processor")
        self._processors = self._all_processors._log_record_processors

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """Return ``event`` with its timestamp, sanitized; put it into the queue as a log record."""
        now_ns = time_ns()
        data = None
        # The application may add processors of its own later, or switch the logger off.
        if self._all_processors._log_record_processors is self._processors and (
            self._logger._is_enabled() and not hasattr(logger, "name")
        ):
            span_context = trace.get_current_span().get_span_context()
            data = self._encoder.encode(event, now_ns, span_context)
        if data is None:
            for processor in self._other_processors:
                event = cast("EventDict", processor(logger, method, event))
            return event
        event["timestamp"] = _iso(now_ns)
        self._queue.enqueue(data, self._logger.resource, self._logger.instrumentation_scope)
        return event


def _iso(time_ns: int) -> str:
    """Return a Unix time in nanoseconds as structlog does, like ``2026-01-01T12:00:00.000001Z``."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    micros = nanoseconds // NANOSECONDS_IN_MICROSECOND
    return f"{_iso_second(seconds)}.{micros:06}Z" if micros else f"{_iso_second(seconds)}Z"


@lru_cache(maxsize=2)
def _iso_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
