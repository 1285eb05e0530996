"""The request metrics: rate, errors and duration of HTTP requests, and the active requests."""

from collections import Counter
from collections.abc import Iterable

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Upper bounds of the histogram buckets, in seconds.

The HTTP semantic conventions advise these for ``http.server.request.duration``.
"""


class RequestMetrics:
    """The instruments of the request metrics, which all requests of an application share.

    They are ``<prefix>.requests`` and ``<prefix>.request.latency``, and those of the HTTP semantic
    conventions: ``http.server.request.duration`` and ``http.server.active_requests``.
    """

    def __init__(
        self, prefix: str, meter: Meter, active_requests: Counter[tuple[str, ...]]
    ) -> None:
        """Create the instruments.

        ``prefix`` is the service name, with which two of the metric names begin.
        ``active_requests`` counts the active requests by method and scheme. Applications that share
        a ``meter`` must also share ``active_requests``, because the meter creates each instrument
        only once.
        """
        self.active_requests = active_requests
        self._requests = meter.create_counter(
            f"{prefix}.requests", unit="{request}", description="HTTP requests answered."
        )
        self._latency = _create_histogram(meter, f"{prefix}.request.latency")
        self._standard_duration = _create_histogram(meter, "http.server.request.duration")
        # Observed once for each export. The SDK's synchronous up-down counter would make four more
        # measurements for every request.
        meter.create_observable_up_down_counter(
            "http.server.active_requests",
            [self._observe_active_requests],
            unit="{request}",
            description="Active HTTP requests.",
        )

    def record(
        self,
        seconds: float,
        labels: dict[str, str],
        attributes: dict[str, str | int],
        context: Context,
    ) -> None:
        """Record one finished request that took ``seconds``.

        ``labels`` are ``method``, ``endpoint`` and ``status``. ``<prefix>.requests`` gets all three
        labels, and ``<prefix>.request.latency`` only ``endpoint``. ``attributes`` are those of the
        HTTP semantic conventions, for ``http.server.request.duration``. The span in ``context``
        becomes the exemplar of these measurements.
        """
        self._requests.add(1, labels, context)
        self._latency.record(seconds, {"endpoint": labels["endpoint"]}, context)
        self._standard_duration.record(seconds, attributes, context)

    def _observe_active_requests(self, _options: CallbackOptions) -> Iterable[Observation]:
        # A copy, because requests start and end while this thread iterates.
        return [
            Observation(count, {"http.request.method": method, "url.scheme": scheme})
            for (method, scheme), count in list(self.active_requests.items())
        ]


def _create_histogram(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(
        name,
        unit="s",
        description="Time to the last byte.",
        explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
    )
