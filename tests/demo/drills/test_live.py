"""The drills on a running stack: each is found by its own evidence, and leaves nothing behind."""

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
INTERRUPTIONS = [
    (step, number)
    for number in (signal.SIGKILL, signal.SIGINT)
    for step in ("calm", "broken", "paged")
]
pytestmark = pytest.mark.stack


def inspect(stack: Stack, *arguments: str) -> list[str]:
    """Return the problems that ``tests.demo.drills.inspect_stack`` finds."""
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
    """Return the newest drill session; empty before the first."""
    try:
        return dict(json.loads((stack.state / "drill" / "session.json").read_text()))
    except OSError:
        return {}


def fault_files(stack: Stack) -> list[str]:
    """Return the names of the fault files, one for each service that has a fault."""
    return [path.name for path in (stack.state / "drill").glob("*.fault")]


@contextmanager
def drill_runner(stack: Stack, name: str, calm: str = "0") -> Iterator[subprocess.Popen[str]]:
    """Start the runner process of a drill, and end the drill at the end of the block."""
    runner = subprocess.Popen(
        [sys.executable, "-m", "three_pillar_demo.drills.runner_process", name, calm],
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
    stack.demo("drill", "stop", check=False)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", DRILLS)
def test_a_drill_passes_its_check(stack: Stack, name: str) -> None:
    """A drill passes its own check, and no evidence is found without the data it is about."""
    assert inspect(stack, "check", name) == []


def test_no_drill_passes_without_a_fault(stack: Stack) -> None:
    """Under the load of all drills but without a fault, no drill's symptom or evidence appears."""
    assert inspect(stack, "calm", *DRILLS) == []


def test_a_person_plays_a_drill(stack: Stack) -> None:
    """Start pages, a second drill is refused, a wrong answer goes on, and a right one ends it."""
    page = stack.demo("drill", "start", "gateway-timeouts", "--calm", "0").stdout
    assert catalogue.load("gateway-timeouts").story.split()[0] in page
    assert "Running now: gateway-timeouts" in stack.demo("drill", "list").stdout
    for second in (("start", "slow-bank"), ("check", "slow-bank")):
        refused = stack.demo("drill", *second, check=False)
        assert refused.returncode == 1
        assert "a drill is already running" in refused.stderr
    assert "1 of 3" in stack.demo("drill", "hint").stdout
    assert "three words" in stack.demo("drill", "answer", "payment", check=False).stderr
    wrong = stack.demo("drill", "answer", "payment", "visa", "slow", check=False)
    assert (wrong.returncode, "where visa: wrong" in wrong.stdout) == (1, True)
    summary = stack.demo("drill", "answer", "payment", "/charges", "failing").stdout
    assert "solved after" in summary
    assert "1 hint, 2 answers" in summary
    assert fault_files(stack) == []
    assert inspect(stack, "restored") == []


def test_giving_up_shows_the_cause(stack: Stack) -> None:
    """A blind drill is not named before it is over, and giving up names and explains it."""
    page = stack.demo("drill", "start", "--blind", "--calm", "0").stdout
    assert "a blind drill" in stack.demo("drill", "list").stdout
    name = session(stack)["drill"]
    assert name not in page
    summary = " ".join(stack.demo("drill", "give-up").stdout.split())
    assert f"{name}: given up" in summary
    assert " ".join(catalogue.load(name).fix.split()) in summary
    assert fault_files(stack) == []


@pytest.mark.parametrize(("step", "number"), INTERRUPTIONS if FULL else INTERRUPTIONS[1:4])
def test_an_interrupted_drill_leaves_nothing(
    stack: Stack, step: str, number: signal.Signals
) -> None:
    """After Ctrl-C or SIGKILL at any step, purchases are complete and the next drill can begin."""
    with drill_runner(stack, "broken-context", "30" if step == "calm" else "0") as runner:
        if step == "paged":
            wait_until(lambda: session(stack)["paged_at"], "the page")
        elif step == "broken":
            wait_until(lambda: "checkout.fault" in fault_files(stack), "the fault")
        os.kill(runner.pid, number)
        runner.wait(30)
        wait_until(lambda: inspect(stack, "restored") == [], "the shop to be restored")
    with drill_runner(stack, "gateway-timeouts"):
        wait_until(lambda: len(fault_files(stack)) == 2, "the next drill")


@pytest.mark.parametrize("calm", ["30", "0"])
def test_a_drill_can_be_stopped_before_the_page(stack: Stack, calm: str) -> None:
    """``stop`` ends a drill at once in the calm phase, and between the fault and its symptom."""
    with drill_runner(stack, "cardinality-bomb", calm) as runner:
        if calm == "0":
            wait_until(lambda: bool(fault_files(stack)), "the fault")
        assert not session(stack)["paged_at"]
        assert "stopped" in stack.demo("drill", "stop").stdout
        assert runner.wait(30) == 0
        assert fault_files(stack) == []


def test_a_killed_component_comes_back_by_itself(stack: Stack) -> None:
    """A restorer starts payment if the runner is killed while payment is not running."""
    with drill_runner(stack, "payment-down") as runner:
        wait_until(lambda: session(stack)["paged_at"], "the page", 90)
        runner.kill()
        runner.wait()
        wait_until(
            lambda: stack.demo("status", check=False).returncode == 0, "payment to be back", 90
        )
    assert inspect(stack, "restored") == []


@pytest.mark.timeout(300)
def test_the_documented_drill_works(stack: Stack, tmp_path: Path) -> None:
    """The file in docs/how-to/write-a-drill.md passes its check, and fails without its fault."""
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
    """``demo down`` ends the drill and its runner, and no fault is active at the next start."""
    with drill_runner(stack, "slow-bank") as runner:
        wait_until(lambda: session(stack)["paged_at"], "the page")
        stack.down()
        try:
            runner.wait(60)
            assert session(stack)["outcome"] == "the stack was stopped"
            assert fault_files(stack) == []
            assert Process(runner.pid, session(stack)["runner"]["created"]).alive() is None
        finally:
            stack.up()
