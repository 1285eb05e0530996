"""Responses of middleware outside of the application's own are recorded as they were sent."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from tests.field.foreign_app import ForeignApp

STATUS = "http.response.status_code"
MAX_BODY_BYTES = 50


def post(app: FastAPI, parts: list[bytes], *, chunked: bool) -> httpx2.Response:
    """Send ``parts`` as the body of ``POST /body``, chunked or with a Content-Length."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://foreign") as http:
            return await http.post("/body", content=body() if chunked else b"".join(parts))

    return asyncio.run(send())


def body_app(*, app_limit: bool, read: bool) -> FastAPI:
    """Return an application with a limit on bodies of all its routes, or of its one route.

    If ``read`` is false, its route responds without reading the body.
    """
    app = FastAPI(max_body_size=MAX_BODY_BYTES if app_limit else None)

    @app.post("/body", max_body_size=None if app_limit else MAX_BODY_BYTES)
    async def handle(request: Request) -> int:
        return len(await request.body()) if read else 0

    return app


def recorded_statuses(foreign: ForeignApp) -> tuple[object, object, object]:
    """Return the statuses of the SERVER spans, of the log lines and of the request counter."""
    spans = [(span.attributes or {})[STATUS] for span in foreign.server_spans()]
    lines = [line[STATUS] for line in foreign.canonical_lines()]
    counted = [
        int(labels[-1])
        for labels, count in foreign.counts("foreign.requests").items()
        for _ in range(int(count))
    ]
    return spans, lines, counted


@pytest.mark.parametrize("app_limit", [True, False], ids=["application", "route"])
@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "content-length"])
def test_body_over_fastapis_limit_is_recorded_as_413(
    *, app_limit: bool, read: bool, chunked: bool
) -> None:
    """A body over ``max_body_size`` is recorded once, with the status that the client got."""
    foreign = ForeignApp(body_app(app_limit=app_limit, read=read))
    response = post(foreign.app, [b"x" * 40, b"y" * 40], chunked=chunked)
    status = 200 if chunked and not read else 413  # an unread chunked body has no known size
    assert response.status_code == status
    assert recorded_statuses(foreign) == ([status], [status], [status])
    assert "crashed" not in foreign.stdout.getvalue()
    assert len(response.headers["traceresponse"]) == 55


class WrappedApp(FastAPI):
    """An application that puts CORS around all of Starlette's middleware, as forums advise."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return Starlette's chain inside of two further middleware classes."""
        stack = TrustedHostMiddleware(super().build_middleware_stack(), allowed_hosts=["foreign"])
        return CORSMiddleware(stack, allow_origins=["http://page"])


def wrapped_app() -> FastAPI:
    """Return a ``WrappedApp`` with one route that succeeds and one that crashes."""
    app = WrappedApp()

    @app.get("/item")
    async def item() -> int:
        return 1

    @app.get("/crash")
    async def crash() -> None:
        raise ValueError("boom")

    return app


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/item", "foreign", 200), ("/item", "other", 400), ("/crash", "foreign", 500)],
)
def test_middleware_around_the_chain_is_recorded(path: str, host: str, status: int) -> None:
    """An application that overrides ``build_middleware_stack()`` has every response recorded."""
    foreign = ForeignApp(wrapped_app())
    assert foreign.request(path, host=host).status_code == status
    assert recorded_statuses(foreign) == ([status], [status], [status])


def test_preflight_of_middleware_around_the_chain_is_recorded() -> None:
    """A CORS preflight that the application's outermost middleware answers is recorded."""
    foreign = ForeignApp(wrapped_app())

    async def send() -> httpx2.Response:
        transport = httpx2.ASGITransport(foreign.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://foreign") as http:
            headers = {"origin": "http://page", "access-control-request-method": "GET"}
            return await http.options("/item", headers=headers)

    assert asyncio.run(send()).status_code == 200
    assert recorded_statuses(foreign) == ([200], [200], [200])
