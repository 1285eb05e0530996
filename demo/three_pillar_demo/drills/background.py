"""The player as somebody at a terminal has it: started, waited for, and gone."""

import os
import subprocess
import sys
import time

from rich.console import Console

from three_pillar_demo.drills import faults, session
from three_pillar_demo.drills.catalogue import Drill, DrillError
from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.components import STATE

LOG = STATE / "logs" / "drill.log"
TICK, STOP_SECONDS = 0.2, 30.0


def start(out: Console, drill: Drill, calm: float, *, blind: bool) -> session.DrillSession:
    """Start the player and wait for the symptom.

    Raises:
        DrillError: Another drill is played, this one cannot be, or Ctrl-C ended it.
    """
    if (notes := session.last()) and notes.living:
        raise DrillError("a drill is being played already: `demo drill stop` ends it")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        player = subprocess.Popen(  # noqa: S603  (our own module)
            [
                sys.executable,
                "-m",
                "three_pillar_demo.drills.runner_process",
                drill.name,
                str(calm),
                *["blind"] * blind,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    out.print(
        "The shop is well for some seconds; then something happens. Wait to be paged.", style="dim"
    )
    try:
        while True:
            notes = session.last()
            mine = notes is not None and notes.player.pid == player.pid
            if notes and mine and notes.how:
                raise DrillError(notes.how)
            if notes and mine and notes.paged:
                return notes
            if player.poll() is not None:
                said = LOG.read_text(errors="replace").split("\n")
                raise DrillError(
                    next(filter(str.strip, reversed(said)), f"the player ended; see {LOG}")
                )
            time.sleep(TICK)
    except KeyboardInterrupt:
        player.terminate()
        player.wait()
        raise DrillError("stopped before you were paged; all is as it was") from None


def wait_for_end(notes: session.DrillSession) -> None:
    """Wait until the player has mended everything; one that hangs is ended, and its faults with it."""
    deadline = time.monotonic() + STOP_SECONDS
    while process := notes.player.alive():
        if time.monotonic() > deadline:
            process.kill()
            break
        time.sleep(TICK)
    faults.clear()
