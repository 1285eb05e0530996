"""Queries the telemetry that the web UI shows, through a cache whose results visitors share."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import httpx2

from three_pillar_demo.load.manual_traffic import ManualTraffic
from three_pillar_demo.query.interface import (
    Backends,
    RedSample,
)
from three_pillar_demo.stack import health
from three_pillar_demo.trace_view import gather
from three_pillar_demo.trace_view.comparison import Comparison, compare
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import context_panel, panels
from three_pillar_demo.web.cache import QueryCache, QueryResult
from three_pillar_demo.web.folding import Folding
from three_pillar_demo.web.panels import QUANTILES, Panel, RedResult
from three_pillar_demo.web.resolution import RESOLUTIONS, on_grid
from three_pillar_demo.web.service_classes import service_class
from three_pillar_demo.web.service_graph import ServiceGraph, service_graph
from three_pillar_demo.web.trace_page import TracePage, trace_page
from three_pillar_demo.web.view_state import ViewState

ROUTES = {"checkout": "/checkout", "payment": "/charges"}
"""The route whose metrics are shown, by service."""
COMPARISON_LIFETIME_S = 30.0
"""How long the comparison of a request is kept, in seconds."""
COMPARISON_WAIT_S = 0.3
"""How long the page of a request waits for its comparison, in seconds; then it says so."""
MAX_NEW_TRACES = 200
"""The number of traces that one search for new purchases returns at most."""


class PageData:
    """Queries the backends for the parts of the pages."""

    def __init__(
        self, backends: Backends, cache: QueryCache, http: httpx2.AsyncClient, mode: str
    ) -> None:
        """Store the parameters.

        ``http`` is the client for the health checks of the stack's components. ``mode`` is the mode
        of the stack: ``local``, ``full`` or ``compose``.
        """
        self.backends = backends
        self.cache = cache
        self.http = http
        self.mode = mode
        self.problem_since: dict[str, float] = {}
        """When the present problem of a component was seen first, in seconds since the epoch."""

    async def health(self) -> dict[str, QueryResult[Any]]:
        """Return the results that the status bar shows, by name.

        ``components`` has the problem of each component; "" means healthy. ``freshness`` has the
        age of the newest trace, log record and metric, in seconds. ``exits`` says how components
        have exited unexpectedly in the last minutes. ``queues`` has the number of batches that wait
        in the Collector, by backend. ``size`` has the size of all stored telemetry, in bytes.
        """
        components, exits, queues, freshness, size = await asyncio.gather(
            self.cache.get("components", self._component_problems),
            self.cache.get("exits", self._recent_exits),
            self.cache.get("queues", self._queue_sizes),
            self.cache.get("freshness", self.backends.freshness),
            self.cache.get("size", self.backends.size),
        )
        return {
            "components": components,
            "exits": exits,
            "queues": queues,
            "freshness": freshness,
            "size": size,
        }

    async def panels(self, state: ViewState, own_trace_id: str = "") -> list[Panel]:
        """Return four panels: request rate, error ratio, and one of durations for each service.

        All of them begin where the first data do. ``own_trace_id`` is the trace id of the
        visitor's purchase, or "".
        """
        now = time.time()
        time_range = (now - state.minutes * 60, now)
        exemplars, results = await asyncio.gather(
            self.cache.get(
                ("exemplars", state.minutes), lambda: self.backends.exemplars(*time_range)
            ),
            asyncio.gather(*(self._red(service, state.minutes, now) for service in ROUTES)),
        )
        result_by_service = dict(zip(ROUTES, results, strict=True))
        full_start = time_range[0]
        time_range = panels.range_with_data(result_by_service, exemplars.value or [], time_range)
        since = time_range[0] if time_range[0] - full_start > RESOLUTIONS[state.minutes].step else 0
        all_panels = [
            panels.rate_panel(result_by_service, time_range),
            panels.error_ratio_panel(result_by_service, time_range),
        ]
        for service, route in ROUTES.items():
            route_metrics = panels.RouteMetrics(
                service,
                route,
                result_by_service[service],
                exemplars.value or [],
                service_class(service),
                own_trace_id,
            )
            all_panels.append(panels.duration_panel(route_metrics, time_range))
        return [replace(panel, since=since) for panel in all_panels]

    async def service_graph(self, seconds: float) -> QueryResult[ServiceGraph]:
        """Return the graph of the services and calls in the last ``seconds``."""

        async def query() -> ServiceGraph:
            now = time.time()
            service_map = await self.backends.service_map(now - seconds, now)
            # A large graph takes a while, which must not block the event loop.
            return await asyncio.to_thread(service_graph, service_map, now - seconds, now)

        return await self.cache.get(("service_map", seconds), query)

    async def mark_readable_purchases(self, traffic: ManualTraffic) -> None:
        """Mark the purchases whose traces are stored: the page shows them as links to the trace."""
        purchases = traffic.purchases_without_trace()
        if not purchases:
            return
        start = purchases[-1].time - 1
        end = time.time() + 1
        result = await self.cache.get(
            "new_traces",
            lambda: self.backends.requests("checkout", start, end, limit=MAX_NEW_TRACES),
        )
        traffic.mark_traces_found(result.value or [])

    async def trace_page(
        self, trace_id: str, fold: str = "", *, adjust: bool = False
    ) -> QueryResult[TracePage]:
        """Return what has arrived of one trace; missing parts are no error.

        ``fold`` says which parts of the tree are collapsed, as ``Folding.parse`` reads it, and
        ``adjust`` whether the times of services whose clocks disagree are adjusted.
        """
        folding = Folding.parse(fold)

        async def query() -> TracePage:
            view, missing = await gather.fetch(self.backends, trace_id)
            # A huge trace takes a while, which must not block the event loop.
            return await asyncio.to_thread(
                trace_page, view, missing, None, folding, is_adjusted=adjust
            )

        return await self.cache.get(("trace", trace_id, folding, adjust), query)

    async def comparison(self, view: TraceView) -> QueryResult[Comparison | None]:
        """Return the comparison of a request with those beside it; None if there is no request."""
        return await self.cache.get(
            ("comparison", view.trace_id, len(view.spans)),
            lambda: compare(self.backends, view),
            COMPARISON_LIFETIME_S,
            COMPARISON_WAIT_S,
        )

    async def context_panel(self, view: TraceView) -> Panel | None:
        """Return the chart of durations around the time of a request, with the request highlighted.

        Return None if the trace has no root span, or if the root span has no ``http.route``.
        """
        root = context_panel.charted_root(view)
        if root is None:
            return None
        result = await self.cache.get(
            ("context", view.trace_id), lambda: context_panel.query(self.backends, root)
        )
        return context_panel.panel(view, root, result)

    async def _red(self, service: str, minutes: int, now: float) -> RedResult:
        """Return the rate, error ratio and durations of a service over the past ``minutes``."""
        resolution = RESOLUTIONS[minutes]
        route = ROUTES[service]
        # Times on a grid keep what was drawn before where it was.
        end = on_grid(now, resolution.step)

        async def query() -> list[RedSample]:
            return await self.backends.red(
                service,
                route,
                end - minutes * 60,
                end,
                step=resolution.step,
                window=resolution.window,
                quantiles=QUANTILES,
            )

        return await self.cache.get((service, route, minutes), query)

    async def _component_problems(self) -> dict[str, str]:
        """Return the problem of each component except the web UI; "" if the component is healthy.

        The backends' own health checks are more exact than ``health.problems``, so their results
        come first. Health checks of the backends that take longer than ``health.TIMEOUT_S`` are
        left out.
        """
        backend_health = asyncio.ensure_future(self.backends.health())
        problems, _ = await asyncio.gather(
            health.problems(self.http, self.mode),
            asyncio.wait([backend_health], timeout=health.TIMEOUT_S),
        )
        if backend_health.done():
            problems |= backend_health.result()
        backend_health.cancel()
        problems.pop("web", None)
        now = time.time()
        self.problem_since = {
            name: self.problem_since.get(name, now) for name, problem in problems.items() if problem
        }
        return problems

    async def _recent_exits(self) -> dict[str, str]:
        return await asyncio.to_thread(health.recent_exits)

    async def _queue_sizes(self) -> dict[str, float]:
        """Return the number of batches that wait in the Collector, by the name of the backend."""
        sizes = await self.backends.counters("otelcol_exporter_queue_size", ["exporter"])
        return {exporter.rpartition("/")[2]: size for (exporter,), size in sorted(sizes.items())}
