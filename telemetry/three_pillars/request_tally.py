"""One measurement a request, from which the request metrics are derived at each collection.

The three instruments of ``RequestMetrics`` measure the same duration, and the SDK keeps each
measurement for each of its two readers: six aggregations, each with its own attributes, lock and
exemplars. A tally keeps the durations once, in one series for each combination of
``RequestLabels``. ``tally_points.py`` derives the metrics from these series.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from time import time_ns
from typing import NamedTuple

from opentelemetry.trace import SpanContext

from .forks import call_in_children
from .request_labels import RequestLabels

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Upper bounds of the histogram buckets, in seconds.

The HTTP semantic conventions advise these for ``http.server.request.duration``.
"""


IsKept = Callable[[int, int, float], bool]


class Sample(NamedTuple):
    """One measurement that becomes an exemplar.

    ``number`` counts all measurements of the tally, so that a reader can tell which are new. The
    ids are None if the measurement belongs to no span.
    """

    number: int
    seconds: float
    time_ns: int
    trace_id: int | None
    span_id: int | None


@dataclass
class Series:
    """The requests with the same labels since ``started_ns``, a Unix time in nanoseconds.

    ``newest`` has the newest sample of each bucket, or None. The durations are in seconds.
    """

    started_ns: int
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS) + 1))
    newest: list[Sample | None] = field(default_factory=lambda: [None] * (len(LATENCY_BUCKETS) + 1))
    sum: float = 0.0
    min: float = float("inf")
    max: float = float("-inf")

    def add(self, other: "Series") -> None:
        """Add the requests of ``other``."""
        self.started_ns = min(self.started_ns, other.started_ns)
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.newest = [
            max(filter(None, samples), default=None)
            for samples in zip(self.newest, other.newest, strict=True)
        ]
        self.sum += other.sum
        self.min = min(self.min, other.min)
        self.max = max(self.max, other.max)


class Key(NamedTuple):
    """The name of an application, with which two of its metrics begin, and the labels."""

    prefix: str
    labels: RequestLabels


class RequestTally:
    """The series of all applications that share a meter provider.

    ``samples_unsampled`` is whether a measurement becomes an exemplar even if its span is not
    sampled, and ``samples_sampled`` the same for a sampled span: the values of
    OTEL_METRICS_EXEMPLAR_FILTER are ``always_on`` (both), ``trace_based`` and ``always_off``.
    ``is_kept``, if it is given, must also be true of its trace id, status and seconds.
    """

    def __init__(
        self, *, samples_sampled: bool, samples_unsampled: bool, is_kept: IsKept | None = None
    ) -> None:
        self._samples_sampled = samples_sampled
        self._samples_unsampled = samples_unsampled
        self._is_kept = is_kept
        self._count = 0
        self.reset()
        call_in_children(self.reset)

    def reset(self) -> None:
        """Forget all requests, as in a new process, and release the lock.

        The measurements are still numbered on, because the readers remember a number.
        """
        self._lock = Lock()
        self._series: dict[Key, Series] = {}

    def note(self, key: Key, seconds: float, span_context: SpanContext) -> None:
        """Record one request that took ``seconds``, with the context of its span."""
        bucket = bisect_left(LATENCY_BUCKETS, seconds)
        now_ns = time_ns()
        is_exemplar = self._is_exemplar(key.labels.status, seconds, span_context)
        with self._lock:
            series = self._series.get(key)
            if series is None:
                series = self._series[key] = Series(now_ns)
            series.counts[bucket] += 1
            series.sum += seconds
            series.min = min(series.min, seconds)
            series.max = max(series.max, seconds)
            self._count += 1
            if is_exemplar:
                trace_id = span_context.trace_id or None
                span_id = span_context.span_id or None
                series.newest[bucket] = Sample(self._count, seconds, now_ns, trace_id, span_id)

    def _is_exemplar(self, status: int, seconds: float, span_context: SpanContext) -> bool:
        if span_context.trace_flags.sampled:
            is_sampled = self._samples_sampled
        else:
            is_sampled = self._samples_unsampled
        if self._is_kept is None or not is_sampled:
            return is_sampled
        return self._is_kept(span_context.trace_id, status, seconds)

    def snapshot(self) -> tuple[int, Sequence[tuple[Key, Series]]]:
        """Return the number of measurements so far, and a copy of each series, oldest first."""
        with self._lock:
            copies = []
            for key, series in self._series.items():
                copy = Series(series.started_ns)
                copy.add(series)
                copies.append((key, copy))
            return self._count, copies
