"""The pages of the web UI: each handler collects the data of a page and renders its template."""

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from three_pillar_demo.load.manual_traffic import ManualPurchase, ManualTraffic
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import chart, grafana, request_search, runbook, waterfall
from three_pillar_demo.web.alert_inbox.drill_start import DrillStarter
from three_pillar_demo.web.cache import PENDING
from three_pillar_demo.web.comparison_table import comparison_table
from three_pillar_demo.web.context_panel import root_span
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.forms import read_form, redirect_back
from three_pillar_demo.web.log_list import newest_logs
from three_pillar_demo.web.rendering import Render
from three_pillar_demo.web.request_list import end_of_last, query_requests
from three_pillar_demo.web.resolution import RESOLUTIONS
from three_pillar_demo.web.service_charts import SHOP
from three_pillar_demo.web.services_overview import choices, colours_of_view, query_overview
from three_pillar_demo.web.trace_ages import TraceAges
from three_pillar_demo.web.trace_page import ARRIVING_S, TracePage, is_finished
from three_pillar_demo.web.view_state import ViewState

TOUR_COOKIE = "toured"
"""The name of the cookie of a visitor who has ended the tour."""
TOUR_COOKIE_AGE_S = 365 * 24 * 3600
"""How long a browser keeps the cookie ``TOUR_COOKIE``: one year, in seconds."""


