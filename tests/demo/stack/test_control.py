"""One component killed, stopped and started on purpose: the others go on, and everybody says so."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.running import Stack, until

SHOP: dict[str, Any] = {"name": "shop", "stop_order": 1}
TRACES: dict[str, Any] = {"name": "traces", "stop_order": 2}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Two components that run detached from whoever ends and starts them."""
    with Stack(tmp_path, SHOP, TRACES) as made:
        made.up()
        yield made


def states(stack: Stack) -> dict[str, str]:
    """What status says of each."""
    return {
        each["component"]: each["state"]
        for each in json.loads(stack.demo("status", "--json").stdout)["components"]
    }


def complaint(stack: Stack, verb: str, name: str) -> str:
    """What a refusal says."""
    done = stack.demo(verb, name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"demo {verb}: ")
    return done.stderr


@pytest.mark.parametrize(
    ("verb", "became", "heard"),
    [("stop", "stopped on purpose", ["SIGTERM", "gone"]), ("kill", "killed on purpose", [])],
)
def test_the_others_go_on_without_it(
    stack: Stack, verb: str, became: str, heard: list[str]
) -> None:
    """What is stopped hears SIGTERM first, what is killed hears nothing; the rest serves, and started again all is ready."""
    done = stack.demo(verb, "traces")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"traces {became} after ")
    assert stack.diary("SIGTERM", "gone") == [f"traces {each}" for each in heard]
    assert states(stack) == {"shop": "ready", "traces": became}
    assert stack.demo("status").returncode == 1
    assert became in stack.demo("status").stdout
    assert not stack.ended
    assert stack.demo("start", "traces").stdout.startswith("traces ready after ")
    assert states(stack) == {"shop": "ready", "traces": "ready"}
    assert stack.demo("status").returncode == 0
    assert stack.diary("started") == [
        "shop started",
        "traces started",
        "traces started",
    ] or stack.diary("started") == [
        "traces started",
        "shop started",
        "traces started",
    ]


def test_it_stays_away_until_the_end(stack: Stack) -> None:
    """A stack with a hole stops as a whole one, and of a hole in an earlier stack the next one knows nothing."""
    stack.demo("kill", "traces")
    assert stack.demo("down").returncode == 0
    assert stack.end("down") == 0
    assert stack.left() == []
    assert states(stack) == {"shop": "stopped", "traces": "stopped"}
    (stack.state / "wishes" / "shop").write_text("kill")
    stack.up()
    assert states(stack) == {"shop": "ready", "traces": "ready"}


def test_what_dies_by_itself_still_stops_all(tmp_path: Path) -> None:
    """Only a person's own doing is an exception: a component that dies takes the stack with it, also beside a hole."""
    with Stack(tmp_path, SHOP | {"exit": 3, "words": "no space left"}, TRACES) as stack:
        stack.up()
        stack.demo("stop", "traces")
        stack.let("die")
        assert stack.end("a death") == 1
        assert "shop ended with exit code 3" in stack.err
        assert stack.left() == []


def test_refusals_say_why(stack: Stack) -> None:
    """An unknown name, one that runs, one that is away already and a taken port are refused in words, and harm nothing."""
    assert "there is no '../shop' in the local stack; there are: shop, traces" in complaint(
        stack, "kill", "../shop"
    )
    assert "traces runs already" in complaint(stack, "start", "traces")
    stack.demo("stop", "traces")
    for verb in ("stop", "kill"):
        assert (
            "traces was stopped on purpose already; `demo start traces` starts it again"
            in complaint(stack, verb, "traces")
        )
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", stack.plans[1]["port"]))
        stranger.listen()
        assert "these ports are in use" in complaint(stack, "start", "traces")
    assert not stack.ended
    assert states(stack) == {"shop": "ready", "traces": "stopped on purpose"}


def test_without_a_stack_nothing_is_done(stack: Stack) -> None:
    """Where nothing runs, or its launcher was killed, each verb says how to start a stack."""
    stack.signal(signal.SIGKILL)
    until(lambda: stack.ended, "the launcher's end")
    for verb in ("kill", "stop", "start"):
        assert "nothing is running: `demo up --detach` starts the stack" in complaint(
            stack, verb, "shop"
        )
