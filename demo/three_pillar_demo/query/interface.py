"""The questions that can be asked of what the services told, in the words of this house, and what an answer looks like.

Metrics and labels have the names that Prometheus gives them (docs/reference/telemetry.md); ``instance`` is ``service.instance.id``.
Times are seconds since the epoch in questions, nanoseconds in spans and lines. Ids are lower-case hex.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

NANO = 1_000_000_000
LOOKBACK = 300.0
"""Seconds after its last point in which a series still counts as living: Prometheus' own rule."""
DURATION = "http_server_request_duration_seconds"
"""The histogram that rate, error ratio and quantiles are read from: OpenTelemetry's ``http.server.request.duration``."""

VERSION = "service.version"
"""The one thing of a span's or a line's resource that is among its attributes: two versions may serve at once."""


class BackendError(Exception):
    """A backend is not there, or did not understand the question; the text says which, and what to look at."""


@dataclass(frozen=True)
class Span:
    """One span; ``kind`` is SERVER, CLIENT, INTERNAL, PRODUCER or CONSUMER; ``exceptions`` are like ``Type: message``."""

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
    """One log line; ``fields`` are attributes with ``_`` for ``.`` (``http_route``), and ``trace_id`` and ``span_id``."""

    time: int
    service: str
    severity: str
    body: str
    fields: dict[str, str]


@dataclass(frozen=True)
class Exemplar:
    """One exemplar: a measured ``value``, when (seconds), in which series it was counted, and the trace it came from."""

    trace_id: str
    value: float
    time: float
    labels: dict[str, str]


@dataclass(frozen=True)
class RedSample:
    """Rate, errors, duration of a route at one moment, over the window before it; None where nothing is known.

    ``rate`` is in requests a second; ``errors`` the share of them that was answered with 500 or more; ``quantiles`` are
    in seconds, for the shares that were asked for.
    """

    time: float
    rate: float | None
    errors: float | None
    quantiles: tuple[float | None, ...]


@dataclass(frozen=True)
class ServiceCall:
    """Who called whom, how often, and how often that failed."""

    client: str
    server: str
    calls: float
    failed: float


class Backends(Protocol):
    """Whoever answers; an async context manager. Every question may raise ``BackendError``, after ten seconds at most."""

    names: Mapping[str, str]
    """Who keeps ``traces``, ``logs`` and ``metrics``, as a person calls it: Tempo, or the embedded store."""
    components: Mapping[str, str]
    """By pillar, the component whose log to read when it does not answer."""

    async def __aenter__(self) -> Self:
        """Open what is needed; nothing is asked yet."""

    async def __aexit__(self, *_: object) -> None:
        """Close it."""

    async def trace(self, trace_id: str) -> list[Span]:
        """All spans of a trace, in order of their start; empty when it is not there (yet)."""

    async def requests(  # noqa: PLR0913  (each narrows the search)
        self,
        service: str,
        start: float,
        end: float,
        *,
        failed: bool = False,
        slower: float = 0.0,
        order_id: str = "",
        limit: int = 20,
    ) -> list[str]:
        """Trace ids of the requests that ``service`` answered, newest first.

        ``failed``: those whose SERVER span has error status. ``slower``: those whose SERVER span took over so many seconds.
        ``order_id``: those that have a span with that ``order.id``; it does not combine with the other two.
        """

    async def trace_logs(self, trace_id: str, start: float, end: float) -> list[LogRecord]:
        """The log lines of a trace, written between ``start`` and ``end``, oldest first."""

    async def logs(  # noqa: PLR0913  (each narrows the search)
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
        """The newest log lines, newest first.

        ``severity`` is INFO, WARN or ERROR. ``text`` is a part of the line's body, in its case. ``canonical``: only the one
        line that a service writes at the end of each request.
        """

    async def counters(
        self,
        name: str,
        by: Sequence[str],
        where: Mapping[str, str] | None = None,
        *,
        within: float = LOOKBACK,
    ) -> dict[tuple[str, ...], float]:
        """The newest value of each series of ``name`` with the labels ``where``, summed by the values of the labels ``by``.

        A series that has told nothing ``within`` so many seconds is gone. A histogram is asked for by ``..._count``.
        """

    async def red(  # noqa: PLR0913  (a range and what to read in it)
        self,
        service: str,
        route: str,
        start: float,
        end: float,
        *,
        step: float = 5.0,
        window: float = 60.0,
        shares: Sequence[float] = (0.5, 0.95, 0.99),
    ) -> list[RedSample]:
        """Rate, error ratio and quantiles of ``route``, every ``step`` seconds from ``start`` to ``end``.

        The arithmetic is Prometheus' ``rate`` and ``histogram_quantile``.
        """

    async def exemplars(self, start: float, end: float) -> list[Exemplar]:
        """The exemplars of ``DURATION``'s buckets between two times; ``labels`` name service, route, status and bucket."""

    async def service_graph(self, start: float, end: float) -> list[ServiceCall]:
        """Who called whom between two times, by name."""

    async def ingested(self) -> dict[str, int]:
        """How many ``spans``, ``lines`` and ``points`` were taken in, ever or since the backend's start."""

    async def freshness(self) -> dict[str, float | None]:
        """How many seconds old the newest of ``traces``, ``logs`` and ``metrics`` is; None when there is none this hour."""

    async def size(self) -> int | None:
        """How many bytes everything takes on the disk; None where a backend does not tell."""

    async def health(self) -> dict[str, str]:
        """By component, what is wrong with it; empty when it is up. Never raises."""
