"""What is shown when a drill is over: how it ended, the answer that was given, and the cause."""

from dataclasses import dataclass, field

from three_pillar_demo.drills import answer_choices
from three_pillar_demo.drills.answers import grade
from three_pillar_demo.drills.catalogue import Drill
from three_pillar_demo.drills.session import PARTS, DrillSession
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import DEFAULT

OUTCOMES_WITH_CAUSE = ("solved", "given up", "nobody answered")
"""The outcomes after which the cause of a drill is shown."""
FURTHER_READING = "docs/how-to/game-day.md"


@dataclass(frozen=True)
class Verdict:
    """The end of a drill.

    Attributes:
        result: The sentence that says how the drill ended, and after how long.
        rows: The name and the text of each further line: the answer, the cause, and what follows.
        reading: What to read, as paths: the section of the runbook that the drill's file names, if
            any, and ``FURTHER_READING``; empty if the cause is not shown.
    """

    result: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    reading: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The lines that a command prints."""
        reading = [("Read", ", ".join(self.reading))] if self.reading else []
        shown = [*self.rows, *reading]
        return [self.result, *(f"{name:<13}{text}" for name, text in shown)]


def verdict(ended: DrillSession, drill: Drill) -> Verdict:
    """Return how ``ended``, a session of ``drill``, has ended.

    The cause is left out unless the player has solved the drill or has ended the search for its
    cause: a drill that was stopped, or whose symptom did not appear, may be played again. The name
    of a blind drill is then left out too, because the player may meet it again.
    """
    is_cause_shown = ended.outcome in OUTCOMES_WITH_CAUSE
    name = drill.pain if is_cause_shown or not ended.blind else "a blind drill"
    minutes, seconds = divmod(round(ended.elapsed_s), 60)
    effort = f"{_count(ended.hints_given, 'hint')}, {_count(len(ended.answers), 'answer')}"
    result = f"{name}: {ended.outcome} after {minutes} min {seconds:02} s, {effort}"
    rows = _answer_row(ended, drill)
    if not is_cause_shown:
        return Verdict(result, rows)
    rows += [
        ("Cause", _cause(ended, drill)),
        ("Evidence", drill.answer.because),
        ("Fix", drill.fix.strip()),
    ]
    reading = [drill.runbook] if drill.runbook else []
    return Verdict(result, rows, (*reading, FURTHER_READING))


def _answer_row(ended: DrillSession, drill: Drill) -> list[tuple[str, str]]:
    """Return the row with the newest answer, and which parts of it are right.

    There is none without an answer, and none if all parts are right: they are the cause.
    """
    newest = grade(drill.answer, ended.answers[-1]) if ended.answers else None
    return [("Last answer", "; ".join(newest.lines))] if newest and not newest.solved else []


def _cause(ended: DrillSession, drill: Drill) -> str:
    """Return the cause in the words of the form, the player's own ones first if they are right.

    Other words that are right, too, follow them: ``Where: traceparent, or payment (/charges)``.
    """
    answer = ended.answers[-1] if ended.answers else {}
    correct = grade(drill.answer, answer).correct if answer else {}
    causes = []
    for part in PARTS:
        own = [answer[part]] if correct.get(part) else []
        words = [*own, *_accepted(drill, part)]
        shown = dict.fromkeys(answer_choices.shown(part, word) for word in words)
        causes.append(f"{part.capitalize()}: {', or '.join(shown)}")
    return "; ".join(causes)


def _accepted(drill: Drill, part: str) -> list[str]:
    """Return the words for a part of the answer that the form offers."""
    if part == "why":
        return [drill.answer.why]
    mode = state.mode() or DEFAULT
    return answer_choices.accepted_choices(mode, part, getattr(drill.answer, part))


def _count(number: int, noun: str) -> str:
    """Return the number with the noun in the singular or the plural, such as ``2 hints``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
