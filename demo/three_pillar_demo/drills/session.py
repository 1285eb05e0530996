"""The state of the drill that a person plays: hints, answers, and how the drill ended.

The runner process, the commands and the web UI share this state through one JSON file.
"""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from three_pillar_demo.drills.catalogue import REASONS, Drill, DrillError, ExpectedAnswer, load
from three_pillar_demo.drills.fault_files import DRILL_FOLDER
from three_pillar_demo.stack.state import Process

SESSION_FILE = DRILL_FOLDER / "session.json"
LOCK_FILE = DRILL_FOLDER / "session.lock"
PARTS = ("what", "where", "why")
"""The parts of an answer: the component, the place in it, and the reason (a key of ``REASONS``)."""
OUTCOMES_WITH_CAUSE = ("solved", "given up", "nobody answered")
"""The outcomes after which the cause of a drill is shown."""


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

    def end(self, outcome: str) -> None:
        """Record that the drill has ended now with ``outcome``. The caller saves the session."""
        self.outcome = outcome
        self.ended_at = time.time()


@dataclass(frozen=True)
class Grade:
    """The grade of an answer.

    Attributes:
        correct: Maps each of the ``PARTS`` to whether the part is right.
        lines: One line to print for each part: the player's word, and ``right`` or ``wrong``.
    """

    correct: dict[str, bool]
    lines: list[str]

    @property
    def solved(self) -> bool:
        """Whether every part of the answer is right."""
        return all(self.correct.values())


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


def submit_answer(answer: dict[str, str]) -> tuple[DrillSession, Grade]:
    """Grade ``answer``, which maps each of the ``PARTS`` to a word; a right answer ends the drill.

    Raises:
        DrillError: No drill is running, nobody was paged yet, or the reason is unknown.
    """
    answer = {**answer, "why": match_reason(answer["why"])}
    with locked() as current:
        if current.paged_at is None:
            raise DrillError("you have not been paged yet: wait for the symptom")
        result = grade(load(current.drill).answer, answer)
        current.answers.append(answer)
        if result.solved:
            current.end("solved")
        return current, result


def match_reason(text: str) -> str:
    """Return the reason (a key of ``REASONS``) that ``text`` names, by its name or a part of it.

    Raises:
        DrillError: ``text`` is part of no reason's name, or of several. The message lists all
            reasons.
    """
    wanted = text.strip().lower()
    if wanted in REASONS:
        return wanted
    matches = [name for name in REASONS if wanted and wanted in name]
    if len(matches) != 1:
        choices = "\n".join(f"  {name:<20}{meaning}" for name, meaning in REASONS.items())
        raise DrillError(f"why is one of:\n{choices}")
    return matches[0]


def grade(expected: ExpectedAnswer, answer: dict[str, str]) -> Grade:
    """Compare each part of ``answer`` with the words that the drill's file accepts for it.

    A part is right if it equals one of these words; upper and lower case do not matter. A part that
    lists several words is wrong, so that listing many words does not help.
    """
    accepted = {"what": expected.what, "where": expected.where, "why": (expected.why,)}
    correct = {}
    lines = []
    for part in PARTS:
        words = {word.lower() for word in accepted[part]}
        correct[part] = answer[part].strip().lower() in words
        lines.append(f"{part:<6}{answer[part]}: {'right' if correct[part] else 'wrong'}")
    return Grade(correct, lines)


def summary(ended: DrillSession, drill: Drill) -> list[str]:
    """Return the lines to print when a drill is over: its outcome, and its cause.

    The cause is left out unless the player has solved the drill or has ended the search for its
    cause: a drill that was stopped, or whose symptom did not appear, may be played again. The name
    of a blind drill is then left out too, because it may tell the cause.
    """
    is_cause_shown = ended.outcome in OUTCOMES_WITH_CAUSE
    name = drill.name if is_cause_shown or not ended.blind else "a blind drill"
    minutes, seconds = divmod(round(ended.elapsed_s), 60)
    effort = f"{_count(ended.hints_given, 'hint')}, {_count(len(ended.answers), 'answer')}"
    result = f"{name}: {ended.outcome} after {minutes} min {seconds:02} s, {effort}"
    if not is_cause_shown:
        return [result]
    expected = drill.answer
    cause = f"{expected.what[0]}, {expected.where[0]}, {expected.why} ({REASONS[expected.why]})"
    return [
        result,
        f"Cause     {cause}",
        f"Evidence  {expected.because}",
        f"Fix       {drill.fix.strip()}",
        f"Read      {drill.runbook}, docs/how-to/game-day.md",
    ]


def _count(number: int, noun: str) -> str:
    """Return the number with the noun in the singular or the plural, such as ``2 hints``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
