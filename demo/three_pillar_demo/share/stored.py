"""Finds out which records of a file are stored already, and at which time."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from three_pillar_demo.query.interface import RETENTION_S, Backends
from three_pillar_demo.share.records import LOGS, TRACES, Record

MAX_TRACES = 10_000
"""The number of traces of a file for which stored records are looked up."""
MAX_CONCURRENT = 8
"""The number of traces that are looked up at the same time."""
AHEAD_S = 24 * 3600.0
"""How far ahead of this machine's clock, in seconds, a stored record may be."""

LogKey = tuple[str, str, str]
"""The trace id, the span id and the body of a log record."""


@dataclass
class StoredRecords:
    """The spans and log records that are stored of some traces, with their times in nanoseconds.

    ``span_times`` has the start of each span by trace id and span id. ``log_times`` has the times
    of the log records by what they say; ``logs_left`` counts those that no record of the file has
    been found equal to yet.
    """

    span_times: dict[tuple[str, str], int] = field(default_factory=dict)
    log_times: dict[LogKey, int] = field(default_factory=dict)
    logs_left: Counter[LogKey] = field(default_factory=Counter)

    @classmethod
    async def query(cls, backends: Backends, trace_ids: Iterable[str]) -> "StoredRecords":
        """Return what is stored of the traces.

        Raises:
            BackendError: A backend cannot be queried.
        """
        stored = cls()
        all_ids = list(trace_ids)
        for first in range(0, len(all_ids), MAX_CONCURRENT):
            group = all_ids[first : first + MAX_CONCURRENT]
            await asyncio.gather(*(stored.add_trace(backends, trace_id) for trace_id in group))
        return stored

    async def add_trace(self, backends: Backends, trace_id: str) -> None:
        """Add what is stored of one trace.

        Raises:
            BackendError: A backend cannot be queried.
        """
        now = time.time()
        for span in await backends.trace(trace_id):
            self.span_times[trace_id, span.span_id] = span.start
        for record in await backends.trace_logs(trace_id, now - RETENTION_S, now + AHEAD_S):
            key = (trace_id, record.fields.get("span_id", ""), record.body)
            self.log_times.setdefault(key, record.time)
            self.logs_left[key] += 1

    def time_of(self, record: Record) -> int:
        """Return the time of the stored record that equals ``record``; 0 if there is none."""
        if record.signal is TRACES:
            return self.span_times.get((record.trace_id, record.span_id), 0)
        return self.log_times.get(_log_key(record), 0)

    def take(self, record: Record) -> bool:
        """Return True if ``record`` is stored already.

        Of equal log records, as many are stored as the backend has returned.
        """
        if record.signal is TRACES:
            return (record.trace_id, record.span_id) in self.span_times
        key = _log_key(record)
        if record.signal is not LOGS or not self.logs_left[key]:
            return False
        self.logs_left[key] -= 1
        return True


def _log_key(record: Record) -> LogKey:
    return record.trace_id, record.span_id, record.body
