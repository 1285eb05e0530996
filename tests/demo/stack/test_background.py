"""Tests of a stack in the background, and of components left by a killed launcher."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.private_ports import free_port
from tests.stubs.running import FOLDER, TIMEOUT_S, Stack, wait_until
from three_pillar_demo.stack import state

MakeStack = Callable[..., Stack]
SHOP: dict[str, Any] = {"name": "shop", "stop_order": 1}
TRACES: dict[str, Any] = {"name": "traces", "stop_order": 2}


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Return a function that creates stub stacks, which are killed after the test."""
    with ExitStack() as stacks:
        yield lambda *plans: stacks.enter_context(Stack(tmp_path, *plans))


def states(stack: Stack) -> tuple[int, dict[str, str]]:
    """Return the exit code of ``demo status --json`` and the state of each component."""
    completed = stack.demo("status", "--json")
    assert completed.stderr == ""
    report = json.loads(completed.stdout)
    assert report["running"] == (not stack.has_ended and stack.launcher is not None)
    rows = report["components"]
    assert all((row["pid"] is None) == (row["state"] == "stopped") for row in rows)
    return completed.returncode, {row["component"]: row["state"] for row in rows}


def test_status_before_the_first_run(make_stack: MakeStack) -> None:
    """Before the first run, status exits with 1, down reports it, and neither writes a file."""
    stack = make_stack(SHOP)
    assert states(stack) == (1, {"shop": "stopped"})
    assert "Nothing is running. `make up` starts everything." in stack.demo("status").stdout
    down = stack.demo("down")
    assert (down.returncode, down.stdout, down.stderr) == (0, "nothing is running\n", "")
    assert not stack.state.exists()


def test_status_of_a_running_stack(make_stack: MakeStack) -> None:
    """Status checks each component's readiness, and exits with 0 once all are ready."""
    stack = make_stack(SHOP, TRACES | {"not_ready_body": "warming up"})
    stack.up(ready=False)
    stack.wait_until(lambda: "shop            ready" in stack.out, "the first to be ready")
    assert states(stack) == (1, {"shop": "ready", "traces": "not ready"})
    stack.set_flag("ready")
    stack.wait_until(lambda: stack.is_ready, "all to be ready")
    assert states(stack) == (0, {"shop": "ready", "traces": "ready"})


@pytest.mark.parametrize("name", ["nobody", "../../secret", "{folder}/secret", "..", ""])
def test_unknown_log_is_refused(make_stack: MakeStack, name: str) -> None:
    """A name without a log is refused with a list of the logs, and a path outside is not read."""
    stack = make_stack(SHOP)
    (stack.folder / "secret.log").write_text("a secret")
    stack.log("shop").parent.mkdir(parents=True)
    for log in ("shop", "build-traces"):
        stack.log(log).write_text("one\ntwo\nthree\n")
    refused = stack.demo("logs", name.format(folder=stack.folder))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith("; logs: build-traces, shop\n")
    assert stack.demo("logs", "build-traces", "--lines", "2").stdout == "two\nthree\n"


def test_detached_stack_keeps_running(make_stack: MakeStack) -> None:
    """`up --detach` prints the summary, a second start is refused, and down stops the stack."""
    stack = make_stack(SHOP, TRACES)
    stack.log("launcher").parent.mkdir(parents=True)
    stack.log("launcher").write_text("an earlier run\n")
    started = stack.demo("up", "--detach")
    assert (started.returncode, started.stderr) == (0, "")
    assert started.stdout.endswith("\n`demo down` stops everything.\n")
    logged = stack.log("launcher").read_text()
    assert "an earlier run" not in logged
    assert started.stdout == logged.replace("Ctrl-C", "`demo down`")
    refused = stack.demo("up", "--detach")
    assert refused.returncode == 1
    assert refused.stderr.startswith("demo up: a stack is already running")
    assert stack.log("launcher").read_text() == logged
    down = stack.demo("down")
    assert down.returncode == 0
    assert down.stdout.startswith("stopped in ")
    assert stack.events("gone") == ["shop gone", "traces gone"]
    assert stack.running_processes() == []


def test_two_detached_starts_at_once_make_one_stack(make_stack: MakeStack) -> None:
    """Of two starts at the same moment one is refused by name, and the log has a whole start."""
    stack = make_stack(SHOP, TRACES)
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: stack.demo("up", "--detach"), range(2)))
    started, refused = sorted(results, key=lambda result: result.returncode)
    assert (started.returncode, refused.returncode) == (0, 1)
    pid = stack.run["launcher"]["pid"]
    assert refused.stderr.startswith(
        f"demo up: a stack is already running (local, process {pid}, since "
    )
    logged = stack.log("launcher").read_text()
    assert started.stdout == logged.replace("Ctrl-C", "`demo down`")
    assert sorted(stack.events()) == ["shop started", "traces started"]
    assert stack.demo("down").returncode == 0


def test_detached_start_reports_its_failure(make_stack: MakeStack) -> None:
    """If a detached start fails, the launcher's error is printed and the exit code is 1."""
    stack = make_stack(SHOP | {"exit_code": 3, "last_output": "no space left on device"})
    stack.set_flag("exit")
    failed = stack.demo("up", "--detach")
    assert failed.returncode == 1
    assert "demo up: shop exited with code 3" in failed.stdout
    assert "    no space left on device\n" in failed.stdout
    assert failed.stderr == "demo up: the stack did not start, see above\n"
    assert stack.running_processes() == []


