"""The queries that the demo makes of its telemetry, and the types of their results.

This module is the reference for both implementations, ``local`` and ``lgtm``. Everything else in
the demo queries telemetry through it.

Times in ``Span``, ``LogRecord`` and ``RequestFilter`` are nanoseconds since the epoch, as integers.
All other times are seconds since the epoch, as floats.

Trace ids have 32 lower-case hex digits, span ids have 16. Metrics and labels have their names in
Prometheus (docs/reference/telemetry.md). The label ``instance`` is the resource attribute
``service.instance.id``.

A time range includes its start and its end. There are two exceptions: Loki excludes the end, and
Tempo widens the range to whole seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from three_pillar_demo.query.found_requests import FoundRequest, RequestFilter, failure_of
from three_pillar_demo.query.instruments import Instrument, InstrumentQuery, InstrumentSeries
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.measurements import (
    DURATION,
    LOOKBACK_S,
    Exemplar,
    RedSample,
    ServiceCall,
)
from three_pillar_demo.query.peers import Facts, PeerQuery
from three_pillar_demo.query.records import (
    NANO,
    VERSION,
    Arrival,
    LogRecord,
    Scope,
    Span,
    SpanEvent,
    SpanLink,
    distinct_spans,
)
from three_pillar_demo.query.service_figures import Figures, ServiceRed
from three_pillar_demo.query.service_map import ServiceMap

__all__ = [
    "DURATION",
    "LOOKBACK_S",
    "NANO",
    "RETENTION_S",
    "VERSION",
    "Arrival",
    "Arrivals",
    "BackendError",
    "Backends",
    "Exemplar",
    "FoundRequest",
    "LogRecord",
    "RedSample",
    "RequestFilter",
    "Scope",
    "Selection",
    "ServiceCall",
    "Span",
    "SpanEvent",
    "SpanLink",
    "distinct_spans",
    "failure_of",
]
"""The types of the results are a part of the interface: all else imports them from here."""

RETENTION_S = 48 * 3600.0
"""How long any backend keeps spans and log records, in seconds."""


class BackendError(Exception):
    """A backend did not answer, or refused a query; the message names the backend and the reason.

    If the backend did not answer, the message also names the command that shows the backend's log.
    """


@dataclass(frozen=True)
class Selection:
    """Which requests and log records are followed.

    ``service`` is the name of a service; "" selects every service. ``failed`` selects only requests
    with status ERROR, and log records with the level ERROR (``severity.level_of``).
    """

    service: str = ""
    failed: bool = False


class Arrivals(Protocol):
    """The requests and log records that arrive from now on.

    A request is a span of kind SERVER or CONSUMER, or a span without a parent.
    """

    is_behind: bool
    """Whether the last poll had to leave out records; the next poll, due at once, returns them."""

    async def begin(self, limit: int) -> list[Arrival]:
        """Return the newest ``limit`` requests and log records of the last hour, oldest first.

        Everything that is stored already counts as returned.
        """

    async def poll(self) -> list[Arrival]:
        """Return what has arrived since the last call, ordered by time; nothing is returned twice.

        After a ``BackendError``, the next call returns what this one missed.
        """


class Backends(Protocol):
    """The queries that both implementations answer; an instance is an async context manager.

    Every query except ``health`` raises ``BackendError`` if a backend refuses a request, or does
    not answer the request within ten seconds. Something unknown (an id, a service, a label) gives
    an empty result, not an error. In Tempo, Loki and Prometheus, telemetry becomes visible some
    seconds after it was sent.
    """

    names: Mapping[str, str]
    """The product name of the backend of each pillar.

    The keys are ``traces``, ``logs`` and ``metrics``.
    """
    components: Mapping[str, str]
    """The component of the running stack that answers the queries of each pillar.

    The keys are ``traces``, ``logs`` and ``metrics``. A value is a name for ``demo logs NAME``.
    """
    log_search_limit: str
    """What ``search_logs`` does not examine for a text or an attribute, as a sentence."""
    request_search_limit: str
    """Which requests ``search_requests`` does not find, as a sentence; empty if it finds all."""

    async def __aenter__(self) -> Self:
        """Prepare the connections without querying anything."""

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""

    async def trace(self, trace_id: str) -> list[Span]:
        """Return all spans of a trace, ordered by start.

        The list is empty if the trace is not stored (yet).
        """

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

        A request is a SERVER span of the service that started in the time range. If a trace has
        several such requests, the local store repeats its id; Tempo does not.

        Args:
            service: The name of the service.
            start: The start of the time range.
            end: The end of the time range.
            failed: Whether to return only requests with status ERROR.
            slower_than: Return only requests that took more than this many seconds.
            order_id: Return instead each trace in which any span of the service has this
                ``order.id``. Must not be combined with ``failed`` or ``slower_than``. The local
                store searches only its newest 200,000 spans.
            limit: The maximum number of trace ids.
        """

    async def request_spans(
        self,
        start: float,
        end: float,
        *,
        service: str = "",
        failed: bool = False,
        limit: int = 20,
    ) -> list[Span]:
        """Return the spans of the newest ``limit`` requests in the time range, newest first.

        The newest request is the one that ended last. A request is a span of kind SERVER or
        CONSUMER, or a span without a parent. The local store searches only its newest 200,000
        spans. Tempo returns spans without ``parent_id`` and ``exceptions``, and with few
        attributes.

        Args:
            start: The start of the time range.
            end: The end of the time range.
            service: The name of the service; empty for every service.
            failed: Whether to return only requests with status ERROR.
            limit: The maximum number of requests.
        """

    async def search_requests(
        self, start: float, end: float, wanted: RequestFilter, limit: int = 50
    ) -> list[FoundRequest]:
        """Return the newest ``limit`` requests that ``wanted`` describes, newest first.

        The newest request is the one that ended last. A request is a span of kind SERVER or
        CONSUMER, or a span without a parent, that started in the time range. The local store
        searches only its newest 200,000 spans. It begins with those that were stored last, and
        ends when it has found enough, so a request that was stored much later than it ended may
        come too early in the list. Tempo returns spans as ``request_spans`` describes, and none
        that is dated ahead of the clock, whatever ``end`` is.
        """

    async def peer_facts(self, wanted: PeerQuery) -> list[Facts]:
        """Return what the spans of each peer of a request say, at most ``wanted.limit`` of them.

        The local store returns the nearest peers. It searches the nearest 50,000 SERVER spans of
        all services before and after the request, or the 25,000 spans stored before and after it
        for a request of another kind, and reads at most 10,000 spans. Tempo returns the newest
        peers of the time range.
        """

    def arrivals(self, selection: Selection) -> Arrivals:
        """Return the requests and log records of ``selection`` that arrive from now on."""

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

        A search for ``text`` or ``canonical`` in the local store is limited to the newest 200,000
        records of the range.

        Args:
            start: The start of the time range.
            end: The end of the time range.
            service: The name of the service; empty for every service.
            severity: A level: TRACE, DEBUG, INFO, WARN or ERROR, which includes everything worse.
                The severity number of a record decides, and its severity text, in any case, if
                the number is not known. Any other value is the exact severity text. Empty for
                every severity.
            text: A part of the record's body, case-sensitive; empty for every body.
            canonical: Whether to return only canonical log records. A service writes one canonical
                log record at the end of each request.
            limit: The maximum number of records.
        """

    async def search_logs(
        self, start: float, end: float, wanted: LogFilter, limit: int = 50
    ) -> list[LogRecord]:
        """Return the newest ``limit`` log records that ``wanted`` describes, newest first.

        The local store examines the service and the level of all its records, and text and
        attributes of the newest 200,000 records that have these. Loki finds a text in the body of
        any record, and in those fields that the newest 200 records of the service and level have.
        A whole trace id finds the records of that trace alone, not those that mention it.
        """

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK_S,
    ) -> dict[tuple[str, ...], float]:
        """Return the current values of a metric: one sum for each combination of some labels.

        Args:
            name: The name of the metric. For a histogram or a summary, ``<name>_count`` is its
                number of observations, and ``<name>_sum`` their sum. The values of a summary's
                quantiles have the name itself and the label ``quantile``, such as 0.99.
            by: The labels whose combinations are the keys of the result. A key has the values of
                these labels in this order; the value of a missing label is "".
            where: The labels that a series must have in order to be counted, with their values.
            within: The age, in seconds, up to which the newest point of a series is its current
                value. A series whose newest point is older is left out.
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
        the last one at or before ``end``; each sample covers the ``window`` seconds before it.
        ``quantiles`` are between 0 and 1. The values are those of PromQL's ``rate`` and
        ``histogram_quantile``.
        """

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of all buckets of ``DURATION`` from the time range, in any order."""

    async def instruments(self, start: float, end: float) -> list[Instrument]:
        """Return the instruments that services have sent in the time range, ordered by name."""

    async def instrument_series(self, wanted: InstrumentQuery) -> InstrumentSeries:
        """Return the values of one instrument over time, in groups by the values of one label."""

    async def instrument_exemplars(self, wanted: InstrumentQuery) -> list[Exemplar]:
        """Return the exemplars of one instrument from the time range, newest first.

        There are ``instruments.MAX_EXEMPLARS`` at most. ``step``, ``window`` and ``by`` of the
        query have no effect.
        """

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Return the calls between services in the time range, ordered by client and server.

        A call is a CLIENT span of one service whose child is a SERVER span of another service.
        """

    async def services(self, start: float, end: float) -> list[Figures]:
        """Return the services that were seen in the time range with their figures, sorted by name.

        The rate, errors and durations of a service come from the first of these that it sends in
        the range: ``http.server.request.duration``, ``http.server.duration``, ``rpc.server.*``
        (``red_sources.RED_METRICS``; with explicit or exponential buckets), its SERVER and CONSUMER
        spans, or its spans without a parent. A service that has sent other telemetry only is
        returned without figures; the local store and Loki tell such a service to the hour. Metrics
        without ``service.name`` are left out.

        The local store searches only its newest 50,000 spans, and counts exactly. Prometheus
        extrapolates, and does not count the first request of a new series. Tempo finds the newest
        1000 traces of jobs and scripts.
        """

    async def routes(self, service: str, start: float, end: float) -> list[Figures]:
        """Return the figures of each route of a service, those with the most requests first.

        The source is that of ``services``. A route of spans is the name of the span. At most 500
        routes are returned.
        """

    async def service_red(  # noqa: PLR0913  (a service, a time range, and what to compute in it)
        self,
        service: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        quantiles: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> ServiceRed:
        """Return rate, errors and durations of all requests of a service over time.

        The source is that of ``services``, and the limits of both are the same. The arguments are
        those of ``red``; the window may become longer.
        """

    async def service_map(self, start: float, end: float) -> ServiceMap:
        """Return all services and calls in the time range, also the calls that reached no service.

        The local store examines its newest 25,000 spans; the map says from when on they are. Tempo
        needs ``ARRIVAL_GRACE_S`` to know that a call has reached nobody, so its map is that much
        older. A failed call is one whose span at either end has status ERROR.
        """

    async def ingested(self) -> dict[str, int]:
        """Return the number of ``spans``, ``lines`` (log records) and ``points`` ingested so far.

        The local store counts since its file was created, the other backends since their start.
        """

    async def freshness(self) -> dict[str, float | None]:
        """Return the age in seconds of the newest record, by pillar: traces, logs, metrics.

        The age is None if there is no record from the last hour.
        """

    async def size(self) -> int | None:
        """Return the size in bytes of all stored telemetry on the disk; None if it is not known."""

    async def health(self) -> dict[str, str]:
        """Return what is wrong with each component, as a dict from component name to text.

        The text is empty for a healthy component. The method never raises an exception.
        """
