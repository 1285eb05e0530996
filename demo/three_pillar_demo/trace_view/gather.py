"""Gathers one trace from the three backends, and waits a limited time until it is complete."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from three_pillar_demo.query.interface import (
    NANO,
    RETENTION_S,
    BackendError,
    Backends,
    Exemplar,
    LogRecord,
    distinct_spans,
)
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.completeness import (
    counted,
    has_all_exemplars,
    missing_logs,
    missing_spans,
)
from three_pillar_demo.trace_view.known_senders import known_senders
from three_pillar_demo.trace_view.view import TraceView

TIMEOUT_S = 10.0
"""How long to wait for a trace and its missing parts, in seconds."""
COMPLETE_AFTER_S = 6.0
"""The age of a trace, in seconds, from which its missing parts are no longer awaited.

The age counts from the end of the last span. An export takes up to 1 s. When payment answers too
late, payment's span takes another second.
"""
SEARCH_TIMEOUT_S = 6.0
"""How long to search for a failed request, in seconds.

In Tempo, a search finds a trace 2 to 4 s after its end (config/tempo.yaml).
"""
EXEMPLARS_AFTER_S = 4.0
"""The age of a trace, in seconds, from which its exemplars are no longer awaited.

The age counts from the end of the last span. Metrics are exported every second.
"""
POLL_INTERVAL_S = 0.5
"""The pause between two queries, in seconds."""
LOG_MARGIN_S = 60
"""How much the search for log records is extended before and after the trace, in seconds.

If the spans of a service are lost, its log records can be older or newer than all other spans.
"""
AHEAD_S = 24 * 3600
"""How far ahead of this machine's clock, in seconds, ``--last-error`` searches for a failure."""
SEARCH_RANGE_S = 3600
"""How far back ``--last-error`` searches for a failure, in seconds."""
MAX_MISSING = 5
"""The number of different missing parts that are named; of a large trace, there may be hundreds."""

ReportWait = Callable[[str], None]
"""A function that is called before each pause, with a description of what is awaited."""


class NotFoundError(Exception):
    """The backends answer, but do not have the trace; the text says what to do."""


async def newest_failure(backends: Backends, report_wait: ReportWait) -> str:
    """Return the trace id of the newest failed request of any service in the past hour.

    One that is dated ahead of this machine's clock counts only if there is no other: it would be
    the newest one for long, whatever fails meanwhile.

    Raises:
        NotFoundError: The trace store had no failed request within ``SEARCH_TIMEOUT_S``.
        BackendError: The trace store cannot be queried.
    """
    started = time.monotonic()
    while True:
        now = time.time()
        start = now - SEARCH_RANGE_S
        for end in (now, now + AHEAD_S):
            requests = await backends.request_spans(start, end, failed=True, limit=1)
            if requests:
                return requests[0].trace_id
        if time.monotonic() - started >= SEARCH_TIMEOUT_S:
            raise NotFoundError(
                "no request of any service failed in the last hour. To make one in the shop: "
                "demo checkout --card gateway-timeout"
            )
        report_wait(f"{backends.names['traces']} to find a failed request")
        await asyncio.sleep(POLL_INTERVAL_S)


async def gather(backends: Backends, trace_id: str, report_wait: ReportWait) -> TraceView:
    """Query traces, logs and metrics until the trace is complete or its missing parts are overdue.

    A remark in the result says which parts are missing.

    Raises:
        NotFoundError: There is no such trace after ``TIMEOUT_S`` seconds.
        BackendError: The trace store cannot be queried.
    """
    started = time.monotonic()
    while True:
        view, missing = await fetch(backends, trace_id)
        timed_out = time.monotonic() - started >= TIMEOUT_S
        if not view.spans and timed_out:
            view = await _logs_alone(backends, trace_id)
            if view.logs:
                return view
            raise NotFoundError(
                f"{backends.names['traces']} does not have trace {trace_id}, "
                f"even after {TIMEOUT_S:g} s. Is it this stack's, and younger than two days? "
                f"What may hold it back: demo status, demo logs {backends.components['traces']}"
            )
        age = _seconds_since_end(view)
        if missing and not timed_out and age < COMPLETE_AFTER_S:
            report_wait(missing[0])
        elif timed_out or age >= EXEMPLARS_AFTER_S or has_all_exemplars(view):
            return with_missing_remark(view, missing)
        else:
            report_wait(f"{backends.names['metrics']} to have an exemplar of it")
        await asyncio.sleep(POLL_INTERVAL_S)


def _seconds_since_end(view: TraceView) -> float:
    """Return the seconds since the last span of ``view`` ended.

    A trace without spans counts as ending now, so the result is about 0.
    """
    end = max((span.end for span in view.spans), default=time.time_ns())
    return time.time() - end / NANO


def with_missing_remark(view: TraceView, missing: list[str]) -> TraceView:
    """Return ``view`` with a remark that names the ``missing`` parts, if there are any."""
    if not missing:
        return view
    parts = ", ".join(missing)
    remark = f"not received: {parts}. It may be late, or never sent: follow this trace again"
    return replace(view, remarks=(*view.remarks, remark))


async def _logs_alone(backends: Backends, trace_id: str) -> TraceView:
    """Return the log records of a trace that has no spans, because its services send none."""
    now = time.time()
    logs = await backends.trace_logs(trace_id, now - RETENTION_S, now + LOG_MARGIN_S)
    remark = f"{backends.names['traces']} has no span of this trace, only log lines have arrived"
    return TraceView(trace_id, [], logs, [], (remark,))


async def fetch(backends: Backends, trace_id: str) -> tuple[TraceView, list[str]]:
    """Query traces, logs and metrics once; return the trace and descriptions of missing parts.

    If log records or exemplars cannot be queried, a remark in the returned trace says why.

    Raises:
        BackendError: The trace store cannot be queried.
    """
    stored_spans = await backends.trace(trace_id)
    spans = distinct_spans(stored_spans)
    if not spans:
        return TraceView(trace_id, [], [], []), [f"{backends.names['traces']} to have the trace"]
    # A span may end before its start, or have no end, when its sender's clock was set.
    start = min(min(span.start, span.end) for span in spans) / NANO
    end = max(max(span.start, span.end) for span in spans) / NANO
    is_young = time.time() - end < COMPLETE_AFTER_S
    remarks: list[str] = []
    if repeated_count := len(stored_spans) - len(spans):
        store = backends.names["traces"]
        repetitions = "1 repetition" if repeated_count == 1 else f"{repeated_count} repetitions"
        remarks.append(
            f"{store} also has {repetitions} of these spans: a batch was delivered more than once"
        )
    logs: list[LogRecord] = []
    exemplars: list[Exemplar] = []
    try:
        logs = await backends.trace_logs(trace_id, start - LOG_MARGIN_S, end + LOG_MARGIN_S)
        logs_are_known = True
    except BackendError as error:
        logs_are_known = False
        remarks.append(f"no log lines, because {printable(error)}")
    try:
        exemplars = [
            exemplar
            for exemplar in await backends.exemplars(start - 1, end + 1)
            if exemplar.trace_id == trace_id
        ]
    except BackendError as error:
        remarks.append(f"no exemplars, because {printable(error)}")
    known = await known_senders(backends, spans, logs)
    missing = list(missing_spans(spans, known, still_arriving=is_young))
    if logs_are_known:
        missing.extend(missing_logs(spans, logs, known))
    view = TraceView(trace_id, spans, logs, exemplars, tuple(remarks))
    return view, counted(missing, MAX_MISSING)
