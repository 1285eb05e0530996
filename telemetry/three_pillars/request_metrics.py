"""The request metrics: rate, errors and duration of HTTP requests, and the active requests."""

from collections import Counter
from collections.abc import Callable, Iterable

from opentelemetry import trace
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.trace import Span

from .request_labels import RequestLabels
from .request_tally import LATENCY_BUCKETS, Key, RequestTally
from .tally_points import COUNT_DESCRIPTION, DURATION_DESCRIPTION, STANDARD_DURATION

__all__ = ["LATENCY_BUCKETS", "RequestMetrics"]

Record = Callable[[RequestLabels, float, Span], None]


class RequestMetrics:
    """The instruments of the request metrics, which all requests of an application share.

    They are ``<prefix>.requests`` and ``<prefix>.request.latency``, and those of the HTTP semantic
    conventions: ``http.server.request.duration`` and ``http.server.active_requests``.
    """

    def __init__(
        self,
        prefix: str,
        meter: Meter,
        active_requests: Counter[tuple[str, ...]],
        tally: RequestTally | None,
    ) -> None:
        """Create the instruments.

        ``prefix`` is the service name, with which two of the metric names begin.
        ``active_requests`` counts the active requests by method and scheme. Applications that share
        a ``meter`` must also share ``active_requests``, because the meter creates each instrument
        only once. With a ``tally``, the first three metrics come from it instead of instruments.
        """
        self.active_requests = active_requests
        # Observed once for each export. The SDK's synchronous up-down counter would make four more
        # measurements for every request.
        meter.create_observable_up_down_counter(
            "http.server.active_requests",
            [self._observe_active_requests],
            unit="{request}",
            description="Active HTTP requests.",
        )
        self.record: Record = (
            _TallyEntry(prefix, tally).record if tally else _Instruments(prefix, meter).record
        )
        """Records one finished request: its labels, its duration in seconds, and its span, which
        becomes the exemplar."""

    def _observe_active_requests(self, _options: CallbackOptions) -> Iterable[Observation]:
        # A copy, because requests start and end while this thread iterates.
        return [
            Observation(count, {"http.request.method": method, "url.scheme": scheme})
            for (method, scheme), count in list(self.active_requests.items())
        ]


class _TallyEntry:
    """Records the requests of the application ``prefix`` in a tally."""

    def __init__(self, prefix: str, tally: RequestTally) -> None:
        self.prefix = prefix
        self.tally = tally

    def record(self, labels: RequestLabels, seconds: float, span: Span) -> None:
        self.tally.note(Key(self.prefix, labels), seconds, span.get_span_context())


class _Instruments:
    """Records the requests of the application ``prefix`` with three instruments of ``meter``."""

    def __init__(self, prefix: str, meter: Meter) -> None:
        self._requests = meter.create_counter(
            f"{prefix}.requests", unit="{request}", description=COUNT_DESCRIPTION
        )
        self._latency = _create_histogram(meter, f"{prefix}.request.latency")
        self._standard_duration = _create_histogram(meter, STANDARD_DURATION)

    def record(self, labels: RequestLabels, seconds: float, span: Span) -> None:
        context = trace.set_span_in_context(span)
        self._requests.add(1, labels.of_counter(), context)
        self._latency.record(seconds, labels.of_latency(), context)
        self._standard_duration.record(seconds, labels.of_standard_duration(), context)


def _create_histogram(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(
        name,
        unit="s",
        description=DURATION_DESCRIPTION,
        explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
    )
