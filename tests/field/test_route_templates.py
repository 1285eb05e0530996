"""The same template names a route in traces, logs and metrics, for routes of every kind."""

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from tests.field.foreign_app import ForeignApp, item_app


class PlainAsgiApp:
    """An ASGI application without routes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the text ``leaf``."""
        await PlainTextResponse("leaf")(scope, receive, send)


async def show(_request: Request) -> Response:
    """Respond with the text ``shown``."""
    return PlainTextResponse("shown")


def deep_router(folder: Path) -> APIRouter:
    """Build a router with path parameters, convertors, and the files in ``folder``."""
    router = APIRouter()

    @router.get("/deep/{x}")
    async def deeper(x: str) -> str:
        return x

    @router.get("/number/{n:int}")
    async def number(n: int) -> int:
        return n

    @router.get("/rest/{rest:path}")
    async def rest(rest: str) -> str:
        return rest

    router.mount("/files", StaticFiles(directory=folder))
    return router


def nested_routers(router: APIRouter) -> APIRouter:
    """Include ``router`` at ``/nested`` in a router, and that at ``/v1`` in the returned router."""
    middle = APIRouter(prefix="/nested")
    middle.include_router(router)
    outer = APIRouter(prefix="/v1")
    outer.include_router(middle)
    return outer


def app_with_everything(folder: Path) -> FastAPI:
    """Build an application with every kind of route, router and mount; it serves ``folder``."""
    (folder / "page.html").write_text("a page")
    router = deep_router(folder)
    sub_app = item_app()
    sub_app.include_router(router, prefix="/in")
    sub_app.mount("/below", item_app())
    inner_mount = Mount("/inner", routes=[Route("/{z:int}", show, methods=["POST"])])
    app = FastAPI()
    app.include_router(nested_routers(router), prefix="/api")
    app.mount("/sub", sub_app)
    app.mount("/again", sub_app)
    app.mount("/of/{tenant}", sub_app)
    app.mount("/star", Starlette(routes=[Route("/{y}", show), inner_mount]))
    app.mount("/files", StaticFiles(directory=folder, html=True))
    app.mount("/any", PlainAsgiApp())
    app.host("{tenant}.example", item_app())
    app.frontend("/pages", directory=folder)
    return app


TEMPLATES: dict[str, tuple[str, str, int]] = {
    "router in a router": ("GET /api/v1/nested/deep/7", "/api/v1/nested/deep/{x}", 200),
    "405 in a router": ("POST /api/v1/nested/deep/7", "/api/v1/nested/deep/{x}", 405),
    "convertor": ("GET /api/v1/nested/number/7", "/api/v1/nested/number/{n:int}", 200),
    "convertor does not match": ("GET /api/v1/nested/number/seven", "unmatched", 404),
    "path convertor": ("GET /api/v1/nested/rest/a/b/c", "/api/v1/nested/rest/{rest:path}", 200),
    "files in a router": ("GET /api/v1/nested/files/page.html", "/api/v1/nested/files/{path}", 200),
    "sub-app": ("GET /sub/item/7", "/sub/item/{number}", 200),
    "404 in a sub-app": ("GET /sub/nowhere/7", "/sub/{path}", 404),
    "405 in a sub-app": ("PUT /sub/item/7", "/sub/item/{number}", 405),
    "router in a sub-app": ("GET /sub/in/deep/7", "/sub/in/deep/{x}", 200),
    "sub-app mounted twice": ("GET /again/item/7", "/again/item/{number}", 200),
    "sub-app of a sub-app": ("GET /sub/below/item/7", "/sub/below/item/{number}", 200),
    "mount with a parameter": ("GET /of/acme/item/7", "/of/{tenant}/item/{number}", 200),
    "sub-app below a parameter": (
        "GET /of/acme/below/item/7",
        "/of/{tenant}/below/item/{number}",
        200,
    ),
    "404 below a parameter": ("GET /of/acme/nowhere", "/of/{tenant}/{path}", 404),
    "Starlette": ("GET /star/7", "/star/{y}", 200),
    "mount in Starlette": ("POST /star/inner/7", "/star/inner/{z:int}", 200),
    "405 in a mount in Starlette": ("GET /star/inner/7", "/star/inner/{z:int}", 405),
    "file": ("GET /files/page.html", "/files/{path}", 200),
    "HEAD of a file": ("HEAD /files/page.html", "/files/{path}", 200),
    "no such file": ("GET /files/7.html", "/files/{path}", 404),
    "405 of a file": ("POST /files/page.html", "/files/{path}", 405),
    "plain ASGI app": ("GET /any/7/8", "/any/{path}", 200),
    # FastAPI does not say which of its frontends served the file.
    "frontend": ("GET /pages/page.html", "unmatched", 200),
    "mount without its slash": ("GET /sub", "unmatched", 307),
    "trailing slash": ("GET /api/v1/nested/deep/7/", "unmatched", 307),
}
"""Triples of a request (method and path), its route template, and the status of the response."""


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_route_has_one_template_in_all_pillars(name: str, tmp_path: Path) -> None:
    """The template with the prefixes of routers and mounts names the route everywhere."""
    request, template, status = TEMPLATES[name]
    method, _, path = request.partition(" ")
    foreign = ForeignApp(app_with_everything(tmp_path))
    assert foreign.request(path, method).status_code == status
    names = foreign.route_names()
    assert names == {signal: {template} for signal in names}
    assert foreign.signal_counts() == (1, 1, 1, 1)


