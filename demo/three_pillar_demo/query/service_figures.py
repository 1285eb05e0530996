"""The figures of services and of their routes, as the query interface returns them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.measurements import Exemplar, RedSample

QUANTILES = (0.5, 0.95, 0.99)
"""The quantiles of the durations of a service or route."""
PARTS = 24
"""The number of equal parts of the time range for which ``Figures`` has a rate each."""
INTERVALS_PER_WINDOW = 2.5
"""A rate needs a window of at least this many intervals between two exports of a metric.

SDKs export every 60 s by default, and a rate needs two points.
"""
MAX_EXEMPLARS = 2_000
"""The number of exemplars, the newest ones, that a query returns."""
MAX_ROUTES = 500
"""The number of routes of a service, those with the most requests, that a query returns."""


@dataclass(frozen=True)
class Figures:
    """The rate, errors and durations of a service, or of one of its routes, in a time range.

    Attributes:
        name: The name of the service or route.
        source: What the figures come from: OpenTelemetry's name of a histogram, ``SPANS`` or
            ``ROOT_SPANS`` of ``red_sources``; empty for a service of which no request is known.
        start: The beginning of the time that the figures cover, in seconds since the epoch. It is
            later than the start of the time range if the telemetry begins later, or if a limit of
            the query ended the search earlier.
        end: The end of this time: that of the time range, or the newest point of the histogram, if
            the next one is not due yet.
        requests: The number of requests. From Prometheus it is extrapolated, not always whole.
        failed: The number of requests that the service failed.
        quantiles: The durations in seconds, in the order of ``QUANTILES``. A quantile is None if it
            is not known. From a histogram it is interpolated, from spans it is exact.
        mean: The mean duration in seconds, or None if it is not known. With a single request, it is
            the duration of this request.
        rates: The requests a second in each of ``PARTS`` equal parts of the time range, in order. A
            rate is None if nothing is known of that part.
        ahead: How far the newest record of the service is ahead of the time range, in seconds, if
            all that is known of it is ahead; else 0. Only the local store knows.
    """

    name: str
    source: str
    start: float
    end: float
    requests: float = 0.0
    failed: float = 0.0
    quantiles: tuple[float | None, ...] = (None, None, None)
    mean: float | None = None
    rates: tuple[float | None, ...] = ()
    ahead: float = 0.0

    @property
    def rate(self) -> float | None:
        """The mean number of requests a second; None if no request is known."""
        seconds = self.end - self.start
        return self.requests / seconds if self.source and seconds > 0 else None

    @property
    def error_ratio(self) -> float | None:
        """The share of failed requests, 0 to 1; None without requests."""
        return self.failed / self.requests if self.requests > 0 else None


@dataclass(frozen=True)
class ServiceRed:
    """The rate, errors and durations of all requests of a service over time.

    Attributes:
        source: What the values come from, as in ``Figures``; empty if there is nothing.
        window: The seconds that each sample covers. It is longer than the query asked for if the
            service exports its metrics too seldom for that window.
        samples: One sample for each step. Errors are as ``red_sources.is_failed`` says, or the
            spans with status ERROR.
        exemplars: The exemplars of the histogram, or, if the source is spans, one for each span.
            The label ``service_name`` is the service; the other labels are those of the histogram.
    """

    source: str
    window: float
    samples: tuple[RedSample, ...] = ()
    exemplars: tuple[Exemplar, ...] = ()


def while_beginning(
    samples: Sequence[RedSample], window_s: float, begin: float | None
) -> list[RedSample]:
    """Return ``samples`` with rates that are divided by the covered part of their windows."""
    return [_divided(sample, window_s, begin) for sample in samples]


def _divided(sample: RedSample, window_s: float, begin: float | None) -> RedSample:
    covered_s = covered_seconds(sample.time, window_s, begin)
    if sample.rate is None or covered_s >= window_s:
        return sample
    return replace(sample, rate=sample.rate * window_s / covered_s, covered_s=covered_s)
