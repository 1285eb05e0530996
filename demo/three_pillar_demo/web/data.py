"""Queries the telemetry that the web UI shows, through a cache whose results visitors share."""

import asyncio
import time
from typing import Any

import httpx2

from three_pillar_demo.load.manual_traffic import ManualTraffic
from three_pillar_demo.query.interface import (
    Backends,
)
from three_pillar_demo.query.service_figures import Figures, ServiceRed
from three_pillar_demo.query.service_map import ServiceMap
from three_pillar_demo.stack import health
from three_pillar_demo.trace_view import gather
from three_pillar_demo.trace_view.comparison import Comparison, compare
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import context_panel
from three_pillar_demo.web.cache import QueryCache, QueryResult
from three_pillar_demo.web.drill_marks import drill_marks, figures_start
from three_pillar_demo.web.drill_rates import since_drills
from three_pillar_demo.web.folding import Folding
from three_pillar_demo.web.panels import QUANTILES, Panel
from three_pillar_demo.web.resolution import RESOLUTIONS, on_grid
from three_pillar_demo.web.service_classes import ServiceColours
from three_pillar_demo.web.service_graph import ServiceGraph, service_graph
from three_pillar_demo.web.trace_page import TracePage, trace_page

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
        of the stack, as ``connect.running_mode`` returns it.
        """
        self.backends = backends
        self.cache = cache
        self.http = http
        self.mode = mode
        self.colours = ServiceColours()
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

    async def services(self, minutes: int) -> QueryResult[list[Figures]]:
        """Return the figures of all services over the past ``minutes``, sorted by name.

        The figures begin with the newest drill. A service that was seen only before it is listed
        as one of which no request is known.
        """

        async def query() -> list[Figures]:
            now = time.time()
            earliest = now - minutes * 60
            start = self._figures_start(now, minutes * 60)
            found = {one.name: one for one in await self.backends.services(start, now)}
            if start > earliest:
                for seen in await self.backends.services(earliest, now):
                    found.setdefault(seen.name, Figures(seen.name, "", start, now))
            return [found[name] for name in sorted(found)]

        return await self.cache.get(("services", minutes), query)

    def kept_services(self, minutes: int) -> list[Figures]:
        """Return what ``services`` has returned last, without a query; an empty list if nothing."""
        return self.cache.kept(("services", minutes)).value or []

    async def service_red(self, service: str, minutes: int) -> QueryResult[ServiceRed]:
        """Return the rate, error ratio and durations of a service over the past ``minutes``."""
        resolution = RESOLUTIONS[minutes]
        # Times on a grid keep what was drawn before where it was.
        end = on_grid(time.time(), resolution.step)

        async def query() -> ServiceRed:
            red = await self.backends.service_red(
                service,
                end - minutes * 60,
                end,
                step=resolution.step,
                window=resolution.window,
                quantiles=QUANTILES,
            )
            return since_drills(red, drill_marks(self.mode))

        return await self.cache.get(("service_red", service, minutes), query)

    async def routes(self, service: str, minutes: int) -> QueryResult[list[Figures]]:
        """Return the figures of the routes of a service over the past ``minutes``.

        The figures begin with the newest drill.
        """

        async def query() -> list[Figures]:
            now = time.time()
            return await self.backends.routes(service, self._figures_start(now, minutes * 60), now)

        return await self.cache.get(("routes", service, minutes), query)

    async def service_graph(
        self, seconds: float, *, is_drawn: bool = True
    ) -> QueryResult[ServiceGraph]:
        """Return the graph of the services and calls in the last ``seconds``.

        It has only what came since the newest drill began, and pictures only if ``is_drawn``.
        """

        async def query() -> tuple[ServiceMap, float, float]:
            now = time.time()
            start = self._figures_start(now, seconds)
            return await self.backends.service_map(start, now), start, now

        return await self.cache.get_computed(
            ("service_map", seconds, is_drawn),
            query,
            lambda answer: service_graph(*answer, is_drawn=is_drawn),
        )

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

        return await self.cache.get_computed(
            ("trace", trace_id, folding, adjust),
            lambda: gather.fetch(self.backends, trace_id),
            lambda answer: trace_page(*answer, folding=folding, is_adjusted=adjust),
        )

    async def comparison(self, view: TraceView) -> QueryResult[Comparison | None]:
        """Return the comparison of a request with those beside it; None if there is no request.

        Requests of other drills, and of the time between drills, are not beside it.
        """
        breaks = tuple(mark.time for mark in drill_marks(self.mode))
        return await self.cache.get(
            ("comparison", view.trace_id, len(view.spans), breaks),
            lambda: compare(self.backends, view, breaks),
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

    def _figures_start(self, now: float, seconds: float) -> float:
        """Return when figures of the last ``seconds`` begin, in seconds since the epoch."""
        return figures_start(drill_marks(self.mode), now, seconds)

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
