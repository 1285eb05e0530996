"""Reads a file of telemetry once, to decide by how much its times are moved when it is imported."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from three_pillar_demo.query.interface import NANO
from three_pillar_demo.share.records import METRICS, Record, records_of
from three_pillar_demo.share.stored import MAX_TRACES, StoredRecords
from three_pillar_demo.share.telemetry_file import documents

MAX_AGE_NS = 47 * 3600 * NANO
"""The age, in nanoseconds, from which the times of a file are moved.

The backends keep spans and log records for 48 hours; an imported one is to be seen for a while.
"""
MAX_AHEAD_NS = 300 * NANO
"""How far ahead of this machine's clock, in nanoseconds, times are not moved: clocks differ."""
MAX_PROBLEMS = 20
"""The number of problems of a file that are reported one by one."""


@dataclass
class FileSummary:
    """What a file contains.

    ``oldest`` and ``newest`` are the times of its spans and log records, in nanoseconds since the
    epoch, 0 if it has none. ``first_records`` has the first span or log record of each trace, of
    the first ``MAX_TRACES`` traces. ``problems`` has the place and the reason of what cannot be
    read, at most ``MAX_PROBLEMS`` of them; ``problem_count`` counts all.
    """

    oldest: int = 0
    newest: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    services: set[str] = field(default_factory=set)
    first_records: dict[str, list[Record]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0

    def add(self, record: Record) -> None:
        """Take a record into account."""
        self.counts[record.signal.name] += 1
        self.services.add(_service(record))
        if record.signal is METRICS:
            return
        if record.time:
            self.oldest = min(self.oldest or record.time, record.time)
            self.newest = max(self.newest, record.time)
        trace_id = record.trace_id
        if trace_id and (trace_id in self.first_records or len(self.first_records) < MAX_TRACES):
            first = self.first_records.setdefault(trace_id, [])
            # One record of each signal is enough to find the trace again.
            if record.signal not in [known.signal for known in first]:
                first.append(record)

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


def time_shift(summary: FileSummary, stored: StoredRecords, *, keep_times: bool) -> int:
    """Return by how many nanoseconds all times of the file are moved, so that they can be stored.

    If a part of the file is stored already, the rest is moved as that part was. Otherwise the times
    stay, unless the backends would refuse them as too old, or as in the future: then the newest
    becomes now.
    """
    if keep_times or not summary.newest:
        return 0
    for records in summary.first_records.values():
        for record in records:
            stored_time = stored.time_of(record)
            if stored_time:
                return stored_time - record.time
    now = time.time_ns()
    if summary.oldest >= now - MAX_AGE_NS and summary.newest <= now + MAX_AHEAD_NS:
        return 0
    return now - summary.newest


def _service(record: Record) -> str:
    attributes = record.resource.get("attributes")
    for attribute in attributes if isinstance(attributes, list) else []:
        if isinstance(attribute, dict) and attribute.get("key") == "service.name":
            value = attribute.get("value")
            return str(value.get("stringValue", "")) if isinstance(value, dict) else ""
    return ""
