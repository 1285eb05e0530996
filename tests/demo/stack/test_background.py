"""A stack without a terminal: started, looked at and stopped from another one; and what a killed launcher leaves behind."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.stubs.running import FOLDER, SECONDS, Stack, free_port, until
from three_pillar_demo.stack import state

Make = Callable[..., Stack]
SHOP: dict[str, Any] = {"name": "shop", "stop_order": 1}
TRACES: dict[str, Any] = {"name": "traces", "stop_order": 2}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Stacks that end with the test."""
    with ExitStack() as stacks:
        yield lambda *plans: stacks.enter_context(Stack(tmp_path, *plans))


def states(stack: Stack) -> tuple[int, dict[str, str]]:
    """The exit code of ``demo status --json``, and each component's state."""
    done = stack.demo("status", "--json")
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert said["running"] == (not stack.ended and stack.launcher is not None)
    assert all((each["pid"] is None) == (each["state"] == "stopped") for each in said["components"])
    return done.returncode, {each["component"]: each["state"] for each in said["components"]}


def test_status_of_nothing(make: Make) -> None:
    """Where nothing ever ran, status says stopped, exits 1 and leaves nothing behind; down says that nothing runs."""
    stack = make(SHOP)
    assert states(stack) == (1, {"shop": "stopped"})
    assert "Nothing is running. `make up` starts everything." in stack.demo("status").stdout
    down = stack.demo("down")
    assert (down.returncode, down.stdout, down.stderr) == (0, "nothing is running\n", "")
    assert not stack.state.exists()


def test_status_of_what_runs(make: Make) -> None:
    """Status asks each component itself, and exits 0 once all are ready."""
    stack = make(SHOP, TRACES | {"says": "warming up"})
    stack.up(ready=False)
    stack.until(lambda: "shop            ready" in stack.out, "the first to be ready")
    assert states(stack) == (1, {"shop": "ready", "traces": "not ready"})
    stack.let("warm")
    stack.until(lambda: stack.is_ready, "all to be ready")
    assert states(stack) == (0, {"shop": "ready", "traces": "ready"})


@pytest.mark.parametrize("name", ["nobody", "../../secret", "{folder}/secret", "..", ""])
def test_logs_of_nobody_lists_what_there_is(make: Make, name: str) -> None:
    """A name that has no log is refused with those that have one; a path leads nowhere."""
    stack = make(SHOP)
    (stack.folder / "secret.log").write_text("a secret")
    stack.log("shop").parent.mkdir(parents=True)
    for each in ("shop", "build-traces"):
        stack.log(each).write_text("one\ntwo\nthree\n")
    asked = stack.demo("logs", name.format(folder=stack.folder))
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr.endswith("; there are: build-traces, shop\n")
    assert stack.demo("logs", "build-traces", "--lines", "2").stdout == "two\nthree\n"


def test_detached_it_goes_on(make: Make) -> None:
    """`up --detach` returns with the same table when all is ready; a second one is refused and harms nothing; down stops it."""
    stack = make(SHOP, TRACES)
    stack.log("launcher").parent.mkdir(parents=True)
    stack.log("launcher").write_text("an earlier one\n")
    started = stack.demo("up", "--detach")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.endswith("\n`demo down` stops everything.\n")
    said = stack.log("launcher").read_text()
    assert "an earlier one" not in said
    assert started.stdout == said.replace("Ctrl-C", "`demo down`")
    refused = stack.demo("up", "--detach")
    assert refused.returncode == 1
    assert refused.stderr.startswith("demo up: a stack is running already")
    assert stack.log("launcher").read_text() == said
    down = stack.demo("down")
    assert down.returncode == 0
    assert down.stdout.startswith("stopped in ")
    assert stack.diary("gone") == ["shop gone", "traces gone"]
    assert stack.left() == []


def test_detached_it_says_why_it_did_not_start(make: Make) -> None:
    """What the launcher complains about is shown, and the exit code says so too."""
    stack = make(SHOP | {"exit": 3, "words": "no space left on device"})
    stack.let("die")
    failed = stack.demo("up", "--detach")
    assert failed.returncode == 1
    assert "demo up: shop ended with exit code 3" in failed.stdout
    assert "    no space left on device\n" in failed.stdout
    assert failed.stderr == "demo up: the stack did not start, see above\n"
    assert stack.left() == []


