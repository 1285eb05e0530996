"""Runs the demo command on a stack of stub components, with a state folder of its own."""

import contextlib
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

import psutil

from tests.private_ports import free_port

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
TIMEOUT_S = 30.0
"""The limit of every wait in seconds, far more than needed, for busy machines."""
POLL_INTERVAL_S = 0.02


def wait_until(
    condition: Callable[[], object], description: str, seconds: float = TIMEOUT_S
) -> None:
    """Call ``condition`` until it is true; fail with ``description`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {description}"
        time.sleep(POLL_INTERVAL_S)


class Stack:
    """A stack of stub components; the docstrings of component.py and stack.py explain its plans.

    It is a context manager: at the end of the block every process of the stack is killed.
    """

    def __init__(self, folder: Path, *plans: dict[str, Any], **env: str) -> None:
        """Prepare a stack with one component for each plan; ``env`` is added to its environment.

        Nothing is started. ``folder`` receives all files of the stack.
        """
        self.folder = folder
        self.state = folder / "state"
        self.event_log = folder / "events"
        self.launcher: subprocess.Popen[bytes] | None = None
        self.terminal: int | None = None
        self.plans: list[dict[str, Any]] = [
            {"port": free_port(), "event_log": str(self.event_log)} | plan for plan in plans
        ]
        description = folder / "components.json"
        description.write_text(json.dumps(self.plans))
        self.command = [sys.executable, str(FOLDER / "stack.py"), str(description)]
        (folder / "demo").write_text(
            f'#!/bin/sh\nshift 2 # -m three_pillar_demo\nexec {shlex.join(self.command)} "$@"\n'
        )
        (folder / "demo").chmod(0o755)
        self.env = {
            "PATH": f"{FOLDER}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "DEMO_STATE": str(self.state),
            "COLUMNS": "120",
            # A detached launcher outlives the process that started it.
            "PYTHONWARNINGS": "error,ignore:subprocess:ResourceWarning",
            **env,
        }

    def __enter__(self) -> Self:
        """Return the stack, without starting it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill every process of the stack, also after a failed test."""
        self.close_terminal()
        if self.launcher:
            self.launcher.kill()
            self.launcher.wait()
        for process in self.running_processes():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def demo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the demo command and wait for its end."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )

    def up(self, *options: str, ready: bool = True, terminal: bool = False) -> None:
        """Start ``demo up`` with ``options``; with ``terminal``, in a new terminal.

        With ``ready``, wait until the state file says that every component is ready.
        """
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            if terminal:
                self.terminal, slave = pty.openpty()
                self._start(slave, slave, slave, options)
                os.close(slave)
            else:
                self._start(subprocess.DEVNULL, out, err, options)
        if ready:
            self.wait_until(lambda: self.is_ready, "everything to be ready")

    def _start(
        self, stdin: int, out: int | IO[bytes], err: int | IO[bytes], options: tuple[str, ...]
    ) -> None:
        command = [*self.command, "up", *options]
        # The launcher must handle these signals even where nohup or a shell makes the tests ignore
        # them.
        handlers = {
            number: signal.signal(number, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP)
        }
        self.launcher = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env,
            stdin=stdin,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def press(self, keys: str) -> None:
        """Type ``keys`` in the stack's terminal."""
        assert self.terminal is not None
        os.write(self.terminal, keys.encode())

    def close_terminal(self) -> None:
        """Close the stack's terminal, if it has one."""
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the launcher alone."""
        assert self.launcher
        self.launcher.send_signal(number)

    def wait_until(self, condition: Callable[[], object], description: str) -> None:
        """Call ``condition`` until it is true; fail if the launcher ends or time is up before."""
        wait_until(lambda: condition() or self.has_ended, description)
        assert condition(), f"the launcher ended before {description}:\n{self.out}{self.err}"

    def set_flag(self, name: str) -> None:
        """Create the flag file "ready" or "exit", which component.py waits for."""
        (self.folder / name).touch()

    def wait_for_exit(self, cause: str) -> int:
        """Wait for the launcher to end, and return its exit code.

        ``cause`` is what should make it end, for the message of a failure.
        """
        wait_until(lambda: self.has_ended, f"the launcher to end after {cause}")
        assert self.launcher
        return self.launcher.returncode

    @property
    def has_ended(self) -> bool:
        """Whether the launcher process has ended.

        This also reads the launcher's output from the terminal, because a full one would block it.
        """
        while self.terminal is not None and select.select([self.terminal], [], [], 0)[0]:
            try:
                output = os.read(self.terminal, 65536)
            except OSError:  # Every process at the other end is gone.
                break
            with (self.folder / "out").open("ab") as out:
                out.write(output)
        return self.launcher is not None and self.launcher.poll() is not None

    @property
    def out(self) -> str:
        """The launcher's stdout so far; in a terminal, its stderr as well."""
        _ = self.has_ended
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """The launcher's stderr so far."""
        return (self.folder / "err").read_text()

    @property
    def is_ready(self) -> bool:
        """Whether the state file of this launcher says that every component is ready."""
        if self.launcher is None or not (self.state / "run.json").exists():
            return False
        run = self.run
        return bool(run["ready"]) and run["launcher"]["pid"] == self.launcher.pid

    @property
    def run(self) -> dict[str, Any]:
        """The content of the launcher's state file, ``run.json``."""
        run: dict[str, Any] = json.loads((self.state / "run.json").read_text())
        return run

    def log(self, name: str) -> Path:
        """Return the path of the log of a component."""
        return self.state / "logs" / f"{name}.log"

    def events(self, *names: str) -> list[str]:
        """Return the recorded events in order, such as "shop started".

        With ``names``, only events of these names are returned.
        """
        events = [line.rsplit(" ", 1)[0] for line in self._event_lines()]
        return [event for event in events if not names or event.split(" ")[1] in names]

    def _event_lines(self) -> list[str]:
        return self.event_log.read_text().splitlines() if self.event_log.exists() else []

    def pid_of(self, name: str) -> int:
        """Return the id of the process that was last started for the component ``name``."""
        started = [line for line in self._event_lines() if line.startswith(f"{name} started ")]
        return int(started[-1].rsplit(" ", 1)[1])

    def running_processes(self) -> list[psutil.Process]:
        """Return all running processes of this stack, including those of their process groups."""
        recorded = {int(line.rsplit(" ", 1)[1]) for line in self._event_lines()}
        if self.launcher:
            recorded.add(self.launcher.pid)
        return [process for process in psutil.process_iter() if self._is_ours(process, recorded)]

    def _is_ours(self, process: psutil.Process, recorded: set[int]) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if {process.pid, os.getpgid(process.pid)} & recorded:
                return True
            return str(self.folder) in " ".join(process.cmdline())
        except (psutil.Error, ProcessLookupError):
            return False
