"""The state of the drill that a person plays: its times, hints, answers, and how it ended.

The runner process, the commands and the web UI share this state through one JSON file.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from three_pillar_demo.drills.catalogue import DrillError, load
from three_pillar_demo.drills.fault_files import DRILL_FOLDER
from three_pillar_demo.stack.state import Process

SESSION_FILE = DRILL_FOLDER / "session.json"
LOCK_FILE = DRILL_FOLDER / "session.lock"
PARTS = ("what", "where", "why")
"""The parts of an answer: the component, the place in it, and the reason (a key of ``REASONS``)."""
MAX_EARLIER_TIMES = 200
"""The number of earlier drills whose times are kept."""

Times = tuple[float, float | None]
"""When a drill began and ended, in seconds since the epoch; None if its end is not known."""


@dataclass
class DrillSession:
    """One drill that a person plays. All times are in seconds since the epoch.

    Attributes:
        drill: The name of the drill.
        runner: The process that runs the drill.
        started_at: The time at which the drill was started.
        blind: Whether the name is hidden until the drill is over.
        paged_at: The time at which the symptom appeared and the player was paged; None before.
        ended_at: The time at which the drill ended; None before.
        outcome: How the drill ended, such as ``solved``; empty before.
        hints_given: The number of hints that the player has had.
        answers: The answers so far; each maps the ``PARTS`` to the player's words.
        earlier: The names of the drills that were played before, oldest first.
        earlier_times: The times of the newest of them, oldest first.
        restored_at: The time at which the runner had restored everything; None before.
    """

    drill: str
    runner: Process
    started_at: float
    blind: bool = False
    paged_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    hints_given: int = 0
    answers: list[dict[str, str]] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    earlier_times: list[Times] = field(default_factory=list)
    restored_at: float | None = None

    @property
    def active(self) -> bool:
        """Whether the drill has not ended and the process that runs it is alive."""
        return not self.outcome and self.runner.alive() is not None

    @property
    def has_died(self) -> bool:
        """Whether the process that runs the drill has ended without recording how."""
        return not self.outcome and self.runner.alive() is None

    @property
    def elapsed_s(self) -> float:
        """Seconds from the page to the end of the drill, or to now; 0 before the page."""
        if not self.paged_at:
            return 0.0
        return max(0.0, (self.ended_at or time.time()) - self.paged_at)

    @property
    def times(self) -> Times:
        """When the drill began, and when its last request had ended and its fault was removed.

        The end of a drill whose runner was killed is that of the search for its cause.
        """
        if self.restored_at is None and self.runner.alive():
            return self.started_at, None
        return self.started_at, self.restored_at or self.ended_at

    def end(self, outcome: str) -> None:
        """Record that the drill has ended now with ``outcome``. The caller saves the session."""
        self.outcome = outcome
        self.ended_at = time.time()


def latest() -> DrillSession | None:
    """Read the newest session, which may have ended; None if there is no valid session file."""
    try:
        content = json.loads(SESSION_FILE.read_text())
        return DrillSession(**{**content, "runner": Process(**content["runner"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(current: DrillSession) -> None:
    """Write the session file atomically, so that a reader never sees an incomplete file."""
    draft = SESSION_FILE.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(current), indent=2))
    draft.replace(SESSION_FILE)


@contextmanager
def lock() -> Iterator[None]:
    """Hold the lock with which one process at a time changes the session."""
    LOCK_FILE.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with LOCK_FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def locked() -> Iterator[DrillSession]:
    """Lock and yield the session of the running drill, and save it at the end of the block.

    Raises:
        DrillError: No drill is running.
    """
    with lock():
        current = latest()
        if current is None or not current.active:
            raise DrillError("no drill is running: `demo drill start` begins one")
        yield current
        save(current)


def played() -> list[str]:
    """Return the names of all drills that were played so far, oldest first."""
    current = latest()
    return [*current.earlier, current.drill] if current else []


def times() -> list[Times]:
    """Return the times of the drills that were played so far, oldest first."""
    current = latest()
    if current is None:
        return []
    earlier = [(started_at, ended_at) for started_at, ended_at in current.earlier_times]
    return [*earlier, current.times][-MAX_EARLIER_TIMES:]


def begin(name: str, runner: Process, *, blind: bool) -> None:
    """Record that the process ``runner`` runs the drill ``name`` from now on.

    The caller holds the ``lock``.
    """
    save(DrillSession(name, runner, time.time(), blind, earlier=played(), earlier_times=times()))


def restored(runner: Process) -> None:
    """Record that ``runner`` has restored everything, if it runs the newest drill."""
    with lock():
        current = latest()
        if current and current.runner.pid == runner.pid:
            current.restored_at = time.time()
            save(current)


def next_hint() -> tuple[int, str]:
    """Return the number (from 1) and the text of the next hint, and count it as given.

    Raises:
        DrillError: No drill is running, or all hints were given.
    """
    with locked() as current:
        hints = load(current.drill).hints
        if current.hints_given == len(hints):
            raise DrillError(
                f"there are no more than {len(hints)} hints; the last was: {hints[-1]}"
            )
        current.hints_given += 1
        return current.hints_given, hints[current.hints_given - 1]


def end(outcome: str) -> DrillSession:
    """End the running drill with ``outcome``; its process then restores everything and exits.

    Raises:
        DrillError: No drill is running.
    """
    with locked() as current:
        current.end(outcome)
        return current
