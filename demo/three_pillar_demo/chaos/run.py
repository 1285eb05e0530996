"""The command ``demo rehearse``: selects rehearsals, runs them one after the other, judges each."""

import asyncio
import io
import signal
from collections.abc import Callable, Sequence

from rich.console import Console

from three_pillar_demo.chaos.judge import judge
from three_pillar_demo.chaos.plan import BY_NAME, REHEARSALS, Context, Rehearsal
from three_pillar_demo.chaos.report import Results
from three_pillar_demo.chaos.runner import RehearsalRun
from three_pillar_demo.query import connect
from three_pillar_demo.stack import background, components, state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import progress_messages


def select_rehearsals(name: str | None, mode: str, *, long: bool) -> list[Rehearsal]:
    """Return the rehearsal ``name``; if it is None, all rehearsals that can run.

    A rehearsal can run if it supports the stack's ``mode``. If ``long`` is false, it must also have
    a short form.

    Raises:
        LaunchError: There is no rehearsal ``name``, or it cannot run in this mode or form.
    """
    available = [
        rehearsal
        for rehearsal in REHEARSALS
        if mode in rehearsal.modes and (long or rehearsal.short)
    ]
    if name is None:
        return available
    if name not in BY_NAME:
        raise LaunchError(f"there is no rehearsal {name!r}; there are: {', '.join(BY_NAME)}")
    rehearsal = BY_NAME[name]
    if mode not in rehearsal.modes:
        raise LaunchError(f"{name} needs another mode: {_how_to_start(rehearsal)} starts it")
    if rehearsal not in available:
        raise LaunchError(f"{name} has a long form only: add --long")
    return [rehearsal]


def _how_to_start(rehearsal: Rehearsal) -> str:
    """Return the command that starts a stack on which ``rehearsal`` can run."""
    options = " ".join(background.COMMANDS[rehearsal.modes[0]])
    return f"`demo {options} --detach`"


def rehearse(name: str | None, err: Console, *, long: bool) -> Results:
    """Run the rehearsal ``name``, or without a name all rehearsals, and return the results.

    ``long`` selects the long form of each rehearsal. The rehearsals use the running stack. If no
    stack is running, a local stack is started, and stopped afterwards.

    Raises:
        LaunchError: The stack cannot be used or started, there is no such rehearsal, or the
            rehearsal cannot run in this mode or form.
        KeyboardInterrupt: Ctrl-C or another signal ended the run. The fault has been removed.
    """
    run = state.running()
    if run and not run.ready:
        raise LaunchError("the stack is still starting: `demo status` says when it is ready")
    if run and run.on_purpose:
        names = ", ".join(run.on_purpose)
        raise LaunchError(f"stopped on purpose: {names}; run `demo start NAME` first")
    mode = state.mode() or components.DEFAULT
    rehearsals = select_rehearsals(name, mode, long=long)
    if run is None:
        _start_stack(mode, err)
    try:
        return asyncio.run(_run_until_signalled(rehearsals, mode, err, long=long))
    finally:
        if run is None:
            background.stop(Console(file=io.StringIO()))


def _start_stack(mode: str, err: Console) -> None:
    """Start the stack in the background; print the launcher's output only if the start fails."""
    err.print("starting a local stack for the rehearsal", style="dim")
    output = io.StringIO()
    try:
        background.start(Console(file=output, width=err.width), mode)
    except LaunchError:
        err.print(output.getvalue(), markup=False)
        raise


async def _run_until_signalled(
    rehearsals: Sequence[Rehearsal], mode: str, err: Console, *, long: bool
) -> Results:
    """Run the rehearsals; SIGINT, SIGTERM and SIGHUP cancel them and raise KeyboardInterrupt."""
    task = asyncio.current_task()
    assert task  # noqa: S101  (this coroutine runs in one)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with progress_messages(err) as report_progress:
            return await _run_all(rehearsals, mode, report_progress, long=long)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _run_all(
    rehearsals: Sequence[Rehearsal],
    mode: str,
    report_progress: Callable[[str], None],
    *,
    long: bool,
) -> Results:
    """Run and judge the rehearsals one after the other; end early if the whole stack stops."""
    results: Results = []
    async with connect.create_backends() as backends:
        for rehearsal in rehearsals:
            amount = rehearsal.long if long else rehearsal.short
            context = Context(mode, backends)
            observed = await RehearsalRun(rehearsal, amount, context, report_progress).run()
            results.append((observed, judge(observed, rehearsal.expectation)))
            if state.running() is None:
                # The whole stack has stopped; the last result says why.
                break
    return results