def test_ctrl_c_while_it_detaches_stops_it(make: Make) -> None:
    """Who does not want to wait for readiness gets everything stopped, not a stack that starts unseen."""
    stack = make(SHOP, TRACES | {"silent": True})
    stack.up("--detach", terminal=True, ready=False)
    stack.until(lambda: len(stack.diary("started")) == 2, "both to be started")
    stack.type("\x03")
    assert stack.end("Ctrl-C") == 1
    assert "stopped before everything was ready" in stack.out
    assert stack.left() == []


def kill_launcher(stack: Stack) -> None:
    """Leave its components alone in the world."""
    stack.up()
    stack.until(lambda: len(stack.diary("started")) == 3, "the child")
    stack.signal(signal.SIGKILL)
    stack.end("SIGKILL")
    assert len(stack.left()) == 3


@pytest.mark.parametrize("command", ["up", "down"])
def test_what_a_killed_launcher_left_is_stopped(make: Make, command: str) -> None:
    """After the launcher was killed status, `up` and `down` say what it left; the last two stop it, to the last child."""
    stack = make(SHOP | {"child": True}, TRACES)
    kill_launcher(stack)
    assert states(stack) == (1, {"shop": "ready", "traces": "ready"})
    assert "The launcher was killed and has left these" in stack.demo("status").stdout
    says = "An earlier launcher was killed; stopping what it left: shop, traces\n"
    if command == "down":
        assert stack.demo("down").stdout == f"{says}nothing is running\n"
    else:
        left = {process.pid for process in stack.left()}
        stack.up()
        assert stack.out.startswith(says)
        assert not left & {process.pid for process in stack.left()}
        assert stack.demo("down").returncode == 0
    assert stack.left() == []
    assert len(stack.diary("gone")) == 2 * (1 + (command == "up"))


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_recycled_pid_is_never_touched(make: Make, command: str) -> None:
    """A process that got the number of one that we started is somebody else's."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        recycled = {
            "pid": innocent.pid,
            "created": psutil.Process(innocent.pid).create_time() - 3600,
        }
        stack = make(SHOP)
        stack.state.mkdir()
        run = {
            "launcher": recycled,
            "since": 0,
            "mode": "full",
            "ready": True,
            "components": {"shop": recycled},
        }
        (stack.state / "run.json").write_text(json.dumps(run))
        assert states(stack) == (1, {"shop": "stopped"})
        if command == "up":
            stack.up()
            assert "earlier launcher" not in stack.out
        assert stack.demo("down").stdout.startswith(
            "stopped in" if command == "up" else "nothing is running\n"
        )
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def listens(port: int) -> bool:
    """Whether somebody takes calls there."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def test_what_has_ended_holds_no_port(tmp_path: Path) -> None:
    """A process counts as alive until the last of its threads is gone, and with it the port: the next one can have it."""
    port, diary = free_port(), tmp_path / "diary"
    plan = json.dumps(SHOP | {"port": port, "diary": str(diary)})
    with subprocess.Popen([sys.executable, str(FOLDER / "component.py"), plan]) as component:
        known = state.identify(component.pid)
        until(lambda: listens(port), "the component to listen")
        component.terminate()
        deadline = time.monotonic() + SECONDS
        while known.alive():
            assert time.monotonic() < deadline, "it does not end"
        with socket.create_server(("127.0.0.1", port)) as successor:
            assert successor.getsockname()[1] == port


OF_ANOTHER_KIND = '{"launcher": {"pid": 1, "created": 1}, "since": 0, "mode": "cloudy", "ready": true, "components": {}}'


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"launcher": {"pid": 1}}',
        '{"components": []}',
        "half",
        OF_ANOTHER_KIND,
    ],
)
def test_a_broken_note_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str) -> None:
    """Whatever else is in run.json, it is no reason to fail."""
    monkeypatch.setattr(state, "FILE", tmp_path / "run.json")
    state.FILE.write_text(said)
    assert state.load() is None


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux reckons a process's start by the clock")
def test_a_clock_that_is_set_changes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is still the same one after the machine's clock was set, or a virtual machine went on after a pause."""
    mine, boot = state.current_process(), psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot + 3600)
    assert psutil.Process().create_time() > time.time() + 1800, (
        "the clock is believed to have been set"
    )
    assert mine.alive()
