"""Answers are graded part by part, and a reason is a choice."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from three_pillar_demo.drills import background, command, session
from three_pillar_demo.drills.catalogue import DrillError, load, names
from three_pillar_demo.stack import state
from three_pillar_demo.stack.state import current_process

ENDS = {"solved": True, "given up": True, "stopped": False}
"""How a drill may end, and whether its answer is told then."""


@pytest.mark.parametrize("name", names())
def test_the_answer_of_the_file_is_right(name: str) -> None:
    """Every accepted word is right, in any case, with the reason by its name."""
    right = load(name).answer
    for what in right.what:
        for where in right.where:
            assert session.grade(
                right, {"what": what.upper(), "where": where, "why": right.why}
            ).solved


@pytest.fixture
def notes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plays of nobody else."""
    for module, name in ((session, "DRILLS"), (session, "NOTES"), (session, "GUARD")):
        monkeypatch.setattr(module, name, tmp_path / name)


@pytest.mark.usefixtures("notes_of_its_own")
def test_there_are_three_hints() -> None:
    """Each is told once, in turn; who asks for a fourth is told that there is none, and it does not count."""
    session.save(session.DrillSession("slow-bank", current_process(), time.time()))
    assert [session.hint() for _ in range(3)] == list(enumerate(load("slow-bank").hints, 1))
    with pytest.raises(DrillError, match="no more than 3 hints"):
        session.hint()
    found = session.last()
    assert found
    assert found.hints == 3


@pytest.mark.usefixtures("notes_of_its_own")
def test_a_player_that_dies_without_a_word_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the symptom is told where to look, not shown a traceback."""
    monkeypatch.setattr(background, "LOG", tmp_path / "drill.log")
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(DrillError, match=f"the player ended; see {background.LOG}"):
        background.start(Console(quiet=True), load("slow-bank"), 0, blind=False)


@pytest.mark.usefixtures("notes_of_its_own")
def test_a_blind_drill_is_one_that_was_played_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance chooses among those that came up least often: all have their turn before one comes again."""
    monkeypatch.setattr(state, "mode", lambda: "local")
    fit = sorted(name for name in names() if "local" in load(name).modes)
    for _ in range(2):
        came = []
        for _ in fit:
            drill, blind = command.chosen("", blind=True)
            assert blind
            came.append(drill.name)
            session.save(
                session.DrillSession(drill.name, current_process(), 0.0, before=session.played())
            )
        assert sorted(came) == fit


@pytest.mark.usefixtures("notes_of_its_own")
@pytest.mark.parametrize(("ended", "least", "most"), [(None, 12, 12), (5, 20, 25), (25, 12, 12)])
def test_the_shop_is_well_for_longer_after_another_drill(
    ended: float | None, least: float, most: float
) -> None:
    """What the drill before left in the rates of the last half minute is gone before something happens."""
    if ended is not None:
        session.save(
            session.DrillSession("slow-bank", current_process(), 0.0, ended=time.time() - ended)
        )
    assert least <= command.calm_seconds() <= most


def test_the_clock_of_the_twin_is_ahead_for_spans_and_lines() -> None:
    """Both carry the service's own clock, so both are late by as much."""
    code = """
from three_pillar_demo.drills.second_payment import put_ahead
import time
began = time.time_ns()
put_ahead(3.0)
import datetime, json, structlog
from opentelemetry.sdk.trace import TracerProvider
span = TracerProvider().get_tracer("clock").start_span("now")
stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "info", {})["timestamp"]
print((span.start_time - began) / 1e9, datetime.datetime.fromisoformat(stamp).timestamp() - began / 1e9)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [3 <= float(each) < 30 for each in done.stdout.split()] == [True, True]


def test_a_drill_that_is_stopped_is_not_given_away() -> None:
    """Who gives up is told what it was; who only stops may play it again."""
    told = {
        how: session.report(
            session.DrillSession("slow-bank", current_process(), 0.0, how=how), load("slow-bank")
        )
        for how in ENDS
    }
    assert {how: any("visa" in each for each in lines) for how, lines in told.items()} == ENDS


def test_each_part_is_graded() -> None:
    """A wrong part does not spoil the others, and is named."""
    grade = session.grade(
        load("slow-bank").answer, {"what": "payment", "where": "amex", "why": "slow-gateway"}
    )
    assert grade.right == {"what": True, "where": False, "why": True}
    assert not grade.solved
    assert grade.said[1] == "where amex: no"


def test_naming_everything_is_no_answer() -> None:
    """Many words for one part are wrong, also when the right one is among them."""
    grade = session.grade(
        load("slow-bank").answer,
        {"what": "payment checkout", "where": "visa amex", "why": "slow-gateway"},
    )
    assert not grade.right["what"]
    assert not grade.right["where"]


def test_a_reason_may_be_cut() -> None:
    """A part that only one reason has is that reason; what fits several or none is answered with the choice."""
    assert session.reason("slow") == "slow-gateway"
    assert session.reason(" SLOW-gateway ") == "slow-gateway"
    for vague in ("gateway", "", "gremlins"):
        with pytest.raises(DrillError, match="why is one of"):
            session.reason(vague)
