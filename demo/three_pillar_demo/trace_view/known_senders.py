"""Finds out what the services of a trace have sent before, with a bounded number of queries.

A call or a request that lacks nothing needs no query.
"""

import time
from collections.abc import Sequence

from three_pillar_demo.query.interface import NANO, BackendError, Backends, LogRecord, Span
from three_pillar_demo.trace_view.completeness import (
    KnownSenders,
    answered_addresses,
    called_services,
    lacks_canonical_record,
    unmatched_calls,
)
from three_pillar_demo.trace_view.view import is_canonical

SEARCH_RANGE_S = 3600.0
"""How far before the trace the search begins, in seconds."""
MAX_LOOKUPS = 3
"""The number of services, and of traces for each calling service, that are queried at most."""


async def known_senders(
    backends: Backends, spans: Sequence[Span], logs: Sequence[LogRecord]
) -> KnownSenders:
    """Return what is known about the services that seem to lack something in a trace.

    What cannot be queried is not known.
    """
    start = min(span.start for span in spans) / NANO - SEARCH_RANGE_S
    try:
        return KnownSenders(
            await _with_canonical(backends, start, spans, logs),
            await _with_spans(backends, start, spans),
            await _addresses(backends, start, spans),
        )
    except BackendError:
        return KnownSenders()


async def _with_canonical(
    backends: Backends, start: float, spans: Sequence[Span], logs: Sequence[LogRecord]
) -> frozenset[str]:
    in_trace = {record.service for record in logs if is_canonical(record)}
    lacking = dict.fromkeys(span.service for span in lacks_canonical_record(spans, logs))
    found = set()
    for service in [name for name in lacking if name not in in_trace][:MAX_LOOKUPS]:
        records = await backends.logs(start, time.time(), service=service, canonical=True, limit=1)
        if any(record.service == service for record in records):
            found.add(service)
    return frozenset(found)


async def _with_spans(backends: Backends, start: float, spans: Sequence[Span]) -> frozenset[str]:
    names = {name for call in unmatched_calls(spans) for name in called_services(call)}
    unknown = sorted(names - {span.service for span in spans})[:MAX_LOOKUPS]
    found = set()
    for service in unknown:
        requests = await backends.request_spans(start, time.time(), service=service, limit=1)
        if any(span.service == service for span in requests):
            found.add(service)
    return frozenset(found)


async def _addresses(backends: Backends, start: float, spans: Sequence[Span]) -> frozenset[str]:
    """Return the addresses at which earlier calls of the same services were answered.

    The newest requests of the calling services are read for that.
    """
    found = set[str]()
    callers = dict.fromkeys(call.service for call in unmatched_calls(spans))
    for caller in list(callers)[:MAX_LOOKUPS]:
        trace_ids = await backends.requests(caller, start, time.time(), limit=MAX_LOOKUPS)
        for trace_id in dict.fromkeys(trace_ids):
            found |= answered_addresses(await backends.trace(trace_id))
    return frozenset(found)
