"""The command ``demo follow``: prints one trace, or hands it to a function that writes it."""

import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.text import Text

from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import NANO, BackendError, Backends
from three_pillar_demo.terminal import printable, progress_messages
from three_pillar_demo.trace_view.gather import NotFoundError, gather, newest_failure
from three_pillar_demo.trace_view.render import Drawing
from three_pillar_demo.trace_view.trace_ids import parse_trace_id
from three_pillar_demo.trace_view.view import TraceView

OLD_FAILURE_S = 60.0
"""If the newest failure is older than this, in seconds, ``demo follow`` prints its age.

The user may have meant a newer failure, which is not stored yet.
"""

Write = Callable[[Backends, TraceView], Awaitable[None]]
"""A function that writes a trace to files in place of the terminal; it may raise ``OSError``."""


async def follow(
    trace_id: str | None = None, *, last_error: bool = False, write: Write | None = None
) -> int:
    """Print one trace with its log records and exemplars, or pass it to ``write``.

    Args:
        trace_id: The id of the trace, or a text that contains it (see ``parse_trace_id``).
        last_error: Whether to print the trace of the newest failed request of any service in the
            past hour instead. Exactly one of ``trace_id`` and ``last_error`` must be given.
        write: What to do with the trace instead of printing it.

    Returns:
        The exit code: 0 when the trace was printed or written, 1 when there is no such trace, a
        backend does not answer or a file cannot be written, 2 when the arguments are invalid.
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
        async with connect.create_backends() as backends:
            view = await _gather_with_progress(backends, parsed_id, err)
            if write is not None:
                await write(backends, view)
    except (NotFoundError, BackendError, OSError) as error:
        return _fail(err, 1, str(error))
    if last_error:
        _print_age_if_old(view, err)
    if write is None:
        out.print(Drawing(view))
    return 0


async def _gather_with_progress(
    backends: Backends, trace_id: str | None, err: Console
) -> TraceView:
    """Wait for a trace and return it; show on ``err`` (standard error) what is awaited.

    If ``trace_id`` is None, the trace is that of the newest failed request.
    """
    with progress_messages(err) as report_progress:

        def report_wait(reason: str) -> None:
            report_progress(f"waiting for {reason}")

        if trace_id is None:
            trace_id = await newest_failure(backends, report_wait)
        return await gather(backends, trace_id, report_wait)


def _print_age_if_old(view: TraceView, err: Console) -> None:
    age = time.time() - view.start / NANO
    if age > OLD_FAILURE_S:
        err.print(f"The newest failure is {age / 60:.0f} min old.", style="dim")


def _fail(err: Console, exit_code: int, reason: str) -> int:
    err.print(Text.assemble(("demo follow: ", "red"), printable(reason, 600)), soft_wrap=True)
    return exit_code
