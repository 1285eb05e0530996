"""Starts components as child processes, checks their readiness, stops and kills them.

Each child is the leader of a process group of its own, so Ctrl-C in the terminal reaches only the
launcher.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from string import Template

import psutil
from rich.console import Console

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import readiness, state
from three_pillar_demo.stack.component import Component
from three_pillar_demo.stack.environment import variables_of
from three_pillar_demo.stack.progress import ignore_lost_output

POLL_INTERVAL_S = 0.1
KILL_TIMEOUT_S = 10.0
"""Seconds that the system may take to remove a process after SIGKILL."""
ORPHAN_GRACE_S = 10.0
MAX_TAIL_BYTES = 64 * 1024
MAX_TAIL_LINE_CHARS = 200
MAX_LOG_BYTES = 32 * 1024**2
"""The size of a log, in bytes, above which it is renamed when its component starts.

The new name is ``NAME.old.log``; an earlier file of that name is replaced.
"""


class ChildProcess:
    """A component that runs as a child process of the launcher."""

    def __init__(self, component: Component, executable: Path | None) -> None:
        """Start the component, and append its output to ``component.log``.

        ``executable`` is None if ``component.command`` begins with the executable.

        Raises:
            OSError: The component cannot be started, or its folders cannot be written.
        """
        self.component = component
        self.started = time.monotonic()
        self.ready_after_s: float | None = None
        self.last_response = "no response yet"
        component.data.mkdir(parents=True, exist_ok=True)
        component.log.parent.mkdir(parents=True, exist_ok=True)
        if component.log.exists() and component.log.stat().st_size > MAX_LOG_BYTES:
            component.log.replace(component.log.with_suffix(".old.log"))
        environment = variables_of(component)
        # A `$` that does not begin a variable stays: a path of the user may contain one.
        command = [
            Template(argument).safe_substitute(environment) for argument in component.command
        ]
        if executable:
            command.insert(0, str(executable.absolute()))
        with component.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            self.log_start = log.tell()
            self.process = subprocess.Popen(  # noqa: S603  (a command of components.py)
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs, and -N if the signal N has ended it."""
        return self.process.poll()

    def probe(self) -> bool:
        """Request the readiness URL once, and return True if the component is ready.

        ``last_response`` records the response. ``ready_after_s`` records how long the component
        took to become ready, in seconds. After that, calls return True without a request.
        """
        if self.ready_after_s is not None:
            return True
        is_ready, self.last_response = readiness.ask(self.component.ready_url)
        if is_ready:
            self.ready_after_s = time.monotonic() - self.started
        return is_ready

    def log_tail(self, lines: int = 8) -> str:
        """Return the last ``lines`` lines that this process has logged, indented.

        A line of more than ``MAX_TAIL_LINE_CHARS`` (200) characters is cut. The result is "" if
        somebody has removed the log, or it cannot be read.
        """
        try:
            with self.component.log.open("rb") as log:
                size_bytes = log.seek(0, os.SEEK_END)
                # Somebody may have emptied the log since the process started.
                start = self.log_start if self.log_start <= size_bytes else 0
                log.seek(max(start, size_bytes - MAX_TAIL_BYTES))
                logged = log.read().decode(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"    {line[:MAX_TAIL_LINE_CHARS]}" for line in logged[-lines:])

    def exit_reason(self) -> str:
        """Return how the process ended, such as "exited with code 3 after 12 s"."""
        code = self.exit_code
        if code is not None and code < 0:
            reason = f"was terminated by {signal.Signals(-code).name}"
        else:
            reason = f"exited with code {code}"
        return f"{reason} after {time.monotonic() - self.started:.0f} s"

    def exit_report(self) -> str:
        """Return a message on how the process ended, with its last log lines and its log's path."""
        return (
            f"{self.component.name} {self.exit_reason()}. Last log lines:\n{self.log_tail()}\n"
            f"  log: {self.component.log}"
        )

    def terminate(self) -> None:
        """Send SIGTERM to the process, but not to its child processes.

        The process stops its child processes itself.
        """
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """Send SIGKILL to all processes of the component's process group."""
        _kill_group(self.process.pid)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to end; return False if it still runs after ``seconds``."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True


def stop(children: list[ChildProcess], should_kill_now: Callable[[], bool] = lambda: False) -> None:
    """Stop ``children`` together, and wait until all have ended.

    A child is killed when its grace period is over, or as soon as ``should_kill_now`` returns True.
    """
    for child in children:
        child.terminate()
    began = time.monotonic()
    for child in children:
        deadline = began + child.component.grace_seconds
        while not child.wait(POLL_INTERVAL_S):
            if time.monotonic() >= deadline or should_kill_now():
                break
        child.kill()  # Also where it has ended: some of its group may be left.
        child.wait(KILL_TIMEOUT_S)


def stop_orphans(console: Console) -> None:
    """Stop the components that a killed launcher has left running."""
    run = state.load()
    if run is None:
        return
    orphans = {name: process for name, process in run.components.items() if process.alive()}
    if not orphans:
        return
    with ignore_lost_output():
        console.print(
            f"An earlier launcher was killed; stopping the components it left running: "
            f"{', '.join(orphans)}"
        )
    groups = {process.pid: _group_members(process.pid) for process in orphans.values()}
    for orphan in orphans.values():
        if process := orphan.alive():
            with suppress(psutil.Error):
                process.terminate()
    _wait_for_end(orphans.values(), ORPHAN_GRACE_S)
    for group_id, members in groups.items():
        # Once every member has ended, the number may already belong to another group.
        if any(member.alive() for member in members):
            _kill_group(group_id)
        _wait_for_end(members, KILL_TIMEOUT_S)


def _wait_for_end(processes: Collection[state.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(process.alive() for process in processes) and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)


def _group_members(group_id: int) -> list[state.Process]:
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == group_id:
                members.append(state.identify(pid))
    return members


def _kill_group(group_id: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group_id, signal.SIGKILL)
