"""The start page of the mode ``view``, which has no shop: the newest requests of any service."""

import asyncio
from dataclasses import dataclass
from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.stack import ports
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.first_request import FirstRequest
from three_pillar_demo.web.log_list import LogList, newest_logs
from three_pillar_demo.web.pages import Pages, address_of_trace
from three_pillar_demo.web.request_list import (
    RANGE_S,
    RequestList,
    RequestRow,
    end_of_last,
    query_requests,
)
from three_pillar_demo.web.services_overview import (
    ServicesOverview,
    choices,
    colours_of_view,
    query_overview,
)
from three_pillar_demo.web.view_state import ViewState

MODE = "view"
"""The name of the mode in which only the store and the web UI run."""


@dataclass(frozen=True)
class ViewData:
    """What the start page shows.

    Attributes:
        requests: The newest requests, newest first.
        logs: The newest log records, newest first.
        services: The services, with their figures and the calls between them.
        is_waiting: Whether no request at all has arrived.
        first_request: The first request, if it has just arrived; else None.
        is_first: Whether that is known to be the first one of all.
        newest_failure: The newest failed request; None if there is none. One that is dated ahead
            of this machine's clock counts only if there is no other.
        explanation: The sentence that says why that request failed; empty if it is not known.
    """

    requests: RequestList
    logs: LogList
    services: ServicesOverview
    is_waiting: bool = False
    first_request: RequestRow | None = None
    is_first: bool = False
    newest_failure: RequestRow | None = None
    explanation: str = ""


class ViewPages(Pages):
    """The handlers of the pages in the mode ``view``."""

    @cached_property
    def first_request(self) -> FirstRequest:
        """What this process has seen of the first request."""
        return FirstRequest()

    async def index(self, request: Request) -> Response:
        """Answer ``GET /``: where to send telemetry, the newest requests and the log records."""
        state = ViewState.parse(request.query_params)
        searched_trace = address_of_trace(state)
        if searched_trace:
            return searched_trace
        health, view = await asyncio.gather(
            self.data.health(), _query(self.data, state, self.first_request)
        )
        return self.render(
            "view.html",
            state=state,
            health=health,
            view=view,
            service_classes=colours_of_view(self.data, view.services, view.requests, view.logs),
            choices=choices(view.services, view.requests, view.logs, state),
            requests=view.requests,
            older=end_of_last(view.requests),
            http_port=ports.STORE.number,
            grpc_port=ports.STORE_GRPC.number,
        )


async def _query(data: PageData, state: ViewState, first_request: FirstRequest) -> ViewData:
    services, requests, all_requests, failures, logs = await asyncio.gather(
        query_overview(data, state, state.minutes * 60),
        query_requests(data, state, failed=state.failed),
        query_requests(data, ViewState(), failed=False),
        query_requests(data, ViewState(), failed=True),
        newest_logs(data, state, RANGE_S),
    )
    # A clock that is ahead must not hide the failures of the other services.
    by_clock = sorted(failures.value or [], key=lambda row: row.ahead > 0)
    newest_failure = by_clock[0] if by_clock else None
    explanation = ""
    if newest_failure:
        page = await data.trace_page(newest_failure.span.trace_id)
        explanation = page.value.explanation if page.value else ""
    first_row = first_request.notice(all_requests)
    is_waiting = all_requests.value == []
    return ViewData(
        requests,
        logs,
        services,
        is_waiting=is_waiting,
        first_request=first_row,
        is_first=first_request.is_first,
        newest_failure=newest_failure,
        explanation=explanation,
    )
