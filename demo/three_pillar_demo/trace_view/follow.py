"""Follows one trace through all three pillars; waits until it is whole, within limits."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
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
    Span,
)
from three_pillar_demo.terminal import printable, progress_messages
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.view import TraceView, is_canonical

PATIENCE = 10.0
"""Seconds to wait for anything at all."""
SETTLE = 6.0
"""Seconds after a trace's last span in which the rest of it may still come: exports take 1 s, a late payment another."""
SEARCH = 3.0
"""Seconds to wait for a failure to be found: a trace can be searched for 1 to 2 s after its end."""
EXPORT = 4.0
"""Seconds after which an exemplar has come or never will: metrics leave every second."""
POLL = 0.5
"""Seconds between two questions."""
AGE = 60.0
"""Seconds after which a failure may be another one than the person means."""
MARGIN = 60
"""Seconds of log lines to ask for on either side of the spans: a service whose spans are lost may still have lines."""

HOUR = 3600
UNREACHED = {"ConnectError", "ConnectTimeout"}
"""Errors of a call that never arrived, so nobody on the other side has a span."""

TRACE_ID = re.compile(r"(?:00-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?", re.IGNORECASE)
"""A trace id, alone or in a ``traceresponse`` header."""


class NotThereError(Exception):
    """The backends answer, but do not have what is asked for."""


async def follow(trace_id: str | None = None, *, last_error: bool = False) -> int:
    """Print one trace with its log lines and exemplars: ``trace_id``, or checkout's last failure of the past hour.

    Returns:
        The exit code: 0 when it was shown, 1 when it or a backend is not there, 2 when asked wrongly.
    """
    out, err = Console(highlight=False), Console(stderr=True, highlight=False)
    if (trace_id is None) != last_error:
        return _refuse(
            err, 2, "which trace? Type one of: demo follow TRACE_ID, demo follow --last-error"
        )
    try:
        wanted = None if trace_id is None else parse_trace_id(trace_id)
    except ValueError as error:
        return _refuse(err, 2, str(error))
    try:
        with progress_messages(err) as told:
            async with connect.backends() as backends:

                def say(reason: str) -> None:
                    told(f"waiting for {reason}")

                story = await gather(backends, wanted or await newest_failure(backends, say), say)
    except (NotThereError, BackendError) as error:
        return _refuse(err, 1, str(error))
    if last_error and (age := time.time() - min(span.start for span in story.spans) / NANO) > AGE:
        err.print(f"The newest failure is {age / 60:.0f} min old.", style="dim")
    out.print(Drawing(story))
    return 0


def _refuse(err: Console, code: int, reason: str) -> int:
    err.print(Text.assemble(("demo follow: ", "red"), printable(reason, 600)), soft_wrap=True)
    return code


def parse_trace_id(text: str) -> str:
    """Return the id in its one spelling, 32 lower-case hex digits.

    Raises:
        ValueError: It is none; the message says what to type.
    """
    found = TRACE_ID.fullmatch(text.strip())
    if not found or not int(found[1], 16):
        raise ValueError(
            f"{printable(text, 60)!r} is no trace id: that is 32 hex digits, like the trace_id in every answer of checkout. "
            "To get one: demo checkout. To follow the last failure: demo follow --last-error"
        )
    return found[1].lower()


async def newest_failure(backends: Backends, say: Callable[[str], None]) -> str:
    """Ask for the trace id of checkout's last failure; ``say`` hears of a wait.

    Raises:
        NotThereError: There was none in the past hour.
    """
    asked = time.monotonic()
    while True:
        now = time.time()
        if found := await backends.requests("checkout", now - HOUR, now, failed=True):
            return found[0]
        if time.monotonic() - asked >= SEARCH:
            raise NotThereError(
                "checkout had no failure in the last hour. To make one: demo checkout --card gateway-timeout"
            )
        say(f"{backends.names['traces']} to find a failed checkout")
        await asyncio.sleep(POLL)


async def gather(backends: Backends, trace_id: str, say: Callable[[str], None]) -> TraceView:
    """Ask for all three pillars until the trace is whole, or nothing more can be expected; ``say`` hears what is awaited.

    Raises:
        NotThereError: There is no such trace, after ``PATIENCE`` seconds.
        BackendError: Traces cannot be asked for. Without lines or exemplars the story has a remark.
    """
    asked = time.monotonic()
    while True:
        story, awaited = await look(backends, trace_id)
        patient = time.monotonic() - asked < PATIENCE
        if not story.spans and not patient:
            raise NotThereError(
                f"{backends.names['traces']} does not have trace {trace_id}, even after {PATIENCE:g} s. "
                "Is it this stack's, and younger than two days? What may hold it back: demo status, "
                f"demo logs {backends.components['traces']}"
            )
        age = time.time() - max((span.end for span in story.spans), default=time.time_ns()) / NANO
        if awaited and patient and age < SETTLE:
            say(awaited[0])
        elif not patient or age >= EXPORT or _pointed_to(story):
            late = (
                [f"not here: {', '.join(awaited)}. If it is only late, ask again"]
                if awaited
                else []
            )
            return replace(story, remarks=(*story.remarks, *late))
        else:
            say(f"{backends.names['metrics']} to have an exemplar of it")
        await asyncio.sleep(POLL)


def _pointed_to(story: TraceView) -> bool:
    """Whether every service that answered has an exemplar of it."""
    return {span.service for span in story.spans if span.kind == "SERVER"} <= {
        each.labels.get("service_name", "") for each in story.exemplars
    }


async def look(backends: Backends, trace_id: str) -> tuple[TraceView, list[str]]:
    """What is there now, and what is still to come.

    Raises:
        BackendError: Traces cannot be asked for. Without lines or exemplars the story has a remark.
    """
    spans = await backends.trace(trace_id)
    if not spans:
        return TraceView(trace_id, [], [], []), [f"{backends.names['traces']} to have the trace"]
    start, end = min(span.start for span in spans) / NANO, max(span.end for span in spans) / NANO
    awaited, remarks = list(missing_spans(spans)), []
    lines: list[LogRecord] = []
    exemplars: list[Exemplar] = []
    try:
        lines = await backends.trace_logs(trace_id, start - MARGIN, end + MARGIN)
        awaited += missing_lines(spans, lines)
    except BackendError as error:
        remarks.append(f"no log lines, because {printable(error)}")
    try:
        found = await backends.exemplars(start - 1, end + 1)
        exemplars = [each for each in found if each.trace_id == trace_id]
    except BackendError as error:
        remarks.append(f"no exemplars, because {printable(error)}")
    return TraceView(trace_id, spans, lines, exemplars, tuple(remarks)), awaited


def missing_spans(spans: list[Span]) -> Iterator[str]:
    """The spans that must exist, because others point to them: parents, and the far side of each call that arrived."""
    known = {span.span_id for span in spans}
    called = {span.parent_id for span in spans}
    for span in spans:
        if span.parent_id and span.parent_id not in known:
            yield f"the parent of {span.service}'s span {span.name}"
        if (
            span.kind == "CLIENT"
            and span.span_id not in called
            and span.attributes.get("error.type") not in UNREACHED
        ):
            yield f"the span at the other end of {span.service}'s call to {span.attributes.get('url.full', 'another service')}"


def missing_lines(spans: list[Span], lines: list[LogRecord]) -> Iterator[str]:
    """The log lines that must exist: every request leaves one canonical line."""
    there = {line.fields.get("span_id") for line in lines if is_canonical(line)}
    for span in spans:
        if span.kind == "SERVER" and span.span_id not in there:
            yield f"{span.service}'s log line of {span.name}"
