"""The list of the newest requests of all services, with the filters of the address."""

import time
from dataclasses import dataclass

from three_pillar_demo.query.interface import NANO, FoundRequest, RequestFilter, Span
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.web import request_search
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.clock_ahead import MAX_AHEAD_S, seconds_ahead
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.view_state import ViewState

MAX_REQUESTS = 50
"""The number of requests in the list."""
RANGE_S = 48 * 3600.0
"""How old the requests may be, in seconds: the stores keep them for two days."""
DURATIONS_S = (0.1, 0.5, 1.0, 5.0)
"""The durations, in seconds, that the list can be limited to."""


@dataclass(frozen=True)
class RequestRow:
    """One request in the list.

    Attributes:
        span: The span of the request: a SERVER or CONSUMER span, or one without a parent.
        status: The status of the answer, as text; empty if it has none.
        failed: Whether the span has error status.
        failure: Why it failed; empty if that is not known, or if it has not failed.
        called: The names of the other services in its trace.
        time: The end, by which the list is ordered, in seconds since the epoch.
        seconds: The duration, in seconds.
        ahead: How far the end is ahead of this machine's clock, in seconds; 0 if it is not.
    """

    span: Span
    status: str
    failed: bool
    failure: str
    called: tuple[str, ...]
    time: float
    seconds: float
    ahead: float


RequestList = QueryResult[list[RequestRow]]
"""The newest requests first, or the error of their query."""


async def query_requests(data: PageData, state: ViewState, *, failed: bool) -> RequestList:
    """Return the newest requests that match the filters of ``state``.

    ``failed`` says whether only failed requests are wanted, whatever ``state.failed`` says.
    """
    search = request_search.parse(state.search)
    wanted = RequestFilter(
        service=state.service,
        failed=failed,
        slower_than=state.slower,
        attributes=search.attributes,
        text=search.text,
        ended_before=state.before,
    )

    async def query() -> list[RequestRow]:
        now = time.time()
        found = await data.backends.search_requests(
            now - RANGE_S, now + MAX_AHEAD_S, wanted, MAX_REQUESTS
        )
        return [_row(request) for request in found]

    return await data.cache.get(("search_requests", wanted), query)


def end_of_last(requests: RequestList) -> int:
    """Return when the last request of a full list ended, in nanoseconds since the epoch.

    Older requests ended before. The result is 0 if the list is not full, so that there are none.
    """
    rows = requests.value or []
    return rows[-1].span.end if len(rows) == MAX_REQUESTS else 0


def _row(request: FoundRequest) -> RequestRow:
    span = request.span
    return RequestRow(
        span=span,
        status=status_of(span),
        failed=span.error,
        failure=request.failure,
        called=tuple(name for name in request.services if name != span.service),
        time=span.end / NANO,
        seconds=(span.end - span.start) / NANO,
        ahead=seconds_ahead(span.end / NANO),
    )
