"""The drills on a running stack: each is found by its evidence and by nothing else, and leaves nothing behind."""

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

from tests.end_to_end.conftest import FULL, Stack, poll_until
from three_pillar_demo.drills import catalogue
from three_pillar_demo.stack.state import Process

MODE = "full" if FULL else "local"
PLAYED = [name for name in catalogue.names() if MODE in catalogue.load(name).modes]
STEPS = [
    (step, number)
    for number in (signal.SIGKILL, signal.SIGINT)
    for step in ("calm", "broken", "paged")
]
pytestmark = pytest.mark.stack


def looking(stack: Stack, *arguments: str) -> list[str]:
    """What ``tests.drills.looking`` finds wrong."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.drills.looking", *arguments],
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == len(done.stdout.splitlines()), done.stderr
    return done.stdout.splitlines()


def notes(stack: Stack) -> dict[str, Any]:
    """What is known of the newest play; nothing before the first."""
    try:
        return dict(json.loads((stack.state / "drill" / "notes.json").read_text()))
    except OSError:
        return {}


@contextmanager
def played(stack: Stack, name: str, calm: str = "0") -> Iterator[subprocess.Popen[str]]:
    """The player of a drill."""
    player = subprocess.Popen(
        [sys.executable, "-m", "three_pillar_demo.drills.runner_process", name, calm],
        env=stack.environment(),
        text=True,
    )
    try:
        poll_until(
            lambda: notes(stack).get("player", {}).get("pid") == player.pid, "the player to begin"
        )
        yield player
    finally:
        player.kill()
        player.wait()
        stack.demo("drill", "stop")


@pytest.fixture(autouse=True)
def nothing_left_over(stack: Stack) -> Iterator[None]:
    """A test that fails in mid-play does not fail the next one too."""
    yield
    stack.demo("drill", "stop", check=False)


def on(stack: Stack) -> list[str]:
    """The services that are told of a fault."""
    return [path.name for path in (stack.state / "drill").glob("*.fault")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PLAYED)
def test_a_drill_passes_its_check(stack: Stack, name: str) -> None:
    """The symptom comes, the evidence is found and not without what it is in, no decoy is, and all is put back."""
    assert looking(stack, "check", name) == []


def test_where_nothing_is_broken_no_drill_passes(stack: Stack) -> None:
    """In a calm shop with customers of every drill there is no symptom, and nobody's evidence is whole."""
    assert looking(stack, "calm", *PLAYED) == []


def test_a_person_plays_a_drill(stack: Stack) -> None:
    """Start pages, a second one is refused, hints count, a wrong answer goes on, and a right one ends it."""
    said = stack.demo("drill", "start", "gateway-timeouts", "--calm", "0").stdout
    assert catalogue.load("gateway-timeouts").story.split()[0] in said
    assert "Played now: gateway-timeouts" in stack.demo("drill", "list").stdout
    for second in (("start", "slow-bank"), ("check", "slow-bank")):
        refused = stack.demo("drill", *second, check=False)
        assert refused.returncode == 1
        assert "being played already" in refused.stderr
    assert "1 of 3" in stack.demo("drill", "hint").stdout
    assert "three words" in stack.demo("drill", "answer", "payment", check=False).stderr
    wrong = stack.demo("drill", "answer", "payment", "visa", "slow", check=False)
    assert (wrong.returncode, "where visa: no" in wrong.stdout) == (1, True)
    told = stack.demo("drill", "answer", "payment", "/charges", "failing").stdout
    assert "solved after" in told
    assert "1 hint, 2 answers" in told
    assert on(stack) == []
    assert looking(stack, "mended") == []


def test_giving_up_tells(stack: Stack) -> None:
    """A blind drill is not named before it is over; giving up names it, says why, and ends it."""
    said = stack.demo("drill", "start", "--blind", "--calm", "0").stdout
    assert "one of them" in stack.demo("drill", "list").stdout
    name = notes(stack)["drill"]
    assert name not in said
    told = " ".join(stack.demo("drill", "give-up").stdout.split())
    assert f"{name}: given up" in told
    assert " ".join(catalogue.load(name).fix.split()) in told
    assert on(stack) == []


