"""Drill sessions: hints, grading, how a drill is chosen, and what is shown at its end."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from three_pillar_demo.drills import answer_choices, answers, background, choice, launch, session
from three_pillar_demo.drills.catalogue import REASONS, DrillError, load, names
from three_pillar_demo.drills.session import DrillSession
from three_pillar_demo.drills.verdict import verdict
from three_pillar_demo.stack import state
from three_pillar_demo.stack.components import DEFAULT
from three_pillar_demo.stack.state import current_process

CAUSE_SHOWN = {
    "solved": True,
    "given up": True,
    "nobody answered": True,
    "stopped": False,
    "the stack was stopped": False,
    "no symptom within 60 s": False,
}
"""For each outcome of a drill, whether its cause is printed at the end."""


@pytest.mark.parametrize("name", names())
def test_every_accepted_word_is_right(name: str) -> None:
    """An answer of any accepted words and the reason is right, in upper or lower case."""
    expected = load(name).answer
    for what in expected.what:
        for where in expected.where:
            answer = {"what": what.upper(), "where": where, "why": expected.why}
            assert answers.grade(expected, answer).solved


@pytest.fixture
def own_session_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the session file and its lock in a temporary folder."""
    monkeypatch.setattr(session, "SESSION_FILE", tmp_path / "session.json")
    monkeypatch.setattr(session, "LOCK_FILE", tmp_path / "session.lock")


@pytest.mark.usefixtures("own_session_files")
def test_there_are_three_hints() -> None:
    """Each hint is given once, in order, and asking for a fourth is an error."""
    session.save(DrillSession("waiting-customers", current_process(), time.time()))
    hints = [session.next_hint() for _ in range(3)]
    assert hints == list(enumerate(load("waiting-customers").hints, 1))
    with pytest.raises(DrillError, match="no more than 3 hints"):
        session.next_hint()
    current = session.latest()
    assert current
    assert current.hints_given == 3


@pytest.mark.usefixtures("own_session_files")
def test_a_runner_that_dies_silently_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the drill's process exits without output, the start fails and names the log file."""
    monkeypatch.setattr(launch, "LOG", tmp_path / "drill.log")
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(DrillError, match=f"the drill runner ended; see {launch.LOG}"):
        background.start(Console(quiet=True), load("waiting-customers"), 0, blind=False)


@pytest.mark.usefixtures("own_session_files")
def test_a_random_drill_is_one_of_the_least_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random drill is not chosen again until every other drill of the mode was chosen."""
    monkeypatch.setattr(state, "mode", lambda: "local")
    candidates = sorted(name for name in names() if "local" in load(name).modes)
    for _ in range(2):
        chosen = []
        for _ in candidates:
            drill, blind = choice.choose_drill("", blind=True)
            assert blind
            chosen.append(drill.name)
            session.save(DrillSession(drill.name, current_process(), 0.0, earlier=session.played()))
        assert sorted(chosen) == candidates


@pytest.mark.usefixtures("own_session_files")
@pytest.mark.parametrize(
    ("seconds_since_end", "minimum", "maximum"), [(None, 12, 12), (5, 20, 25), (25, 12, 12)]
)
def test_normal_operation_is_longer_after_another_drill(
    seconds_since_end: float | None, minimum: float, maximum: float
) -> None:
    """The fault begins after 12 s, and not before the previous drill ended 30 s ago."""
    if seconds_since_end is not None:
        ended_at = time.time() - seconds_since_end
        session.save(DrillSession("waiting-customers", current_process(), 0.0, ended_at=ended_at))
    assert minimum <= choice.default_normal_operation_s() <= maximum


def test_the_second_payments_clock_is_ahead_for_spans_and_logs() -> None:
    """With a clock 3 s ahead, span start times and log timestamps are both ahead by 3 s."""
    code = """
