"""Grades the answer of a player, part by part."""

from dataclasses import dataclass

from three_pillar_demo.drills import answer_choices, session
from three_pillar_demo.drills.catalogue import REASONS, DrillError, ExpectedAnswer, load
from three_pillar_demo.drills.session import PARTS, DrillSession
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import DEFAULT


@dataclass(frozen=True)
class Grade:
    """The grade of an answer.

    Attributes:
        correct: Maps each of the ``PARTS`` to whether the part is right.
        lines: One line to print for each part: whether it is right, and the player's words for it,
            such as ``Where is wrong: amex``.
    """

    correct: dict[str, bool]
    lines: list[str]

    @property
    def solved(self) -> bool:
        """Whether every part of the answer is right."""
        return all(self.correct.values())


def submit_answer(answer: dict[str, str]) -> tuple[DrillSession, Grade]:
    """Grade ``answer``, which maps each of the ``PARTS`` to a word; a right answer ends the drill.

    Raises:
        DrillError: No drill is running, nobody was paged yet, or a word is no answer to any drill.
            The message lists what can be answered, and the answer does not count.
    """
    answer = {**answer, "why": match_reason(answer["why"])}
    with session.locked() as current:
        if current.paged_at is None:
            raise DrillError("you have not been paged yet: wait for the symptom")
        for part in ("what", "where"):
            _check_word(part, answer[part])
        result = grade(load(current.drill).answer, answer)
        current.answers.append(answer)
        if result.solved:
            current.end("solved")
        return current, result


def _check_word(part: str, word: str) -> None:
    """Raise a DrillError if ``word`` is no answer to any drill; it lists the words that are."""
    mode = state.mode() or DEFAULT
    if not answer_choices.is_known(mode, part, word):
        lines = answer_choices.listing(answer_choices.choices_of(mode)[part])
        choices = "\n".join(f"  {line}" for line in lines)
        raise DrillError(f"{word[:40]!r} cannot be answered; {part} is one of:\n{choices}")


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

    A part is right if it names the same as one of these words: upper and lower case do not matter,
    and a route stands for its service. A part that lists several words is wrong, so that listing
    many words does not help.
    """
    accepted = {"what": expected.what, "where": expected.where, "why": (expected.why,)}
    correct = {}
    lines = []
    for part in PARTS:
        words = set(map(answer_choices.place, accepted[part]))
        correct[part] = answer_choices.place(answer[part]) in words
        mark = "right" if correct[part] else "wrong"
        lines.append(f"{part.capitalize()} is {mark}: {answer_choices.shown(part, answer[part])}")
    return Grade(correct, lines)
