"""Starts the process that runs a drill; a command and the web UI both do it here."""

import os
import subprocess
import sys
import threading

from three_pillar_demo.drills import session
from three_pillar_demo.drills.catalogue import Drill, DrillError
from three_pillar_demo.paths import ROOT, STATE
from three_pillar_demo.stack import state

LOG = STATE / "logs" / "drill.log"
"""The output of the newest drill's process (``runner_process``)."""


def launch(drill: Drill, normal_operation_s: float, *, blind: bool) -> subprocess.Popen[bytes]:
    """Start ``drill`` in a process of its own, and record it as the running drill.

    Before the fault begins, the shop works normally for ``normal_operation_s`` seconds. The process
    does not end with this one. Of two calls at the same time, in any processes, one starts a drill.

    Raises:
        DrillError: Another drill is running or being undone, or the process cannot be started.
    """
    with session.lock():
        current = session.latest()
        if current and current.active:
            raise DrillError("a drill is already running: `demo drill stop` ends it")
        if current and current.runner.alive():
            raise DrillError("the last drill is still being undone: try again in some seconds")
        try:
            process = _start_runner(drill.name, normal_operation_s, blind=blind)
        except OSError as error:
            raise DrillError(f"the drill runner cannot be started: {error}") from error
        session.begin(drill.name, state.identify(process.pid), blind=blind)
    # Otherwise the process would stay a zombie if the caller does not wait for it.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _start_runner(name: str, normal_operation_s: float, *, blind: bool) -> subprocess.Popen[bytes]:
    """Start the module ``runner_process`` for the drill ``name``; its output goes to ``LOG``."""
    command = [
        sys.executable,
        "-m",
        "three_pillar_demo.drills.runner_process",
        name,
        str(normal_operation_s),
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


def last_log_line() -> str:
    """Return the last line of the file ``LOG`` that is not blank, or where to find the file."""
    lines = LOG.read_text(errors="replace").split("\n") if LOG.is_file() else []
    said = [line for line in lines if line.strip()]
    return said[-1] if said else f"the drill runner ended; see {LOG}"
