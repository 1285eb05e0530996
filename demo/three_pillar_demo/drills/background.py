"""Starts the runner process of a drill, waits for the symptom, and waits for its end."""

import os
import subprocess
import sys
import time

from rich.console import Console

from three_pillar_demo.drills import fault_files, session
from three_pillar_demo.drills.catalogue import Drill, DrillError
from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack.components import STATE

LOG = STATE / "logs" / "drill.log"
POLL_INTERVAL_S = 0.2
STOP_TIMEOUT_S = 30.0


def start(out: Console, drill: Drill, calm_s: float, *, blind: bool) -> session.DrillSession:
    """Start the runner process, and return the session once its symptom has appeared.

    Raises:
        DrillError: Another drill is running, this one cannot run, or Ctrl-C ended it.
    """
    current = session.latest()
    if current and current.active:
        raise DrillError("a drill is already running: `demo drill stop` ends it")
    process = _start_runner(drill.name, calm_s, blind=blind)
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


def _start_runner(name: str, calm_s: float, *, blind: bool) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "three_pillar_demo.drills.runner_process",
        name,
        str(calm_s),
    ]
    if blind:
        command.append("blind")
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        return subprocess.Popen(  # noqa: S603  (our own module)
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait_for_page(process: subprocess.Popen[bytes]) -> session.DrillSession:
    """Return the session of the runner ``process`` once the player is paged.

    Raises:
        DrillError: The drill ended before that.
    """
    while True:
        current = session.latest()
        if current and current.runner.pid == process.pid:
            if current.outcome:
                raise DrillError(current.outcome)
            if current.paged_at:
                return current
        if process.poll() is not None:
            raise DrillError(_last_log_line() or f"the drill runner ended; see {LOG}")
        time.sleep(POLL_INTERVAL_S)


def _last_log_line() -> str:
    """Return the last line of the runner's log that is not blank, or an empty string."""
    for line in reversed(LOG.read_text(errors="replace").split("\n")):
        if line.strip():
            return line
    return ""


def wait_for_end(ended: session.DrillSession) -> None:
    """Wait until the runner has restored everything, and kill it after ``STOP_TIMEOUT_S``."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while process := ended.runner.alive():
        if time.monotonic() > deadline:
            process.kill()
            break
        time.sleep(POLL_INTERVAL_S)
    fault_files.clear()
