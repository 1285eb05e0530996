"""The command ``demo follow``: prints one trace, and waits a limited time until it is complete."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import (
    NANO,
    BackendError,
    Backends,
    Exemplar,
    LogRecord,
)
from three_pillar_demo.terminal import printable, progress_messages
from three_pillar_demo.trace_view.completeness import (
    has_all_exemplars,
    missing_logs,
    missing_spans,
)
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.view import TraceView

TIMEOUT_S = 10.0
"""How long to wait for a trace and its missing parts, in seconds."""
COMPLETE_AFTER_S = 6.0
"""The age of a trace, in seconds, from which its missing parts are no longer awaited.

The age counts from the end of the last span. An export takes up to 1 s. When payment answers too
late, payment's span takes another second.
"""
SEARCH_TIMEOUT_S = 3.0
"""How long to search for a failed request, in seconds.

A trace can be found 1 to 2 s after its end.
"""
EXEMPLARS_AFTER_S = 4.0
"""The age of a trace, in seconds, from which its exemplars are no longer awaited.

The age counts from the end of the last span. Metrics are exported every second.
"""
POLL_INTERVAL_S = 0.5
"""The pause between two queries, in seconds."""
OLD_FAILURE_S = 60.0
"""If the newest failure is older than this, in seconds, ``demo follow`` prints its age.

The user may have meant a newer failure, which is not stored yet.
"""
LOG_MARGIN_S = 60
"""How much the search for log records is extended before and after the trace, in seconds.

