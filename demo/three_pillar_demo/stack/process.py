"""Children, each in a process group of its own, so that Ctrl-C reaches only the launcher; stopped with grace, then killed."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import httpx2
import psutil
from rich.console import Console

from three_pillar_demo.paths import ROOT
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import Component, environment

PROBE_SECONDS = 1.0
TICK = 0.1
KILL_SECONDS = 10.0
"""How long the system may take to clear away what was killed."""
ORPHAN_GRACE = 10.0
LAST_BYTES = 64 * 1024
LOG_BYTES = 32 * 1024**2
"""A log longer than this is put aside at the next start, and the one put aside before is gone."""


class Child:
    """A running component."""

    def __init__(self, component: Component, executable: Path | None) -> None:
        """Start it; its output is appended to its log.

        Raises:
            OSError: It cannot be started.
        """
        self.component = component
        self.started = time.monotonic()
        self.ready_after: float | None = None
        self.last_answer = "no answer yet"
        component.data.mkdir(parents=True, exist_ok=True)
        component.log.parent.mkdir(parents=True, exist_ok=True)
        if component.log.exists() and component.log.stat().st_size > LOG_BYTES:
            component.log.replace(component.log.with_suffix(".old.log"))
        command = [*([str(executable)] if executable else []), *component.command]
        with component.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            self.offset = log.tell()
            self.process = subprocess.Popen(  # noqa: S603  (the list in components.py)
                command,
                cwd=ROOT,
                env=environment(component),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self.process.poll()

    def probe(self) -> bool:
        """Ask once whether it is ready; remembers how long it took, or what it said."""
        if self.ready_after is None:
            try:
                answer = httpx2.get(
                    self.component.ready_url, timeout=PROBE_SECONDS, trust_env=False
                )
                self.last_answer = f"{answer.status_code} {answer.text.strip()[:100]}"
                if answer.is_success:
                    self.ready_after = time.monotonic() - self.started
            except httpx2.HTTPError as error:
                self.last_answer = str(error) or type(error).__name__
        return self.ready_after is not None

    def last_words(self, lines: int = 8) -> str:
        """The end of what it wrote since it was started, a long line cut."""
        with self.component.log.open("rb") as log:
            log.seek(max(self.offset, self.component.log.stat().st_size - LAST_BYTES))
            said = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line[:200]}" for line in said[-lines:])

    def obituary(self) -> str:
        """How it ended, its last words, and where to read more."""
        code = self.exit_code
        how = (
            f"was ended by {signal.Signals(-code).name}"
            if code is not None and code < 0
            else f"ended with exit code {code}"
        )
        return (
            f"{self.component.name} {how} after {time.monotonic() - self.started:.0f} s. Its last words:\n{self.last_words()}\n"
            f"  its log: {self.component.log}"
        )

    def terminate(self) -> None:
        """Ask it to stop: the leader only, which tells its own workers."""
        with suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End it and whatever is left of its group."""
        _kill_group(self.process.pid)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it is still there after ``seconds``."""
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True


def stop(children: list[Child], impatient: Callable[[], bool] = lambda: False) -> None:
    """Ask all of ``children`` to stop, and kill each that is still there after its grace, or when ``impatient``."""
    for child in children:
        child.terminate()
    began = time.monotonic()
    for child in children:
        while (
            not child.wait(TICK)
            and time.monotonic() - began < child.component.grace
            and not impatient()
        ):
            pass
        child.kill()
        child.wait(KILL_SECONDS)


def stop_orphans(console: Console) -> None:
    """Stop what a launcher that was killed has left running."""
    run = state.load()
    orphans = {name: each for name, each in run.components.items() if each.alive()} if run else {}
    if not orphans:
        return
    console.print(f"An earlier launcher was killed; stopping what it left: {', '.join(orphans)}")
    groups = {each.pid: _group(each.pid) for each in orphans.values()}
    for each in orphans.values():
        if process := each.alive():
            with suppress(psutil.Error):
                process.terminate()
    _wait_for_end(orphans.values(), ORPHAN_GRACE)
    for leader, members in groups.items():
        if any(
            member.alive() for member in members
        ):  # else the number may be somebody else's by now
            _kill_group(leader)
        _wait_for_end(members, KILL_SECONDS)


def _wait_for_end(processes: Collection[state.Process], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(each.alive() for each in processes) and time.monotonic() < deadline:
        time.sleep(TICK)


def _group(leader: int) -> list[state.Process]:
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == leader:
                members.append(state.identify(pid))
    return members


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
