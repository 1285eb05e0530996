"""Tests of requests to kill, stop and start one component while the others keep running."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.running import Stack, wait_until

SHOP: dict[str, Any] = {"name": "shop", "stop_order": 1}
TRACES: dict[str, Any] = {"name": "traces", "stop_order": 2}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Yield a running stack of two stub components, which is killed after the test."""
    with Stack(tmp_path, SHOP, TRACES) as running_stack:
        running_stack.up()
        yield running_stack


def states(stack: Stack) -> dict[str, str]:
    """Return the state of each component, as ``demo status`` reports it."""
    report = json.loads(stack.demo("status", "--json").stdout)
    return {row["component"]: row["state"] for row in report["components"]}


def error_of(stack: Stack, verb: str, name: str) -> str:
    """Run ``demo`` with ``verb`` and ``name``, which must fail, and return its error message."""
    completed = stack.demo(verb, name)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert completed.stderr.startswith(f"demo {verb}: ")
    return completed.stderr


@pytest.mark.parametrize(
    ("verb", "state", "events"),
    [("stop", "stopped on purpose", ["SIGTERM", "gone"]), ("kill", "killed on purpose", [])],
)
def test_other_components_keep_running(
    stack: Stack, verb: str, state: str, events: list[str]
) -> None:
    """After a component is stopped or killed, the other one runs, and ``start`` restores both."""
    completed = stack.demo(verb, "traces")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.startswith(f"traces {state} after ")
    assert stack.events("SIGTERM", "gone") == [f"traces {event}" for event in events]
    assert states(stack) == {"shop": "ready", "traces": state}
    assert stack.demo("status").returncode == 1
    assert state in stack.demo("status").stdout
    assert not stack.has_ended
    assert stack.demo("start", "traces").stdout.startswith("traces ready after ")
    assert states(stack) == {"shop": "ready", "traces": "ready"}
    assert stack.demo("status").returncode == 0
    *initial_events, restart_event = stack.events("started")
    assert sorted(initial_events) == ["shop started", "traces started"]
    assert restart_event == "traces started"


def test_killed_component_stays_away_until_the_stack_stops(stack: Stack) -> None:
    """A stack with a killed component stops as usual, and the next one ignores old requests."""
    stack.demo("kill", "traces")
    assert stack.demo("down").returncode == 0
    assert stack.wait_for_exit("down") == 0
    assert stack.running_processes() == []
    assert states(stack) == {"shop": "stopped", "traces": "stopped"}
    (stack.state / "requests" / "shop").write_text("kill")
    stack.up()
    assert states(stack) == {"shop": "ready", "traces": "ready"}


def test_a_restart_does_not_start_what_was_stopped_on_purpose(tmp_path: Path) -> None:
    """A component that exits is restarted, while one that a user has stopped stays stopped."""
    with Stack(tmp_path, SHOP, TRACES) as stack:
        stack.up()
        stack.demo("stop", "traces")
        os.kill(stack.pid_of("shop"), signal.SIGKILL)
        stack.wait_until(lambda: stack.events("started").count("shop started") == 2, "the restart")
        stack.wait_until(lambda: states(stack)["shop"] == "ready", "the restarted component")
        assert states(stack)["traces"] == "stopped on purpose"


def test_impossible_requests_are_refused(stack: Stack) -> None:
    """Requests for an unknown name, a state already reached or a port in use are refused."""
    assert "no component '../shop' in the local stack; components: shop, traces" in error_of(
        stack, "kill", "../shop"
    )
    assert "traces is already running" in error_of(stack, "start", "traces")
    stack.demo("stop", "traces")
    for verb in ("stop", "kill"):
        assert (
            "traces was already stopped on purpose; `demo start traces` starts it again"
            in error_of(stack, verb, "traces")
        )
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", stack.plans[1]["port"]))
        listener.listen()
        assert "these ports are not free" in error_of(stack, "start", "traces")
    assert not stack.has_ended
    assert states(stack) == {"shop": "ready", "traces": "stopped on purpose"}


def test_request_without_a_launcher_is_refused(stack: Stack) -> None:
    """If the launcher was killed, each request is refused with how to start a stack."""
    stack.signal(signal.SIGKILL)
    wait_until(lambda: stack.has_ended, "the launcher's end")
    for verb in ("kill", "stop", "start"):
        assert "nothing is running: `demo up --detach` starts the stack" in error_of(
            stack, verb, "shop"
        )
