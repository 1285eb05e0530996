"""The fast paths ``routes`` and ``headers``: the same telemetry and responses as without them."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import propagate, trace
from opentelemetry.instrumentation._semconv import _StabilityMode
from opentelemetry.instrumentation.asgi import (
    OpenTelemetryMiddleware,
    asgi_getter,
    asgi_setter,
    collect_request_attributes,
)
from opentelemetry.instrumentation.propagators import (
    TraceResponsePropagator,
    get_global_response_propagator,
    set_global_response_propagator,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.routing import Mount, Route
from starlette.types import Message, Scope

from tests.field.foreign_app import ForeignApp
from three_pillars import span_details
from three_pillars.boundary import ROUTE_TEMPLATE, stand_in_app
from three_pillars.fast_paths import NAMES, FastPaths
from three_pillars.http_methods import KNOWN_METHODS
from three_pillars.route_cache import RouteCache
from three_pillars.routes import match_template
from three_pillars.trace_response import SPAN_CONTEXT, TraceResponseMiddleware
from three_pillars.used_headers import header_selector

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def restored_state() -> Iterator[None]:
    """After each test, restore the propagators and the logging configuration of the process."""
    response_propagator: object = get_global_response_propagator()  # type: ignore[no-untyped-call]
    propagator = propagate.get_global_textmap()
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    set_global_response_propagator(response_propagator)  # type: ignore[no-untyped-call]
    propagate.set_global_textmap(propagator)
    root.handlers[:] = handlers
    structlog.reset_defaults()


def test_the_setting_names_fast_paths() -> None:
    """``all``, ``none`` and lists of names are understood; another name is refused with a list."""
    assert FastPaths.parse("all") == FastPaths()
    assert not any(getattr(FastPaths.parse("none"), name) for name in NAMES)
    chosen = FastPaths.parse(" headers ,routes")
    assert chosen == FastPaths(**{name: name in {"headers", "routes"} for name in NAMES})
    for text in ("", "all,none", "all,routes", "route"):
        with pytest.raises(ValueError, match="expected all, none, or of routes, headers"):
            FastPaths.parse(text)


def test_an_unknown_fast_path_is_refused() -> None:
    """``install()`` refuses an unknown name and leaves the application as it was."""
    app = FastAPI()
    with pytest.raises(ValueError, match="fast path 'x'"):
        ForeignApp(app, fast_paths="x")
    assert app.middleware_stack is None


# --- The template of the route ---

PATHS = ("/", "/a", "/a/b", "/{x}", "/{x:int}", "/a/{x}", "/{x:path}", "/a/", "/é")
REQUEST_PATHS = st.sampled_from(["/", "/a", "/a/b", "/1", "/a/1", "/a/", "/é", "/b", "", "a"])


def endpoint(_request: Request) -> PlainTextResponse:
    """Respond with the text ``ok``."""
    return PlainTextResponse("ok")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PATHS), st.sampled_from(["GET", "POST"])), max_size=6),
    st.lists(
        st.tuples(
            REQUEST_PATHS,
            st.sampled_from(["GET", "POST", "HEAD", "MADE-UP"]),
            st.sampled_from(["", "", "/a"]),
        ),
        min_size=4,
        max_size=30,
    ),
    st.booleans(),
)
@example([("/a", "GET"), ("/{x}", "GET")], [("/a", "GET", "")], False)  # noqa: FBT003
def test_a_template_from_the_cache_is_that_of_the_search(
    routes: list[tuple[str, str]],
    requests: list[tuple[str, str, str]],
    mounted: bool,  # noqa: FBT001  (Hypothesis passes it)
) -> None:
    """For any routes and requests, the cache returns what the search through all routes returns."""
    app = FastAPI(openapi_url=None)
    if mounted:
        app.router.routes.append(Mount("/a", routes=[Route("/b", endpoint)]))
    cache = RouteCache()
    # The second half of the routes is added, before the others, while requests are served.
    for part in (routes[: len(routes) // 2], routes[len(routes) // 2 :]):
        for path, method in part:
            app.router.routes.insert(0, Route(path, endpoint, methods=[method]))
        for path, method, root_path in [*requests, *requests]:
            scope: Scope = {"type": "http", "path": path, "method": method, "root_path": root_path}
            expected = match_template(app.routes, dict(scope))
            assert cache.find_template(app.routes, dict(scope)) == expected


def test_clients_cannot_fill_the_cache_of_routes() -> None:
    """Whatever paths and methods clients send, there is at most one entry a route and method."""
    app = FastAPI()
    app.add_api_route("/{x}", endpoint)
    app.add_api_route("/plain", endpoint)
    cache = RouteCache()
    for number in range(100):
        for path in (f"/{number}", "/plain", f"/plain/{number}", "/{x}"):
            for method in (f"M{number}", "GET"):
                scope: Scope = {"type": "http", "path": path, "method": method, "root_path": ""}
                cache.find_template(app.routes, scope)
    assert len(cache.templates) <= len(app.routes) * len(KNOWN_METHODS)


# --- The name of the span ---


def opentelemetry_middleware(fast_paths: str) -> OpenTelemetryMiddleware:
    """Return the middleware of OpenTelemetry of an application."""
    app = FastAPI()
    app.add_api_route("/item/{x}", endpoint)
    ForeignApp(app, fast_paths=fast_paths)
    layer: Any = app.middleware_stack
    while not isinstance(layer, OpenTelemetryMiddleware):
        layer = layer.app
    return layer


@pytest.mark.parametrize("method", [*sorted(KNOWN_METHODS), "get", "MADE-UP", " ", None])
@pytest.mark.parametrize("template", ["/", "/item/{x}", None])
def test_remembered_details_are_those_of_the_instrumentation(
    method: str | None, template: str | None
) -> None:
    """For any method and route, the name and the route of the span are the instrumentation's."""
    plain = opentelemetry_middleware("none").default_span_details
    remembered = opentelemetry_middleware("all").default_span_details
    assert remembered is not plain
    scope: dict[str, Any] = {"app": stand_in_app(template), ROUTE_TEMPLATE: template}
    if method is not None:
        scope["method"] = method
    for _ in range(2):
        assert remembered(scope) == plain(scope)


