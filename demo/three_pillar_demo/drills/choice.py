"""Chooses the drill to play, and how long the shop works normally before its fault begins."""

import random
import time
from collections import Counter

from three_pillar_demo.drills import catalogue, session
from three_pillar_demo.drills.catalogue import Drill, DrillError
from three_pillar_demo.stack import state

NORMAL_OPERATION_S = 12.0
"""Seconds for which the shop works normally before the fault of a drill begins."""
RATE_WINDOW_S = 30.0
"""The window of the rates that the web UI shows, in seconds."""


def running_mode() -> str:
    """Return the mode of the running stack, such as ``local``.

    Raises:
        DrillError: No stack is running.
    """
    mode = state.mode()
    if mode is None:
        raise DrillError("a drill needs a running stack: `demo up --detach` starts one")
    return mode


def drills_of(mode: str) -> list[Drill]:
    """Return the drills that exist in ``mode``, sorted by name.

    Raises:
        DrillError: The file of a drill is invalid.
    """
    drills = [catalogue.read(path, mode) for _, path in sorted(catalogue.files().items())]
    return [drill for drill in drills if mode in drill.modes]


def choose_drill(name: str, *, blind: bool) -> tuple[Drill, bool]:
    """Return the drill to play, and whether its name stays hidden until the drill is over.

    With ``name`` and without ``blind``, the drill of this name is returned, and its name is shown.
    Otherwise a random one of the drills that were played least is returned, and its name is hidden.

    Raises:
        DrillError: No stack is running, or there is no such drill in the mode of the stack.
    """
    mode = running_mode()
    if name and not blind:
        drill = catalogue.load(name)
        if mode not in drill.modes:
            raise DrillError(
                f"{name} exists in these modes: {', '.join(drill.modes)}; the stack runs in {mode}"
            )
        return drill, False
    candidates = drills_of(mode)
    if not candidates:
        raise DrillError(f"there is no drill for the mode {mode}")
    played = Counter(session.played())
    fewest = min(played[drill.name] for drill in candidates)
    least_played = [drill for drill in candidates if played[drill.name] == fewest]
    return random.choice(least_played), True  # noqa: S311  (a game, not a secret)


def default_normal_operation_s() -> float:
    """Return for how many seconds the shop works normally before the fault begins.

    It is ``NORMAL_OPERATION_S``. Soon after another drill it is longer, so that the rates in the
    web UI no longer include the earlier drill when the fault begins.
    """
    previous = session.latest()
    if previous is None or not previous.ended_at:
        return NORMAL_OPERATION_S
    return max(NORMAL_OPERATION_S, RATE_WINDOW_S - (time.time() - previous.ended_at))
