"""What the tests of drills on a running stack share."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.end_to_end.conftest import Stack, wait_until


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