def test_clients_cannot_fill_the_cache_of_details(monkeypatch: pytest.MonkeyPatch) -> None:
    """No method of a client is remembered that is not known, and few routes of the others are."""
    monkeypatch.setattr(span_details, "MAX_REMEMBERED", 5)
    details: Any = opentelemetry_middleware("all").default_span_details
    for number in range(20):
        details({"method": f"M{number}", ROUTE_TEMPLATE: "/"})
    assert details._remembered.cache_info().currsize == 0  # noqa: SLF001
    for number in range(20):
        details({"method": "GET", ROUTE_TEMPLATE: f"/{number}"})
    assert details._remembered.cache_info().currsize == 5  # noqa: SLF001


def test_another_chain_of_middleware_is_left_alone() -> None:
    """If the instrumentation builds another chain of middleware, nothing is changed."""

    async def chain(*_: object) -> None:
        return

    span_details.remember_details(chain)
    assert not hasattr(chain, "app")


# --- The headers of the request ---

HEADER_NAMES = st.sampled_from(
    ["host", "user-agent", "User-Agent", "accept", "traceparent", "tracestate", "baggage", "x"]
)
HEADER_VALUES = st.sampled_from(
    [TRACEPARENT, "k=v", "a=1,b=2", "python-requests/2", "Googlebot", ""]
)


