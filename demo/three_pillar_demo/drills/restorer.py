"""Starts the components that a drill has killed, if the process that runs the drill is killed too.

Usage: ``python -m three_pillar_demo.drills.restorer PID COMPONENT...``. ``PID`` is the id of the
process that runs the drill.
"""

import sys
import time
from contextlib import suppress

from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.preflight import LaunchError

POLL_INTERVAL_S = 0.25
"""Seconds between two checks of whether the process of the drill still runs."""


def main(pid: int, names: list[str]) -> None:
    """Wait until the process ``pid`` has ended, then start those of ``names`` that do not run."""
    process = state.identify(pid)
    while process.alive():
        time.sleep(POLL_INTERVAL_S)
    for name in names:
        with suppress(LaunchError):  # The component is running, or the whole stack has stopped.
            control.request("start", name)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
