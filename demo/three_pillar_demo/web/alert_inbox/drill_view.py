"""What the web UI shows of a running or recently ended drill, and what the drill's forms do."""

import time
from dataclasses import dataclass

from three_pillar_demo.drills import session
from three_pillar_demo.drills.catalogue import Drill, DrillError, load
from three_pillar_demo.web import runbook

SHOWN_AFTER_END_S = 600.0
"""How long the result of a drill is shown after its end, in seconds."""
MAX_ANSWER_LENGTH = 60
"""Each part of an answer is cut to this number of characters."""


@dataclass(frozen=True)
class DrillView:
    """A drill and the state of its session, with texts for the page."""

    session: session.DrillSession
    drill: Drill

    @property
    def summary(self) -> list[str]:
        """The lines of the result; empty while the drill runs."""
        if not self.session.outcome:
            return []
        return session.summary(self.session, self.drill)

    @property
    def runbook(self) -> str:
        """The path of the page to read afterwards; "" if the cause is not shown."""
        is_cause_shown = self.session.outcome in session.OUTCOMES_WITH_CAUSE
        return runbook.address(self.drill.runbook) if is_cause_shown else ""

    @property
    def grade(self) -> list[str]:
        """One line for each part of the newest answer, which says whether the part is right.

        The list is empty before the first answer, and also after the end of the drill.
        """
        if not self.session.answers or self.session.outcome:
            return []
        newest_answer = self.session.answers[-1]
        return session.grade(self.drill.answer, newest_answer).lines

    @property
    def elapsed(self) -> str:
        """The time since the player was paged, in minutes and seconds: ``1:05``.

        The time stops at the end of the drill.
        """
        minutes, seconds = divmod(int(self.session.elapsed_s), 60)
        return f"{minutes}:{seconds:02}"


def current_drill() -> DrillView | None:
    """Return the running drill, or a drill that ended within the past ``SHOWN_AFTER_END_S``.

    Return None when there is no such drill, or when the drill's file is invalid.
    """
    newest = session.latest()
    if newest is None or not (newest.active or _ended_recently(newest)):
        return None
    try:
        return DrillView(newest, load(newest.drill))
    except DrillError:
        return None


def submit(form: dict[str, str]) -> None:
    """Perform the action of a drill's form: show a hint, submit an answer, or give up.

    Raises:
        ValueError: The action is unknown or not possible now; the message says why.
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