@settings(deadline=None)
@given(st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=10))
def test_the_instrumentation_finds_the_same_in_the_selected_headers(
    headers: list[tuple[str, str]],
) -> None:
    """The selected headers give the attributes and the trace context that all headers give."""
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    found: list[tuple[object, str]] = []
    for sent in (encoded, header_selector(only_used=True)(encoded)):
        scope = {"type": "http", "method": "GET", "path": "/", "headers": sent}
        attributes: object = collect_request_attributes(scope, _StabilityMode.HTTP)  # type: ignore[no-untyped-call]
        found.append((attributes, str(propagate.extract(scope, getter=asgi_getter))))
    assert found[0] == found[1]


class OtherPropagator(TraceContextTextMapPropagator):
    """A propagator that reads a header of its own."""

    @property
    def fields(self) -> set[str]:
        """The name of the header."""
        return {"x-other"}


def test_all_headers_pass_if_others_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another propagator, or with captured headers, the instrumentation gets all headers."""
    headers = [(b"x-other", b"1"), (b"host", b"h")]
    select = header_selector(only_used=True)
    assert select(headers) == []
    propagate.set_global_textmap(OtherPropagator())
    assert select(headers) == headers
    propagate.set_global_textmap(TraceContextTextMapPropagator())
    assert select(headers) == []
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-.*")
    assert header_selector(only_used=True)(headers) == headers


@pytest.mark.parametrize("fast_paths", ["all", "none"])
def test_the_application_gets_all_headers(fast_paths: str) -> None:
    """A handler, and the handler that answers a crash, see all headers of the request."""
    app = FastAPI()
    seen: list[str | None] = []

    @app.get("/")
    async def crash(request: Request) -> None:
        seen.append(request.headers.get("accept-language"))
        raise ConnectionError

    @app.exception_handler(Exception)
    async def answer(request: Request, _error: Exception) -> PlainTextResponse:
        seen.append(request.headers.get("accept-language"))
        return PlainTextResponse("sorry", 500)

    foreign = ForeignApp(app, fast_paths=fast_paths)
    assert foreign.request("/", headers=[("accept-language", "de")]).text == "sorry"
    assert seen == ["de", "de"]


# --- The header of the response ---


async def responses_of(scope: Scope, *messages: Message) -> list[Message]:
    """Return what the client gets if an application behind the middleware sends ``messages``."""
    received: list[Message] = []

    async def app(_scope: Scope, _receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        for message in messages:
            await send(message)

    async def send(message: Message) -> None:
        received.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await TraceResponseMiddleware(app)(scope, receive, send)
    return received


@pytest.mark.parametrize("headers", [[], [(b"a", b"b")], None])
def test_the_headers_are_those_of_the_propagator(headers: list[Any] | None) -> None:
    """A response gets the headers of ``TraceResponsePropagator``, and its body message none."""
    set_global_response_propagator(None)  # type: ignore[no-untyped-call]
    span = TracerProvider().get_tracer("test").start_span("test")
    start: Message = {"type": "http.response.start", "status": 200}
    expected: Message = dict(start)
    if headers is not None:
        start["headers"] = list(headers)
        expected["headers"] = list(headers)
    body: Message = {"type": "http.response.body"}
    sent = asyncio.run(responses_of({SPAN_CONTEXT: span.get_span_context()}, start, body))
    TraceResponsePropagator().inject(expected, trace.set_span_in_context(span), asgi_setter)
    assert [list(pair) for pair in sent[0]["headers"]] == [
        list(pair) for pair in expected["headers"]
    ]
    assert sent[1] == {"type": "http.response.body"}
    assert start.get("headers") == headers, "the application may send the same list again"


@pytest.mark.parametrize("fast_paths", ["all", "none"])
def test_the_trace_id_is_sent_once(fast_paths: str) -> None:
    """A response has one ``traceresponse``, also if another application uses the propagator."""
    for propagator in (None, TraceResponsePropagator()):
        set_global_response_propagator(propagator)  # type: ignore[no-untyped-call]
        response = ForeignApp(FastAPI(), fast_paths=fast_paths).request("/nowhere")
        assert len(response.headers.get_list("traceresponse")) == 1
        assert response.headers["traceresponse"].startswith("00-")
