"""Searches Tempo for requests: by service, failure, duration, attribute or text."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from three_pillar_demo.query.arrivals import time_of
from three_pillar_demo.query.interface import (
    NANO,
    FoundRequest,
    RequestFilter,
    Span,
    failure_of,
)
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.otlp_json import exception_text

MAX_SPANS_PER_TRACE = 100
"""The number of requests of one trace that a search returns; Tempo allows no more by default."""
SEARCH_LIMIT = (
    "Tempo finds a request that is dated ahead of its clock only when that time has come; the "
    "address of its trace leads to it before."
)
"""What ``Backends.request_search_limit`` says of Tempo, which searches up to now."""
LIMIT_FACTORS = (1, 4, 16)
"""The multiples of the limit that are searched for one after the other.

Tempo finds requests by their start, to the second. So some of those that it finds may have ended
after the end that is wanted, and more are needed.
"""
TRACE_ID_DIGITS = 32
SPAN_ID_DIGITS = 16
SELECTED = (
    "name, kind, status, statusMessage, resource.service.name, "
    "span.http.response.status_code, span.http.status_code, span.error.type"
)
"""What TraceQL's ``select`` adds to the ids and times of each span that is found."""
SELECTED_OF_FAILURES = f"{SELECTED}, event.exception.type, event.exception.message"
"""The same for spans whose failure is shown; of several exceptions, Tempo returns one."""
EXCEPTION = ("exception.type", "exception.message")
ABSENT = "nil"
"""The value that Tempo gives to a selected attribute that the span does not have."""
IS_REQUEST = "(kind=server || kind=consumer || nestedSetParent<0)"
"""The condition of TraceQL for a span of kind SERVER or CONSUMER, or without a parent."""
NUMBER = re.compile(r"-?\d+(\.\d+)?")
BOOLEANS = ("true", "false")


class TempoSearch(Protocol):
    """The query of Tempo that this module needs."""

    async def search(
        self, query: str, start: float, end: float, limit: int, spans_per_trace: int
    ) -> list[dict[str, Any]]:
        """Return the traces in a response of Tempo's search."""


async def search_requests(
    client: TempoSearch, start: float, end: float, wanted: RequestFilter, limit: int
) -> list[FoundRequest]:
    """Return the newest ``limit`` requests that ``wanted`` describes, newest first."""
    query = f"{traceql(wanted)} | select({SELECTED_OF_FAILURES}) with (most_recent=true)"
    if wanted.ended_before:
        end = min(end, wanted.ended_before / NANO)
    found: list[FoundRequest] = []
    for factor in LIMIT_FACTORS:
        traces = await client.search(query, start, end, limit * factor, MAX_SPANS_PER_TRACE)
        found = [
            FoundRequest(span, services)
            for trace in traces
            for services in [tuple(sorted(trace.get("serviceStats", {})))]
            for span in spans_of(trace)
            if not wanted.ended_before or span.end < wanted.ended_before
        ]
        if len(found) >= limit or len(traces) < limit * factor:
            break
    newest = sorted(found, key=lambda request: time_of(request.span), reverse=True)[:limit]
    return await _with_failures(client, newest)


async def _with_failures(client: TempoSearch, found: Sequence[FoundRequest]) -> list[FoundRequest]:
    """Return the requests that are ``found`` with the reason of each failed one.

    The failed spans of the same traces say it, and are searched once for all of them.
    """
    failed = [request.span for request in found if request.span.error]
    if not failed:
        return list(found)
    trace_ids = sorted({span.trace_id for span in failed})
    is_one_of_them = " || ".join(f"trace:id={quoted(trace_id)}" for trace_id in trace_ids)
    traces = await client.search(
        f"{{ status=error && ({is_one_of_them}) }} | select({SELECTED_OF_FAILURES})",
        min(span.start for span in failed) / NANO,
        max(span.end for span in failed) / NANO + 1,
        len(trace_ids),
        MAX_SPANS_PER_TRACE,
    )
    spans_by_trace = defaultdict[str, list[Span]](list)
    for trace in traces:
        for span in spans_of(trace):
            spans_by_trace[span.trace_id].append(span)
    return [
        replace(request, failure=_failure(request.span, spans_by_trace[request.span.trace_id]))
        for request in found
    ]