@pytest.mark.parametrize(("step", "number"), STEPS if FULL else STEPS[1:4])
def test_a_drill_that_is_interrupted_leaves_nothing(
    stack: Stack, step: str, number: signal.Signals
) -> None:
    """At any step, by Ctrl-C or a kill: the next purchase is whole, and the next drill can begin."""
    with played(stack, "broken-context", "30" if step == "calm" else "0") as player:
        if step == "paged":
            poll_until(lambda: notes(stack)["paged"], "the page")
        elif step == "broken":
            poll_until(lambda: "checkout.fault" in on(stack), "the fault")
        os.kill(player.pid, number)
        player.wait(30)
        poll_until(lambda: looking(stack, "mended") == [], "a shop as it was")
    with played(stack, "gateway-timeouts"):
        poll_until(lambda: len(on(stack)) == 2, "the next drill")


@pytest.mark.parametrize("calm", ["30", "0"])
def test_a_drill_ends_before_anybody_is_paged(stack: Stack, calm: str) -> None:
    """While all is well, or the fault is on and not seen yet, ``stop`` is obeyed at once: nothing is broken afterwards."""
    with played(stack, "cardinality-bomb", calm) as player:
        if calm == "0":
            poll_until(lambda: bool(on(stack)), "the fault")
        assert not notes(stack)["paged"]
        assert "stopped" in stack.demo("drill", "stop").stdout
        assert player.wait(30) == 0
        assert on(stack) == []


def test_what_a_drill_has_stopped_comes_back_by_itself(stack: Stack) -> None:
    """A player that is killed while payment is away leaves a guard that starts it."""
    with played(stack, "payment-down") as player:
        poll_until(lambda: notes(stack)["paged"], "the page", 90)
        player.kill()
        player.wait()
        poll_until(
            lambda: stack.demo("status", check=False).returncode == 0, "payment to be back", 90
        )
    assert looking(stack, "mended") == []


@pytest.mark.timeout(300)
def test_a_thirteenth_drill_is_written_by_following_the_page(stack: Stack, tmp_path: Path) -> None:
    """The file of docs/how-to/write-a-drill.md, put into a folder of one's own, is listed, passes its check, and fails without its fault."""
    page = Path("docs/how-to/write-a-drill.md").read_text()
    found = re.search(r"```toml\n# ([a-z-]+)\.toml\n(.*?)```", page, re.DOTALL)
    assert found
    name, text = found[1], found[2]
    assert f"demo drill check {name} --verbose" in page
    env = {"DEMO_DRILLS": str(tmp_path)}
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    assert name in stack.demo("drill", "list", env=env).stdout
    told = stack.demo("drill", "check", name, "--verbose", env=env, seconds=280).stdout
    assert re.search(rf"{name} +PASS", told)
    path.write_text(
        text.replace("latency_min = 0.8, latency_max = 1.0", "failure_rate = 0.0").replace(
            "within = 60", "within = 6"
        )
    )
    broken = stack.demo("drill", "check", name, env=env, check=False)
    assert broken.returncode == 1
    assert "the symptom did not come within 6 s" in broken.stdout


def test_a_drill_ends_with_its_stack(stack: Stack) -> None:
    """``demo down`` ends the drill too: the player goes, and nothing is turned on at the next start."""
    with played(stack, "slow-bank") as player:
        poll_until(lambda: notes(stack)["paged"], "the page")
        stack.down()
        try:
            player.wait(60)
            assert notes(stack)["how"] == "the stack was stopped"
            assert on(stack) == []
            assert Process(player.pid, notes(stack)["player"]["created"]).alive() is None
        finally:
            stack.up()
