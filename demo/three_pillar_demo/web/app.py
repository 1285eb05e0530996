"""The ASGI application of the web UI."""

import asyncio
from collections.abc import AsyncIterator, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx2
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.manual_traffic import MAX_IN_FLIGHT, ManualTraffic
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import health
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES
from three_pillar_demo.web.access import AccessMiddleware
from three_pillar_demo.web.alert_inbox.alerts import FiringAlerts
from three_pillar_demo.web.alert_inbox.drill_start import DrillStarter
from three_pillar_demo.web.alert_inbox.routes import add_alert_routes, add_drill_routes
from three_pillar_demo.web.cache import QueryCache
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.downloads import Downloads
from three_pillar_demo.web.head import HeadMiddleware
from three_pillar_demo.web.log_pages import LogPages
from three_pillar_demo.web.metric_pages import MetricPages
from three_pillar_demo.web.page_templates import WEB_FOLDER
from three_pillar_demo.web.pages import Pages
from three_pillar_demo.web.rendering import Renderer
from three_pillar_demo.web.service_pages import ServicePages
from three_pillar_demo.web.view_mode import MODE as VIEW_MODE
from three_pillar_demo.web.view_mode import ViewPages

LOOKUP_THREADS = 64
"""The number of threads for DNS lookups.

The lookup of a host that is gone may take more than 10 s. With few threads, such lookups would
hold up all other lookups.
"""


def create_app(
    backends: Backends,
    mode: str,
    hosts: Collection[str],
    grafana_url: str,
    http: httpx2.AsyncClient | None = None,
) -> FastAPI:
    """Build the application of the web UI.

    Args:
        backends: The backends that hold the telemetry.
        mode: The mode of the stack, as ``connect.running_mode`` returns it.
        hosts: The accepted Host headers, in the form that ``AccessMiddleware`` expects.
        grafana_url: The URL of Grafana for a browser.
        http: The HTTP client that sends purchases to checkout. None creates a new client.
    """
    cache = QueryCache()
    traffic = ManualTraffic(http or checkout_client.client(MAX_IN_FLIGHT))
    health_client = httpx2.AsyncClient(
        timeout=health.TIMEOUT_S, trust_env=False, verify=NO_CERTIFICATES
    )
    firing_alerts = FiringAlerts()
    data = PageData(backends, cache, health_client, mode)
    pages_of_mode = ViewPages if mode == VIEW_MODE else Pages
    drill_starter = DrillStarter(mode)
    render = Renderer(data, firing_alerts, grafana_url)
    pages = pages_of_mode(data, render, traffic, drill_starter)
    downloads = Downloads(data)
    log_pages = LogPages(data, render)
    service_pages = ServicePages(data, render)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        lookup_threads = ThreadPoolExecutor(LOOKUP_THREADS)
        asyncio.get_running_loop().set_default_executor(lookup_threads)
        async with backends, health_client:
            yield
            await asyncio.gather(traffic.close(), cache.close())

    app = FastAPI(title="web", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(AccessMiddleware, hosts=hosts)
    app.mount("/static", StaticFiles(directory=WEB_FOLDER / "static"))
    add_alert_routes(app, firing_alerts)
    app.get("/healthz")(healthz)
    app.get("/", response_class=HTMLResponse)(pages.index)
    app.get("/metrics", response_class=HTMLResponse)(MetricPages(data, render).metrics)
    app.get("/services", response_class=HTMLResponse)(service_pages.services)
    app.get("/service", response_class=HTMLResponse)(service_pages.service)
    app.get("/status", response_class=HTMLResponse)(pages.status)
    app.get("/runbook", response_class=HTMLResponse)(pages.runbook)
    app.get("/trace/{trace_id}", response_class=HTMLResponse)(pages.trace)
    app.get("/trace/{trace_id}/span/{span_id}", response_class=Response)(log_pages.span_row)
    app.get("/logs", response_class=HTMLResponse)(log_pages.logs)
    app.get("/logs/{key}", response_class=HTMLResponse)(log_pages.record)
    app.get("/trace/{trace_id}/request.html", response_class=Response)(downloads.html)
    app.get("/trace/{trace_id}/otlp.jsonl", response_class=Response)(downloads.otlp)
    if mode != VIEW_MODE:
        app.post("/buy")(pages.buy)
        app.post("/stream")(pages.stream)
        add_drill_routes(app, drill_starter)
    app.add_exception_handler(ValueError, pages.error)
    app.add_exception_handler(HTTPException, pages.error)
    return app


async def healthz() -> dict[str, str]:
    """Answer ``GET /healthz``: the process is running."""
    return {"status": "ok"}
