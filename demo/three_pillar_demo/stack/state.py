"""What one run writes down: who the launcher is, which processes are its own, whether all is ready."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import psutil

from three_pillar_demo.stack.components import MODES, STATE

FILE = STATE / "run.json"
LOCK = STATE / "lock"


class RunningError(Exception):
    """A launcher is running already."""


@dataclass
class Process:
    """A process, recognised for certain: a pid alone may have been given to somebody else since."""

    pid: int
    created: float

    def alive(self) -> psutil.Process | None:
        """The process, if it is still the same one and running."""
        try:
            process = psutil.Process(self.pid)
            same = abs(_since_boot(process) - self.created) < 1
            # A zombie's ports are free once the last of its threads is gone.
            ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        except psutil.Error:
            return None
        return process if same and not ended else None


def _since_boot(process: psutil.Process) -> float:
    """When it began, in seconds since the machine did: Linux reckons both by the clock, which may be set meanwhile."""
    return process.create_time() - (psutil.boot_time() if psutil.LINUX else 0.0)


def identify(pid: int) -> Process:
    """The process that has ``pid`` now."""
    try:
        return Process(pid, _since_boot(psutil.Process(pid)))
    except psutil.Error:  # gone already
        return Process(pid, 0.0)


@dataclass
class Run:
    """One run of the launcher, as ``.demo/run.json`` has it."""

    launcher: Process
    since: float
    mode: str
    ready: bool = False
    components: dict[str, Process] = field(default_factory=dict)
    on_purpose: dict[str, str] = field(default_factory=dict)
    """Who was ``stopped`` or ``killed`` by a person, and is to stay away."""

    def save(self) -> None:
        """Write it at once: a reader sees the old one or the new one."""
        draft = FILE.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(self), indent=2))
        draft.replace(FILE)


def load() -> Run | None:
    """The last run, running or not; None when there was none."""
    try:
        said = json.loads(FILE.read_text())
        components = {name: Process(**process) for name, process in said["components"].items()}
        MODES[said["mode"]]  # one that we know
        on_purpose = dict(said.get("on_purpose", {}))  # an older one has none
        return Run(
            Process(**said["launcher"]),
            said["since"],
            said["mode"],
            said["ready"],
            components,
            on_purpose,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this house.

    Raises:
        RunningError: Somebody else holds it.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with LOCK.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            run = load()
            since = time.strftime("%H:%M", time.localtime(run.since)) if run else ""
            who = f" ({run.mode}, process {run.launcher.pid}, since {since})" if run else ""
            raise RunningError(
                f"a stack is running already{who}: `demo status` shows it, `demo down` stops it"
            ) from error
        yield


def running() -> Run | None:
    """The run whose launcher is there now. Asked without the lock: whoever looks must not be in a starting launcher's way."""
    run = load()
    return run if run and run.launcher.alive() else None


def mode() -> str | None:
    """Which of ``components.MODES`` runs now; None when nothing does."""
    run = running()
    return run.mode if run else None


def current_process() -> Process:
    """This process."""
    return identify(os.getpid())
