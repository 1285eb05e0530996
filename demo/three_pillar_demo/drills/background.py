"""Starts a drill for a command, and waits until its symptom appears or until it ends."""

import subprocess
import time

from rich.console import Console

from three_pillar_demo.drills import fault_files, session
from three_pillar_demo.drills.catalogue import Drill, DrillError
from three_pillar_demo.drills.launch import last_log_line, launch

POLL_INTERVAL_S = 0.2
"""Seconds between two reads of the session file."""
STOP_TIMEOUT_S = 30.0
"""Seconds that the process of a drill has to restore everything, before it is killed."""


def start(
    out: Console, drill: Drill, normal_operation_s: float, *, blind: bool
) -> session.DrillSession:
    """Start ``drill`` in a process of its own, and return its session when the symptom appears.

    Before the fault begins, the shop works normally for ``normal_operation_s`` seconds.

    Raises:
        DrillError: Another drill is running, ``drill`` cannot run, or ``drill`` ended before the
            symptom appeared (for example by Ctrl-C).
    """
    process = launch(drill, normal_operation_s, blind=blind)
    out.print(
        "The shop works normally for some seconds; then an incident begins. Wait to be paged.",
        style="dim",
    )
    try:
        return _wait_for_page(process)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise DrillError("stopped before you were paged; everything is restored") from None


def _wait_for_page(process: subprocess.Popen[bytes]) -> session.DrillSession:
    """Return the session of the drill that ``process`` runs, once the player has been paged.

    Raises:
        DrillError: The drill ended before the player was paged.
    """
    while True:
        current = session.latest()
        if current and current.runner.pid == process.pid:
            if current.outcome:
                raise DrillError(current.outcome)
            if current.paged_at:
                return current
        if process.poll() is not None:
            raise DrillError(last_log_line())
        time.sleep(POLL_INTERVAL_S)


def wait_for_end(ended: session.DrillSession) -> None:
    """Wait until the process of the drill has restored everything and exited.

    A process that has not exited after ``STOP_TIMEOUT_S`` seconds is killed. At the end, all fault
    files are removed.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while process := ended.runner.alive():
        if time.monotonic() > deadline:
            process.kill()
            break
        time.sleep(POLL_INTERVAL_S)
    fault_files.clear()
