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
    """One data point of a metric series.

    All times are in nanoseconds since the epoch. Only a histogram has ``bounds``, ``count`` and
    ``buckets``; for the other kinds, ``bounds`` is an empty array, and the other two are None.
    """

    source: Source
    name: str
    kind: str  # counter, gauge or histogram
    labels: str  # a JSON object
    bounds: str  # a JSON array: the upper bounds of the buckets
    is_delta: bool  # true: the value counts since the previous point; false: since ``start``
    time: int
    start: int
    value: float  # of a histogram: the sum of the observations
    count: int | None  # the number of observations
    buckets: list[int] | None  # the number of observations in each bucket
    exemplars: tuple[tuple[int, bytes, bytes, float], ...]  # each: time, trace id, span id, value


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
