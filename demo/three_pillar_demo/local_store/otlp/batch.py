"""The decoded content of one export request: rows to store, and counts of rejected records."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

MAX_RECORDS = 20_000
"""The maximum number of records accepted from one request; an SDK sends a few hundred."""

Row = tuple[Any, ...]
"""The values of one table row, in the order of the columns, without the column ``source``."""
Source = tuple[str, str, str, str]
"""The sender of records: service name, instance id, resource attributes (JSON), scope (JSON)."""


@dataclass(frozen=True)
class Point:
    """One data point of a metric series; times are in nanoseconds since the epoch.

    ``kind`` is ``counter``, ``gauge`` or ``histogram``. ``labels`` is a JSON object, and ``bounds``
    a JSON array of the upper bounds of a histogram's buckets. ``is_delta`` is true if the value
    counts since the previous point, false if it counts since ``start``. For a histogram, ``value``
    is the sum of the observations, ``count`` their number and ``buckets`` the number in each
    bucket; ``count`` and ``buckets`` are None for the other kinds. Each exemplar consists of time,
    trace id, span id and value.
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
    """The decoded content of one export request.

    ``digest`` is a hash of the signal's name and the request's decompressed body, by which a
    repeated request is recognised. ``size_bytes`` is the length of the decompressed body.
    ``rejected`` maps each reason to the number of records that are not stored for that reason.
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
        """Return why the next record is rejected; an empty string if the batch has room for it.

        A batch holds ``MAX_RECORDS`` records at most.
        """
        if self.record_count >= MAX_RECORDS:
            return f"over {MAX_RECORDS} records in one request"
        return ""
