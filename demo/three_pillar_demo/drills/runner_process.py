"""Plays a drill for a person, in a process of its own: ``python -m three_pillar_demo.drills.runner_process NAME CALM_SECONDS [blind]``."""

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress

from three_pillar_demo.drills import runner, session
from three_pillar_demo.drills.catalogue import Drill, DrillError, load
from three_pillar_demo.load.checkout_client import ShopError
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.stack import state

LONGEST = 3600.0
"""Seconds after which nobody plays any more."""
TICK = 0.25


async def serve(drill: Drill, backends: Backends, calm: float) -> None:
    """Play until somebody ends it, the stack is gone, or nobody plays any more."""
    run, began, over = state.running(), time.monotonic(), asyncio.Event()
    playing = asyncio.create_task(_play(drill, backends, calm, over))
    try:
        while not playing.done():
            now, notes = state.running(), session.last()
            if notes is None or notes.how:
                over.set()
                if notes is None or not notes.paged:  # nobody looks at the notes in there yet
                    playing.cancel()
            else:
                gone = now is None or run is None or now.launcher != run.launcher
                with suppress(DrillError):  # somebody else has ended it just now
                    if gone or time.monotonic() - began > LONGEST:
                        session.end("the stack was stopped" if gone else "nobody answered")
            await asyncio.wait([playing], timeout=TICK)
    finally:
        playing.cancel()
        await asyncio.wait([playing])
    if not playing.cancelled():
        playing.result()


async def _play(drill: Drill, backends: Backends, calm: float, over: asyncio.Event) -> None:
    async with backends, runner.playing(drill, backends, calm) as played:
        found, _ = await played.until(drill.symptom, drill.within)
        with session.change() as notes:
            if found:
                notes.paged = time.time()
            else:
                notes.how, notes.ended = f"no symptom within {drill.within:g} s", time.time()
        await over.wait()


def main(name: str, calm: float, *, blind: bool) -> int:
    """Play drill ``name``; whatever ends this process by a signal ends the fault first."""
    drill = load(name)

    async def until_signalled() -> None:
        task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(
                number, lambda: task.cancel() if task else None
            )
        await serve(drill, connect.backends(), calm)

    try:
        with runner.alone():
            session.save(
                session.DrillSession(
                    name, state.current_process(), time.time(), blind, before=session.played()
                )
            )
            how = _ended_by(until_signalled())
            if how and (notes := session.last()) and not notes.how:
                notes.how, notes.ended = how, time.time()
                session.save(notes)
    except DrillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 1 if how else 0


def _ended_by(playing: Coroutine[None, None, None]) -> str:
    """Play; what ended it too early, in words."""
    try:
        asyncio.run(playing)
    except (DrillError, ShopError, BackendError, OSError) as error:
        return str(error) or type(error).__name__
    except asyncio.CancelledError:
        return "interrupted"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), blind="blind" in sys.argv[3:]))