from three_pillar_demo.drills.second_payment import advance_clock
import time
began = time.time_ns()
advance_clock(3.0)
import datetime, json, structlog
from opentelemetry.sdk.trace import TracerProvider
span = TracerProvider().get_tracer("clock").start_span("now")
stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "info", {})["timestamp"]
logged = datetime.datetime.fromisoformat(stamp).timestamp()
print((span.start_time - began) / 1e9, logged - began / 1e9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [3 <= float(offset) < 30 for offset in done.stdout.split()] == [True, True]


def test_a_drill_that_may_be_played_again_does_not_show_its_cause() -> None:
    """The cause, and the name of a blind drill, are printed only after the search for the cause."""
    pain = load("waiting-customers").pain
    cause_shown = {}
    name_shown = {}
    for outcome in CAUSE_SHOWN:
        ended = DrillSession(
            "waiting-customers", current_process(), 0.0, blind=True, outcome=outcome
        )
        lines = verdict(ended, load("waiting-customers")).lines
        cause_shown[outcome] = any("visa" in line for line in lines)
        name_shown[outcome] = any(pain in line for line in lines)
        ended.blind = False
        result = verdict(ended, load("waiting-customers")).result
        assert result.startswith(f"{pain}: ")
    assert cause_shown == name_shown == CAUSE_SHOWN


def test_each_part_is_graded() -> None:
    """A wrong part of an answer is named, and the other parts are right all the same."""
    grade = answers.grade(
        load("waiting-customers").answer,
        {"what": "payment", "where": "amex", "why": "slow-gateway"},
    )
    assert grade.correct == {"what": True, "where": False, "why": True}
    assert not grade.solved
    assert grade.lines == [
        "What is right: payment",
        "Where is wrong: amex",
        "Why is right: a gateway that payment calls has become slow",
    ]


def rows_at_end(name: str, outcome: str, *places: str) -> dict[str, str]:
    """Return the rows of the verdict on the drill ``name``.

    The answers were right but for their part "where", which had ``places`` in turn.
    """
    expected = load(name).answer
    given = [{"what": expected.what[0], "where": where, "why": expected.why} for where in places]
    ended = DrillSession(name, current_process(), 0.0, outcome=outcome, answers=given)
    return dict(verdict(ended, load(name)).rows)


@pytest.mark.parametrize("outcome", ["given up", "stopped"])
def test_the_verdict_repeats_an_answer_that_was_not_right(outcome: str) -> None:
    """At the end stands the newest answer, if any, with which parts of it were right."""
    rows = rows_at_end("waiting-customers", outcome, "mastercard", "amex")
    assert rows["Last answer"] == (
        "What is right: payment; Where is wrong: amex; "
        "Why is right: a gateway that payment calls has become slow"
    )
    assert ("Cause" in rows) == (outcome != "stopped")
    assert "Last answer" not in rows_at_end("waiting-customers", outcome)


@pytest.mark.parametrize(
    ("name", "where", "shown"),
    [
        ("waiting-customers", "visa", "visa"),
        ("half-a-trace", "traceparent", "traceparent, or payment (/charges)"),
        ("half-a-trace", "POST /charges", "payment (/charges), or traceparent"),
        ("more-calls", "checkout", "checkout (/checkout), or payment (/charges)"),
        ("worried-bank", "402", "402, or declined, or checkout (/checkout)"),
    ],
)
def test_the_verdict_has_one_place(name: str, where: str, shown: str) -> None:
    """The cause of a solved drill is the player's right answer, with what else was right."""
    rows = rows_at_end(name, "solved", "baggage", where)
    assert f"; Where: {shown}; Why: " in rows["Cause"]
    assert not any("answer" in row for row in rows)


@pytest.mark.parametrize("name", names())
def test_the_verdict_has_the_words_of_the_form(name: str) -> None:
    """Every word of a cause that was not found can be chosen in the form of the page."""
    what, where, why = rows_at_end(name, "given up")["Cause"].split("; ")
    choices = answer_choices.choices_of(DEFAULT)
    for part, said in (("what", what), ("where", where)):
        words = {word for group in choices[part].values() for word in group}
        shown = {answer_choices.shown(part, word) for word in words}
        assert set(said.partition(": ")[2].split(", or ")) <= shown
    assert why == f"Why: {REASONS[load(name).answer.why]}"


@pytest.mark.parametrize("name", names())
def test_a_route_is_the_same_place_as_its_service(name: str) -> None:
    """No answer depends on whether a service or its only route is named, which is one place."""
    expected = load(name).answer
    for service, route in (("checkout", "/checkout"), ("payment", "/charges")):
        grades = {
            answers.grade(expected, {"what": "x", "where": where, "why": "x"}).correct["where"]
            for where in (service, route, f"POST {route}", route.removeprefix("/"))
        }
        assert len(grades) == 1, (service, grades)


@pytest.mark.usefixtures("own_session_files")
def test_what_no_drill_is_about_is_no_answer() -> None:
    """A word that is no answer to any drill is not counted, and the choices are listed."""
    now = time.time()
    session.save(DrillSession("waiting-customers", current_process(), now, paged_at=now))
    answer = {"what": "payment", "where": "basket", "why": "slow"}
    with pytest.raises(DrillError, match="'basket' cannot be answered") as error:
        answers.submit_answer(answer)
    for kind in ("a component: ", "a version: ", "a card: ", "a metric: ", "a header "):
        assert kind in str(error.value)
    for word in ("store", "traceparent", "baggage"):
        assert word in str(error.value)
    with pytest.raises(DrillError, match=r"what is one of:\n.*\n  customers or the proxy"):
        answers.submit_answer({**answer, "what": "basket"})
    current = session.latest()
    assert current
    assert current.answers == []


def test_several_words_for_one_part_are_wrong() -> None:
    """Several words for one part of an answer are wrong, even if one of them is right."""
    grade = answers.grade(
        load("waiting-customers").answer,
        {"what": "payment checkout", "where": "visa amex", "why": "slow-gateway"},
    )
    assert not grade.correct["what"]
    assert not grade.correct["where"]


def test_a_reason_may_be_abbreviated() -> None:
    """Text that is part of one reason's name is accepted, and other text lists all reasons."""
    assert answers.match_reason("slow") == "slow-gateway"
    assert answers.match_reason(" SLOW-gateway ") == "slow-gateway"
    for ambiguous_or_unknown in ("gateway", "", "gremlins"):
        with pytest.raises(DrillError, match="why is one of"):
            answers.match_reason(ambiguous_or_unknown)
