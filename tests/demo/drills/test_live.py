"""The drills on a running stack: each is recognised by its own evidence, and leaves no fault."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from three_pillar_demo.drills import catalogue
from three_pillar_demo.stack.state import Process

MODE = "full" if FULL else "local"
DRILLS = [name for name in catalogue.names() if MODE in catalogue.load(name).modes]
"""The drills of the mode in which the tests run."""
INTERRUPTIONS = [
    (step, number)
    for number in (signal.SIGKILL, signal.SIGINT)
    for step in ("before the fault", "broken", "paged")
]
"""The steps of a drill at which a test interrupts it, each with the signal."""
pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def inspect(stack: Stack, *arguments: str) -> list[str]:
    """Run ``tests.demo.drills.inspect_stack``, and return the problems that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo.drills.inspect_stack", *arguments],
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    problems = done.stdout.splitlines()
    assert done.returncode == len(problems), done.stderr
    return problems


def session(stack: Stack) -> dict[str, Any]:
    """Return the content of the drill session file, or an empty dict if there is none."""
    try:
        return dict(json.loads((stack.state / "drill" / "session.json").read_text()))
    except OSError:
        return {}


def fault_files(stack: Stack) -> list[str]:
    """Return the names of the fault files; each service with a fault has one."""
    return [path.name for path in (stack.state / "drill").glob("*.fault")]


@contextmanager
def drill_runner(
    stack: Stack, name: str, normal_operation_s: str = "0"
) -> Iterator[subprocess.Popen[str]]:
    """Run the drill ``name`` in a process until the end of the block, and yield the process.

    The fault begins after ``normal_operation_s`` seconds.
    """
    runner = subprocess.Popen(
        [sys.executable, "-m", "three_pillar_demo.drills.runner_process", name, normal_operation_s],
        env=stack.environment(),
        text=True,
    )
    try:
        wait_until(
            lambda: session(stack).get("runner", {}).get("pid") == runner.pid, "the drill to begin"
        )
        yield runner
    finally:
        runner.kill()
        runner.wait()
        stack.demo("drill", "stop")


@pytest.fixture(autouse=True)
def drill_stopped_afterwards(stack: Stack) -> Iterator[None]:
    """End a drill that a failed test has left running, so that the next test does not fail too."""
    yield
    if session(stack).get("outcome") == "" or fault_files(stack):
        stack.demo("drill", "stop", check=False)


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_passes_its_check(stack: Stack, name: str) -> None:
    """A drill passes its own check, and no evidence is found if its query has an empty result."""
    assert inspect(stack, "check", name) == []


def test_no_drill_passes_without_a_fault(stack: Stack) -> None:
    """While nothing is broken, no drill's symptom appears and no drill's evidence is all found."""
    assert inspect(stack, "calm", *DRILLS) == []


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


@pytest.mark.parametrize(("step", "number"), INTERRUPTIONS if FULL else INTERRUPTIONS[1:4])
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


def test_the_documented_drill_works(stack: Stack, tmp_path: Path) -> None:
    """The drill in docs/how-to/write-a-drill.md passes its check, and fails without its fault."""
    guide = Path("docs/how-to/write-a-drill.md").read_text()
    example = re.search(r"```toml\n# ([a-z-]+)\.toml\n(.*?)```", guide, re.DOTALL)
    assert example
    name, text = example.groups()
    assert f"demo drill check {name} --verbose" in guide
    env = {"DEMO_DRILLS": str(tmp_path)}
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    assert name in stack.demo("drill", "list", env=env).stdout
    passed = stack.demo("drill", "check", name, "--verbose", env=env, seconds=280).stdout
    assert re.search(rf"{name} +PASS", passed)
    path.write_text(
        text.replace("latency_min = 0.8, latency_max = 1.0", "failure_rate = 0.0").replace(
            "within = 60", "within = 6"
        )
    )
    failed = stack.demo("drill", "check", name, env=env, check=False)
    assert failed.returncode == 1
    assert "the symptom did not appear within 6 s" in failed.stdout


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
