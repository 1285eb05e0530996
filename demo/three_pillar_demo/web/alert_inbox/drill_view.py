"""Shows the drill that runs, or one that ended a short while ago, and forwards its forms."""

import time
from dataclasses import dataclass

from three_pillar_demo.drills import session
from three_pillar_demo.drills.catalogue import Drill, DrillError, load

SHOWN_AFTER_END_S = 600.0
"""How long the result of a drill is shown after its end."""
MAX_ANSWER_LENGTH = 60
"""Characters of each part of an answer."""


@dataclass(frozen=True)
class DrillView:
    """A drill and the state of its session."""

    session: session.DrillSession
    drill: Drill

    @property
    def summary(self) -> list[str]:
        """The result of a drill that has ended, line by line; empty before."""
        if not self.session.outcome:
            return []
        return session.summary(self.session, self.drill)

    @property
    def grade(self) -> list[str]:
        """Which parts of the newest answer are right; empty without an answer."""
        if not self.session.answers or self.session.outcome:
            return []
        newest_answer = self.session.answers[-1]
        return session.grade(self.drill.answer, newest_answer).lines

    @property
    def elapsed(self) -> str:
        """The time since the page, as minutes and seconds: ``1:05``."""
        minutes, seconds = divmod(int(self.session.elapsed_s), 60)
        return f"{minutes}:{seconds:02}"


def current_drill() -> DrillView | None:
    """Return the drill to show; None when there is none, or when its file is invalid."""
    newest = session.latest()
    if newest is None or not (newest.active or _ended_recently(newest)):
        return None
    try:
        return DrillView(newest, load(newest.drill))
    except DrillError:
        return None


def submit(form: dict[str, str]) -> None:
    """Do what a form of the drill asks for: a hint, an answer, or giving up.

    Raises:
        ValueError: It cannot be done; the message says why.
    """
    try:
        match form.get("do"):
            case "hint":
                session.next_hint()
            case "give-up":
                session.end("given up")
            case "answer":
                answer = {part: form.get(part, "")[:MAX_ANSWER_LENGTH] for part in session.PARTS}
                session.submit_answer(answer)
            case _:
                raise ValueError("unknown action: it must be hint, answer or give-up")
    except DrillError as error:
        raise ValueError(str(error)) from error


def _ended_recently(drill_session: session.DrillSession) -> bool:
    if not drill_session.ended_at:
        return False
    return time.time() - drill_session.ended_at < SHOWN_AFTER_END_S
