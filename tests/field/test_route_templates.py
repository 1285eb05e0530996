"""Where a request went."""

from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from tests.field.foreign_app import Foreign, leafy


class Leaf:
    """Any ASGI app."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await PlainTextResponse("leaf")(scope, receive, send)


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
