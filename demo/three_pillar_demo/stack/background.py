"""Starts a stack in the background, and shows its status, prints its logs and stops it."""

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

from three_pillar_demo.paths import CHECKOUT, ROOT, STATE
from three_pillar_demo.stack import control, state
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.components import BY_NAME, DEFAULT, MODES
from three_pillar_demo.stack.environment import with_absolute_paths
from three_pillar_demo.stack.preflight import LaunchError, find_executables
from three_pillar_demo.stack.process import stop_orphans

LOG = STATE / "logs" / "launcher.log"
START_TIMEOUT_S = 300.0
"""Seconds to wait for a stack in the background to become ready.

This is a last resort: usually the time limit of a single component is reached first.
"""
STOP_TIMEOUT_S = 60.0
POLL_INTERVAL_S = 0.05
COMMANDS = {
    state.LOCAL_MODE: ("up",),
    state.FULL_MODE: ("up", "--full"),
    state.VIEW_MODE: ("view",),
    state.CLUSTER_MODE: ("up", "--cluster"),
    state.CLUSTER_LOCAL_STORE_MODE: ("up", "--cluster"),
}
"""The ``demo`` command that runs each mode in the foreground."""
DETACH = '{ exec "$@" >&2; } & echo $!'
"""A shell's command that starts a program, prints its process id and ends.

So the launcher is no child of a process that becomes the user's program by ``demo run``: such a
program may wait for all its children, or end them.
"""
LEFT_RUNNING = (
    "The launcher was killed and has left these components running; `demo down` stops them."
)
NOTHING_RUNS = (
    "Nothing is running. `make up` starts everything."
    if CHECKOUT
    else "Nothing is running. `demo view` starts the store and the page."
)
MODE_OF_NO_RUN = DEFAULT if CHECKOUT else state.VIEW_MODE
"""The mode whose components ``demo status`` shows before the first run."""
COLOURS = {
    "ready": "green",
    "not ready": "yellow",
    "restarting": "yellow",
    "down": "red",
    "stopped": "dim",
}
COLOUR_ON_PURPOSE = "magenta"


def start(console: Console, mode: str) -> None:
    """Start a launcher that outlives this process.

    Print the output of the launcher until all components are ready. ``mode`` is a key of
    ``components.MODES``.

    Raises:
        LaunchError: An executable is missing, the launcher ended before all components were ready,
            Ctrl-C ended the launcher, or the start took longer than ``START_TIMEOUT_S`` seconds.
        state.RunningError: Another launcher is running.
    """
    try:
        # Of several processes that do this at the same moment, each waits for the one before.
        with state.background_lock(START_TIMEOUT_S):
            # Both checks are repeated by the launcher. Here, the first one keeps the log of a
            # launcher that is running from being emptied, and the second one is reported once
            # instead of twice.
            with state.launcher_lock():
                find_executables(MODES[mode])
                LOG.parent.mkdir(parents=True, exist_ok=True)
                LOG.write_text("")
            with LOG.open() as output:
                launcher = _start_launcher(mode, console.width)
                _wait_until_ready(console, launcher, output)
    except OSError as error:
        raise LaunchError(str(error)) from error


def _start_launcher(mode: str, columns: int) -> state.Process:
    """Start a launcher that is no child of this process and logs to ``LOG``.

    Raises:
        LaunchError, OSError: It cannot be started.
    """
    launcher = [sys.executable, "-m", "three_pillar_demo", *COMMANDS[mode]]
    with LOG.open("a") as log:
        shell = subprocess.run(  # noqa: S603  (our own command)
            ["/bin/sh", "-c", DETACH, "sh", *launcher],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            check=False,
            env={
                **with_absolute_paths(os.environ),
                "COLUMNS": str(columns),
                "PYTHONUNBUFFERED": "1",
                "DEMO_STATE": str(STATE),
            },
        )
    if not shell.stdout:
        raise LaunchError(f"the launcher cannot be started; see {LOG}")
    return state.identify(int(shell.stdout))


def _wait_until_ready(console: Console, launcher: state.Process, output: TextIO) -> None:
    try:
        _show_output(console, launcher, output)
    except KeyboardInterrupt:
        if process := launcher.alive():
            with suppress(psutil.Error):
                process.terminate()
        while launcher.alive():
            time.sleep(POLL_INTERVAL_S)
        raise LaunchError("stopped before everything was ready") from None


def _show_output(console: Console, launcher: state.Process, output: TextIO) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        # Both are determined before the output is read, so that no line of it is missed.
        has_ended = launcher.alive() is None
        run = state.load()
        is_ready = run is not None and run.ready and run.launcher.pid == launcher.pid
        text = output.read().replace("Ctrl-C stops", "`demo down` stops")
        console.out(text, end="", highlight=False)
        if has_ended:
            raise LaunchError("the stack did not start, see above")
        if is_ready:
            return
        time.sleep(POLL_INTERVAL_S)
    raise LaunchError(f"not ready after {START_TIMEOUT_S:.0f} s; see {LOG}")


