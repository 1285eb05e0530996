"""The queries that the demo makes of its telemetry, and the types of their results.

This module is the reference for both implementations, ``local`` and ``lgtm``. Everything else in
the demo queries telemetry through it.

Units: times are seconds since the epoch, as floats, in arguments, and in ``Exemplar`` and
``RedSample``; they are nanoseconds since the epoch, as integers, in ``Span`` and ``LogRecord``.
Trace ids have 32 and span ids 16 lower-case hex digits. Metrics and labels have the names that
Prometheus gives them (docs/reference/telemetry.md); the label ``instance`` is the resource
attribute ``service.instance.id``.

A time range includes its start and its end, with two exceptions: Loki excludes the end, and Tempo
widens the range to whole seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

NANO = 1_000_000_000
"""Nanoseconds in a second."""
LOOKBACK_S = 300.0
"""Seconds for which a series without new points is still current: Prometheus' default lookback."""
DURATION = "http_server_request_duration_seconds"
"""The histogram of request durations: OpenTelemetry's ``http.server.request.duration``."""
VERSION = "service.version"
"""The one resource attribute that is among the attributes of spans and log records.

During a deployment, two versions of a service may run at once.
"""


class BackendError(Exception):
    """A backend did not answer, or refused a query; the text names it and says where to look."""


@dataclass(frozen=True)
class Span:
    """One span.

    ``kind`` is SERVER, CLIENT, INTERNAL, PRODUCER or CONSUMER. ``parent_id`` is empty for a root
    span. ``error`` says whether the status is ERROR, and ``message`` is the status' description.
    ``attributes`` have their OpenTelemetry names. ``exceptions`` are the recorded exceptions, each
    as ``Type: message``.
    """

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start: int
    end: int
    error: bool
    message: str
    attributes: dict[str, Any]
    exceptions: tuple[str, ...]


@dataclass(frozen=True)
class LogRecord:
    """One log record.

    ``severity`` is OTLP's severity text, such as INFO, WARN or ERROR. ``fields`` are the
    attributes as text, with ``_`` for each ``.`` (``http_route``); they include ``trace_id`` and
    ``span_id`` for a record that was written during a span.
    """

    time: int
    service: str
    severity: str
    body: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Exemplar:
    """One exemplar of ``DURATION``.

    ``value`` is the measured duration in seconds, ``time`` when it was measured, ``trace_id`` the
    trace it was measured in (empty if unknown). ``labels`` are those of the bucket's series:
    ``__name__``, ``le``, ``service_name``, ``http_route``, ``http_response_status_code`` and more.
    """

    trace_id: str
    value: float
    time: float
    labels: dict[str, str]


@dataclass(frozen=True)
class RedSample:
    """Rate, errors and duration of a route at ``time``, over the window before it.

    ``rate`` is in requests per second. ``errors`` is the ratio, 0 to 1, of requests with a status
    of 500 or above. ``quantiles`` are durations in seconds, in the order of the query's
    ``quantiles``. None stands for what is not known: everything without points, errors and
    quantiles without requests.
    """

    time: float
    rate: float | None
    errors: float | None
    quantiles: tuple[float | None, ...]


@dataclass(frozen=True)
class ServiceCall:
    """An edge of the service graph: the calls from one service to another in a time range.

    A call is ``failed`` if its CLIENT span or its SERVER span has error status. The numbers are
    exact for the local store, and extrapolated by Prometheus, so not whole, for Tempo.
    """

    client: str
    server: str
    calls: float
    failed: float


class Backends(Protocol):
    """The queries; use it as an async context manager.

    Every query but ``health`` raises ``BackendError`` if a backend refuses a request, or does not
    answer it within ten seconds. Something unknown (an id, a service, a label) gives an empty
    result, not an error. In Tempo, Loki and Prometheus, telemetry becomes visible some seconds
    after it was sent.
    """

    names: Mapping[str, str]
    """The product that stores ``traces``, ``logs`` and ``metrics``, as users know it."""
    components: Mapping[str, str]
    """The component, for each of the same keys, whose log explains a missing answer."""

    async def __aenter__(self) -> Self:
        """Prepare the connections; nothing is queried yet."""

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""

    async def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of a trace, ordered by start; none if the trace is not stored (yet)."""

    async def requests(  # noqa: PLR0913  (each argument narrows the search)
        self,
        service: str,
        start: float,
        end: float,
        *,
        failed: bool = False,
        slower_than: float = 0.0,
        order_id: str = "",
        limit: int = 20,
    ) -> list[str]:
        """Return the trace ids of the newest ``limit`` requests to ``service``, newest first.

        A request is a SERVER span that started in the time range. With ``failed``, its status is
        ERROR. With ``slower_than``, it took more than so many seconds. With ``order_id``, the
        search is for any span of the service with that ``order.id``; ``failed`` and
        ``slower_than`` must not be combined with it. The local store searches its newest 200,000
        spans for an order id. It returns the id of a trace once for each request in it, Tempo
        returns it once.
        """

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """Return the log records of a trace from the time range, oldest first.

        Loki returns the oldest 1000 at most.
        """

    async def logs(  # noqa: PLR0913  (each argument narrows the search)
        self,
        start: float,
        end: float,
        *,
        service: str = "",
        severity: str = "",
        text: str = "",
        canonical: bool = False,
        limit: int = 50,
    ) -> list[LogRecord]:
        """Return the newest ``limit`` log records from the time range, newest first.

        An empty ``service``, ``severity`` or ``text`` does not restrict the search. ``severity``
        is the exact severity text. ``text`` is contained in the body, case-sensitively. With
        ``canonical``, only canonical log lines are returned: the one that a service writes at the
        end of each request. The local store searches the newest 200,000 records of the range for
        ``text`` and canonical log lines.
        """

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK_S,
    ) -> dict[tuple[str, ...], float]:
        """Return the current values of the metric ``name``, summed by labels.

        The value of a series is that of its newest point, which must be at most ``within`` seconds
        old. Only series with all the labels in ``where`` count. The keys of the result are the
        values of the labels ``by``, in that order, with an empty text for a missing label. For a
        histogram, ask for its number of observations, ``<name>_count``.
        """

    async def red(  # noqa: PLR0913  (a route, a time range, and what to compute in it)
        self,
        service: str,
        route: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        quantiles: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> list[RedSample]:
        """Return rate, errors and duration of a route, one sample each ``step`` seconds.

        ``route`` is the route template (label ``http_route``). The first sample is at ``start``,
        the last one at or before ``end``; each covers the ``window`` seconds before it.
        ``quantiles`` are between 0 and 1. The values are those of PromQL's ``rate`` and
        ``histogram_quantile``.
        """

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of all buckets of ``DURATION`` from the time range, in any order."""

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Return the calls between services in the time range, ordered by client and server.

        A call is a CLIENT span of one service whose child is a SERVER span of another one.
        """

    async def ingested(self) -> dict[str, int]:
        """Return how many ``spans``, ``lines`` (log records) and ``points`` were ingested.

        The local store counts since its file was created, the other backends since their start.
        """

    async def freshness(self) -> dict[str, float | None]:
        """Return the age in seconds of the newest of ``traces``, ``logs`` and ``metrics``.

        It is None if there is none from the last hour.
        """

    async def size(self) -> int | None:
        """Return the bytes that all telemetry takes on the disk; None if that is not known."""

    async def health(self) -> dict[str, str]:
        """Return, by component, what is wrong with it: an empty text if it is healthy.

        It never raises.
        """