class Pages:
    """The handlers of the pages, and of the forms that send purchases."""

    def __init__(
        self, data: PageData, render: Render, traffic: ManualTraffic, drill_starter: DrillStarter
    ) -> None:
        """Store the parameters; ``render`` renders a template."""
        self.data = data
        self.render = render
        self.traffic = traffic
        self.drill_starter = drill_starter
        self.trace_ages = TraceAges()

    async def index(self, request: Request) -> Response:
        """Answer ``GET /`` with the overview: charts, service graph, requests and logs."""
        state = ViewState.parse(request.query_params)
        searched_trace = address_of_trace(state)
        if searched_trace:
            return searched_trace
        own_purchase = self.traffic.find(state.purchase)
        own_trace_id = own_purchase.trace_id if own_purchase else ""
        health, services, logs, requests, _ = await asyncio.gather(
            self.data.health(),
            query_overview(self.data, state, RESOLUTIONS[state.minutes].window, SHOP, own_trace_id),
            newest_logs(self.data, state, state.minutes * 60),
            query_requests(self.data, state, failed=state.failed),
            self.data.mark_readable_purchases(self.traffic),
        )
        response = self.render(
            "index.html",
            state=state,
            health=health,
            services=services,
            service_classes=colours_of_view(self.data, services, requests, logs),
            choices=choices(services, requests, logs, state),
            service_graph=services.graph,
            logs=logs,
            is_overview=True,
            drill_offer=self.drill_starter.offer(request),
            traffic=self.traffic,
            requests=requests,
            older=end_of_last(requests),
            newest_purchase=self._newest_purchase(),
            own_purchase=own_purchase,
            tour_step=_tour_step(state, request),
        )
        if state.tour == 0:
            response.set_cookie(
                TOUR_COOKIE, "1", max_age=TOUR_COOKIE_AGE_S, httponly=True, samesite="lax"
            )
        return response

    async def trace(self, request: Request, trace_id: str) -> Response:
        """Answer ``GET /trace/{trace_id}`` with the trace, logs and metrics of one request."""
        state = ViewState.parse(request.query_params)
        if not chart.TRACE_ID.fullmatch(trace_id.lower()):
            raise HTTPException(404, "invalid trace id: it has 32 hex digits")
        if trace_id != trace_id.lower():
            # A trace id has one spelling, so that each page has one address.
            return RedirectResponse(f"/trace/{trace_id.lower()}{state.query()}")
        result, health = await asyncio.gather(
            self.data.trace_page(trace_id, state.fold, adjust=state.adjust), self.data.health()
        )
        page = result.value or TracePage(TraceView(trace_id, [], [], []))
        start, end = (nanoseconds / NANO for nanoseconds in waterfall.extent(page.view))
        age = self.trace_ages.age(trace_id, end)
        panel, comparison = await asyncio.gather(
            self.data.context_panel(page.view), self.data.comparison(page.view)
        )
        if panel and panel.plot.empty and not panel.error and age > ARRIVING_S:
            panel = None  # A service without such metrics.
        return self.render(
            "trace.html",
            # What is collapsed or adjusted in one trace says nothing about another one.
            state=state.model_copy(update={"fold": "", "adjust": False}),
            trace_state=state,
            health=health,
            page=page,
            trace=page.view,
            error=result.error,
            root=root_span(page.view),
            still_arriving=age < ARRIVING_S,
            axis_ticks=waterfall.axis_ticks(end - start),
            is_finished=not result.error
            and comparison.error != PENDING.error
            and is_finished(page, age, panel),
            comparison=comparison_table(comparison.value),
            comparison_error=comparison.error if page.has_failed else "",
            context_panel=panel,
            grafana_links=grafana.links(trace_id, start, end),
            tour_step=state.tour or 0,
        )

    async def status(self, request: Request) -> Response:
        """Answer ``GET /status`` with the status bar alone, for pages that need nothing else."""
        state = ViewState.parse(request.query_params)
        return self.render("status.html", state=state, health=await self.data.health())

    async def runbook(self, request: Request) -> Response:
        """Answer ``GET /runbook`` with the runbook, to which the alerts link."""
        state = ViewState.parse(request.query_params)
        if not runbook.FILE.is_file():
            raise HTTPException(404, "there is no runbook in this installation")
        text = runbook.with_actual_ports(runbook.FILE.read_text(encoding="utf-8"), self.data.mode)
        html = runbook.to_html(text)
        health = await self.data.health()
        return self.render("runbook.html", state=state, health=health, runbook=html)

    async def buy(self, request: Request) -> Response:
        """Answer ``POST /buy``: start the purchases that the form asks for."""
        form = await read_form(request)
        purchases = self.traffic.buy(form.get("card", ""), int(form.get("count", "1")))
        followed = ViewState.parse(request.query_params).purchase
        newest = purchases[0].key if purchases else ""
        return redirect_back(request, purchase=followed or newest)

    async def stream(self, request: Request) -> Response:
        """Answer ``POST /stream``: start purchases at a steady rate; a rate of 0 stops them."""
        form = await read_form(request)
        self.traffic.stream(float(form.get("rate", "")))
        return redirect_back(request)

    async def error(self, _request: Request, error: Exception) -> Response:
        """Answer an invalid request with a page that says what is wrong.

        The status is that of ``error`` if it is an ``HTTPException``, and 422 otherwise.
        """
        status = 422
        reason = str(error)
        if isinstance(error, HTTPException):
            status = error.status_code
            reason = error.detail
            if reason == HTTPStatus.NOT_FOUND.phrase:
                reason = "There is no page with this address."
        title = "Not found" if status == HTTPStatus.NOT_FOUND else "Invalid request"
        health = await self.data.health()
        response = self.render(
            "problem.html",
            status,
            state=ViewState(),
            health=health,
            title=title,
            reason=reason,
        )
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    def _newest_purchase(self) -> ManualPurchase | None:
        return self.traffic.purchases[0] if self.traffic.purchases else None


def address_of_trace(state: ViewState) -> Response | None:
    """Return the redirection to the trace whose id is in the search field, or None."""
    trace_id = request_search.parse(state.search).trace_id
    if not trace_id:
        return None
    query = state.query(search="", tour=None)
    return RedirectResponse(f"/trace/{trace_id}{query}", HTTPStatus.SEE_OTHER)


def _tour_step(state: ViewState, request: Request) -> int:
    """Return the number of the step of the tour to show, or 0 to show no step.

    The step is ``state.tour``. If ``state.tour`` is None, the step is 0 for a visitor who has the
    cookie ``TOUR_COOKIE``, and 1 for any other visitor.
    """
    if state.tour is not None:
        return state.tour
    return 0 if TOUR_COOKIE in request.cookies else 1