def test_ctrl_c_during_a_detached_start_stops_all(make_stack: MakeStack) -> None:
    """Ctrl-C during a detached start stops the launcher and all its components."""
    stack = make_stack(SHOP, TRACES | {"no_listener": True})
    stack.up("--detach", terminal=True, ready=False)
    stack.wait_until(lambda: len(stack.events("started")) == 2, "both to be started")
    stack.press("\x03")
    assert stack.wait_for_exit("Ctrl-C") == 1
    assert "stopped before everything was ready" in stack.out
    assert stack.running_processes() == []


def kill_launcher(stack: Stack) -> None:
    """Start the stack, wait for its two components and a child, and kill only its launcher."""
    stack.up()
    stack.wait_until(lambda: len(stack.events("started")) == 3, "the child")
    stack.signal(signal.SIGKILL)
    stack.wait_for_exit("SIGKILL")
    assert len(stack.running_processes()) == 3


@pytest.mark.parametrize("command", ["up", "down"])
def test_orphans_of_a_killed_launcher_are_stopped(make_stack: MakeStack, command: str) -> None:
    """Status reports components left by a killed launcher; up and down stop them all."""
    stack = make_stack(SHOP | {"spawns_child": True}, TRACES)
    kill_launcher(stack)
    assert states(stack) == (1, {"shop": "ready", "traces": "ready"})
    assert (
        "The launcher was killed and has left these components running; `demo down` stops them."
        in stack.demo("status").stdout
    )
    report = (
        "An earlier launcher was killed; stopping the components it left running: shop, traces\n"
    )
    if command == "down":
        assert stack.demo("down").stdout == f"{report}nothing is running\n"
    else:
        orphans = {process.pid for process in stack.running_processes()}
        stack.up()
        assert stack.out.startswith(report)
        assert not orphans & {process.pid for process in stack.running_processes()}
        assert stack.demo("down").returncode == 0
    assert stack.running_processes() == []
    assert len(stack.events("gone")) == 2 * (1 + (command == "up"))


def test_nothing_is_restarting_without_a_launcher(make_stack: MakeStack) -> None:
    """If the launcher was killed, its record of exits and requests is no present state."""
    stack = make_stack(SHOP, TRACES)
    stack.state.mkdir()
    ended = {"pid": os.getpid(), "created": 0.0}
    exits = {"count": 5, "last_at": 0.0, "reason": "exited", "log_tail": "", "gave_up": True}
    run = {
        "launcher": ended,
        "since": 0,
        "mode": "local",
        "ready": True,
        "components": {},
        "on_purpose": {"traces": "killed"},
        "exits": {"shop": exits | {"gave_up": False}, "traces": exits},
    }
    (stack.state / "run.json").write_text(json.dumps(run))
    assert states(stack) == (1, {"shop": "stopped", "traces": "stopped"})
    status = stack.demo("status").stdout
    assert "shop has exited unexpectedly 5 times" in status
    assert "stays down" not in status


@pytest.mark.parametrize("command", ["up", "down"])
def test_process_with_a_reused_id_is_never_touched(make_stack: MakeStack, command: str) -> None:
    """A foreign process that has the id of an earlier component is not stopped."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as foreign:
        recorded = {
            "pid": foreign.pid,
            "created": psutil.Process(foreign.pid).create_time() - 3600,
        }
        stack = make_stack(SHOP)
        stack.state.mkdir()
        run = {
            "launcher": recorded,
            "since": 0,
            "mode": "full",
            "ready": True,
            "components": {"shop": recorded},
        }
        (stack.state / "run.json").write_text(json.dumps(run))
        assert states(stack) == (1, {"shop": "stopped"})
        if command == "up":
            stack.up()
            assert "earlier launcher" not in stack.out
        assert stack.demo("down").stdout.startswith(
            "stopped in" if command == "up" else "nothing is running\n"
        )
        foreign.communicate(b"\n")
    assert foreign.returncode == 0


def accepts_connections(port: int) -> bool:
    """Return whether a process listens on the loopback port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_ended_process_holds_no_port(tmp_path: Path) -> None:
    """A process counts as alive until its last thread has ended and its port is free."""
    port = free_port()
    plan = json.dumps(SHOP | {"port": port, "event_log": str(tmp_path / "events")})
    with subprocess.Popen([sys.executable, str(FOLDER / "component.py"), plan]) as component:
        process = state.identify(component.pid)
        wait_until(lambda: accepts_connections(port), "the component to listen")
        component.terminate()
        # Without a pause between the checks, so that the port is bound as early as possible.
        deadline = time.monotonic() + TIMEOUT_S
        while process.alive():
            assert time.monotonic() < deadline, "it does not end"
        with socket.create_server(("127.0.0.1", port)) as successor:
            assert successor.getsockname()[1] == port


UNKNOWN_MODE = {
    "launcher": {"pid": 1, "created": 1},
    "since": 0,
    "mode": "cloudy",
    "ready": True,
    "components": {},
}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"launcher": {"pid": 1}}',
        '{"components": []}',
        "half",
        json.dumps(UNKNOWN_MODE),
    ],
)
def test_unreadable_state_file_is_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    """A run.json with invalid content is treated as if there were none."""
    monkeypatch.setattr(state, "FILE", tmp_path / "run.json")
    state.FILE.write_text(content)
    assert state.load() is None


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux derives start times from the clock")
def test_process_is_identified_after_the_clock_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is recognised after the clock was set or a virtual machine was paused."""
    process = state.current_process()
    boot_time = psutil.boot_time()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + 3600)
    assert psutil.Process().create_time() > time.time() + 1800, "the clock counts as set"
    assert process.alive()