If the spans of a service are lost, its log records can be older or newer than all other spans.
"""
SEARCH_RANGE_S = 3600
"""How far back ``--last-error`` searches for a failure, in seconds."""

TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?", re.IGNORECASE)
"""The pattern of a trace id, alone or in a ``traceresponse`` header."""

ReportWait = Callable[[str], None]
"""A function that is called before each pause, with a description of what is awaited."""


class NotFoundError(Exception):
    """The backends answer, but do not have the trace; the text says what to do."""


async def follow(trace_id: str | None = None, *, last_error: bool = False) -> int:
    """Print one trace with its log records and exemplars.

    Args:
        trace_id: The id of the trace, or a ``traceresponse`` header that contains it.
        last_error: Whether to print the trace of checkout's newest failed request in the past hour
            instead. Exactly one of ``trace_id`` and ``last_error`` must be given.

    Returns:
        The exit code: 0 when the trace was printed, 1 when there is no such trace or a backend
        does not answer, 2 when the arguments are invalid.
    """
    out = Console(highlight=False)
    err = Console(stderr=True, highlight=False)
    if (trace_id is None) != last_error:
        return _fail(
            err, 2, "which trace? Type one of: demo follow TRACE_ID, demo follow --last-error"
        )
    try:
        parsed_id = None if trace_id is None else parse_trace_id(trace_id)
    except ValueError as error:
        return _fail(err, 2, str(error))
    try:
        view = await _gather_with_progress(parsed_id, err)
    except (NotFoundError, BackendError) as error:
        return _fail(err, 1, str(error))
    if last_error:
        _print_age_if_old(view, err)
    out.print(Drawing(view))
    return 0


async def _gather_with_progress(trace_id: str | None, err: Console) -> TraceView:
    """Wait for a trace and return it; show on ``err`` (standard error) what is awaited.

    If ``trace_id`` is None, the trace is that of checkout's newest failed request.
    """
    with progress_messages(err) as report_progress:
        async with connect.create_backends() as backends:

            def report_wait(reason: str) -> None:
                report_progress(f"waiting for {reason}")

            if trace_id is None:
                trace_id = await newest_failure(backends, report_wait)
            return await gather(backends, trace_id, report_wait)


def _print_age_if_old(view: TraceView, err: Console) -> None:
    age = time.time() - min(span.start for span in view.spans) / NANO
    if age > OLD_FAILURE_S:
        err.print(f"The newest failure is {age / 60:.0f} min old.", style="dim")


def _fail(err: Console, exit_code: int, reason: str) -> int:
    err.print(Text.assemble(("demo follow: ", "red"), printable(reason, 600)), soft_wrap=True)
    return exit_code


def parse_trace_id(text: str) -> str:
    """Return the trace id in ``text``, as 32 lower-case hex digits.

    ``text`` is a trace id or a ``traceresponse`` header.

    Raises:
        ValueError: ``text`` is something else; the message says what to type.
    """
    match = TRACE_ID.fullmatch(text.strip())
    if not match or not int(match[1], 16):
        raise ValueError(
            f"invalid trace id {printable(text, 60)!r}: it has 32 hex digits, like the trace_id "
            "in every answer of checkout. To get one: demo checkout. "
            "To follow the last failure: demo follow --last-error"
        )
    return match[1].lower()


async def newest_failure(backends: Backends, report_wait: ReportWait) -> str:
    """Return the trace id of checkout's newest failed request in the past hour.

    Raises:
        NotFoundError: The trace store had no failed request within ``SEARCH_TIMEOUT_S``.
        BackendError: The trace store cannot be queried.
    """
    started = time.monotonic()
    while True:
        now = time.time()
        trace_ids = await backends.requests("checkout", now - SEARCH_RANGE_S, now, failed=True)
        if trace_ids:
            return trace_ids[0]
        if time.monotonic() - started >= SEARCH_TIMEOUT_S:
            raise NotFoundError(
                "checkout had no failure in the last hour. "
                "To make one: demo checkout --card gateway-timeout"
            )
        report_wait(f"{backends.names['traces']} to find a failed checkout")
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
            raise NotFoundError(
                f"{backends.names['traces']} does not have trace {trace_id}, "
                f"even after {TIMEOUT_S:g} s. Is it this stack's, and younger than two days? "
                f"What may hold it back: demo status, demo logs {backends.components['traces']}"
            )
        age = _seconds_since_end(view)
        if missing and not timed_out and age < COMPLETE_AFTER_S:
            report_wait(missing[0])
        elif timed_out or age >= EXEMPLARS_AFTER_S or has_all_exemplars(view):
            return _with_missing_remark(view, missing)
        else:
            report_wait(f"{backends.names['metrics']} to have an exemplar of it")
        await asyncio.sleep(POLL_INTERVAL_S)


def _seconds_since_end(view: TraceView) -> float:
    """Return the seconds since the last span of ``view`` ended.

    A trace without spans counts as ending now, so the result is about 0.
    """
    end = max((span.end for span in view.spans), default=time.time_ns())
    return time.time() - end / NANO


def _with_missing_remark(view: TraceView, missing: list[str]) -> TraceView:
    if not missing:
        return view
    remark = f"missing: {', '.join(missing)}. It may be late: follow this trace again"
    return replace(view, remarks=(*view.remarks, remark))


async def fetch(backends: Backends, trace_id: str) -> tuple[TraceView, list[str]]:
    """Query traces, logs and metrics once; return the trace and a description of each missing part.

    If log records or exemplars cannot be queried, a remark in the returned trace says why.

    Raises:
        BackendError: The trace store cannot be queried.
    """
    spans = await backends.trace(trace_id)
    if not spans:
        return TraceView(trace_id, [], [], []), [f"{backends.names['traces']} to have the trace"]
    start = min(span.start for span in spans) / NANO
    end = max(span.end for span in spans) / NANO
    missing = list(missing_spans(spans))
    remarks: list[str] = []
    logs: list[LogRecord] = []
    exemplars: list[Exemplar] = []
    try:
        logs = await backends.trace_logs(trace_id, start - LOG_MARGIN_S, end + LOG_MARGIN_S)
        missing.extend(missing_logs(spans, logs))
    except BackendError as error:
        remarks.append(f"no log lines, because {printable(error)}")
    try:
        exemplars = [
            exemplar
            for exemplar in await backends.exemplars(start - 1, end + 1)
            if exemplar.trace_id == trace_id
        ]
    except BackendError as error:
        remarks.append(f"no exemplars, because {printable(error)}")
    return TraceView(trace_id, spans, logs, exemplars, tuple(remarks)), missing
