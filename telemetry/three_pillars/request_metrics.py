"""The request metrics: rate, errors and duration of HTTP requests, and the requests in flight."""

from collections import Counter
from collections.abc import Iterable

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""In seconds, as the HTTP semantic conventions advise for ``http.server.request.duration``."""


class RequestMetrics:
    """The instruments ``<prefix>.requests``, ``<prefix>.request.latency`` and ``http.server.*``."""

    def __init__(self, prefix: str, meter: Meter, active: Counter[tuple[str, ...]]) -> None:
        """Create the instruments.

        ``active`` counts the requests in flight by method and scheme. Applications that share a
        ``meter`` share it, because the meter creates the instrument only once.
        """
        self.active = active
        self._requests = meter.create_counter(
            f"{prefix}.requests", unit="{request}", description="HTTP requests answered."
        )
        self._latency = _create_histogram(meter, f"{prefix}.request.latency")
        self._standard_duration = _create_histogram(meter, "http.server.request.duration")
        # Observed once for each export. The SDK's synchronous up-down counter would make four more
        # measurements for every request.
        meter.create_observable_up_down_counter(
            "http.server.active_requests",
            [self._observe_active],
            unit="{request}",
            description="HTTP requests in flight.",
        )

    def record(
        self,
        seconds: float,
        labels: dict[str, str],
        attributes: dict[str, str | int],
        context: Context,
    ) -> None:
        """Record one finished request.

        ``labels`` are ``method``, ``endpoint`` and ``status``; ``attributes`` are those that the
        HTTP semantic conventions name. The span in ``context`` becomes the exemplar.
        """
        self._requests.add(1, labels, context)
        self._latency.record(seconds, {"endpoint": labels["endpoint"]}, context)
        self._standard_duration.record(seconds, attributes, context)

    def _observe_active(self, _options: CallbackOptions) -> Iterable[Observation]:
        # A copy, because requests start and end while this thread iterates.
        return [
            Observation(count, {"http.request.method": method, "url.scheme": scheme})
            for (method, scheme), count in list(self.active.items())
        ]


def _create_histogram(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(
        name,
        unit="s",
        description="Time to the last byte.",
        explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
    )
