"""Searches the local store's file for requests: by service, failure, duration and more."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from three_pillar_demo.query import sqlite_rows
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.interface import FoundRequest, RequestFilter, Span, failure_of
from three_pillar_demo.query.local_arrivals import IS_REQUEST, MAX_ROWS_SCANNED
from three_pillar_demo.query.sqlite_reader import SqliteReader

ROWS_SCANNED = (5_000, 50_000, MAX_ROWS_SCANNED)
"""The numbers of spans, the newest ones, that are searched one after the other.

The search ends with the first number of spans that has enough requests, so the newest fifty of a
million spans are found in some milliseconds.
"""
MAX_FAILED_SPANS = 2_000
"""The number of failed spans, of all requests in the list, that are examined for the reason."""
VALUE_AS_TEXT = """CASE type WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'
ELSE CAST(value AS TEXT) END"""
"""The SQL expression for the text of a value of ``json_each``, which has no booleans."""


async def search_requests(
    reader: SqliteReader, start: float, end: float, wanted: RequestFilter, limit: int
) -> list[FoundRequest]:
    """Return the newest ``limit`` requests that ``wanted`` describes, newest first."""
    conditions, parameters = _conditions(wanted)
    parameters |= {"start": nanoseconds(start), "end": nanoseconds(end), "limit": limit}
    rows: list[Any] = []
    for parameters["scanned"] in ROWS_SCANNED:
        rows = await reader.fetch(
            f"{sqlite_rows.SELECT_SPANS} WHERE {' AND '.join(conditions)} "
            "ORDER BY span.start + span.duration DESC, span.rowid DESC LIMIT :limit",
            parameters,
        )
        if len(rows) == limit:
            break
    spans = [sqlite_rows.to_span(row) for row in rows]
    services = await _services(reader, spans)
    failures = await _failures(reader, spans)
    return [
        FoundRequest(
            span,
            services.get(span.trace_id, ()),
            _failure(span, failures.get(span.trace_id, [])),
        )
        for span in spans
    ]


def _conditions(wanted: RequestFilter) -> tuple[list[str], dict[str, Any]]:
    """Return the SQL conditions for the requests that are wanted, and their parameters."""
    conditions = [
        IS_REQUEST,
        "span.rowid > (SELECT max(rowid) - :scanned FROM span)",
        "span.start BETWEEN :start AND :end",
    ]
    parameters: dict[str, Any] = {}
    if wanted.service:
        conditions.append("service = :service")
        parameters["service"] = wanted.service
    if wanted.failed:
        conditions.append(f"status = {sqlite_rows.STATUS_ERROR}")
    if wanted.slower_than > 0:
        conditions.append("duration > :slower_than")
        parameters["slower_than"] = nanoseconds(wanted.slower_than)
    if wanted.ended_before:
        conditions.append("span.start + duration < :ended_before")
        parameters["ended_before"] = wanted.ended_before
    if wanted.text:
        conditions.append(
            "instr(lower(name || char(10) || message || char(10) || attributes), lower(:text))"
        )
        parameters["text"] = wanted.text
    for number, (name, value) in enumerate(wanted.attributes):
        conditions.append(_attribute_condition(number))
        parameters |= {
            f"name_{number}": name,
            # As the store writes it: the search for the name comes before the JSON is parsed.
            f"json_{number}": json.dumps(name, ensure_ascii=False),
            f"value_{number}": value,
        }
    return conditions, parameters


def _attribute_condition(number: int) -> str:
    """Return the SQL condition for the attribute with this number, of the span or its resource."""
    alternatives = [
        f"(instr({column}, :json_{number}) AND EXISTS (SELECT 1 FROM json_each({column}) "  # noqa: S608  (of constants)
        f"WHERE key = :name_{number} AND {VALUE_AS_TEXT} = :value_{number}))"
        for column in ("attributes", "resource")
    ]
    return f"({' OR '.join(alternatives)})"


async def _services(reader: SqliteReader, spans: Sequence[Span]) -> dict[str, tuple[str, ...]]:
    """Return the names of the services in the traces of ``spans``, by trace id."""
    trace_ids = _ids(spans)
    rows = await reader.fetch(
        "SELECT DISTINCT trace_id, service FROM span JOIN source ON source.id = span.source "  # noqa: S608  (of constants)
        f"WHERE trace_id IN ({_placeholders(trace_ids)})",
        trace_ids,
    )
    services = defaultdict[str, set[str]](set)
    for trace_id, service in rows:
        services[trace_id.hex()].add(service)
    return {trace_id: tuple(sorted(names)) for trace_id, names in services.items()}


async def _failures(reader: SqliteReader, spans: Sequence[Span]) -> dict[str, list[Span]]:
    """Return the spans that say why failed requests have failed, by trace id, last start first."""
    trace_ids = _ids([span for span in spans if span.error])
    rows = await reader.fetch(
        f"{sqlite_rows.SELECT_SPANS} WHERE trace_id IN ({_placeholders(trace_ids)}) "
        f"AND status = {sqlite_rows.STATUS_ERROR} ORDER BY start DESC, span.rowid DESC LIMIT ?",
        (*trace_ids, MAX_FAILED_SPANS),
    )
    failures = defaultdict[str, list[Span]](list)
    for row in rows:
        span = sqlite_rows.to_span(row)
        if failure_of(span):
            failures[span.trace_id].append(span)
    return dict(failures)


def _failure(request: Span, failures: Sequence[Span]) -> str:
    """Return why a request has failed; a span that began before it cannot be the cause."""
    causes = [failure_of(span) for span in failures if span.start >= request.start]
    return causes[0] if request.error and causes else ""


def _ids(spans: Sequence[Span]) -> tuple[bytes, ...]:
    return tuple({sqlite_rows.id_bytes(span.trace_id) for span in spans})


def _placeholders(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
