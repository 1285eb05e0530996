"""What the web UI shows of a running or recently ended drill, and what the drill's forms do."""

import time
from dataclasses import dataclass

from starlette.requests import Request

from three_pillar_demo.drills import answers, launch, session
from three_pillar_demo.drills.answer_choices import Choices, choices_of, kinds, place
from three_pillar_demo.drills.catalogue import Drill, DrillError, load
from three_pillar_demo.drills.verdict import Verdict, verdict
from three_pillar_demo.web import runbook
from three_pillar_demo.web.alert_inbox.drill_start import DRILL_MODES, DrillStarter

SHOWN_AFTER_END_S = 600.0
"""How long the result of a drill is shown after its end, in seconds."""
MAX_ANSWER_LENGTH = 60
"""Each part of an answer is cut to this number of characters."""


@dataclass(frozen=True)
class DrillView:
    """A drill and the state of its session, with texts for the page.

    ``mode`` is the mode of the stack.
    """

    session: session.DrillSession
    drill: Drill
    mode: str

    @property
    def verdict(self) -> Verdict | None:
        """How the drill has ended; None while it runs."""
        if self.session.has_died:
            return Verdict(f"It has ended unexpectedly: {launch.last_log_line()}")
        return verdict(self.session, self.drill) if self.session.outcome else None

    @property
    def runbook(self) -> str:
        """The path of the section of the runbook to read afterwards; "" if there is none.

        There is none before the cause is shown.
        """
        ended = self.verdict
        return runbook.address(ended.reading[0]) if ended and ended.reading else ""

    @property
    def answered(self) -> dict[str, str]:
        """The parts of the newest answer, as they can be chosen; empty before the first answer."""
        newest = self.session.answers[-1] if self.session.answers else {}
        return {part: place(word) for part, word in newest.items()}

    @property
    def choices(self) -> dict[str, Choices]:
        """The words among which the parts ``what`` and ``where`` of the answer are chosen."""
        return choices_of(self.mode)

    @property
    def kinds(self) -> dict[str, str]:
        """What the parts ``what`` and ``where`` can be, each as a part of a sentence."""
        return {part: kinds(choices) for part, choices in self.choices.items() if choices}

    @property
    def grade(self) -> list[str]:
        """One line for each part of the newest answer, which says whether the part is right.

        The list is empty before the first answer, and also after the end of the drill.
        """
        if not self.session.answers or self.session.outcome:
            return []
        newest_answer = self.session.answers[-1]
        return answers.grade(self.drill.answer, newest_answer).lines

    @property
    def elapsed(self) -> str:
        """The time since the player was paged, in minutes and seconds: ``1:05``.

        The time stops at the end of the drill.
        """
        minutes, seconds = divmod(int(self.session.elapsed_s), 60)
        return f"{minutes}:{seconds:02}"


def current_drill(mode: str) -> DrillView | None:
    """Return the running drill, or a drill that ended within the past ``SHOWN_AFTER_END_S``.

    Return None when there is no such drill, when the drill's file is invalid, or when no drills
    exist in ``mode``.
    """
    newest = session.latest() if mode in DRILL_MODES else None
    if newest is None or not (newest.active or _ended_recently(newest)):
        return None
    try:
        return DrillView(newest, load(newest.drill), mode)
    except DrillError:
        return None


def submit(form: dict[str, str], drill_starter: DrillStarter, request: Request) -> None:
    """Perform the action of a drill's form: start or stop a drill, show a hint, answer, give up.

    Raises:
        HTTPException: The request may not start a drill.
        ValueError: The action is unknown or not possible now; the message says why.
    """
    try:
        match form.get("do"):
            case "start":
                drill_starter.start(form.get("drill", ""), request)
            case "stop":
                session.end("stopped")
            case "hint":
                session.next_hint()
            case "give-up":
                session.end("given up")
            case "answer":
                answer = {part: form.get(part, "")[:MAX_ANSWER_LENGTH] for part in session.PARTS}
                answers.submit_answer(answer)
            case _:
                raise ValueError("unknown action: it must be start, hint, answer, give-up or stop")
    except DrillError as error:
        raise ValueError(str(error)) from error


def _ended_recently(drill_session: session.DrillSession) -> bool:
    ended_at = drill_session.ended_at
    if drill_session.has_died:
        ended_at = drill_session.paged_at or drill_session.started_at
    return ended_at is not None and time.time() - ended_at < SHOWN_AFTER_END_S
