"""Finds out why a request failed, in half a sentence, with a bounded number of queries."""

from three_pillar_demo.query.interface import NANO, Arrival, BackendError, Backends, Span
from three_pillar_demo.trace_view.explanation import failure_reason, failures
from three_pillar_demo.trace_view.view import TraceView

MAX_LOOKUPS = 5
"""The number of traces that are queried for the requests of one poll; the rest get no reason."""
MARGIN_S = 60.0
"""How much the search for log records is extended before and after the request, in seconds."""


async def reasons(backends: Backends, arrivals: list[Arrival]) -> list[str]:
    """Return why each of ``arrivals`` failed: "" for a log record, and where it is not known.

    A reason that the span of the request records itself needs no query.
    """
    found: list[str] = []
    lookups = 0
    for arrival in arrivals:
        reason = ""
        if isinstance(arrival, Span) and arrival.error:
            own = failures(arrival)
            if own:
                reason = own[0]
            elif lookups < MAX_LOOKUPS:
                lookups += 1
                reason = await _reason_in_trace(backends, arrival)
        found.append(reason)
    return found


async def _reason_in_trace(backends: Backends, request: Span) -> str:
    try:
        spans = await backends.trace(request.trace_id)
        start, end = sorted((request.start / NANO, request.end / NANO))
        logs = await backends.trace_logs(request.trace_id, start - MARGIN_S, end + MARGIN_S)
    except BackendError:
        return ""
    return failure_reason(TraceView(request.trace_id, spans, logs, []), request)
