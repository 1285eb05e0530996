"""Reads and writes the launcher's state file, and holds the lock against a second launcher."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

import psutil

from three_pillar_demo.paths import STATE, create_state_folder

LOCAL_MODE = "local"
FULL_MODE = "full"
VIEW_MODE = "view"
CLUSTER_MODE = "cluster"
CLUSTER_LOCAL_STORE_MODE = "cluster-local-store"
MODES = (LOCAL_MODE, FULL_MODE, VIEW_MODE, CLUSTER_MODE, CLUSTER_LOCAL_STORE_MODE)
"""The names of the modes; ``components.MODES`` has their components."""
LOCAL_STORE_MODES = (LOCAL_MODE, VIEW_MODE)
"""The modes in which the local store receives and keeps the telemetry."""
LOCAL_QUERY_MODES = (*LOCAL_STORE_MODES, CLUSTER_LOCAL_STORE_MODE)
"""The modes in which the local store answers the questions of the commands and the web UI."""
CLUSTER_MODES = (CLUSTER_MODE, CLUSTER_LOCAL_STORE_MODE)
"""The modes with several processes of each kind, which two tiers of Collectors connect."""
FILE = STATE / "run.json"
LOCK = STATE / "lock"
BACKGROUND_LOCK = STATE / "background-lock"
LOCK_TIMEOUT_S = 1.0
"""How long the lock may be held, in seconds, by a command that only looks whether it is free."""
POLL_INTERVAL_S = 0.02


class RunningError(Exception):
    """Another launcher is already running; the message says how to see and stop it."""


@dataclass
class Process:
    """A process, identified by its id and its start time.

    The id alone is not enough: after a process has ended, the system may give its id to another
    process.

    Attributes:
        pid: The process id.
        created: The start time, in seconds since boot on Linux and since the epoch elsewhere.
    """

    pid: int
    created: float

    def alive(self) -> psutil.Process | None:
        """Return the process if it is still running; None if it has ended or its id was reused."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(_start_time(process) - self.created) < 1
            # The ports of a zombie are free only when the last of its threads is gone.
            has_ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        except psutil.Error:
            return None
        return process if is_same and not has_ended else None


def _start_time(process: psutil.Process) -> float:
    # Linux derives both times from the wall clock, which may be set while the process runs. Their
    # difference does not change.
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0)


def identify(pid: int) -> Process:
    """Return the process that now has the id ``pid``, with its start time."""
    try:
        return Process(pid, _start_time(psutil.Process(pid)))
    except psutil.Error:  # It has already ended.
        return Process(pid, 0.0)


@dataclass
class UnexpectedExits:
    """The unexpected exits of one component in a run: exits that no user has requested.

    Attributes:
        count: The number of exits.
        last_at: The time of the last exit, in seconds since the epoch.
        reason: How the process ended, such as "was terminated by SIGKILL after 12 s".
        log_tail: The last log lines of the process, each on a line of its own.
        gave_up: Whether the launcher does not restart the component any more.
    """

    count: int
    last_at: float
    reason: str
    log_tail: str
    gave_up: bool = False

    def summary(self) -> str:
        """Return how often the component has exited, and when and how for the last time."""
        times = "once" if self.count == 1 else f"{self.count} times"
        last_at = time.strftime("%H:%M:%S", time.localtime(self.last_at))
        return f"has exited unexpectedly {times}; at {last_at} it {self.reason}"

    def outlook(self, name: str) -> str:
        """Return that the component ``name`` stays down, as a sentence; "" if it does not."""
        if not self.gave_up:
            return ""
        return f"It stays down; `demo start {name}` starts it again."


@dataclass
class Run:
    """One run of the launcher, as ``run.json`` stores it.

    Attributes:
        launcher: The process of the launcher.
        since: When the launcher started, in seconds since the epoch.
        mode: One of ``MODES``.
        ready: Whether every component has become ready.
        ports: The number of each port of the components, by the name of its environment variable.
        components: The processes of the running components, by component name.
        on_purpose: The components that a user has stopped or killed, by name, with the value
            ``stopped`` or ``killed``. The launcher does not restart them.
        exits: The unexpected exits in this run, by the name of the component.
        tail_sampling: The variables ``TAIL_SAMPLING_*`` with which services and gateways run; empty
            if nothing is sampled.
    """

    launcher: Process
    since: float
    mode: str
    ready: bool = False
    ports: dict[str, int] = field(default_factory=dict)
    components: dict[str, Process] = field(default_factory=dict)
    on_purpose: dict[str, str] = field(default_factory=dict)
    exits: dict[str, UnexpectedExits] = field(default_factory=dict)
    tail_sampling: dict[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Write ``run.json`` atomically: a reader sees either the old or the new content."""
        draft = FILE.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2))
        draft.replace(FILE)


def load() -> Run | None:
    """Return the last run from ``run.json``, whether its launcher is still running or not.

    The result is None if there is no ``run.json``, or if this version of the demo cannot read it.
    """
    try:
        content = json.loads(FILE.read_text())
        if content["mode"] not in MODES:
            return None
        return Run(
            launcher=Process(**content["launcher"]),
            since=content["since"],
            mode=content["mode"],
            ready=content["ready"],
            ports=dict(content.get("ports", {})),  # Older versions did not write it.
            components={
                name: Process(**process) for name, process in content["components"].items()
            },
            on_purpose=dict(content.get("on_purpose", {})),
            exits={
                name: UnexpectedExits(**exits) for name, exits in content.get("exits", {}).items()
            },
            tail_sampling=dict(content.get("tail_sampling", {})),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def launcher_lock() -> Iterator[None]:
    """Hold a file lock, so that no second launcher runs with the same state folder.

    Raises:
        RunningError: Another launcher holds the lock.
    """
    with _lock(LOCK, LOCK_TIMEOUT_S):
        yield


@contextmanager
def background_lock(timeout_s: float) -> Iterator[None]:
    """Hold a file lock, so that no second launcher is started in the background meanwhile.

    Raises:
        RunningError: Another stack runs, or is still starting after ``timeout_s`` seconds.
    """
    with _lock(BACKGROUND_LOCK, timeout_s):
        yield


def is_locked() -> bool:
    """Return whether a launcher holds the lock, also before it has written ``run.json``."""
    try:
        with launcher_lock():
            return False
    except RunningError:
        return True


@contextmanager
def _lock(path: Path, timeout_s: float) -> Iterator[None]:
    create_state_folder()
    deadline = time.monotonic() + timeout_s
    with path.open("w") as file:
        while not _is_taken(file):
            if running() or time.monotonic() > deadline:
                raise RunningError(
                    f"a stack is already running{_description_of_run()}: "
                    "`demo status` shows it, `demo down` stops it"
                )
            time.sleep(POLL_INTERVAL_S)
        yield


def _is_taken(file: IO[str]) -> bool:
    """Take the lock on ``file``; return False if another process holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _description_of_run() -> str:
    run = running()
    if run is None:
        return ""
    since = time.strftime("%H:%M", time.localtime(run.since))
    return f" ({run.mode}, process {run.launcher.pid}, since {since})"


def running() -> Run | None:
    """Return the current run, or None if no launcher is running.

    This does not take the lock: a reader must never block a launcher that is starting.
    """
    run = load()
    return run if run and run.launcher.alive() else None


def mode() -> str | None:
    """Return the mode of the current run, one of ``MODES``.

    The result is None if no launcher is running.
    """
    run = running()
    return run.mode if run else None


def current_process() -> Process:
    """Return the process that runs this code."""
    return identify(os.getpid())