def stop(console: Console) -> None:
    """Stop the running launcher, or the components that a killed launcher has left running.

    Raises:
        LaunchError: The launcher is still running after ``STOP_TIMEOUT_S`` seconds.
    """
    run = state.running()
    launcher = run.launcher.alive() if run else None
    if run is None or launcher is None:
        stop_orphans(console)
        console.print("nothing is running")
        return
    began = time.monotonic()
    with suppress(psutil.Error):
        launcher.send_signal(signal.SIGTERM)
    while run.launcher.alive():
        if time.monotonic() - began > STOP_TIMEOUT_S:
            raise LaunchError(
                f"process {launcher.pid} is still running after {STOP_TIMEOUT_S:.0f} s; see {LOG}"
            )
        time.sleep(POLL_INTERVAL_S)
    console.print(f"stopped in {time.monotonic() - began:.1f} s")


def status(console: Console, *, as_json: bool) -> bool:
    """Print state, process id, memory and address of each component of the latest run.

    If there was no run, the components of ``MODE_OF_NO_RUN`` are printed. If ``as_json`` is True,
    the output is one JSON object, otherwise a table.

    Returns:
        True if a launcher is running and every component is ready.
    """
    run = state.load()
    is_running = state.running() is not None
    mode = run.mode if run else MODE_OF_NO_RUN
    rows = [_status_row(component, run, is_running=is_running) for component in MODES[mode]]
    if as_json:
        report = {"running": is_running, "mode": mode, "components": rows}
        console.out(json.dumps(report, indent=2), highlight=False)
    else:
        console.print(_status_table(rows))
        if run:
            _print_exits(console, run, is_running=is_running)
        if not is_running:
            has_orphans = any(row["pid"] for row in rows)
            console.print(f"\n{LEFT_RUNNING if has_orphans else NOTHING_RUNS}")
    return is_running and all(row["state"] == "ready" for row in rows)


def _status_row(
    component: Component, run: state.Run | None, *, is_running: bool
) -> dict[str, str | int | None]:
    recorded = run.components.get(component.name) if run else None
    process = recorded.alive() if recorded else None
    exits = run.exits.get(component.name) if run else None
    return {
        "component": component.name,
        "state": _component_state(component, run if is_running else None, process),
        "pid": process.pid if process else None,
        "memory_mib": _memory_mib(process) if process else None,
        "address": component.address,
        "log": str(component.log),
        "unexpected_exits": exits.count if exits else 0,
    }


def _component_state(
    component: Component, run: state.Run | None, process: psutil.Process | None
) -> str:
    """Return the state of ``component``; ``run`` is None if no launcher runs."""
    if process:
        return "ready" if control.is_ready(component) else "not ready"
    if run and component.name in run.on_purpose:
        return f"{run.on_purpose[component.name]} on purpose"
    exits = run.exits.get(component.name) if run and run.ready else None
    if exits:
        return "down" if exits.gave_up else "restarting"
    return "stopped"


def _print_exits(console: Console, run: state.Run, *, is_running: bool) -> None:
    """Print how often each component has exited unexpectedly, and how the last exit was."""
    for name, exits in run.exits.items():
        outlook = f" {exits.outlook(name)}".rstrip() if is_running else ""
        console.print(
            f"\n{name} {exits.summary()}.{outlook} Last log lines:\n{exits.log_tail}",
            markup=False,
            soft_wrap=True,
        )


def _status_table(rows: list[dict[str, str | int | None]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("component", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("pid", no_wrap=True, justify="right")
    table.add_column("MiB", no_wrap=True, justify="right")
    table.add_column("address", no_wrap=True)
    for row in rows:
        colour = COLOURS.get(str(row["state"]), COLOUR_ON_PURPOSE)
        cells = [str(row[key] or "") for key in ("pid", "memory_mib", "address")]
        table.add_row(str(row["component"]), f"[{colour}]{row['state']}[/]", *cells)
    return table


def logs(name: str, lines: int) -> None:
    """Print the last ``lines`` lines of a log.

    ``name`` is the name of a component, or of another file in the log folder without ``.log``.

    Raises:
        LaunchError: There is no such log.
    """
    # A name with folders in it must not lead out of the log folder.
    path = STATE / "logs" / f"{Path(name).name}.log"
    if name in BY_NAME:
        path = BY_NAME[name].log
    if not path.exists():
        names = sorted(file.stem for file in (STATE / "logs").glob("*.log"))
        raise LaunchError(f"no log named {name!r}; logs: {', '.join(names) or 'none yet'}")
    with path.open(errors="replace") as log:
        sys.stdout.writelines(deque(log, lines))


def _memory_mib(process: psutil.Process) -> int:
    """Return the resident memory of a process and all its child processes, in MiB."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total // 1024**2
