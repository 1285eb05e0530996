"""The content of one export request: rows that are ready to be stored, and rejected records."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_RECORDS = 20_000
"""Records accepted from one request; an SDK sends some hundred."""

Row = tuple[Any, ...]
"""The values of one row, in the order of the table's columns but without the source's id."""
Source = tuple[str, str, str, str]
"""Service name, instance id, resource attributes and scope; the latter two are JSON objects."""


@dataclass(frozen=True)
class Point:
    """One data point of a metric series; times are in nanoseconds since the epoch.

    ``kind`` is ``counter``, ``gauge`` or ``histogram``; ``labels`` (an object) and ``bounds`` (an
    array) are JSON. ``is_delta`` says that the point counts from the previous point, not from
    ``start``. Of a histogram, ``value`` is the sum of the observations, ``count`` their number and
    ``buckets`` the number in each bucket; both are None for the other kinds. An exemplar is a
    time, a trace id, a span id and a value.
    """

    source: Source
    name: str
    kind: str
    labels: str
    bounds: str
    is_delta: bool
    time: int
    start: int
    value: float
    count: int | None
    buckets: list[int] | None
    exemplars: tuple[tuple[int, bytes, bytes, float], ...]


@dataclass
class Batch:
    """The decoded content of one request.

    ``digest`` identifies the request's bytes, ``size_bytes`` is their number. ``rejected`` counts
    the records that are not stored, by reason.
    """

    digest: bytes = b""
    size_bytes: int = 0
    spans: list[tuple[Source, Row]] = field(default_factory=list)
    log_records: list[tuple[Source, Row]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    @property
    def record_count(self) -> int:
        """The number of spans, log records and data points in the batch."""
        return len(self.spans) + len(self.log_records) + len(self.points)

    def limit_problem(self) -> str:
        """Return why no further record is accepted; an empty string while one is."""
        if self.record_count >= MAX_RECORDS:
            return f"over {MAX_RECORDS} records in one request"
        return ""
