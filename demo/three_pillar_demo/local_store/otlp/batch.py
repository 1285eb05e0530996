"""The decoded content of one export request: rows to store, and counts of rejected records."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from three_pillar_demo.local_store.otlp.exponential import Exponential

MAX_RECORDS = 20_000
"""The maximum number of records accepted from one request; an SDK sends a few hundred."""
MAX_COUNTED_REASONS = 1_000
"""The maximum number of different reasons that a batch counts; the others share one entry."""
OTHER_REASONS = "other reasons"
MAX_SHOWN_REASONS = 5
"""The maximum number of reasons in one response; the most frequent ones are named."""

Row = tuple[Any, ...]
"""The values of one table row, in the order of the columns, without the column ``source``."""
Source = tuple[str, str, str, str]
"""The sender of records: service name, instance id, resource attributes (JSON), scope (JSON)."""


@dataclass(frozen=True)
class Instrument:
    """What a sender says about a metric; the fields are the columns of the table ``instrument``."""

    name: str = ""  # as it was sent
    kind: str = ""  # as ``Point.kind``, or up_down_counter for a sum that is not monotonic
    unit: str = ""
    description: str = ""


@dataclass(frozen=True)
class Point:
    """One data point of a metric series.

    All times are in nanoseconds since the epoch. What a point does not have is None.
    """

    identity: bytes  # equal only for points of one OTLP stream with the same bounds
    name: str
    kind: str  # counter, gauge, histogram, exponential_histogram or summary
    labels: str  # a JSON object
    is_delta: bool  # true: the value counts since the previous point; false: since ``start``
    time: int
    start: int
    value: float | None  # of a histogram or summary: the sum of the observations
    bounds: str = "[]"  # of a histogram: a JSON array, the upper bounds of the buckets
    count: int | None = None  # of a histogram or summary: the number of observations
    buckets: list[int] | Exponential | None = None  # the number of observations in each bucket
    quantiles: list[tuple[float, float | None]] | None = None  # of a summary
    minimum: float | None = None
    maximum: float | None = None
    exemplars: tuple[tuple[int, bytes, bytes, float], ...] = ()
    """Each exemplar: time, trace id, span id, value; both ids are empty if they are unknown."""
    instrument: Instrument = Instrument()


@dataclass
class Batch:
    """The decoded content of one export request.

    ``digest`` is a hash of the signal's name and the request's decompressed body, by which a
    repeated request is recognised. ``is_recognisable`` says whether an equal request can only be
    a repetition; it is false if a log record has no time, or if the times of all log records are
    whole milliseconds, because two such requests can be equal.
    ``size_bytes`` is the length of the decompressed body. ``rejected`` maps each reason to the
    number of records that are not stored for that reason. ``warnings`` counts, by reason, parts of
    stored records that are not stored.
    """

    digest: bytes = b""
    size_bytes: int = 0
    is_recognisable: bool = True
    spans: list[tuple[Source, Row]] = field(default_factory=list)
    log_records: list[tuple[Source, Row]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

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

    def reject(self, reason: str, count: int = 1) -> None:
        """Count ``count`` records as rejected for ``reason``."""
        _add(self.rejected, reason, count)

    def warn(self, reason: str, count: int = 1) -> None:
        """Count ``count`` parts of stored records as not stored for ``reason``."""
        _add(self.warnings, reason, count)

    def partial_success_text(self) -> str:
        """Return the text for OTLP's ``partial_success``, with the most frequent reasons.

        The text is empty if the whole request is stored.
        """
        parts = []
        for heading, reasons in (("rejected", self.rejected), ("dropped", self.warnings)):
            counted = [
                f"{count} x {reason}" for reason, count in reasons.most_common(MAX_SHOWN_REASONS)
            ]
            if counted:
                parts.append(f"{heading}: {'; '.join(counted)}")
        return ". ".join(parts)


def _add(reasons: Counter[str], reason: str, count: int) -> None:
    if not count:
        return
    is_over_limit = reason not in reasons and len(reasons) >= MAX_COUNTED_REASONS
    reasons[OTHER_REASONS if is_over_limit else reason] += count
