"""What is known of the drill that is played: hints, answers, how it ended. The player and the commands share these notes."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from three_pillar_demo.drills.catalogue import WHY, Answer, Drill, DrillError, load
from three_pillar_demo.drills.faults import DRILLS
from three_pillar_demo.stack.state import Process

NOTES, GUARD = DRILLS / "notes.json", DRILLS / "notes.lock"
PARTS = ("what", "where", "why")


@dataclass
class DrillSession:
    """One play. Times in seconds since the epoch; ``paged`` when the symptom was there; ``how`` it ended, empty before.

    ``before`` names the drills that were played before, one after the other.
    """

    drill: str
    player: Process
    began: float
    blind: bool = False
    paged: float | None = None
    ended: float | None = None
    how: str = ""
    hints: int = 0
    answers: list[dict[str, str]] = field(default_factory=list)
    before: list[str] = field(default_factory=list)

    @property
    def living(self) -> bool:
        """Whether it goes on."""
        return not self.how and self.player.alive() is not None

    @property
    def seconds(self) -> float:
        """How long the person has been at it, or was."""
        return max(0.0, (self.ended or time.time()) - self.paged) if self.paged else 0.0


@dataclass(frozen=True)
class Grade:
    """Which parts of an answer are right, and what to say of them."""

    right: dict[str, bool]
    said: list[str]

    @property
    def solved(self) -> bool:
        """Whether all are."""
        return all(self.right.values())


def last() -> DrillSession | None:
    """The notes of the newest play, which may be over; None when there was none."""
    try:
        said = json.loads(NOTES.read_text())
        return DrillSession(**{**said, "player": Process(**said["player"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(notes: DrillSession) -> None:
    """Write them at once: a reader sees the old ones or the new ones."""
    draft = NOTES.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(notes), indent=2))
    draft.replace(NOTES)


@contextmanager
def change() -> Iterator[DrillSession]:
    """The notes of the drill that is played, to be changed by one at a time.

    Raises:
        DrillError: None is.
    """
    DRILLS.mkdir(parents=True, exist_ok=True, mode=0o700)
    with GUARD.open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        notes = last()
        if notes is None or not notes.living:
            raise DrillError("no drill is being played: `demo drill start` begins one")
        yield notes
        save(notes)


def played() -> list[str]:
    """The drills that were played here, one after the other."""
    notes = last()
    return [*notes.before, notes.drill] if notes else []


def hint() -> tuple[int, str]:
    """The next hint and its number.

    Raises:
        DrillError: There are no more.
    """
    with change() as notes:
        hints = load(notes.drill).hints
        if notes.hints == len(hints):
            raise DrillError(
                f"there are no more than {len(hints)} hints; the last was: {hints[-1]}"
            )
        notes.hints += 1
        return notes.hints, hints[notes.hints - 1]


def end(how: str) -> DrillSession:
    """Have the player mend everything and go."""
    with change() as notes:
        notes.how, notes.ended = how, time.time()
        return notes


def answer(given: dict[str, str]) -> tuple[DrillSession, Grade]:
    """Grade an answer; a right one ends the drill.

    Raises:
        DrillError: Nobody was paged yet, or it gives no reason that can be chosen.
    """
    why = reason(given["why"])
    with change() as notes:
        if notes.paged is None:
            raise DrillError("nobody has been paged yet: wait for the symptom")
        given = {**given, "why": why}
        found = grade(load(notes.drill).answer, given)
        notes.answers.append(given)
        if found.solved:
            notes.how, notes.ended = "solved", time.time()
        return notes, found


def reason(text: str) -> str:
    """The one reason that ``text`` names, by its name or a part of it that only this one has."""
    wanted = text.strip().lower()
    fits = [wanted] if wanted in WHY else [each for each in WHY if wanted and wanted in each]
    if len(fits) != 1:
        raise DrillError(
            "why is one of:\n" + "\n".join(f"  {name:<20}{words}" for name, words in WHY.items())
        )
    return fits[0]


def grade(right: Answer, given: dict[str, str]) -> Grade:
    """Compare each part; more than one word for a part is no answer, so nobody can name everything."""
    accepted = {"what": right.what, "where": right.where, "why": (right.why,)}
    known = {
        part: given[part].strip().lower() in {each.lower() for each in accepted[part]}
        for part in PARTS
    }
    said = [f"{part:<6}{given[part]}: {'right' if known[part] else 'no'}" for part in PARTS]
    return Grade(known, said)


def report(notes: DrillSession, drill: Drill) -> list[str]:
    """What there is to say when it is over; of one that was only stopped, not what it was: it may be played again."""
    minutes, seconds = divmod(round(notes.seconds), 60)
    right = drill.answer
    tried = ", ".join(
        f"{count} {what}{'s' * (count != 1)}"
        for what, count in (("hint", notes.hints), ("answer", len(notes.answers)))
    )
    ended = f"{drill.name}: {notes.how} after {minutes} min {seconds:02} s, {tried}"
    if notes.how == "stopped":
        return [ended]
    return [
        ended,
        f"It was   {right.what[0]}, {right.where[0]}, {right.why} ({WHY[right.why]})",
        f"Because  {right.because}",
        f"Fix      {drill.fix.strip()}",
        f"Read     {drill.runbook}, docs/how-to/game-day.md",
    ]