def _failure(request: Span, spans: Sequence[Span]) -> str:
    """Return why ``request`` failed: what the failed span that started last says."""
    if not request.error:
        return ""
    later = [span for span in (request, *spans) if span.start >= request.start]
    by_start = sorted(later, key=lambda span: span.start, reverse=True)
    return next((failure_of(span) for span in by_start if failure_of(span)), "")


def traceql(wanted: RequestFilter) -> str:
    """Return the TraceQL query for the requests that are wanted, without ``select``."""
    conditions = [IS_REQUEST]
    if wanted.service:
        conditions.append(f"resource.service.name={quoted(wanted.service)}")
    if wanted.failed:
        conditions.append("status=error")
    if wanted.slower_than > 0:
        conditions.append(f"duration>{wanted.slower_than * 1e6:.0f}us")
    if wanted.text:
        pattern = quoted(f"(?i).*{re.escape(wanted.text)}.*")
        conditions.append(f"(name=~{pattern} || statusMessage=~{pattern})")
    conditions += [_attribute_condition(name, value) for name, value in wanted.attributes]
    return f"{{ {' && '.join(conditions)} }}"


def _attribute_condition(name: str, value: str) -> str:
    """Return the condition for an attribute of the span or of its resource.

    TraceQL does not compare a number or a boolean with a text, so both are tried.
    """
    literals = [quoted(value)]
    if NUMBER.fullmatch(value) or value in BOOLEANS:
        literals.append(value)
    key = json.dumps(name, ensure_ascii=False)
    alternatives = [
        f"{scope}.{key}={literal}" for scope in ("span", "resource") for literal in literals
    ]
    return f"({' || '.join(alternatives)})"


def spans_of(trace: dict[str, Any]) -> list[Span]:
    """Return the spans of one trace in a response of Tempo's search."""
    trace_id = trace["traceID"].zfill(TRACE_ID_DIGITS)
    return [
        _span(trace_id, span)
        for span_set in trace.get("spanSets", [])
        for span in span_set.get("spans", [])
    ]


def _span(trace_id: str, found: dict[str, Any]) -> Span:
    """Convert a span of a response of Tempo's search, which has only the ``SELECTED`` attributes.

    The attributes of the span, of its resource and the intrinsic ones share one list.
    """
    selected = {
        attribute["key"]: next(iter(attribute["value"].values()), "")
        for attribute in found.get("attributes", [])
    }
    attributes = {name: value for name, value in selected.items() if value != ABSENT}
    exception = {name: attributes.pop(name) for name in EXCEPTION if name in attributes}
    start = int(found.get("startTimeUnixNano", 0))
    duration = int(found.get("durationNanos", 0))
    return Span(
        trace_id=trace_id,
        span_id=found["spanID"].zfill(SPAN_ID_DIGITS),
        parent_id="",
        service=str(attributes.pop("service.name", "")),
        name=str(found.get("name") or attributes.pop("name", "")),
        kind=_kind(str(attributes.pop("kind", "unspecified"))),
        start=start,
        # The duration of a span that ends before its start is below zero, which Tempo writes
        # without a sign.
        end=start + (duration - 2**64 if duration >= 2**63 else duration),
        error=attributes.pop("status", "") == "error",
        message=str(attributes.pop("statusMessage", "")),
        attributes=attributes,
        exceptions=(exception_text(exception),) if exception else (),
    )


def _kind(text: str) -> str:
    """Return the name of a kind, such as SERVER; for a kind without one, its number.

    Tempo writes such a kind as ``kind(99)``.
    """
    return text.removeprefix("kind(").removesuffix(")").upper()