def test_a_host_route_has_one_template_in_all_pillars(tmp_path: Path) -> None:
    """A route of an application that is mounted by host name has the template of its path."""
    foreign = ForeignApp(app_with_everything(tmp_path))
    assert foreign.request("/item/7", host="acme.example").status_code == 200
    names = foreign.route_names()
    assert names == {signal: {"/item/{number}"} for signal in names}
    assert foreign.signal_counts() == (1, 1, 1, 1)


def test_concrete_paths_make_no_series(tmp_path: Path) -> None:
    """Requests to 48 paths of four routes create four series, one for each route template."""
    foreign = ForeignApp(app_with_everything(tmp_path))
    for number in range(12):
        foreign.request(f"/of/tenant-{number}/item/{number}")
        foreign.request(f"/files/{number}.html")
        foreign.request(f"/any/{number}")
        foreign.request(f"/sub/nowhere-{number}")
    requests = foreign.counts("foreign.requests")
    assert len(requests) == len(foreign.counts("http.server.request.duration")) == 4
    assert set(requests.values()) == {12}


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("root_path", ["/api", "/"])
@pytest.mark.parametrize("path", ["/item/7", "/healthz"])
def test_a_root_path_is_no_part_of_a_route(prefix: str, root_path: str, path: str) -> None:
    """A root path changes neither templates nor excluded paths, stripped by a proxy or not."""
    app = item_app()
    app.add_api_route("/healthz", lambda: "ok")
    foreign = ForeignApp(app)
    response = foreign.request(prefix + path, root_path=root_path)
    if response.status_code == 404:
        assert (prefix, root_path) == ("/api", "/"), "only there /api is no prefix"
    elif path == "/healthz":
        assert foreign.signal_counts() == (0, 0, 0, 0)
    else:
        names = foreign.route_names()
        assert names == {signal: {"/item/{number}"} for signal in names}


@pytest.mark.parametrize("catch_all", ["files", "route"])
def test_metrics_precede_a_route_for_every_path(catch_all: str, tmp_path: Path) -> None:
    """``GET /metrics`` shows the metrics even if a mount or a route matches every path."""
    app = FastAPI()
    if catch_all == "files":
        app.mount("/", StaticFiles(directory=tmp_path, html=True))
    else:
        app.add_api_route("/{path:path}", lambda path: path)
    response = ForeignApp(app).request("/metrics")
    content_type = response.headers["content-type"].partition(";")[0]
    assert (response.status_code, content_type) == (200, "text/plain")
