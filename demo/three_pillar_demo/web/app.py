"""The doors: the page, one request, and the till."""

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx2
from fastapi import FastAPI
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.manual_traffic import CAP, CARDS, MAX_RATE, ManualTraffic
from three_pillar_demo.query.interface import NANO, Backends
from three_pillar_demo.stack import health
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import alert_inbox, chart, formatting, grafana, waterfall
from three_pillar_demo.web.access import Guard
from three_pillar_demo.web.cache import NONE, Answer, Cache
from three_pillar_demo.web.data import PACE, ROUTES, Watch, root_of
from three_pillar_demo.web.view_state import MINUTES, SEVERITIES, View

HERE = Path(__file__).parent
MAX_BODY, ROWS, LOOKUPS = 1024, 50, 64
YOUNG = 30.0
"""Seconds after a request in which the rest of it is on its way; later only what waits for a receiver that was away comes."""
TOURED, A_YEAR = "toured", 365 * 24 * 3600


@cache
def templates() -> Environment:
    """What is in ``templates/``; everything that is not markup there is escaped."""
    loader = FileSystemLoader([HERE / "templates", HERE / "alert_inbox"])
    found = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        name: getattr(formatting, name)
        for name in ("seconds", "ratio", "rate", "size", "clock", "age")
    }
    found.filters["clean"], found.tests["failed"] = printable, chart.failed
    found.globals |= {"minutes": MINUTES, "severities": SEVERITIES, "services": list(ROUTES)}
    found.globals |= {"cards": CARDS, "waiting": NONE.error}
    return found


def create_app(  # noqa: C901  (one door after the other)
    backends: Backends,
    mode: str,
    hosts: Collection[str],
    grafana_url: str,
    http: httpx2.AsyncClient | None = None,
) -> FastAPI:
    """The page of a house that runs in ``mode``, asked by ``hosts``; ``http`` is a client of the shop, else one is made."""
    shared, till = Cache(), ManualTraffic(http or checkout_client.client(CAP))
    looking = httpx2.AsyncClient(timeout=health.TIMEOUT, trust_env=False)
    watch = Watch(backends, shared, looking, mode)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # Names of peers that are gone are looked up for ten seconds and more, in threads: they may not keep the others waiting.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUPS))
        async with backends, looking:
            yield
            await asyncio.gather(till.close(), shared.close())

    app = FastAPI(title="web", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    ringing = alert_inbox.doors(app, _form, _back)

    def draw(
        name: str,
        view: View,
        health: dict[str, Answer[Any]],
        told: dict[str, Any],
        status: int = 200,
    ) -> HTMLResponse:
        told |= {"view": view, "mode": mode, "grafana_url": grafana_url, "health": health}
        return HTMLResponse(templates().get_template(name).render(told), status)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/", response_class=HTMLResponse)
    async def index(request: Request) -> Response:
        view = View.parse(request.query_params)
        asked = (watch.lines(view), watch.edges(view), watch.panels(view), watch.health())
        (lines, edges, panels, health), _ = await asyncio.gather(
            asyncio.gather(*asked), watch.recognise(till)
        )
        told: dict[str, Any] = {
            "lines": lines,
            "edges": edges,
            "panels": panels,
            "pager": ringing.look(),
            "why": ringing.why,
        }
        told["rows"] = [row for row in till.rows if row.failed or not view.failed][:ROWS]
        told["step"] = view.tour if view.tour is not None else 0 if TOURED in request.cookies else 1
        answer = draw(
            "index.html",
            view,
            health,
            told | {"till": till, "window": PACE[view.minutes][1], "max_rate": MAX_RATE},
        )
        if view.tour == 0:
            answer.set_cookie(TOURED, "1", max_age=A_YEAR, httponly=True, samesite="lax")
        return answer

    @app.get("/trace/{trace_id}", response_class=HTMLResponse)
    async def trace(request: Request, trace_id: str) -> Response:
        view = View.parse(request.query_params)
        if not chart.TRACE_ID.fullmatch(trace_id):
            raise HTTPException(404, "That is no trace id: it has 32 hex digits, in lower case.")
        answer, health = await asyncio.gather(watch.request(trace_id), watch.health())
        request_, awaited, rows, why = answer.value or (TraceView(trace_id, [], [], []), [], [], "")
        start, end = (at / NANO for at in waterfall.extent(request_))
        told = {
            "request": request_,
            "awaited": awaited,
            "rows": rows,
            "why": why,
            "error": answer.error,
        }
        told |= {
            "young": time.time() - end < YOUNG,
            "ticks": waterfall.ticks(end - start),
            "ways": grafana.ways(trace_id, start, end),
            "step": view.tour or 0,
        }
        return draw(
            "trace.html",
            view,
            health,
            told | {"root": root_of(request_), "place": await watch.place(request_)},
        )

    @app.post("/buy")
    async def buy(request: Request) -> Response:
        said = await _form(request)
        till.buy(said.get("card", ""), int(said.get("count", "1")))
        return _back(request)

    @app.post("/stream")
    async def stream(request: Request) -> Response:
        till.stream(float((await _form(request)).get("rate", "")))
        return _back(request)

    @app.exception_handler(ValueError)
    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: Exception) -> Response:
        status, reason = 422, f"That cannot be asked of this page: {error}."
        if isinstance(error, HTTPException):
            status, reason = error.status_code, error.detail
        return draw("problem.html", View(), await watch.health(), {"reason": reason}, status)

    return app


def _back(request: Request) -> Response:
    """To the page, in the state in which it was."""
    return RedirectResponse("/" + View.parse(request.query_params).query(), 303)


async def _form(request: Request) -> dict[str, str]:
    """A form's fields; it has few."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A form here has at most {MAX_BODY} bytes.")
    return dict(parse_qsl(body.decode("ascii"), max_num_fields=10))
