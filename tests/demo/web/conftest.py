"""Fixtures for the web UI with fake backends, which may fail, and a fake checkout."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

import httpx2
import pytest
from playwright.sync_api import Browser, sync_playwright
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, FLAGS
from tests.traces import TRACE, exemplar, slow
from three_pillar_demo.drills import session
from three_pillar_demo.query.instruments import Instrument, InstrumentQuery, InstrumentSeries
from three_pillar_demo.query.interface import (
    NANO,
    BackendError,
    Backends,
    Exemplar,
    FoundRequest,
    LogRecord,
    RedSample,
    RequestFilter,
    Span,
)
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.peers import Facts
from three_pillar_demo.query.service_figures import PARTS, Figures, ServiceRed
from three_pillar_demo.query.service_map import CallCounts, ServiceMap, service
from three_pillar_demo.stack import health
from three_pillar_demo.web import cache
from three_pillar_demo.web.app import create_app

HOST = "127.0.0.1:8080"
QUERIES = (
    "trace",
    "requests",
    "search_requests",
    "peer_facts",
    "trace_logs",
    "logs",
    "search_logs",
    "counters",
    "red",
    "services",
    "service_red",
    "routes",
    "exemplars",
    "service_map",
    "freshness",
    "size",
    "health",
)
METRIC_QUERIES = ("instruments", "instrument_series", "instrument_exemplars")
"""The queries that only the page of metrics makes."""
FAILING = "failing"
HANGING = "hanging"
MALFORMED = "malformed"
"""The three ways in which a query goes wrong: an error, no answer, an answer of another shape."""


class StoredData:
    """The telemetry of the fake backends.

    ``faults`` has the way in which a query goes wrong, by the name of the query. ``peers`` has what
    other requests say, the failed ones and the others. ``figure_starts`` has the query of each time
    range of figures, with its start.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self.faults: dict[str, str] = {}
        self.queries: list[str] = []
        self.spans: list[Span] = []
        self.trace_logs: list[LogRecord] = []
        self.logs: list[LogRecord] = []
        self.exemplars: list[Exemplar] = []
        self.service_map = ServiceMap(0, 0)
        self.services: list[Figures] = []
        self.routes: list[Figures] = []
        self.figure_starts: list[tuple[str, float]] = []
        self.red_source = "http.server.request.duration"
        self.red_sample: Callable[[float], RedSample] = no_sample
        self.trace_ids: list[str] = []
        self.request_spans: list[Span] = []
        self.queue_sizes: dict[tuple[str, ...], float] = {}
        self.log_filters: list[LogFilter] = []
        self.request_filter = RequestFilter()
        self.peers: dict[bool, list[Facts]] = {}
        self.instruments: list[Instrument] = []
        self.instrument_series = InstrumentSeries()
        self.instrument_query: InstrumentQuery | None = None
        self.is_prometheus = False
        self.request_search_limit = ""


def no_sample(timestamp: float) -> RedSample:
    """Return a sample whose values are all unknown."""
    return RedSample(timestamp, None, None, (None, None, None))


