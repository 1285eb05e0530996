"""A stack that runs without a terminal: started, looked at and stopped from another one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import psutil
from rich.console import Console
from rich.table import Table

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.components import BY_NAME, DEFAULT, MODES, STATE
from three_pillar_demo.stack.preflight import LaunchError, check_official
from three_pillar_demo.stack.process import stop_orphans

LOG = STATE / "logs" / "launcher.log"
START_SECONDS = 5400.0
"""A cold start of the full mode builds two Go programs, on a machine that may be slow."""
STOP_SECONDS = 60.0
TICK = 0.1
KILLED = "The launcher was killed and has left these; `make down` stops them."


def start(console: Console, mode: str) -> None:
    """Start a launcher that outlives this process, in ``mode``; show what it says until all is ready.

    Raises:
        LaunchError: It ended before all was ready, or Ctrl-C ended it.
        state.RunningError: Another launcher is running.
    """
    try:
        with state.only_one():  # else this would be the log of the one that runs
            check_official(MODES[mode])  # the launcher does too; said here, it is said once
            LOG.parent.mkdir(parents=True, exist_ok=True)
            LOG.write_text("")
    except OSError as error:
        raise LaunchError(str(error)) from error
    with LOG.open("a") as log, LOG.open() as said:
        launcher = subprocess.Popen(  # noqa: S603  (our own command)
            [
                sys.executable,
                "-m",
                "three_pillar_demo",
                "up",
                *([] if mode == DEFAULT else [f"--{mode}"]),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "COLUMNS": str(console.width), "PYTHONUNBUFFERED": "1"},
        )
        try:
            _wait_until_ready(console, launcher, said)
        except KeyboardInterrupt:
            launcher.terminate()
            launcher.wait()
            raise LaunchError("stopped before everything was ready") from None


def _wait_until_ready(console: Console, launcher: subprocess.Popen[bytes], said: TextIO) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = launcher.poll() is not None
        run = state.load()
        ready = run is not None and run.ready and run.launcher.pid == launcher.pid
        console.out(
            said.read().replace("Ctrl-C stops", "`demo down` stops"), end="", highlight=False
        )
        if ended:
            raise LaunchError("the stack did not start, see above")
        if ready:
            return
        time.sleep(TICK)
    raise LaunchError(f"not ready after {START_SECONDS:.0f} s; see {LOG}")


def stop(console: Console) -> None:
    """Stop the running launcher and wait for its end; or what a killed one left.

    Raises:
        LaunchError: It is still there after ``STOP_SECONDS``.
    """
    if (run := state.running()) is None or (launcher := run.launcher.alive()) is None:
        stop_orphans(console)
        console.print("nothing is running")
        return
    began = time.monotonic()
    with suppress(psutil.Error):
        launcher.send_signal(signal.SIGTERM)
    while run.launcher.alive():
        if time.monotonic() - began > STOP_SECONDS:
            raise LaunchError(
                f"process {launcher.pid} is still there after {STOP_SECONDS:.0f} s; see {LOG}"
            )
        time.sleep(TICK)
    console.print(f"stopped in {time.monotonic() - began:.1f} s")


def status(console: Console, *, as_json: bool) -> bool:
    """Print state, memory and address of each component of the mode that runs, or ran last; returns whether all are ready."""
    run, running = state.load(), state.running() is not None
    mode = run.mode if run else DEFAULT
    rows = []
    for component in MODES[mode]:
        known = run.components.get(component.name) if run else None
        process = known.alive() if known else None
        ended = (
            f"{run.on_purpose[component.name]} on purpose"
            if run and component.name in run.on_purpose
            else "stopped"
        )
        rows.append(
            {
                "component": component.name,
                "state": ended
                if process is None
                else "ready"
                if control.answers(component)
                else "not ready",
                "pid": process.pid if process else None,
                "memory_mib": _memory(process) if process else None,
                "address": component.address,
                "log": str(component.log),
            }
        )
    if as_json:
        console.out(
            json.dumps({"running": running, "mode": mode, "components": rows}, indent=2),
            highlight=False,
        )
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("component", "state", "pid", "MiB", "address"):
            table.add_column(
                heading, no_wrap=True, justify="right" if heading in {"pid", "MiB"} else "left"
            )
        for row in rows:
            away = str(row["state"]).endswith("on purpose")
            colour = (
                "magenta"
                if away
                else {"ready": "green", "not ready": "yellow"}.get(str(row["state"]), "dim")
            )
            cells = [str(row[key] or "") for key in ("pid", "memory_mib", "address")]
            table.add_row(str(row["component"]), f"[{colour}]{row['state']}[/]", *cells)
        console.print(table)
        if not running:
            left = any(row["pid"] for row in rows)
            console.print(
                f"\n{KILLED if left else 'Nothing is running. `make up` starts everything.'}"
            )
    return running and all(row["state"] == "ready" for row in rows)


def logs(name: str, lines: int) -> None:
    """Print the end of ``name``'s log.

    Raises:
        LaunchError: There is no such log.
    """
    path = BY_NAME[name].log if name in BY_NAME else STATE / "logs" / f"{Path(name).name}.log"
    if not path.exists():
        have = ", ".join(sorted(file.stem for file in (STATE / "logs").glob("*.log"))) or "none yet"
        raise LaunchError(f"there is no log of {name!r}; there are: {have}")
    with path.open(errors="replace") as log:
        sys.stdout.writelines(deque(log, lines))


def _memory(process: psutil.Process) -> int:
    """Resident MiB of a process and its workers."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.Error:
            continue
    return total // 1024**2
