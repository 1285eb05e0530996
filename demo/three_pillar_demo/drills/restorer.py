"""Starts what a drill has stopped if its player is killed: ``python -m three_pillar_demo.drills.restorer PID COMPONENT...``."""

import sys
import time
from contextlib import suppress

from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.preflight import LaunchError

LOOK = 0.25


def main(player: int, names: list[str]) -> None:
    """Wait for the player's end; what is away then is started."""
    process = state.identify(player)
    while process.alive():
        time.sleep(LOOK)
    for name in names:
        with suppress(LaunchError):  # it is there already, or the whole stack is gone
            control.act("start", name)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
