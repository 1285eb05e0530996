"""The pages of services: the list of all of them, and the page of one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.query.red_sources import NO_ROUTE, ROOT_SPANS, SPANS
from three_pillar_demo.query.service_figures import MAX_ROUTES, Figures
from three_pillar_demo.query.service_map import ParticipantKind
from three_pillar_demo.query.service_map import service as participant
from three_pillar_demo.terminal import printable
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.clock_ahead import MAX_AHEAD_S, MIN_AHEAD_S
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.figure_rows import FigureRow, count_of_requests, figure_row
from three_pillar_demo.web.graph_parts import Row
from three_pillar_demo.web.log_list import RANGE_S, LogList, newest_logs, query_logs
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.rendering import Render
from three_pillar_demo.web.request_list import RequestList, query_requests
from three_pillar_demo.web.service_charts import query_red, service_panels
from three_pillar_demo.web.service_graph import ServiceGraph
from three_pillar_demo.web.service_list_state import ServiceListState
from three_pillar_demo.web.services import page_rows
from three_pillar_demo.web.view_state import ViewState

MAX_ROUTES_SHOWN = 50
"""The number of routes of a service that its page shows, those with the most requests."""
MAX_REQUESTS = 20
"""The number of requests of a service that its page shows."""
SPAN_SOURCES = {
    SPANS: "its SERVER and CONSUMER spans, because it sends no histogram of request durations",
    ROOT_SPANS: "its spans without a parent, because it receives no requests",
}
"""What the page says of a source that is no metric."""


@dataclass(frozen=True)
class ServicePage:
    """What the page of one service shows.

    Attributes:
        name: The name of the service.
        is_listed: Whether it has sent anything in the time range.
        source: What its rate, errors and durations come from, as a part of a sentence; empty if
            it has none in the time range.
        counts_statuses: Whether that is a histogram, which counts failures by the status.
        requests: The number of requests, as text.
        ahead: How far all that is known of it is dated ahead of this machine's clock, in seconds; 0
            if that is not so.
        since: Since when they are counted, in seconds, if not over the whole range; else 0.
        panels: The charts of its rate, errors and durations.
        routes: Its routes, those with the most requests first.
        more_routes: How many more routes it has, as text; empty if there are none.
        route_error: Why the routes are not known; empty if they are.
        callers: The calls that it has received, by caller.
        callees: The calls that it has made, by callee.
        graph_error: Why the calls are not known; empty if they are.
        newest_requests: Its newest requests.
        logs: Its newest log records.
    """

    name: str
    is_listed: bool
    source: str
    counts_statuses: bool
    requests: str
    ahead: float
    since: float
    panels: Sequence[Panel]
    routes: Sequence[FigureRow]
    more_routes: str
    route_error: str
    callers: Sequence[Row]
    callees: Sequence[Row]
    graph_error: str
    newest_requests: RequestList
    logs: LogList


class ServicePages:
    """The handlers of the pages of services."""

    def __init__(self, data: PageData, render: Render) -> None:
        """Store the parameters; ``render`` renders a template."""
        self.data = data
        self.render = render

    async def services(self, request: Request) -> Response:
        """Answer ``GET /services`` with the list of all services."""
        state = ServiceListState.parse(request.query_params)
        health, services = await asyncio.gather(
            self.data.health(), self.data.services(state.minutes)
        )
        rows = page_rows(services, state)
        return self.render(
            "all_services.html",
            state=state,
            health=health,
            services=rows,
            service_classes=self.data.colours.of(row.name for row in rows.rows),
        )

    async def service(self, request: Request) -> Response:
        """Answer ``GET /service?service=NAME`` with the page of one service."""
        state = ViewState.parse(request.query_params)
        if not state.service:
            raise ValueError("service must be the name of a service")
        health, services, page = await asyncio.gather(
            self.data.health(),
            self.data.services(state.minutes),
            self._page(state),
        )
        if not services.error and await self._is_unknown(page):
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                f'Nothing is known of a service "{printable(page.name, 80)}": there is no request '
                "and no log record of it from the last two days, and no metric and no call from "
                f"the last {state.minutes} minutes.",
            )
        has_metrics = any(getattr(route, "path", "") == "/metrics" for route in request.app.routes)
        return self.render(
            "service.html",
            state=state,
            health=health,
            page=page,
            services=services,
            service_classes=self._colours(page),
            metrics_address=metrics_address(state) if has_metrics else "",
        )

    def _colours(self, page: ServicePage) -> dict[str, str]:
        """Return the CSS class of the service and of those that it calls, or that call it."""
        ends = [row.caller for row in page.callers] + [row.callee for row in page.callees]
        others = [end.name for end in ends if end.kind is ParticipantKind.SERVICE]
        return self.data.colours.of([page.name, *others])

    async def _is_unknown(self, page: ServicePage) -> bool:
        """Return whether there is no record of the service, as far as all queries have answers."""
        errors = (page.route_error, page.graph_error, page.newest_requests.error)
        found = (page.routes, page.callers, page.callees, page.newest_requests.value)
        if page.is_listed or any(errors) or any(found):
            return False
        wanted = ViewState(service=page.name)
        logs = await query_logs(self.data, wanted, RANGE_S, MAX_AHEAD_S, 1)
        return logs.value == []

    async def _page(self, state: ViewState) -> ServicePage:
        name = state.service
        services, red, routes, graph, requests, logs = await asyncio.gather(
            self.data.services(state.minutes),
            query_red(self.data, state, [name]),
            self.data.routes(name, state.minutes),
            self.data.service_graph(state.minutes * 60, is_drawn=False),
            query_requests(self.data, ViewState(service=name), failed=state.failed),
            newest_logs(self.data, ViewState(service=name), state.minutes * 60),
        )
        figures = next((one for one in services.value or [] if one.name == name), None)
        found_routes = (routes.value or [])[:MAX_ROUTES_SHOWN]
        return ServicePage(
            name=name,
            is_listed=figures is not None,
            source=source_sentence(figures),
            counts_statuses=figures is not None and figures.source not in {*SPAN_SOURCES, ""},
            requests=count_of_requests(figures.requests) if figures else "",
            ahead=figures.ahead if figures and figures.ahead > MIN_AHEAD_S else 0.0,
            since=_since(figures, state),
            panels=service_panels(red, state, self.data.colours.of([name])),
            routes=[figure_row(route, address_of_route(route, state)) for route in found_routes],
            more_routes=_more_routes(len(routes.value or [])),
            route_error=routes.error,
            callers=_calls(graph, "callee", name),
            callees=_calls(graph, "caller", name),
            graph_error=graph.error,
            newest_requests=replace(requests, value=(requests.value or [])[:MAX_REQUESTS]),
            logs=logs,
        )


def source_sentence(figures: Figures | None) -> str:
    """Return what the figures come from, as the end of a sentence; empty if there are none."""
    if figures is None or not figures.source:
        return ""
    return SPAN_SOURCES.get(figures.source, f"its histogram {figures.source}")


def address_of_route(route: Figures, state: ViewState) -> str:
    """Return the address of the requests of a route of a service, in the list of requests.

    A route of spans is the name of the span. One of a histogram of HTTP ends in ``http.route``, and
    one of a histogram of RPC in the method, which is a part of the name of the span.
    """
    if route.source in SPAN_SOURCES or route.source.startswith("rpc."):
        search = route.name.rpartition("/")[2] if route.source.startswith("rpc.") else route.name
    else:
        path = route.name.partition(" ")[2] or route.name
        search = f'http.route="{path}"'
        if path == NO_ROUTE or '"' in path:
            return ""
    return f"/{ViewState(minutes=state.minutes).query(service=state.service, search=search)}"


def metrics_address(state: ViewState) -> str:
    """Return the address of the other metrics of a service."""
    return f"/metrics{ViewState(minutes=state.minutes).query(service=state.service)}"


def _since(figures: Figures | None, state: ViewState) -> float:
    """Return since when requests are counted, if that is later than the start of the range."""
    if figures is None or figures.start - (figures.end - state.minutes * 60) < state.minutes:
        return 0.0
    return figures.start


def _more_routes(found: int) -> str:
    more = found - MAX_ROUTES_SHOWN
    if more <= 0:
        return ""
    return f"{'over ' if found == MAX_ROUTES else ''}{more:,} more routes"


def _calls(graph: QueryResult[ServiceGraph], end: str, name: str) -> list[Row]:
    """Return the calls of which the service ``name`` is the ``end``: ``caller`` or ``callee``."""
    rows = graph.value.rows if graph.value else []
    return [row for row in rows if getattr(row, end) == participant(name)]
