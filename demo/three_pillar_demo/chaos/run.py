"""``demo rehearse``: chooses, plays one after the other on the stack that runs, and judges."""

import asyncio
import io
import signal
from collections.abc import Sequence

from rich.console import Console

from three_pillar_demo.chaos.judge import judge
from three_pillar_demo.chaos.plan import BY_NAME, REHEARSALS, Context, Rehearsal
from three_pillar_demo.chaos.report import Played
from three_pillar_demo.chaos.runner import Play
from three_pillar_demo.query import connect
from three_pillar_demo.stack import background, components, state
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import progress_messages


def chosen(name: str | None, mode: str, *, long: bool) -> list[Rehearsal]:
    """The rehearsal of that ``name``, or all that the stack's ``mode`` has.

    Raises:
        LaunchError: There is no such rehearsal, or not in this mode or form.
    """
    fit = [each for each in REHEARSALS if mode in each.modes and (long or each.short)]
    if name is None:
        return fit
    if name not in BY_NAME:
        raise LaunchError(f"there is no rehearsal {name!r}; there are: {', '.join(BY_NAME)}")
    if mode not in BY_NAME[name].modes:
        raise LaunchError(f"{name} is about the real stack: `demo up --full --detach` starts it")
    if BY_NAME[name] not in fit:
        raise LaunchError(f"{name} has a long form only: add --long")
    return [BY_NAME[name]]


def rehearse(name: str | None, err: Console, *, long: bool) -> Played:
    """Play what was chosen, on the stack that runs, else on an embedded one that is started and stopped for it.

    Raises:
        LaunchError: There is no stack, or no such rehearsal.
        KeyboardInterrupt: Ctrl-C; what was broken is restored by then.
    """
    run = state.running()
    if run and not run.ready:
        raise LaunchError("the stack is still starting: `demo status` says when it is ready")
    if run and run.on_purpose:
        raise LaunchError(f"away on purpose: {', '.join(run.on_purpose)}; `demo start NAME` first")
    mode = state.mode() or components.DEFAULT
    rehearsals = chosen(name, mode, long=long)
    if run is None:
        err.print("starting a local stack for it", style="dim")
        heard = io.StringIO()
        try:
            background.start(Console(file=heard, width=err.width), mode)
        except LaunchError:
            err.print(heard.getvalue(), markup=False)
            raise
    try:
        return asyncio.run(_play(rehearsals, mode, err, long=long))
    finally:
        if run is None:
            background.stop(Console(file=io.StringIO()))


async def _play(rehearsals: Sequence[Rehearsal], mode: str, err: Console, *, long: bool) -> Played:
    loop, playing = asyncio.get_running_loop(), asyncio.current_task()
    assert playing  # noqa: S101  (this one)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, playing.cancel)
    played: Played = []
    try:
        async with connect.create_backends() as backends:
            with progress_messages(err) as say:
                for each in rehearsals:
                    play = Play(
                        each, each.long if long else each.short, Context(mode, backends), say
                    )
                    seen = await play.run()
                    played.append((seen, judge(seen, each.promise)))
                    if state.running() is None:
                        break  # the whole stack is gone, and the last one says why
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    return played
