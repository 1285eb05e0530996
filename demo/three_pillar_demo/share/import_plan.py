"""Reads a file of telemetry once, to decide by how much its times are moved when it is imported."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from three_pillar_demo.share.records import LOGS, METRICS, TRACES, Record, records_of
from three_pillar_demo.share.stored import MAX_TRACES, StoredRecords
from three_pillar_demo.share.telemetry_file import documents
from three_pillar_demo.share.times import MAX_AHEAD_NS, AgeLimits, TimeRange, is_plausible

MAX_PROBLEMS = 20
"""The number of problems of a file that are reported one by one."""


@dataclass
class FileSummary:
    """What a file contains.

    ``record_times`` are the times of its spans and log records, ``point_times`` those of its
    metrics' points. Times that are not plausible are in ``implausible_times`` instead, so that one
    wrong time does not decide by how much all others are moved. ``first_records`` has the first
    span or log record of each trace, of the first ``MAX_TRACES`` traces. ``problems`` has the place
    and the reason of what cannot be read, at most ``MAX_PROBLEMS`` of them; ``problem_count``
    counts all.
    """

    record_times: TimeRange = field(default_factory=TimeRange)
    point_times: TimeRange = field(default_factory=TimeRange)
    implausible_times: TimeRange = field(default_factory=TimeRange)
    counts: Counter[str] = field(default_factory=Counter)
    services: set[str] = field(default_factory=set)
    first_records: dict[str, list[Record]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def add(self, record: Record) -> None:
        """Take a record into account."""
        self.counts[record.signal.name] += 1
        self.services.add(_service(record))
        self._add_times(record)
        if record.signal is METRICS:
            return
        trace_id = record.trace_id
        if trace_id and (trace_id in self.first_records or len(self.first_records) < MAX_TRACES):
            first = self.first_records.setdefault(trace_id, [])
            # One record of each signal is enough to find the trace again.
            if record.signal not in [known.signal for known in first]:
                first.append(record)

    def _add_times(self, record: Record) -> None:
        now = time.time_ns()
        times = self.point_times if record.signal is METRICS else self.record_times
        for time_ns in record.times():
            (times if is_plausible(time_ns, now) else self.implausible_times).add(time_ns)

    def add_problem(self, text: str) -> None:
        """Take a part of the file that cannot be read into account."""
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(text)


def records_in(file: IO[bytes], summary: FileSummary | None = None) -> Iterator[Record]:
    """Yield the records in ``file``; add them and all problems to ``summary`` if there is one."""
    for document in documents(file):
        if document.problem:
            if summary:
                summary.add_problem(f"{document.place}: {document.problem}")
            continue
        for record in records_of(document.value):
            if isinstance(record, Record):
                if summary:
                    summary.add(record)
                yield record
            elif summary:
                summary.add_problem(f"{document.place}: {record}")


def summarize(file: IO[bytes]) -> FileSummary:
    """Return what ``file`` contains, without keeping its records."""
    summary = FileSummary()
    for _ in records_in(file, summary):
        pass
    return summary


def time_shift(
    summary: FileSummary, stored_shifts: dict[str, int], limits: AgeLimits, *, keep_times: bool
) -> int:
    """Return by how many nanoseconds all times of the file are moved, so that they can be stored.

    If a part of the file is stored already, as ``stored_shifts`` says, the rest is moved as the
    first such part was. Otherwise the times stay, unless the backends would refuse them as too old,
    that is older than ``limits``, or as in the future: then the newest becomes now. Implausible
    times count only in a file without others, which a clock that was never set has written.
    """
    if keep_times:
        return 0
    if stored_shifts:
        return next(iter(stored_shifts.values()))
    records = summary.record_times
    points = summary.point_times
    if not (records.newest or points.newest):
        records = summary.implausible_times
    newest = max(records.newest, points.newest)
    now = time.time_ns()
    is_old = any(
        times.newest and times.oldest < now - max_age_ns
        for times, max_age_ns in ((records, limits.records_ns), (points, limits.points_ns))
    )
    # Where the newest is of now, what is too old stays so: to move it would not help.
    is_moved = newest > now + MAX_AHEAD_NS or (is_old and newest < now - MAX_AHEAD_NS)
    return now - newest if is_moved else 0


def shifts_of_stored(summary: FileSummary, stored: StoredRecords) -> dict[str, int]:
    """Return by how many nanoseconds the stored traces of the file were moved, by trace id.

    Spans are asked first: the Collector may have replaced the time of a log record.
    """
    shifts: dict[str, int] = {}
    first_records = [record for group in summary.first_records.values() for record in group]
    for signal in (TRACES, LOGS):
        for record in first_records:
            stored_time = stored.time_of(record)
            if record.signal is signal and record.time and stored_time:
                shifts.setdefault(record.trace_id, stored_time - record.time)
    return shifts


def _service(record: Record) -> str:
    attributes = record.resource.get("attributes")
    for attribute in attributes if isinstance(attributes, list) else []:
        if isinstance(attribute, dict) and attribute.get("key") == "service.name":
            value = attribute.get("value")
            return str(value.get("stringValue", "")) if isinstance(value, dict) else ""
    return ""
