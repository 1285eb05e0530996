"""Apps that copy ``telemetry/``: odd things to log, slow and broken streams, routers in routers, apps in apps."""

import asyncio
import contextlib
import http.client
import io
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import httpx2
import pytest
import structlog
from fastapi import APIRouter, FastAPI, WebSocket
from google.protobuf.message import Message as Proto
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import three_pillars
from tests.processes import InMemoryCollector, free_port, run_collector, wait_for
from three_pillars import ServiceResource, environment
from three_pillars.providers import (
    TelemetryProviders,
    logger_provider,
    meter_provider,
    tracer_provider,
)

RESOURCE = Resource.create({"service.name": "foreign"})
T = TypeVar("T")


class Foreign:
    """An app of somebody else's with the three pillars in memory."""

    def __init__(self, app: FastAPI, name: str = "foreign") -> None:
        """Install them."""
        self.app, self.name = app, name
        self._spans, self._records = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._reader, self.stdout = InMemoryMetricReader(), io.StringIO()
        traces, logs = (
            tracer_provider(RESOURCE, environment.validate()),
            logger_provider(RESOURCE, environment.validate()),
        )
        traces.add_span_processor(SimpleSpanProcessor(self._spans))
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._records))
        registry = CollectorRegistry()
        meters = meter_provider(RESOURCE, [self._reader], registry)
        with contextlib.redirect_stdout(self.stdout):
            three_pillars.install(
                app,
                ServiceResource(name),
                providers=TelemetryProviders(traces, meters, logs, registry),
            )

    def ask(
        self, path: str, method: str = "GET", app: ASGIApp | None = None, **about: str
    ) -> httpx2.Response:
        """Ask the app, or another one that it is mounted in; ``about``: the ``host``, the ``root_path``."""

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(
                app or self.app, raise_app_exceptions=False, root_path=about.get("root_path", "")
            )
            async with httpx2.AsyncClient(
                transport=transport, base_url=f"http://{about.get('host', 'foreign')}"
            ) as http:
                return await http.request(method, path)

        return asyncio.run(send())

    def spans(self) -> list[ReadableSpan]:
        """The finished SERVER spans."""
        return [each for each in self._spans.get_finished_spans() if each.kind is SpanKind.SERVER]

    def encoded(self) -> list[dict[str, Any]]:
        """Each record as it is read again by whoever gets the batch by OTLP."""
        batch = encode_logs(self._records.get_finished_logs()).SerializeToString()
        return list(records([("", ExportLogsServiceRequest.FromString(batch))]))

    def lines(self) -> list[dict[str, Any]]:
        """What was written to stdout, read by a parser that knows no NaN and no half characters."""
        return [strict(line) for line in self.stdout.getvalue().splitlines()]

    def canonical(self) -> list[dict[str, Any]]:
        """The lines of whole requests."""
        return [line for line in self.lines() if "http.response.status_code" in line]

    def points(self, metric: str) -> dict[tuple[Any, ...], float]:
        """How often ``metric`` counted, by its labels' values."""
        data = self._reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )
        found = [
            point
            for scope in scopes
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        assert all(isinstance(point, NumberDataPoint | HistogramDataPoint) for point in found)
        counts = [
            point.value if isinstance(point, NumberDataPoint) else point.count for point in found
        ]
        return dict(
            zip(
                [tuple(dict(point.attributes or {}).values()) for point in found],
                counts,
                strict=True,
            )
        )

    def routes(self) -> dict[str, set[str]]:
        """The route of every request, as each pillar calls it."""
        standard = self._labels("http.server.request.duration", "http.route")
        return {
            "span name": {each.name.partition(" ")[2] or "unmatched" for each in self.spans()},
            "span attribute": {
                str(dict(each.attributes or {}).get("http.route", "unmatched"))
                for each in self.spans()
            },
            "line": {line["http.route"] for line in self.canonical()},
            "counter": self._labels(f"{self.name}.requests", "endpoint"),
            "latency": self._labels(f"{self.name}.request.latency", "endpoint"),
            "standard": standard,
        }

    def _labels(self, metric: str, label: str) -> set[str]:
        data = self._reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )
        found = [
            point
            for scope in scopes
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        return {str(dict(point.attributes or {}).get(label, "unmatched")) for point in found}

    def told(self) -> tuple[int, int, float, float]:
        """How many SERVER spans, canonical lines, counts and times there are."""
        times = self.points("http.server.request.duration").values()
        return (
            len(self.spans()),
            len(self.canonical()),
            sum(self.points(f"{self.name}.requests").values()),
            sum(times),
        )


def strict(line: str) -> dict[str, Any]:
    """Parse as RFC 8259 has it: no NaN, and text that can be written as UTF-8."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    read: dict[str, Any] = json.loads(line, parse_constant=refuse)
    json.dumps(read, ensure_ascii=False).encode()
    return read


def plain(value: AnyValue) -> Any:  # noqa: ANN401  (whatever it holds)
    """Python's own for a value of OTLP."""
    match value.WhichOneof("value"):
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return {each.key: plain(each.value) for each in value.kvlist_value.values}
        case None:
            return None
        case kind:
            return getattr(value, kind)


def records(received: list[tuple[str, Proto]]) -> Iterator[dict[str, Any]]:
    """All log records in ``received``: what they say, and whose trace."""
    for _, part in received:
        for resource in part.resource_logs if isinstance(part, ExportLogsServiceRequest) else ():
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                fields = {each.key: plain(each.value) for each in record.attributes}
                yield fields | {"event": plain(record.body), "trace": record.trace_id.hex()}


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Put logging back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


# --- what apps log


class Mute:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def looped() -> list[object]:
    """A list that holds itself."""
    ring: list[object] = []
    ring.append(ring)
    return ring


def nested(depth: int, wrap: Callable[[object], object] = lambda inner: [inner]) -> object:
    """A value so deep."""
    value: object = "core"
    for _ in range(depth):
        value = wrap(value)
    return value


ODD: dict[str, tuple[object, object]] = {
    "exception": (ValueError("x"), "ValueError: x"),
    "set": ({1}, ...),
    "bytes": (b"\xff", "b'\\xff'"),
    "nan": (float("nan"), ...),
    "infinity": (float("-inf"), ...),
    "over 64 bits": (2**70, str(2**70)),
    "decimal": (Decimal("1.50"), "1.50"),
    "datetime": (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01 00:00:00+00:00"),
    "half a character": ("a\ud800", ...),
    "half a character within": ({"k\udcff": ["\udfff"]}, ...),
    "nan within": ([1, {"a": float("nan")}], ...),
    "nothing": ({"a": None}, {"a": None}),
    "object": (Mute(), ...),
    "exception without words": (ValueError(Mute()), ...),
    "holds itself": (looped(), ...),
    "key of two": ({(1, 2): 3}, ...),
    "key of bytes": ({b"a": 1}, ...),
    "number of 5000 digits": (10**5000, ...),
    "number of 5000 digits within": ([10**5000], ...),
    "300 items": (
        dict.fromkeys(map(str, range(300)), 0),
        str(dict.fromkeys(map(str, range(300)), 0)),
    ),
    "60 lists deep": (nested(60), ...),
    "60 objects deep": (nested(60, lambda inner: {"a": inner}), ...),
    "3000 lists deep": (nested(3000), ...),
}
"""What an app may log, and how it is spelled; where that is nobody's business, anything will do."""


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", ["event", "field"])
def test_whatever_is_logged_arrives(name: str, place: str) -> None:
    """A value of any kind, as the event or as a field, costs neither its own line nor the rest of it nor its batch."""
    foreign, (value, spelled) = Foreign(FastAPI()), ODD[name]
    log = structlog.get_logger()
    log.info("before")
    if place == "event":
        log.error(value, other="kept")
    else:
        log.error("event", odd=value, other="kept")
    log.info("after")
    for told in (foreign.encoded(), foreign.lines()):
        before, odd, after = told
        assert (before["event"], odd["other"], after["event"]) == ("before", "kept", "after")
        found = odd["event" if place == "event" else "odd"]
        if spelled is not ...:
            assert found == spelled
        if place == "field":
            assert odd["event"] == "event"


def test_a_field_may_have_any_name() -> None:
    """Half a character in the name of a field costs nothing either."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", **{"k\ud800": 1, "other": "kept"})
    for (told,) in (foreign.encoded(), foreign.lines()):
        assert (
            told["event"],
            next(value for name, value in told.items() if name.startswith("k")),
            told["other"],
        ) == (
            "event",
            1,
            "kept",
        )


class SilentError(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


WAYS: dict[str, Callable[[Any, BaseException], None]] = {
    "log.exception": lambda log, _: log.exception("event"),  # noqa: LOG004  (called in one)
    "exc_info=True": lambda log, _: log.error("event", exc_info=True),  # noqa: LOG014  (likewise)
    "exc_info=error": lambda log, error: log.error("event", exc_info=error),
    "exc_info=tuple": lambda log, error: log.error(
        "event", exc_info=(type(error), error, error.__traceback__)
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "error",
    [ValueError("half \ud800"), SilentError(), ExceptionGroup("g", [KeyError("\udfff")])],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("through", ["structlog", "logging"])
def test_an_exception_arrives(error: Exception, way: str, through: str) -> None:
    """A traceback is on the line and in the record in every way one can log it, whatever the exception says."""
    foreign = Foreign(FastAPI())
    log = structlog.get_logger() if through == "structlog" else logging.getLogger("foreign")
    try:
        raise error  # noqa: TRY301  (to log it)
    except Exception as caught:  # noqa: BLE001  (any)
        WAYS[way](log, caught)
    (line,) = foreign.lines()
    assert line["event"] == "event"
    assert f"{type(error).__name__}: " in line["exception"]
    if through == "structlog":
        (record,) = foreign.encoded()
        assert record["exception.type"] == type(error).__qualname__
        assert f"{type(error).__name__}: " in record["exception.stacktrace"]


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), OSError(2, "no such file", "name"), ValueError(), ValueError("a", 1)],
    ids=repr,
)
def test_the_message_of_an_exception_is_its_own_words(error: Exception) -> None:
    """``exception.message`` is what the exception says, without its type, as the conventions have it and the span too."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", exc_info=error)
    assert [each["exception.message"] for each in (*foreign.encoded(), *foreign.lines())] == [
        str(error)
    ] * 2


@pytest.mark.parametrize("value", [(), (None, None, None), "no exception", False, None], ids=str)
def test_no_exception_is_no_fault(value: object) -> None:
    """An ``exc_info`` that holds no exception leaves a line like any other."""
    foreign = Foreign(FastAPI())
    structlog.get_logger().error("event", exc_info=value)
    assert [each["event"] for each in (*foreign.encoded(), *foreign.lines())] == ["event", "event"]


@pytest.mark.parametrize("name", ["set", "nan", "half a character", "60 lists deep"])
def test_libraries_may_say_anything(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Through ``logging`` too a value of any kind is one line of valid JSON, and stderr stays empty."""
    foreign = Foreign(FastAPI())
    logging.getLogger("foreign").error(ODD[name][0])
    logging.getLogger("foreign").error("say %s", ODD[name][0])
    assert len(foreign.lines()) == 2
    assert not capsys.readouterr().err


class UnspeakableError(Exception):
    """What cannot be said."""

    def __str__(self) -> str:
        raise UnspeakableError


@pytest.mark.parametrize(
    ("said", "arguments"),
    [
        ("%d", ("x",)),
        ("%s %s", (1,)),
        ("no place", (1,)),
        ("say %s", (UnspeakableError(),)),
        (UnspeakableError(), ()),
    ],
)
def test_libraries_may_say_it_wrong(
    said: object, arguments: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A message that its arguments do not fit, or that cannot be said at all, is a line too, and stderr stays empty."""
    foreign = Foreign(FastAPI())
    logging.getLogger("foreign").error(said, *arguments)
    assert len(foreign.lines()) == 1
    assert not capsys.readouterr().err


# --- where a request went


class Leaf:
    """Any ASGI app."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await PlainTextResponse("leaf")(scope, receive, send)


def leafy() -> FastAPI:
    """An app with a leaf, a crash and a websocket."""
    app = FastAPI()

    @app.get("/item/{number}")
    async def item(number: str) -> dict[str, str]:
        structlog.get_logger().info("inside")
        return {"number": number, "trace_id": three_pillars.trace_id()}

    @app.get("/crash")
    async def crash() -> None:
        raise ValueError("boom")

    @app.websocket("/talk/{number}")
    async def talk(websocket: WebSocket, number: str) -> None:
        await websocket.accept()
        await websocket.send_text(number)
        await websocket.close()

    return app


def world(folder: Path) -> FastAPI:
    """An app with everything in it that can be in one."""
    (folder / "page.html").write_text("a page")
    deep, nested_router, outer = APIRouter(), APIRouter(prefix="/nested"), APIRouter(prefix="/v1")

    @deep.get("/deep/{x}")
    async def deeper(x: str) -> str:
        return x

    @deep.get("/number/{n:int}")
    async def number(n: int) -> int:
        return n

    @deep.get("/rest/{rest:path}")
    async def rest(rest: str) -> str:
        return rest

    deep.mount("/files", StaticFiles(directory=folder))
    nested_router.include_router(deep)
    outer.include_router(nested_router)
    sub, below, hosted = leafy(), leafy(), leafy()
    sub.include_router(deep, prefix="/in")
    sub.mount("/below", below)

    async def show(_request: Request) -> Response:
        return PlainTextResponse("shown")

    inner = Mount("/inner", routes=[Route("/{z:int}", show, methods=["POST"])])
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    app.mount("/sub", sub)
    app.mount("/again", sub)
    app.mount("/of/{tenant}", sub)
    app.mount("/star", Starlette(routes=[Route("/{y}", show), inner]))
    app.mount("/files", StaticFiles(directory=folder, html=True))
    app.mount("/any", Leaf())
    app.host("{tenant}.example", hosted)
    app.frontend("/pages", directory=folder)
    return app


TEMPLATES: dict[str, tuple[str, str, int]] = {
    "router in a router": ("GET /api/v1/nested/deep/7", "/api/v1/nested/deep/{x}", 200),
    "405 in a router": ("POST /api/v1/nested/deep/7", "/api/v1/nested/deep/{x}", 405),
    "convertor": ("GET /api/v1/nested/number/7", "/api/v1/nested/number/{n:int}", 200),
    "convertor says no": ("GET /api/v1/nested/number/seven", "unmatched", 404),
    "path convertor": ("GET /api/v1/nested/rest/a/b/c", "/api/v1/nested/rest/{rest:path}", 200),
    "files in a router": ("GET /api/v1/nested/files/page.html", "/api/v1/nested/files/{path}", 200),
    "sub-app": ("GET /sub/item/7", "/sub/item/{number}", 200),
    "404 in a sub-app": ("GET /sub/nowhere/7", "/sub/{path}", 404),
    "405 in a sub-app": ("PUT /sub/item/7", "/sub/item/{number}", 405),
    "router in a sub-app": ("GET /sub/in/deep/7", "/sub/in/deep/{x}", 200),
    "sub-app twice": ("GET /again/item/7", "/again/item/{number}", 200),
    "sub-app of a sub-app": ("GET /sub/below/item/7", "/sub/below/item/{number}", 200),
    "mount with a parameter": ("GET /of/acme/item/7", "/of/{tenant}/item/{number}", 200),
    "sub-app of that": ("GET /of/acme/below/item/7", "/of/{tenant}/below/item/{number}", 200),
    "404 of that": ("GET /of/acme/nowhere", "/of/{tenant}/{path}", 404),
    "Starlette": ("GET /star/7", "/star/{y}", 200),
    "routes in Starlette": ("POST /star/inner/7", "/star/inner/{z:int}", 200),
    "405 in that": ("GET /star/inner/7", "/star/inner/{z:int}", 405),
    "file": ("GET /files/page.html", "/files/{path}", 200),
    "HEAD of a file": ("HEAD /files/page.html", "/files/{path}", 200),
    "no such file": ("GET /files/7.html", "/files/{path}", 404),
    "405 of a file": ("POST /files/page.html", "/files/{path}", 405),
    "any ASGI app": ("GET /any/7/8", "/any/{path}", 200),
    "host": ("GET //acme.example/item/7", "/item/{number}", 200),
    "frontend": ("GET /pages/page.html", "unmatched", 200),  # FastAPI tells nobody which one it was
    "mount without its slash": ("GET /sub", "unmatched", 307),
    "a slash too much": ("GET /api/v1/nested/deep/7/", "unmatched", 307),
}
"""Requests, the one template of each, and the status of the answer."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_route_has_one_full_template(name: str, tmp_path: Path) -> None:
    """The whole template, prefixes and mounts included, is the route's name in all pillars, and nothing concrete ever is."""
    foreign, (request, route, status) = Foreign(world(tmp_path)), TEMPLATES[name]
    method, _, path = request.partition(" ")
    host, path = (
        (path[2:].split("/", 1)[0], "/" + path[2:].split("/", 1)[1])
        if path.startswith("//")
        else ("foreign", path)
    )
    assert foreign.ask(path, method, host=host).status_code == status
    assert foreign.routes() == {pillar: {route} for pillar in foreign.routes()}
    assert foreign.told() == (1, 1, 1, 1)


def test_what_is_concrete_makes_no_series(tmp_path: Path) -> None:
    """Ids, tenants, file names and hosts by the dozen are still one series each: cardinality is that of the templates."""
    foreign = Foreign(world(tmp_path))
    for number in range(12):
        for path in (
            f"/of/tenant-{number}/item/{number}",
            f"/files/{number}.html",
            f"/any/{number}",
            f"/sub/nowhere-{number}",
        ):
            foreign.ask(path)
    assert (
        len(foreign.points("foreign.requests"))
        == len(foreign.points("http.server.request.duration"))
        == 4
    )
    assert set(foreign.points("foreign.requests").values()) == {12}


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("root_path", ["/api", "/"])
@pytest.mark.parametrize("path", ["/item/7", "/healthz"])
def test_a_root_path_is_no_part_of_a_route(prefix: str, root_path: str, path: str) -> None:
    """Behind a proxy's prefix, stripped or not, a route and a quiet path are what they are without."""
    app = leafy()
    app.add_api_route("/healthz", lambda: "ok")
    foreign = Foreign(app)
    if foreign.ask(prefix + path, root_path=root_path).status_code == 404:
        assert (prefix, root_path) == ("/api", "/"), "that is no prefix"
        return
    if path == "/healthz":
        assert foreign.told() == (0, 0, 0, 0)
    else:
        assert foreign.routes() == {pillar: {"/item/{number}"} for pillar in foreign.routes()}


@pytest.mark.parametrize("greedy", ["files", "route"])
def test_metrics_are_there_whatever_else_is(greedy: str, tmp_path: Path) -> None:
    """``GET /metrics`` shows the figures also in an app that serves files, or a route, for every path there is."""
    app = FastAPI()
    if greedy == "files":
        app.mount("/", StaticFiles(directory=tmp_path, html=True))
    else:
        app.add_api_route("/{path:path}", lambda path: path)
    answer = Foreign(app).ask("/metrics")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
        200,
        "text/plain",
    )


# --- apps in apps


def mounted(*, sub_has: str = "", twice: bool = False) -> tuple[Foreign, Foreign | None]:
    """A leafy app in another: who tells of it, and the pillars that must stay silent."""
    sub, parent = leafy(), FastAPI()
    silent = Foreign(sub, "silent") if sub_has == "before" else None
    parent.mount("/sub", sub)
    if twice:
        parent.mount("/other", sub)
    teller = Foreign(parent)
    silent = Foreign(sub, "silent") if sub_has == "after" else silent
    return teller, silent


ARRANGEMENTS: dict[str, Callable[[], tuple[Foreign, Foreign | None]]] = {
    "a bare sub-app": mounted,
    "the same twice": lambda: mounted(twice=True),
    "a sub-app with telemetry of its own": lambda: mounted(sub_has="before"),
    "a sub-app that gets it later": lambda: mounted(sub_has="after"),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_an_app_in_an_app_is_told_of_once(name: str) -> None:
    """One request is one SERVER span, one trace, one count and one line, told by the outermost app that tells."""
    foreign, silent = ARRANGEMENTS[name]()
    answer = foreign.ask("/sub/item/7")
    (span,) = foreign.spans()
    assert span.context
    assert (
        answer.json()["trace_id"]
        == f"{span.context.trace_id:032x}"
        == foreign.canonical()[0]["trace_id"]
    )
    assert foreign.told() == (1, 1, 1, 1)
    assert silent is None or silent.told() == (0, 0, 0, 0)


@pytest.mark.parametrize("name", [name for name in ARRANGEMENTS if "later" not in name])
def test_what_a_sub_app_logs_goes_where_its_request_is_told(name: str) -> None:
    """A line that a handler of the sub-app writes goes out with the request's own, when the outermost app installed last."""
    foreign, _ = ARRANGEMENTS[name]()
    foreign.ask("/sub/item/7")
    assert [line["event"] for line in foreign.lines()] == [
        "inside",
        "GET /sub/item/{number} 200 success",
    ]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_crash_in_a_sub_app_is_a_crash(name: str) -> None:
    """A crash in a sub-app is one line that says crashed, with the traceback, and its span is an error."""
    foreign, silent = ARRANGEMENTS[name]()
    assert foreign.ask("/sub/crash").status_code == 500
    assert foreign.told() == (1, 1, 1, 1)
    (line,) = foreign.lines()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")
    assert "ValueError: boom" in line["exception"]
    assert foreign.spans()[0].status.status_code is StatusCode.ERROR
    assert silent is None or not silent.stdout.getvalue()


@pytest.mark.parametrize("parent", [FastAPI, Starlette], ids=lambda each: each.__name__)
@pytest.mark.parametrize(
    ("path", "status"), [("/sub/item/7", 200), ("/sub/crash", 500), ("/sub/nowhere", 404)]
)
def test_a_bare_parent_tells_nothing_twice(
    parent: Callable[[], Any], path: str, status: int
) -> None:
    """An app with telemetry in a parent without is told of once, by itself; its probes stay quiet there."""
    foreign, outside = Foreign(leafy()), parent()
    outside.mount("/sub", foreign.app)
    assert foreign.ask("/sub/metrics", app=outside).status_code == 200
    assert foreign.told() == (0, 0, 0, 0)
    assert foreign.ask(path, app=outside).status_code == status
    assert foreign.told() == (1, 1, 1, 1)


class Day(Convertor[date]):
    """A day, as Starlette's docs make one."""

    regex = r"\d{4}-\d{2}-\d{2}"

    def convert(self, value: str) -> date:
        """Fail for a thirteenth month."""
        return date.fromisoformat(value)

    def to_string(self, value: date) -> str:
        """Write it."""
        return value.isoformat()


@pytest.mark.parametrize("prefix", ["", "/sub"])
def test_a_crash_of_a_convertor_is_a_crash(prefix: str) -> None:
    """What fits a path and cannot be converted is a 500 with a span, a line and a count, and its route has its name."""
    register_url_convertor("day", Day())
    app, sub = FastAPI(), FastAPI()
    for each in (app, sub):
        each.add_api_route("/on/{day:day}", lambda day: day)
    app.mount("/sub", sub)
    foreign = Foreign(app)
    assert foreign.ask(f"{prefix}/on/2026-13-01").status_code == 500
    assert foreign.told() == (1, 1, 1, 1)
    assert foreign.routes() == {pillar: {f"{prefix}/on/{{day:day}}"} for pillar in foreign.routes()}
    (line,) = foreign.canonical()
    assert (line["outcome"], line["error.type"]) == ("crashed", "ValueError")


@pytest.mark.parametrize("path", ["/talk/7", "/sub/talk/7"])
def test_websockets_work_as_ever(path: str) -> None:
    """A websocket opens, talks and closes through all layers, also with bytes in its headers and query that are no UTF-8."""
    app = leafy()
    app.mount("/sub", leafy())
    foreign, sent = Foreign(app), list[Message]()
    came: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> Message:
        return came.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"host", b"foreign"), (b"user-agent", b"\xff\\x"), (b"x-\xff", b"\xfe")]
    scope = {
        "type": "websocket",
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "query_string": b"a=\xff",
        "headers": headers,
    }
    asyncio.run(
        foreign.app(
            {**scope, "subprotocols": [], "extensions": {}, "server": ("foreign", 80)},
            receive,
            send,
        )
    )
    assert [each["type"] for each in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "7"
    (span,) = foreign.spans()
    assert dict(span.attributes or {})["http.route"] == path.replace("7", "{number}")


# --- odd exceptions and odd answers


@dataclass(frozen=True)
class FrozenError(Exception):
    """An exception that takes no notes."""

    code: int = 1


def test_a_crash_may_be_frozen() -> None:
    """An exception that takes no attributes is told as the crash it is."""
    app = FastAPI()

    @app.get("/crash")
    async def crash() -> None:
        raise FrozenError

    foreign = Foreign(app)
    assert foreign.ask("/crash").status_code == 500
    (line,) = foreign.canonical()
    assert (line["http.response.status_code"], line["outcome"], line["error.type"]) == (
        500,
        "crashed",
        "FrozenError",
    )


@pytest.mark.parametrize(
    "extra", ["http.response.debug", "http.response.early_hint", "http.response.push"]
)
def test_only_the_body_ends_an_answer(extra: str) -> None:
    """A message of an ASGI extension before the answer is not taken for its end."""
    app = FastAPI()

    class Hinting(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": extra, "links": [], "path": "/", "headers": [], "info": {}})
            await super().__call__(scope, receive, send)

    app.add_api_route("/hint", lambda: Hinting("x"), response_model=None)

    async def ask() -> None:
        done = []

        async def send(message: Message) -> None:
            done.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": "/hint",
            "query_string": b"",
            "headers": [],
        }
        await app(
            {**scope, "extensions": {extra: {}}, "scheme": "http", "server": ("foreign", 80)},
            receive,
            send,
        )

    foreign = Foreign(app)
    asyncio.run(ask())
    assert [line["http.response.status_code"] for line in foreign.canonical()] == [200]


# --- over a real socket: the last byte

FOREIGN = """
import asyncio, os, sys
from contextlib import suppress
from collections import defaultdict
import structlog, uvicorn
import three_pillars
from fastapi import BackgroundTasks, Depends, FastAPI
from opentelemetry import metrics, trace
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

app, gates = FastAPI(), defaultdict(asyncio.Event)

async def held(name):
    await gates[name].wait()

async def boom():
    raise ValueError("boom \\ud800")

async def trickle(name):
    yield b"data: first\\n\\n"
    await held(name)
    yield b"data: last\\n\\n"

async def endless():
    while True:
        yield b"data: more\\n\\n"
        await asyncio.sleep(0.02)

async def broken():
    yield b"data: first\\n\\n"
    await boom()

async def after_held():
    yield
    await held("yield")

async def after_boom():
    yield
    await boom()

@app.get("/open/{name}")
async def open_gate(name: str):
    gates[name].set()

@app.post("/heavy")
async def heavy(body: dict[str, str]):
    return body

@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(held, "background")

@app.get("/background-crash")
async def background_crash(tasks: BackgroundTasks):
    tasks.add_task(boom)

@app.get("/stream/{name}")
async def stream(name: str):
    return StreamingResponse(trickle(name), media_type="text/event-stream")

@app.get("/endless")
async def without_end():
    return StreamingResponse(endless(), media_type="text/event-stream")

@app.get("/stream-crash")
async def stream_crash():
    return StreamingResponse(broken())

@app.get("/yield", dependencies=[Depends(after_held)])
async def with_yield():
    return "ok"

@app.get("/yield-crash", dependencies=[Depends(after_boom)])
async def with_yield_crash():
    return "ok"

@app.get("/crash")
async def crash():
    await boom()

@app.get("/file")
@app.head("/head")
async def file():
    return FileResponse(__file__)

@app.get("/nothing")
@app.get("/empty")
async def empty():
    return Response(status_code=204)

@app.get("/odd-span")
@app.get("/odd-link")
async def odd_span():
    with trace.get_tracer("foreign").start_as_current_span("odd", attributes={"half": "\\ud800"}) as span:
        span.record_exception(ValueError("\\udfff"))
        span.add_event("half", {"half": ["\\ud800"]})
        span.add_link(span.get_span_context(), {"half": "\\ud800"})

@app.get("/odd-status")
async def odd_status():
    with suppress(ValueError), trace.get_tracer("foreign").start_as_current_span("odd"):
        raise ValueError("half \\ud800")

@app.get("/odd-event")
async def odd_event():
    trace.get_current_span().add_event("half \\ud800")

@app.get("/odd-metric")
async def odd_metric():
    metrics.get_meter("foreign").create_counter("odd").add(1, {"half": "\\ud800"})

@app.get("/odd-line")
async def odd_line():
    structlog.get_logger().error(ValueError("\\ud800"), half="\\ud800", odd={1, 2}, nan=float("nan"))

sub = FastAPI()
@sub.get("/item/{number}")
async def item(number: str):
    return {"trace_id": three_pillars.trace_id()}

app.mount("/sub", sub)
app.mount("/static", StaticFiles(directory=os.path.dirname(__file__)))
if "middleware" in sys.argv:
    @app.middleware("http")
    async def through(request, call_next):
        return await call_next(request)

three_pillars.install(app, three_pillars.ServiceResource("foreign"))
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, timeout_graceful_shutdown=1)
"""


@dataclass
class Told:
    """What three pillars said of one route."""

    span: Span | None
    line: dict[str, Any] | None
    counted: list[str]
    times: list[tuple[str, float]]

    @property
    def whole(self) -> bool:
        """Whether everybody has spoken."""
        return bool(self.span and self.line and self.counted and len(self.times) == 2)

    @property
    def statuses(self) -> set[int]:
        """The status, as everybody has it."""
        assert self.span
        assert self.line
        name, standard = (
            "http.response.status_code",
            dict(self.times)["http.server.request.duration"],
        )
        assert standard
        return {
            int(fields(self.span.attributes)[name]),
            int(self.line[name]),
            *map(int, self.counted),
        }


def fields(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python has them."""
    return {each.key: plain(each.value) for each in attributes}


@dataclass
class Process:
    """A foreign app that runs."""

    port: int
    popen: subprocess.Popen[bytes]
    collector: InMemoryCollector
    output: Path

    def connect(
        self, path: str, method: str = "GET"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request and read the head of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path)
        return connection, connection.getresponse()

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The status and the whole body."""
        connection, answer = self.connect(path, method)
        with closing(connection):
            return answer.status, answer.read()

    def messages(self, kind: type[T]) -> list[T]:
        """What the Collector got of a kind."""
        return [each for _, each in list(self.collector.received) if isinstance(each, kind)]

    def told(self, route: str, method: str = "GET", spans: int = 1) -> Told:
        """What there is by now, of one request or of so many."""
        parts = [
            each
            for part in self.messages(ExportTraceServiceRequest)
            for each in part.resource_spans
        ]
        found = [
            each
            for part in parts
            for scope in part.scope_spans
            for each in scope.spans
            if each.name == f"{method} {route}"
        ]
        events = list(records(list(self.collector.received)))
        lines = [
            each
            for each in events
            if each.get("http.route") == route and each["http.request.method"] == method
        ]
        counted, times = [], []
        for part in self.messages(ExportMetricsServiceRequest)[-1:]:
            scopes = [
                scope for resource in part.resource_metrics for scope in resource.scope_metrics
            ]
            for metric in (metric for scope in scopes for metric in scope.metrics):
                for point in metric.sum.data_points:
                    about = fields(point.attributes)
                    if metric.name == "foreign.requests" and (
                        about["endpoint"],
                        about["method"],
                    ) == (route, method):
                        counted += [about["status"]] * point.as_int
                for point in metric.histogram.data_points:
                    about = fields(point.attributes)
                    right = about.get("http.request.method", method) == method
                    if route in {about.get("endpoint"), about.get("http.route")} and right:
                        times += [(metric.name, point.sum)] * point.count
        assert max(len(found), len(lines)) <= spans
        return Told(found[0] if found else None, lines[0] if lines else None, counted, times)

    def wait_told(self, route: str, method: str = "GET") -> Told:
        """All there is to say of ``route``."""
        wait_for(
            f"span, line, count and times of {method} {route}",
            lambda: self.told(route, method).whole,
        )
        return self.told(route, method)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self.popen.terminate()
        self.popen.wait(20)


@contextmanager
def running(folder: Path, *how: str, interval: str = "100") -> Iterator[Process]:
    """Run the foreign app with a copy of ``telemetry/``."""
    folder.mkdir()
    shutil.copytree(
        Path(three_pillars.__file__).parent,
        folder / "three_pillars",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "script.py").write_text(FOREIGN)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    often = dict.fromkeys(
        ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"),
        interval,
    )
    port = free_port()
    with run_collector() as collector, (folder / "output").open("wb") as output:
        settings = (
            clean | often | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "PYTHONPATH": str(folder)}
        )
        popen = subprocess.Popen(
            [sys.executable, "script.py", str(port), *how],
            cwd=folder,
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        process = Process(port, popen, collector, folder / "output")
        said = process.output.read_text
        try:
            wait_for(
                f"the app {how}", lambda: popen.poll() is not None or "Uvicorn running" in said()
            )
            assert popen.poll() is None, said()
            yield process
        finally:
            popen.kill()
            popen.wait()


Processes = Mapping[str, Process]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The foreign app, as it is and behind a middleware that Starlette runs in a task of its own."""
    folder = tmp_path_factory.mktemp("apps")
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        started = {
            how: threads.submit(stack.enter_context, running(folder / how, how))
            for how in ("plain", "middleware")
        }
        yield {how: each.result() for how, each in started.items()}


plain_and_behind_a_middleware = pytest.mark.parametrize("how", ["plain", "middleware"])


def agree(told: Told, status: int, outcome: str) -> None:
    """Span, line and counter have the one status, the two histograms and the line the one time."""
    assert told.line
    assert told.statuses == {status}
    assert (told.line["outcome"], len(told.counted)) == (outcome, 1)
    first, second = (seconds for _, seconds in told.times)
    assert first == second == pytest.approx(told.line["http.server.request.duration"], abs=1e-5)


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", ["background", "yield"])
def test_nobody_waits_for_what_comes_after(apps: Processes, how: str, name: str) -> None:
    """A request is told of with its last byte, while its background task or its dependency's end still runs."""
    app = apps[how]
    assert app.ask(f"/{name}")[0] == 200
    agree(app.wait_told(f"/{name}"), 200, "success")
    app.ask(f"/open/{name}")


@plain_and_behind_a_middleware
def test_a_stream_takes_until_its_last_byte(apps: Processes, how: str) -> None:
    """A stream is told of when it ends, not when it begins, and both histograms and the line have its whole time."""
    app = apps[how]
    connection, answer = app.connect("/stream/last")
    with closing(connection):
        assert answer.read(4) == b"data"
        began = time.monotonic()
        app.ask("/empty")
        app.wait_told("/empty")
        assert not app.told("/stream/{name}").line
        seconds = time.monotonic() - began
        app.ask("/open/last")
        assert answer.read().endswith(b"last\n\n")
    told = app.wait_told("/stream/{name}")
    agree(told, 200, "success")
    assert told.times[0][1] > seconds


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", ["background-crash", "yield-crash"])
def test_a_crash_after_the_answer_is_a_line_of_its_own(
    apps: Processes, how: str, name: str
) -> None:
    """A crash behind the last byte leaves the answer a success in all pillars, and is a line with the trace id."""
    app = apps[how]
    assert app.ask(f"/{name}")[0] == 200
    told = app.wait_told(f"/{name}")
    agree(told, 200, "success")

    def crash() -> list[dict[str, Any]]:
        return [
            each
            for each in records(list(app.collector.received))
            if each["event"] == f"GET /{name} failed after its answer"
        ]

    wait_for("the line of the crash", crash)
    (line,) = crash()
    assert told.span
    assert (line["trace"], line["exception.type"]) == (told.span.trace_id.hex(), "ValueError")


@plain_and_behind_a_middleware
def test_a_crash_in_mid_stream_is_a_crash(apps: Processes, how: str) -> None:
    """A crash between first and last byte is a 500 in all pillars, whatever the first line said, and the span has the error."""
    app = apps[how]
    connection, answer = app.connect("/stream-crash")
    assert answer.status == 200
    with closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
        answer.read()
    told = app.wait_told("/stream-crash")
    if (
        how == "middleware"
    ):  # Starlette ends the body in order before it raises: the customer cannot know, and it is as below
        agree(told, 200, "success")
        return
    agree(told, 500, "crashed")
    assert told.line
    assert told.span
    assert (told.line["error.type"], told.span.status.code) == ("ValueError", 2)


def test_a_customer_who_hangs_up_is_told_of(apps: Processes) -> None:
    """A stream whose reader hangs up in the middle is abandoned, and 499 in all pillars."""
    app = apps["plain"]
    connection, answer = app.connect("/endless")
    assert answer.read(4) == b"data"
    answer.close()
    connection.close()
    agree(app.wait_told("/endless"), 499, "abandoned")


@plain_and_behind_a_middleware
def test_a_customer_who_hangs_up_in_mid_body_is_told_of(apps: Processes, how: str) -> None:
    """A request whose body never came whole was refused to nobody: it is abandoned, and 499 in all pillars."""
    app = apps[how]
    with socket.create_connection(("127.0.0.1", app.port)) as client:
        client.sendall(
            b'POST /heavy HTTP/1.1\r\nhost: app\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"a": '
        )
    agree(app.wait_told("/heavy", "POST"), 499, "abandoned")


PLAIN = {
    "a file": ("GET /file", "/file", 200),
    "a head": ("HEAD /head", "/head", 200),
    "a static file": ("GET /static/script.py", "/static/{path}", 200),
    "nothing": ("GET /nothing", "/nothing", 204),
    "a crash": ("GET /crash", "/crash", 500),
}


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", PLAIN)
def test_every_answer_has_an_end(apps: Processes, how: str, name: str) -> None:
    """Files, heads, empty answers and crashes are told of like any other, with one status and one time in all pillars."""
    request, route, status = PLAIN[name]
    method, _, path = request.partition(" ")
    assert apps[how].ask(path, method)[0] == status
    agree(apps[how].wait_told(route, method), status, "crashed" if status == 500 else "success")


@pytest.mark.parametrize("pillar", ["span", "event", "link", "status", "line"])
def test_an_odd_value_costs_no_batch(apps: Processes, pillar: str) -> None:
    """Half a character in a span, a label or a line reaches the Collector spelled out, and so does all that comes after."""
    app = apps["plain"]
    assert app.ask(f"/odd-{pillar}")[0] == 200
    agree(app.wait_told(f"/odd-{pillar}"), 200, "success")
    kinds: dict[str, type[Proto]] = {
        "metric": ExportMetricsServiceRequest,
        "line": ExportLogsServiceRequest,
    }
    kind = kinds.get(pillar, ExportTraceServiceRequest)
    half = r"(&#55296;|\\\\ud800)"
    places = {"event": f'name: "half {half}"', "status": f'message: "ValueError: half {half}"'}
    field = rf'key: "half"\s+value \{{\s+string_value: "{half}"'
    spelled = places.get(pillar, field)

    def said(message: Any) -> str:  # noqa: ANN401  (any of three)
        if pillar != "link":
            return str(message)
        scopes = (scope for part in message.resource_spans for scope in part.scope_spans)
        return "\n".join(
            str(link) for scope in scopes for span in scope.spans for link in span.links
        )

    wait_for(
        "it spelled out", lambda: any(re.search(spelled, said(each)) for each in app.messages(kind))
    )


def test_the_last_requests_are_flushed(tmp_path: Path) -> None:
    """On SIGTERM everything reaches the Collector, also of an endless stream that is cut off then: it was abandoned."""
    with running(tmp_path / "app", interval="600000") as app:
        assert app.ask("/empty")[0] == 204
        streams = [app.connect("/endless") for _ in range(8)]
        for _, answer in streams:
            assert answer.read(4) == b"data"
        app.stop()
        for connection, _ in streams:
            connection.close()
        agree(app.told("/empty"), 204, "success")
        spans = [
            each for part in app.messages(ExportTraceServiceRequest) for each in part.resource_spans
        ]
        names = [each.name for part in spans for scope in part.scope_spans for each in scope.spans]
        lines = [each for each in records(app.collector.received) if each.get("outcome") == "abandoned"]
        assert (names.count("GET /endless"), len(lines)) == (8, 8)
        assert app.told("/endless", spans=8).counted == ["499"] * 8


@plain_and_behind_a_middleware
def test_the_framework_does_not_tell_it_again(apps: Processes, how: str) -> None:
    """FastAPI's own telemetry, which the process's providers switch on, is silent in the app and in a sub-app of it."""
    status, body = apps[how].ask("/sub/item/7")
    told = apps[how].wait_told("/sub/item/{number}")
    assert status == 200
    agree(told, 200, "success")
    parts = [
        each
        for part in apps[how].messages(ExportTraceServiceRequest)
        for each in part.resource_spans
    ]
    spans = [each for part in parts for scope in part.scope_spans for each in scope.spans]
    traces = [
        each.trace_id.hex()
        for each in spans
        if each.kind == Span.SPAN_KIND_SERVER and "/sub" in each.name
    ]
    assert traces == [json.loads(body)["trace_id"]]


def test_lines_that_are_written_are_not_lost(apps: Processes) -> None:
    """An app whose stdout takes its lines counts none as lost."""
    apps["plain"].ask("/empty")
    wait_for("metrics", lambda: apps["plain"].messages(ExportMetricsServiceRequest))
    assert "log.lines.lost" not in str(apps["plain"].messages(ExportMetricsServiceRequest)[-1])
