"""Runs a drill for a person, in a process of its own.

Usage: ``python -m three_pillar_demo.drills.runner_process NAME NORMAL_OPERATION_SECONDS [blind]``
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress

from three_pillar_demo.drills import runner, session
from three_pillar_demo.drills.catalogue import Drill, DrillError, load
from three_pillar_demo.drills.choice import RATE_WINDOW_S
from three_pillar_demo.load.checkout_client import CheckoutError
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.stack import state

MAX_DURATION_S = 3600.0
"""Seconds after which a drill ends by itself if nobody has ended it."""
POLL_INTERVAL_S = 0.25
"""Seconds between two checks of the session file and of the stack."""
SHOWN_AFTER_S = 3.0
"""Seconds after which the web UI shows what a query has found: its charts have a point every 2 s,
and it is fetched every second.
"""


async def serve(drill: Drill, backends: Backends, normal_operation_s: float) -> None:
    """Run the drill until a person ends it, the stack stops, or ``MAX_DURATION_S`` have passed.

    The drill also ends if its symptom does not appear in time. Before the fault begins, the shop
    works normally for ``normal_operation_s`` seconds.
    """
    initial_stack = state.running()
    deadline = time.monotonic() + MAX_DURATION_S
    over = asyncio.Event()
    running = asyncio.create_task(play(drill, backends, normal_operation_s, over))
    try:
        while not running.done():
            current = session.latest()
            if current is None or current.outcome:
                over.set()
                if current is None or not current.paged_at:
                    # The task is not waiting for `over` yet, so it has to be cancelled.
                    running.cancel()
            elif _stack_is_gone(initial_stack):
                _end("the stack was stopped")
            elif time.monotonic() > deadline:
                _end("nobody answered")
            await asyncio.wait([running], timeout=POLL_INTERVAL_S)
    finally:
        running.cancel()
        await asyncio.wait([running])
    if not running.cancelled():
        running.result()


def _stack_is_gone(initial_stack: state.Run | None) -> bool:
    """Return whether the stack on which the drill began (``initial_stack``) no longer runs."""
    current_stack = state.running()
    if current_stack is None or initial_stack is None:
        return True
    return current_stack.launcher != initial_stack.launcher


def _end(outcome: str) -> None:
    """End the session with ``outcome``; do nothing if a command has just ended the session."""
    with suppress(DrillError):  # No drill is active: a command has ended it meanwhile.
        session.end(outcome)


async def play(
    drill: Drill, backends: Backends, normal_operation_s: float, over: asyncio.Event
) -> None:
    """Run the drill, page the player when the symptom appears, and wait until ``over`` is set.

    The figures of a symptom are those that the web UI shows at that time, so that the player finds
    there what the page says. If the symptom does not appear in time, the session ends and nobody is
    paged.
    """
    async with backends, runner.running(drill, backends, normal_operation_s) as active:
        active.baseline.window_s = RATE_WINDOW_S
        met, _ = await active.wait_for(drill.symptom, drill.within)
        await asyncio.sleep(SHOWN_AFTER_S)
        with session.locked() as current:
            if met:
                current.paged_at = time.time()
            else:
                current.end(f"no symptom within {drill.within:g} s")
        await over.wait()


def main(name: str, normal_operation_s: float, *, blind: bool) -> int:
    """Run the drill ``name``, and return the exit code of the process.

    The exit code is 1 if another drill is running, or if an error or a signal ended the drill.
    Otherwise it is 0.

    On SIGINT, SIGTERM and SIGHUP the fault is removed before the process exits.
    """
    drill = load(name)

    async def serve_until_signalled() -> None:
        task = asyncio.current_task()
        assert task  # noqa: S101  (this coroutine runs in one)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await serve(drill, connect.create_backends(), normal_operation_s)

    try:
        _record(name, blind=blind)
    except DrillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    problem = ""
    try:
        with runner.exclusive():
            problem = _run_to_end(serve_until_signalled())
    except DrillError as error:
        sys.stderr.write(f"{error}\n")
        problem = str(error)
    if problem:
        _end(problem)
    session.restored(state.current_process())
    return 1 if problem else 0


def _record(name: str, *, blind: bool) -> None:
    """Record this process as the one that runs the drill, unless its starter has done so.

    Raises:
        DrillError: Another process runs a drill.
    """
    with session.lock():
        current = session.latest()
        if current and current.active and current.runner.pid != os.getpid():
            raise DrillError("a drill is already running: `demo drill stop` ends it")
        if current is None or current.runner.pid != os.getpid():
            session.begin(name, state.current_process(), blind=blind)


def _run_to_end(serving: Coroutine[None, None, None]) -> str:
    """Run the coroutine; return the error that stopped it, or an empty string if it completed."""
    try:
        asyncio.run(serving)
    except (DrillError, CheckoutError, BackendError, OSError) as error:
        return str(error) or type(error).__name__
    except asyncio.CancelledError:
        return "interrupted"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), blind="blind" in sys.argv[3:]))
