"""The drills on a running stack: each is recognised by its own evidence, and leaves no fault."""

import re
from pathlib import Path

import pytest

from tests.demo.drills.live_stack import inspect
from tests.end_to_end.conftest import FULL, Stack
from three_pillar_demo.drills import catalogue

MODE = "full" if FULL else "local"
DRILLS = [name for name in catalogue.names() if MODE in catalogue.load(name).modes]
"""The drills of the mode in which the tests run."""
SHORT = DRILLS[::4]
"""The drills that ``make test`` tries; ``make test-long`` tries all."""
pytestmark = [
    pytest.mark.stack,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("drill_stopped_afterwards"),
]


@pytest.mark.parametrize(
    "name",
    [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in DRILLS if name not in SHORT)],
)
def test_a_drill_passes_its_check(stack: Stack, name: str) -> None:
    """A drill passes its own check, and no evidence is found if its query has an empty result."""
    assert inspect(stack, "check", name) == []


def test_no_drill_passes_without_a_fault(stack: Stack) -> None:
    """While nothing is broken, no drill's symptom appears and no drill's evidence is all found."""
    assert inspect(stack, "calm", *DRILLS) == []


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
