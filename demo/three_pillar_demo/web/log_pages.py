"""The pages of log records: the list of all, and one for each record with all that it has."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from three_pillar_demo.query.interface import LogRecord
from three_pillar_demo.query.loki_records import RECORD_FIELDS
from three_pillar_demo.web import log_list
from three_pillar_demo.web.clock_ahead import MAX_AHEAD_S
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.log_list import MAX_RECORDS, RANGE_S
from three_pillar_demo.web.log_row import LogRow, log_row
from three_pillar_demo.web.rendering import Render
from three_pillar_demo.web.sections import STACK_TRACES, without_stack_trace
from three_pillar_demo.web.view_state import ViewState
from three_pillar_demo.web.waterfall import sorted_pairs
from three_pillar_demo.web.waterfall_row import Pairs


@dataclass(frozen=True)
class RecordDetails:
    """All that a log record has, besides its body and its ids.

    Attributes:
        attributes: The names and values of its attributes, sorted.
        are_mixed: Whether these include the attributes of the resource and the scope, which Loki
            keeps in one list.
        stack_trace: The stack trace among its attributes; empty if it has none.
        resource: The attributes of its resource.
        scope: The attributes of its scope.
        origin: The name and value of everything else that is known.
    """

    attributes: Pairs
    are_mixed: bool
    stack_trace: str
    resource: Pairs = field(default_factory=list)
    scope: Pairs = field(default_factory=list)
    origin: Pairs = field(default_factory=list)


class LogPages:
    """The handlers of the pages of log records."""

    def __init__(self, data: PageData, render: Render) -> None:
        self.data = data
        self.render = render

    async def logs(self, request: Request) -> Response:
        """Answer ``GET /logs`` with the log records that match the filters of the address."""
        state = ViewState.parse(request.query_params)
        health, logs, service_names = await asyncio.gather(
            self.data.health(),
            log_list.query_logs(self.data, state, RANGE_S, MAX_AHEAD_S, MAX_RECORDS),
            log_list.service_names(self.data),
        )
        names = {state.service, *service_names, *(record.service for record in logs.value or [])}
        rows = [log_row(record) for record in logs.value or []]
        return self.render(
            "log_page.html",
            state=state,
            health=health,
            logs=logs,
            rows=rows,
            service_classes=self.data.colours.of(row.record.service for row in rows),
            older=log_list.older(state, logs),
            service_names=sorted(name for name in names if name and name.isprintable()),
            search_limit=self._search_limit(state, rows),
        )

    async def record(self, request: Request, key: str) -> Response:
        """Answer ``GET /logs/{key}`` with all that one log record has."""
        state = ViewState.parse(request.query_params)
        health, result = await asyncio.gather(
            self.data.health(), log_list.find_record(self.data, key)
        )
        row = result.value
        is_unknown = row is None and not result.error
        return self.render(
            "log_record.html",
            HTTPStatus.NOT_FOUND if is_unknown else HTTPStatus.OK,
            state=state,
            health=health,
            row=row,
            error=result.error,
            details=record_details(row.record) if row else None,
        )

    async def span_row(self, request: Request, trace_id: str, span_id: str) -> Response:
        """Answer ``GET /trace/{trace_id}/span/{span_id}``: redirect to the row of the span.

        A span that is not stored, or not drawn, leads to the top of the page of its trace.
        """
        state = ViewState.parse(request.query_params)
        result = await self.data.trace_page(trace_id.lower())
        keys = result.value.row_keys if result.value else {}
        fragment = f"#{keys[span_id]}" if span_id in keys else ""
        return RedirectResponse(
            f"/trace/{trace_id.lower()}{state.query()}{fragment}", HTTPStatus.SEE_OTHER
        )

    def _search_limit(self, state: ViewState, rows: list[LogRow]) -> str:
        """Return what a search did not examine; "" if it found enough, or was for no text."""
        wanted = log_list.log_filter(state)
        is_search = (wanted.text and not wanted.trace_id) or wanted.attributes
        if not is_search or len(rows) == MAX_RECORDS:
            return ""
        return self.data.backends.log_search_limit


def record_details(record: LogRecord) -> RecordDetails:
    """Return what the page of a log record shows besides its body."""
    are_mixed = not record.attributes and not record.resource
    attributes: Mapping[str, Any] = record.attributes
    if are_mixed:
        attributes = {
            name: value for name, value in record.fields.items() if name not in RECORD_FIELDS
        }
    stack_traces = (str(attributes[name]) for name in STACK_TRACES if attributes.get(name))
    return RecordDetails(
        attributes=sorted_pairs(without_stack_trace(attributes)),
        are_mixed=are_mixed,
        stack_trace=next(stack_traces, "").strip("\n"),
        resource=sorted_pairs(record.resource),
        scope=sorted_pairs(record.scope.attributes),
        origin=_origin(record),
    )


def _origin(record: LogRecord) -> Pairs:
    """Return the names and values of the fields of a record that it has, besides its body."""
    scope = f"{record.scope.name} {record.scope.version}".strip()
    number = record.severity_number
    values = {
        "severity text": record.severity,
        "severity number": str(number) if number else "",
        "event name": record.event_name,
        "trace id": record.fields.get("trace_id", ""),
        "span id": record.fields.get("span_id", ""),
        "scope": scope,
        "dropped attributes": str(record.dropped_attributes or ""),
    }
    return [(name, value) for name, value in values.items() if value]