class FakeBackends:
    """Backends that answer all queries from ``StoredData``."""

    def __init__(self, stored: StoredData) -> None:
        """Answer from ``stored``."""
        self.stored = stored
        self.names = dict.fromkeys(("traces", "logs", "metrics"), "the store")
        if stored.is_prometheus:
            self.names["metrics"] = "Prometheus"
        self.components = dict.fromkeys(("traces", "logs", "metrics"), "store")
        self.log_search_limit = "Only the newest records are searched."
        self.request_search_limit = stored.request_search_limit

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""

    def __getattr__(self, query: str) -> Callable[..., Awaitable[Any]]:
        """Return the method for any query of the interface."""
        if query not in QUERIES + METRIC_QUERIES:
            raise AttributeError(query)
        return lambda *args, **options: self._answer(query, args, options)

    async def _answer(self, query: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401  (any answer)
        self.stored.queries.append(query)
        await self._fail(query)
        if query == "peer_facts":
            return self.stored.peers.get(args[0].failed, [])[: args[0].limit]
        if query == "instrument_series":
            [self.stored.instrument_query] = args
        if query == "red":
            start, end = args[2:4]
            return self._red_samples(start, end, options["step"])
        if query in ("services", "routes"):
            self.stored.figure_starts.append((query, args[-2]))
        if query == "services":
            return [one for one in self.stored.services if one.end > args[0]]
        if query == "service_map":
            return replace(self.stored.service_map, start=args[0], end=args[1])
        if query == "service_red":
            service, start, end = args
            return self._service_red(service, start, end, options)
        return {
            "trace": self.stored.spans,
            "trace_logs": self.stored.trace_logs,
            "logs": self.stored.logs,
            "search_logs": self._logs(*args) if query == "search_logs" else [],
            "exemplars": self.stored.exemplars,
            "routes": self.stored.routes,
            "requests": self.stored.trace_ids,
            "search_requests": self._requests(*args) if query == "search_requests" else [],
            "counters": self.stored.queue_sizes,
            "instruments": self.stored.instruments,
            "instrument_series": self.stored.instrument_series,
            "instrument_exemplars": self.stored.exemplars,
            "freshness": {"traces": 1.25, "logs": None, "metrics": 7200.0},
            "size": 3 * 1024**2,
            "health": {"store": ""},
        }[query]

    def _requests(
        self, _start: float, end: float, wanted: RequestFilter, limit: int
    ) -> list[FoundRequest]:
        """Return the stored requests up to ``end`` that ``wanted`` selects by failure and end."""
        self.stored.request_filter = wanted
        spans = [
            span
            for span in self.stored.request_spans
            if span.start <= end * NANO
            if span.error or not wanted.failed
            if not wanted.ended_before or span.end < wanted.ended_before
        ]
        return [FoundRequest(span, (span.service, "stock"), span.message) for span in spans[:limit]]

    def _logs(self, _start: float, end: float, wanted: LogFilter, limit: int) -> list[LogRecord]:
        """Return the stored log records up to ``end``, and to the time that ``wanted`` sets."""
        self.stored.log_filters.append(wanted)
        records = [
            record
            for record in self.stored.logs
            if record.time <= end * NANO
            if not wanted.until or record.time <= wanted.until
        ]
        return records[wanted.skipped :][:limit]

    async def _fail(self, query: str) -> None:
        match self.stored.faults.get(query):
            case "failing":
                raise BackendError(f"{query}: <b>the store</b> is not there")
            case "hanging":
                await asyncio.sleep(60)
            case "malformed":
                raise KeyError("resourceSpans")

    def _service_red(
        self, service: str, start: float, end: float, options: dict[str, Any]
    ) -> ServiceRed:
        exemplars = [
            exemplar
            for exemplar in self.stored.exemplars
            if exemplar.labels.get("service_name") == service
        ]
        samples = self._red_samples(start, end, options["step"])
        return ServiceRed(
            self.stored.red_source, options["window"], tuple(samples), tuple(exemplars)
        )

    def _red_samples(self, start: float, end: float, step: float) -> list[RedSample]:
        count = int((end - start) / step) + 1
        return [self.stored.red_sample(start + number * step) for number in range(count)]


def add_calls(stored: StoredData, caller: str, callee: str, calls: int, failed: int) -> None:
    """Put calls between two services into the service map of ``stored``."""
    for name in (caller, callee):
        stored.service_map.add_requests(name, calls, failed)
    stored.service_map.add_calls(
        service(caller), service(callee), CallCounts(calls, failed, failed)
    )


def figures(name: str, requests: float = 1200, failed: float = 150, **fields: Any) -> Figures:  # noqa: ANN401  (any field)
    """Return the figures of a service over the last five minutes; ``fields`` replace any."""
    now = time.time()
    defaults: dict[str, Any] = {
        "source": "http.server.request.duration",
        "start": now - 300,
        "end": now,
        "quantiles": (0.2, 0.4, 2.0),
        "mean": 0.25,
        "rates": tuple(requests / 300 for _ in range(PARTS)),
    }
    return Figures(name=name, requests=requests, failed=failed, **(defaults | fields))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of a module, which ends before other modules use asyncio."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def _no_drill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the drills of a stack in the repository's own state folder out of all pages."""
    monkeypatch.setattr(session, "SESSION_FILE", tmp_path / "session.json")
    monkeypatch.setattr(session, "LOCK_FILE", tmp_path / "session.lock")


@pytest.fixture
def stored() -> StoredData:
    """The data of the fake backends, empty at first."""
    return StoredData()


@pytest.fixture
def busy(stored: StoredData) -> StoredData:
    """The data of the fake backends, with recent traffic and a failed purchase."""
    view = slow()
    now = time.time()
    stored.spans = view.spans
    stored.trace_logs = view.logs
    stored.logs = view.logs
    exemplars = (
        exemplar("checkout", "/checkout", 504, "2.5", 2.0042),
        exemplar("payment", "/charges", 200, "5", 3.0011),
    )
    stored.exemplars = [Exemplar(TRACE, item.value, now - 30, item.labels) for item in exemplars]
    add_calls(stored, "checkout", "payment", calls=30, failed=3)
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.125, (0.2, 0.4, 2.0))
    stored.services = [figures("checkout"), figures("payment")]
    stored.trace_ids = [TRACE]
    return stored


Checkout = Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]


async def fake_checkout(request: httpx2.Request) -> httpx2.Response:
    """Answer a purchase; one with the card ``gateway-timeout`` fails."""
    assert request.url.path == "/checkout"
    failed = b"gateway-timeout" in request.content
    answer = {
        "outcome": "gateway_timeout" if failed else "success",
        "trace_id": TRACE,
        "order_id": "o-1",
        "detail": "",
    }
    return httpx2.Response(500 if failed else 200, json=answer)


@pytest.fixture
def open_page(
    stored: StoredData, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TestClient]]:
    """Yield a function that starts the web UI and returns a client of it.

    Its arguments are a fake checkout, the first wait and the timeout of the query cache, both in
    seconds, the mode of the stack, and the address of the client.
    """
    clients: list[TestClient] = []
    monkeypatch.setattr(health, "addresses", lambda _mode: {})

    def start(
        checkout: Checkout = fake_checkout,
        first_wait: float = 2.0,
        timeout: float = 5.0,
        mode: str = "local",
        client_address: str = "127.0.0.1",
    ) -> TestClient:
        monkeypatch.setattr(cache.QueryCache.__init__, "__defaults__", (timeout, first_wait))
        transport = httpx2.MockTransport(checkout)
        app = create_app(
            cast("Backends", FakeBackends(stored)),
            mode,
            {HOST, "inside:8080/alerts", "page.test", "https://page.test"},
            "http://127.0.0.1:3000",
            httpx2.AsyncClient(transport=transport, base_url="http://shop"),
        )
        client = TestClient(
            app, base_url=f"http://{HOST}", follow_redirects=False, client=(client_address, 50_000)
        )
        clients.append(client.__enter__())
        return client

    yield start
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def page(open_page: Callable[..., TestClient]) -> TestClient:
    """A client of the web UI with the fake backends."""
    return open_page()
