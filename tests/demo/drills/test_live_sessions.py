"""A session of a drill on a running stack: played, given up, interrupted, and always cleaned up."""

import os
import signal

import pytest

from tests.demo.drills.live_stack import drill_runner, fault_files, inspect, session
from tests.end_to_end.conftest import Stack, wait_until
from three_pillar_demo.drills import catalogue
from three_pillar_demo.stack.state import Process

INTERRUPTIONS = [
    (step, number)
    for number in (signal.SIGKILL, signal.SIGINT)
    for step in ("before the fault", "broken", "paged")
]
"""The steps of a drill at which a test interrupts it, each with the signal."""
SHORT = INTERRUPTIONS[1]
"""The one that ``make test`` tries; ``make test-long`` tries all."""
pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("drill_stopped_afterwards"),
]


def test_a_person_plays_a_drill(stack: Stack) -> None:
    """A drill pages the player, excludes a second drill, and ends only by a right answer."""
    alert = stack.demo("drill", "start", "lost-sales", "--calm", "0").stdout
    assert catalogue.load("lost-sales").story.split()[0] in alert
    assert "Running now: lost-sales" in stack.demo("drill", "list").stdout
    for second in (("start", "waiting-customers"), ("check", "waiting-customers")):
        refused = stack.demo("drill", *second, check=False)
        assert refused.returncode == 1
        assert "a drill is already running" in refused.stderr
    assert "1 of 3" in stack.demo("drill", "hint").stdout
    assert "three words" in stack.demo("drill", "answer", "payment", check=False).stderr
    answer = stack.demo("drill", "answer", "payment", "visa", "slow", check=False)
    assert (answer.returncode, "Where is wrong: visa" in answer.stdout) == (1, True)
    summary = stack.demo("drill", "answer", "payment", "/charges", "failing").stdout
    assert "solved after" in summary
    assert "1 hint, 2 answers" in summary
    assert session(stack)["restored_at"] >= session(stack)["ended_at"]
    assert fault_files(stack) == []
    assert inspect(stack, "restored") == []


def test_giving_up_shows_the_cause(stack: Stack) -> None:
    """The name of a blind drill is hidden until it is over; giving up shows summary and cause."""
    alert = stack.demo("drill", "start", "--blind", "--calm", "0").stdout
    assert "a blind drill" in stack.demo("drill", "list").stdout
    name = session(stack)["drill"]
    assert name not in alert
    summary = " ".join(stack.demo("drill", "give-up").stdout.split())
    assert f"{catalogue.load(name).pain}: given up" in summary
    assert " ".join(catalogue.load(name).fix.split()) in summary
    assert fault_files(stack) == []


@pytest.mark.parametrize(
    ("step", "number"),
    [
        SHORT,
        *(pytest.param(*each, marks=pytest.mark.long) for each in INTERRUPTIONS if each != SHORT),
    ],
)
def test_an_interrupted_drill_leaves_nothing(
    stack: Stack, step: str, number: signal.Signals
) -> None:
    """After SIGINT or SIGKILL at any step, no fault is left and the next drill can begin."""
    normal_operation_s = "30" if step == "before the fault" else "0"
    with drill_runner(stack, "half-a-trace", normal_operation_s) as runner:
        if step == "paged":
            wait_until(lambda: session(stack)["paged_at"], "the page")
        elif step == "broken":
            wait_until(lambda: "checkout.fault" in fault_files(stack), "the fault")
        os.kill(runner.pid, number)
        runner.wait(30)
        wait_until(lambda: inspect(stack, "restored") == [], "the shop to be restored")
    with drill_runner(stack, "lost-sales"):
        wait_until(lambda: len(fault_files(stack)) == 2, "the next drill")


@pytest.mark.parametrize("normal_operation_s", ["30", "0"])
def test_a_drill_can_be_stopped_before_the_page(stack: Stack, normal_operation_s: str) -> None:
    """``demo drill stop`` ends a drill at once, before its fault and before its symptom."""
    with drill_runner(stack, "rising-bill", normal_operation_s) as runner:
        if normal_operation_s == "0":
            wait_until(lambda: bool(fault_files(stack)), "the fault")
        assert not session(stack)["paged_at"]
        assert "stopped" in stack.demo("drill", "stop").stdout
        assert runner.wait(30) == 0
        assert fault_files(stack) == []


def test_a_killed_component_comes_back_by_itself(stack: Stack) -> None:
    """If the drill's process is killed while payment is down, payment is started again."""
    with drill_runner(stack, "no-sales") as runner:
        wait_until(lambda: session(stack)["paged_at"], "the page", 90)
        runner.kill()
        runner.wait()
        wait_until(
            lambda: stack.demo("status", check=False).returncode == 0, "payment to be back", 90
        )
    assert inspect(stack, "restored") == []


def test_a_drill_ends_with_its_stack(stack: Stack) -> None:
    """``demo down`` ends a running drill and its process, and removes the fault files."""
    with drill_runner(stack, "waiting-customers") as runner:
        wait_until(lambda: session(stack)["paged_at"], "the page")
        stack.down()
        try:
            runner.wait(60)
            assert session(stack)["outcome"] == "the stack was stopped"
            assert fault_files(stack) == []
            assert Process(runner.pid, session(stack)["runner"]["created"]).alive() is None
        finally:
            stack.up()
