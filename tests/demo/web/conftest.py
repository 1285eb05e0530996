"""The page with everything around it made up: backends that answer, fail, hang or flood, and a shop that sells."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Self, cast

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.traces import TRACE, exemplar, slow
from three_pillar_demo.query.interface import (
    BackendError,
    Backends,
    Exemplar,
    LogRecord,
    RedSample,
    ServiceCall,
    Span,
)
from three_pillar_demo.stack import health
from three_pillar_demo.web import cache
from three_pillar_demo.web.app import create_app

HOST = "127.0.0.1:8080"
QUESTIONS = (
    "trace",
    "requests",
    "trace_logs",
    "logs",
    "counters",
    "red",
    "exemplars",
    "service_graph",
    "freshness",
    "size",
    "health",
)
FAILING, HANGING, STRANGE = "failing", "hanging", "strange"


class Told:
    """Stands in for the backends; ``moods`` say how a question goes wrong, the lists are what they hold."""

    def __init__(self) -> None:
        """A house where nothing was told."""
        self.moods: dict[str, str] = {}
        self.asked: list[str] = []
        self.spans: list[Span] = []
        self.trace_lines: list[LogRecord] = []
        self.lines: list[LogRecord] = []
        self.exemplars: list[Exemplar] = []
        self.edges: list[ServiceCall] = []
        self.reds: Callable[[float], RedSample] | None = None
        self.found: list[str] = []
        self.queues: dict[tuple[str, ...], float] = {}
        self.wanted: dict[str, Any] = {}


class Answering:
    """``Told`` in the shape of the questions."""

    def __init__(self, told: Told) -> None:
        """Answer out of ``told``."""
        self.told = told
        self.names = dict.fromkeys(("traces", "logs", "metrics"), "the store")
        self.components = dict.fromkeys(("traces", "logs", "metrics"), "store")

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    def __getattr__(self, question: str) -> Callable[..., Awaitable[Any]]:
        """Any question."""
        if question not in QUESTIONS:
            raise AttributeError(question)
        return lambda *args, **wanted: self._answer(question, args, wanted)

    async def _answer(self, question: str, args: tuple[Any, ...], wanted: dict[str, Any]) -> Any:  # noqa: ANN401  (any answer)
        told = self.told
        told.asked.append(question)
        match told.moods.get(question):
            case "failing":
                raise BackendError(f"{question}: <b>the store</b> is not there")
            case "hanging":
                await asyncio.sleep(60)
            case "strange":
                raise KeyError("resourceSpans")
        if question == "logs":
            told.wanted = wanted
        if question == "red":
            start, end, step = *args[2:4], wanted["step"]
            times = [start + number * step for number in range(int((end - start) / step) + 1)]
            return (
                [told.reds(at) for at in times]
                if told.reds
                else [RedSample(at, None, None, (None, None, None)) for at in times]
            )
        return {
            "trace": told.spans,
            "trace_logs": told.trace_lines,
            "logs": told.lines,
            "exemplars": told.exemplars,
            "service_graph": told.edges,
            "requests": told.found,
            "counters": told.queues,
            "freshness": {"traces": 1.25, "logs": None, "metrics": 7200.0},
            "size": 3 * 1024**2,
            "health": {"store": ""},
        }[question]


@pytest.fixture
def told() -> Told:
    """What the backends hold."""
    return Told()


@pytest.fixture
def busy(told: Told) -> Told:
    """A house with a failed purchase, now."""
    story, now = slow(), time.time()
    told.spans, told.trace_lines, told.lines = story.spans, story.logs, story.logs
    told.exemplars = [
        Exemplar(TRACE, each.value, now - 30, each.labels)
        for each in (
            exemplar("checkout", "/checkout", 504, "2.5", 2.0042),
            exemplar("payment", "/charges", 200, "5", 3.0011),
        )
    ]
    told.edges = [ServiceCall("checkout", "payment", 30, 3)]
    told.reds = lambda at: RedSample(at, 4.0, 0.125, (0.2, 0.4, 2.0))
    told.found = [TRACE]
    return told


Shop = Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]


async def sells(request: httpx2.Request) -> httpx2.Response:
    """A shop where the card decides."""
    assert request.url.path == "/checkout"
    failed = b"gateway-timeout" in request.content
    said = {
        "outcome": "gateway_timeout" if failed else "success",
        "trace_id": TRACE,
        "order_id": "o-1",
        "detail": "",
    }
    return httpx2.Response(500 if failed else 200, json=said)


@pytest.fixture
def open_page(told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """Opens the page of ``told``; ``shop`` answers its customers, ``patience`` is a visitor's in seconds."""
    opened: list[TestClient] = []
    monkeypatch.setattr(health, "addresses", lambda _mode: {})

    def start(shop: Shop = sells, patience: float = 2.0, timeout: float = 5.0) -> TestClient:
        monkeypatch.setattr(cache.Cache.__init__, "__defaults__", (timeout, patience))
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(shop), base_url="http://shop")
        app = create_app(
            cast("Backends", Answering(told)),
            "local",
            {HOST, "inside:8080/alerts"},
            "http://127.0.0.1:3000",
            http,
        )
        page = TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)
        opened.append(page.__enter__())
        return page

    yield start
    for page in opened:
        page.__exit__(None, None, None)


@pytest.fixture
def page(open_page: Callable[..., TestClient]) -> TestClient:
    """The page, opened."""
    return open_page()
