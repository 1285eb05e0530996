"""Finds out which records of a file are stored already, and at which time."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from three_pillar_demo.query.interface import NANO, RETENTION_S, Backends, LogRecord
from three_pillar_demo.share.records import LOGS, TRACES, Record, to_int

MAX_TRACES = 10_000
"""The number of traces of a file for which stored records are looked up."""
MAX_CONCURRENT = 8
"""The number of traces that are looked up at the same time."""
AHEAD_S = 24 * 3600.0
"""How far ahead of this machine's clock, in seconds, a stored record may be."""

SHIFT_ATTRIBUTE = "import.time_shift_s"
"""The resource attribute that says by how many seconds the times of an imported file were moved."""
SHIFT_PRECISION_NS = 1000
"""How exact ``SHIFT_ATTRIBUTE`` is, in nanoseconds, for shifts of up to some hundred years."""
ORIGINAL_TIME = "collector_original_time"
"""The attribute in which the Collector keeps a time that it has replaced."""

SpanKey = tuple[str, str]
"""A trace id and a span id."""
BodyKey = tuple[str, str, str]
"""The trace id, the span id and the body of a log record."""
TimeKey = tuple[str, str, int]
"""The trace id, the span id and the time of a log record."""


@dataclass
class StoredRecords:
    """The spans and log records that are stored of some traces, with their times in nanoseconds.

    ``span_times`` has the start of each span by trace id and span id. ``log_times`` has the times
    of the log records of each span, and ``log_shifts`` by how much an earlier import has moved
    them, by trace id. ``times_of_body`` has their times by what they say, and ``bodies_left`` what
    they say by their time, without those that a record of the file has been found equal to.
    """

    span_times: dict[SpanKey, int] = field(default_factory=dict)
    log_times: defaultdict[SpanKey, list[int]] = field(default_factory=lambda: defaultdict(list))
    times_of_body: defaultdict[BodyKey, list[int]] = field(
        default_factory=lambda: defaultdict(list)
    )
    log_shifts: dict[str, int] = field(default_factory=dict)
    bodies_left: defaultdict[TimeKey, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )

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
            span_id = record.fields.get("span_id", "")
            sent_time = to_int(record.fields.get(ORIGINAL_TIME)) or record.time
            self.log_times[trace_id, span_id].append(sent_time)
            self.times_of_body[trace_id, span_id, record.body].append(sent_time)
            self.bodies_left[trace_id, span_id, sent_time][record.body] += 1
            if shift_ns := _shift_of(record):
                self.log_shifts.setdefault(trace_id, shift_ns)

    def time_of(self, record: Record) -> int:
        """Return the time of the stored record that equals ``record``; 0 if there is none."""
        if record.signal is TRACES:
            return self.span_times.get((record.trace_id, record.span_id), 0)
        ids = (record.trace_id, record.span_id)
        moved_time = record.time + self.log_shifts.get(record.trace_id, 0)
        for time_ns in (record.time, moved_time):
            if (*ids, time_ns) in self.bodies_left:
                return time_ns
        if moved_time == record.time:
            return 0
        nearest = min(self.log_times.get(ids, [0]), key=lambda time_ns: abs(time_ns - moved_time))
        return nearest if abs(nearest - moved_time) <= SHIFT_PRECISION_NS else 0

    def take(self, record: Record, shift_ns: int) -> bool:
        """Return True if ``record`` is stored already, with its times ``shift_ns`` later.

        Of equal log records, as many are stored as the backend has returned.
        """
        if record.signal is TRACES:
            return (record.trace_id, record.span_id) in self.span_times
        if record.signal is not LOGS:
            return False
        if record.time:
            return self._take_log(record, record.time + shift_ns)
        # The store has given it the time at which it arrived.
        times = self.times_of_body.get((record.trace_id, record.span_id, record.body), [])
        while times:
            if self._take_log(record, times.pop(), record.body):
                return True
        return False

    def _take_log(self, record: Record, time_ns: int, body: str | None = None) -> bool:
        """Take a log record of the time ``time_ns`` that says ``body``, or anything if it is None.

        One that says the same as ``record`` is preferred. Another one may be the same record too,
        because a store redacts and shortens what a record says, and writes a structured body as
        text.
        """
        bodies = self.bodies_left.get((record.trace_id, record.span_id, time_ns), Counter())
        taken = record.body if record.body in bodies else next(iter(bodies), None)
        if taken is None or body not in {None, taken}:
            return False
        bodies[taken] -= 1
        if not bodies[taken]:
            del bodies[taken]
        return True


def _shift_of(record: LogRecord) -> int:
    """Return by how many nanoseconds an import has moved a stored log record; 0 if it has not."""
    loki_name = SHIFT_ATTRIBUTE.replace(".", "_")
    seconds = record.resource.get(SHIFT_ATTRIBUTE) or record.fields.get(loki_name) or 0
    try:
        return round(float(seconds) * NANO)
    except (TypeError, ValueError, OverflowError):  # Another sender has set the attribute.
        return 0
