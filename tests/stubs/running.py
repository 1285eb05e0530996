"""A stack of stub components, run by the demo command in a state folder of its own."""

import contextlib
import itertools
import json
import os
import pty
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

import psutil

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
SECONDS = 30.0
"""How long a test waits for anything: far longer than it takes, for machines that are busy."""
TICK = 0.02
_ports = itertools.count(
    10_000 + os.getpid() * 97 % 20_000
)  # below the ones that systems give to outgoing connections


def until(done: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Ask until ``done`` says yes; fails with ``what`` it waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(TICK)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class Stack:
    """Components described by what component.py and stack.py understand; ends with the ``with`` block, however that ends."""

    def __init__(self, folder: Path, *plans: dict[str, Any], **env: str) -> None:
        """Nothing is started yet; ``env`` is what the demo command finds besides the bare minimum."""
        self.folder, self.state, self.diary_file = folder, folder / "state", folder / "diary"
        self.cache = folder / ".cache" / "three-pillar-demo"
        self.launcher: subprocess.Popen[bytes] | None = None
        self.terminal: int | None = None
        self.plans: list[dict[str, Any]] = [
            {"port": free_port(), "diary": str(self.diary_file)} | plan for plan in plans
        ]
        description = folder / "components.json"
        description.write_text(json.dumps(self.plans))
        self.command = [sys.executable, str(FOLDER / "stack.py"), str(description)]
        (folder / "demo").write_text(
            f'#!/bin/sh\nshift 2 # -m demo\nexec {shlex.join(self.command)} "$@"\n'
        )
        (folder / "demo").chmod(0o755)
        self.env = {
            "PATH": f"{FOLDER}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "DEMO_STATE": str(self.state),
            "COLUMNS": "120",
            "PYTHONWARNINGS": "error,ignore:subprocess:ResourceWarning",  # a detached launcher outlives who started it
            **env,
        }

    def __enter__(self) -> Self:
        """Nothing to do yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind, also after a failure."""
        self.close_terminal()
        if self.launcher:
            self.launcher.kill()
            self.launcher.wait()
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def demo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def up(self, *options: str, ready: bool = True, terminal: bool = False) -> None:
        """Start it as the leader of a session, its own or that of a terminal; wait until it has noted that all is ready."""
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            if terminal:
                self.terminal, slave = pty.openpty()
                self._start(slave, slave, slave, options)
                os.close(slave)
            else:
                self._start(subprocess.DEVNULL, out, err, options)
        if ready:
            self.until(lambda: self.is_ready, "everything to be ready")

    def _start(
        self, stdin: int, out: int | IO[bytes], err: int | IO[bytes], options: tuple[str, ...]
    ) -> None:
        command = [*self.command, "up", *options]
        # It hears what the tests themselves may have been told to ignore, by nohup or a shell.
        ours = {
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
        for number, handler in ours.items():
            signal.signal(number, handler)

    def type(self, keys: str) -> None:
        """Press keys in its terminal."""
        assert self.terminal is not None
        os.write(self.terminal, keys.encode())

    def close_terminal(self) -> None:
        """Close the window it runs in."""
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the launcher alone."""
        assert self.launcher
        self.launcher.send_signal(number)

    def until(self, done: Callable[[], object], what: str) -> None:
        """Wait until ``done`` says yes, as long as the launcher runs."""
        until(lambda: done() or self.ended, what)
        assert done(), f"it ended before {what}:\n{self.out}{self.err}"

    def let(self, what: str) -> None:
        """Let the component "die" that can, or be "warm"."""
        (self.folder / what).touch()

    def end(self, what: str) -> int:
        """Wait for the launcher's end; returns its exit code."""
        until(lambda: self.ended, f"the launcher to end after {what}")
        assert self.launcher
        return self.launcher.returncode

    @property
    def ended(self) -> bool:
        """Whether the launcher has ended; reads what it says in a terminal, or it could not go on."""
        while self.terminal is not None and select.select([self.terminal], [], [], 0)[0]:
            try:
                said = os.read(self.terminal, 65536)
            except OSError:  # everybody at the other end is gone
                break
            with (self.folder / "out").open("ab") as out:
                out.write(said)
        return self.launcher is not None and self.launcher.poll() is not None

    @property
    def out(self) -> str:
        """What the launcher has said so far."""
        _ = self.ended
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        """What it has complained about."""
        return (self.folder / "err").read_text()

    @property
    def is_ready(self) -> bool:
        """Whether it has noted that all is ready."""
        if self.launcher is None or not (self.state / "run.json").exists():
            return False
        run = self.run
        return bool(run["ready"]) and run["launcher"]["pid"] == self.launcher.pid

    @property
    def run(self) -> dict[str, Any]:
        """What it has written down."""
        run: dict[str, Any] = json.loads((self.state / "run.json").read_text())
        return run

    def log(self, name: str) -> Path:
        """Where a component's output is."""
        return self.state / "logs" / f"{name}.log"

    def diary(self, *events: str) -> list[str]:
        """Who had one of these events, in order, as "name event"."""
        lines = self.diary_file.read_text().splitlines() if self.diary_file.exists() else []
        return [
            line.rsplit(" ", 1)[0] for line in lines if not events or line.split(" ")[1] in events
        ]

    def left(self) -> list[psutil.Process]:
        """What still runs of this stack: by its command line, by its id, and all that is in the group of one of them."""
        lines = self.diary_file.read_text().splitlines() if self.diary_file.exists() else []
        noted = {int(line.rsplit(" ", 1)[1]) for line in lines} | (
            {self.launcher.pid} if self.launcher else set()
        )
        return [process for process in psutil.process_iter() if self._is_ours(process, noted)]

    def _is_ours(self, process: psutil.Process, noted: set[int]) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return bool({process.pid, os.getpgid(process.pid)} & noted) or str(
                self.folder
            ) in " ".join(process.cmdline())
        except (psutil.Error, ProcessLookupError):
            return False
