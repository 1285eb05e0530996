"""What queries of metrics return: exemplars, samples of rate, errors and durations, and calls.

Times are seconds since the epoch, as floats. Metrics and labels have their names in Prometheus
(docs/reference/telemetry.md).
"""

from dataclasses import dataclass

LOOKBACK_S = 300.0
"""The age, in seconds, up to which the newest point of a series is its current value.

A series whose newest point is older has no current value. The number is Prometheus' default.
"""
DURATION = "http_server_request_duration_seconds"
"""Prometheus' name of the histogram of request durations, ``http.server.request.duration``."""


@dataclass(frozen=True)
class Exemplar:
    """One exemplar of a metric, often the histogram ``DURATION``: a measured value with its trace.

    Attributes:
        trace_id: The trace of the measured request; empty if it is unknown.
        value: The value, in the unit of the metric; a duration in seconds.
        time: The time of the measurement, in seconds since the epoch.
        labels: All labels of the series, or of the histogram bucket that counted the value, such as
            ``le`` and ``http_route``. The metric's name has the key ``__name__``. An exemplar of an
            exponential histogram has the labels of the histogram, without ``le``.
    """

    trace_id: str
    value: float
    time: float
    labels: dict[str, str]


@dataclass(frozen=True)
class RedSample:
    """Rate, errors and duration of a route at ``time``, computed over the time window before it.

    ``rate`` is in requests per second. ``errors`` is the share, 0 to 1, of requests with a status
    from 500 to 599. ``quantiles`` are durations in seconds, in the order of the query's
    ``quantiles``.

    All three are None if the window has too few points to compute a rate. ``errors`` and each
    quantile are also None if the window has no requests. ``covered_s`` is the number of seconds by
    which the requests were divided, if the data begin in the window; else None.
    """

    time: float
    rate: float | None
    errors: float | None
    quantiles: tuple[float | None, ...]
    covered_s: float | None = None

    def requests(self, window_s: float) -> float:
        """Return the number of requests, which may be extrapolated; ``window_s`` is the window."""
        return (self.rate or 0.0) * (self.covered_s or window_s)


@dataclass(frozen=True)
class ServiceCall:
    """An edge of the service graph: the calls from one service to another in a time range.

    ``calls`` is the number of calls, ``failed`` the number of calls whose CLIENT or SERVER span has
    error status. From the local store, both numbers are exact. From Tempo's metrics, both numbers
    are extrapolated by Prometheus, and so are not always whole.
    """

    client: str
    server: str
    calls: float
    failed: float
