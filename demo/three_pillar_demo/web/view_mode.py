"""The start page of the mode ``view``, which has no shop: the newest requests of any service."""

import asyncio
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.stack import ports
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.pages import Pages
from three_pillar_demo.web.view_state import ViewState

MODE = "view"
"""The name of the mode in which only the store and the web UI run."""
MAX_REQUESTS = 50
MAX_LOGS = 50
RANGE_S = 48 * 3600.0
"""How old the requests and log records may be, in seconds: the store keeps them for two days."""


@dataclass(frozen=True)
class RequestRow:
    """One request in the list.

    Attributes:
        span: The span of the request: a SERVER or CONSUMER span, or one without a parent.
        status: The status of the answer, as text; empty if it has none.
        failed: Whether the span has error status.
        time: The start, in seconds since the epoch.
        seconds: The duration, in seconds.
    """

    span: Span
    status: str
    failed: bool
    time: float
    seconds: float


@dataclass(frozen=True)
class ViewData:
    """What the start page shows.

    Attributes:
        requests: The newest requests, newest first.
        logs: The newest log records, newest first.
        services: The printable names of the services among them, sorted.
        newest_failure: The newest failed request; None if there is none.
        explanation: The sentence that says why that request failed; empty if it is not known.
    """

    requests: QueryResult[list[RequestRow]]
    logs: QueryResult[list[LogRecord]]
    services: list[str] = field(default_factory=list)
    newest_failure: RequestRow | None = None
    explanation: str = ""


class ViewPages(Pages):
    """The handlers of the pages in the mode ``view``."""

    async def index(self, request: Request) -> Response:
        """Answer ``GET /``: where to send telemetry, the newest requests and the log records."""
        state = ViewState.parse(request.query_params)
        health, view = await asyncio.gather(self.data.health(), _query(self.data, state))
        return self._render(
            "view.html",
            state=state,
            health=health,
            view=view,
            http_port=ports.STORE.number,
            grpc_port=ports.STORE_GRPC.number,
        )


async def _query(data: PageData, state: ViewState) -> ViewData:
    requests, failures, logs = await asyncio.gather(
        _requests(data, state, failed=state.failed),
        _requests(data, state, failed=True),
        _logs(data, state),
    )
    newest_failure = failures.value[0] if failures.value else None
    explanation = ""
    if newest_failure:
        page = await data.trace_page(newest_failure.span.trace_id)
        explanation = page.value.explanation if page.value else ""
    names = {row.span.service for row in requests.value or []}
    names |= {record.service for record in logs.value or []} | {state.service}
    services = sorted(name for name in names if name and name.isprintable())
    return ViewData(requests, logs, services, newest_failure, explanation)


async def _requests(
    data: PageData, state: ViewState, *, failed: bool
) -> QueryResult[list[RequestRow]]:
    async def query() -> list[RequestRow]:
        now = time.time()
        spans = await data.backends.request_spans(
            now - RANGE_S, now, service=state.service, failed=failed, limit=MAX_REQUESTS
        )
        return [_row(span) for span in spans]

    return await data.cache.get(("request_spans", state.service, failed), query)


def _row(span: Span) -> RequestRow:
    return RequestRow(
        span=span,
        status=status_of(span),
        failed=span.error,
        time=span.start / NANO,
        seconds=(span.end - span.start) / NANO,
    )


async def _logs(data: PageData, state: ViewState) -> QueryResult[list[LogRecord]]:
    async def query() -> list[LogRecord]:
        now = time.time()
        return await data.backends.logs(
            now - RANGE_S,
            now,
            service=state.service,
            severity=state.severity,
            text=state.text,
            limit=MAX_LOGS,
        )

    return await data.cache.get(("all_logs", state.service, state.severity, state.text), query)
