"""Tests of how the launcher starts, watches and stops a stack of misbehaving stub components."""

import errno
import io
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest
from rich.console import Console

from tests.stubs.running import Stack
from three_pillar_demo.stack import launcher, preflight, state
from three_pillar_demo.stack.components import MODES
from three_pillar_demo.stack.progress import NEXT_STEPS, ProgressDisplay

MakeStack = Callable[..., Stack]
Plan = dict[str, Any]
SHOP: Plan = {"name": "shop", "stop_order": 1}
COLLECTOR: Plan = {"name": "collector", "stop_order": 2}
TRACES: Plan = {"name": "traces", "stop_order": 3}
LOGS: Plan = {"name": "logs", "stop_order": 3}


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[MakeStack]:
    """Return a function that creates stub stacks, which are killed after the test."""
    with ExitStack() as stacks:
        yield lambda *plans: stacks.enter_context(Stack(tmp_path, *plans))


def test_summary_is_printed_when_all_are_ready(make_stack: MakeStack) -> None:
    """Once all components are ready, the output lists addresses, logs and the next commands."""
    stack = make_stack(SHOP | {"not_ready_body": "warming up"}, TRACES)
    stack.up(ready=False)
    stack.wait_until(lambda: "traces          ready after" in stack.out, "the first to be ready")
    assert not stack.run["ready"]
    stack.set_flag("ready")
    stack.wait_until(lambda: stack.is_ready, "both to be ready")
    steps, summary = stack.out.split("component  address", maxsplit=1)
    for plan in stack.plans:
        assert f"{plan['name']:15} starting" in steps
        assert f"{plan['name']:15} ready after" in steps
        row = next(line for line in summary.splitlines() if line.startswith(plan["name"]))
        assert row.split() == [
            plan["name"],
            f"http://127.0.0.1:{plan['port']}",
            f"state/logs/{plan['name']}.log",
        ]
    assert "make checkout" in summary
    assert stack.run["ready"]
    assert list(stack.run["components"]) == ["shop", "traces"]


def hang_up_twice(stack: Stack) -> None:
    """Send two SIGHUPs, as the shell and the kernel do when a terminal window is closed."""
    stack.signal(signal.SIGHUP)
    stack.wait_until(lambda: stack.events("SIGTERM"), "the first component to be stopped")
    stack.signal(signal.SIGHUP)


WAYS_TO_STOP: dict[str, Callable[[Stack], None]] = {
    "Ctrl-C": lambda stack: stack.press("\x03"),
    "closing its window": Stack.close_terminal,
    "SIGTERM": lambda stack: stack.signal(signal.SIGTERM),
    "SIGHUP twice": hang_up_twice,
}


@pytest.mark.parametrize("way", WAYS_TO_STOP)
def test_signal_stops_all_components_in_order(make_stack: MakeStack, way: str) -> None:
    """Any signal to stop makes the launcher stop its components in order and exit with 0."""
    stack = make_stack(TRACES, LOGS, COLLECTOR, SHOP)
    stack.up(terminal=True)
    WAYS_TO_STOP[way](stack)
    # No process is left that could see the exit code after the window is closed.
    assert stack.wait_for_exit(way) == 0 or way == "closing its window"
    events = stack.events("SIGINT", "SIGHUP", "SIGTERM", "gone")
    assert events[:4] == ["shop SIGTERM", "shop gone", "collector SIGTERM", "collector gone"]
    assert sorted(events[4:6]) == ["logs SIGTERM", "traces SIGTERM"]  # Equal order: together.
    assert sorted(events[6:]) == ["logs gone", "traces gone"]
    assert stack.running_processes() == []
    assert (stack.run["ready"], stack.run["components"]) == (False, {})


def test_components_start_in_their_order(make_stack: MakeStack) -> None:
    """What others need is ready before they are started, also where only its port says so."""
    last = SHOP | {"start_order": 2}
    stack = make_stack(
        last, LOGS | {"start_order": 1, "tcp": True}, TRACES | {"not_ready_body": "loading"}
    )
    stack.up(ready=False)
    stack.wait_until(lambda: stack.events("started"), "the first component to be started")
    # This takes longer than a launcher that does not wait would need to start the others.
    assert "not ready" in stack.demo("status").stdout
    assert stack.events("started") == ["traces started"]
    stack.event_log.with_name("ready").touch()
    stack.wait_until(lambda: stack.is_ready, "everything to be ready")
    assert stack.events("started") == ["traces started", "logs started", "shop started"]
    assert stack.demo("status").returncode == 0


def test_second_ctrl_c_kills_at_once(make_stack: MakeStack) -> None:
    """A second Ctrl-C makes the launcher kill all components without a grace period."""
    stack = make_stack(SHOP | {"ignores_sigterm": True, "grace": 600}, COLLECTOR)
    stack.up(terminal=True)
    stack.press("\x03")
    stack.wait_until(lambda: stack.events("SIGTERM"), "the first component to be stopped")
    stack.press("\x03")
    assert stack.wait_for_exit("the second Ctrl-C") == 0
    assert stack.running_processes() == []


def test_ctrl_c_during_the_start_stops_all(make_stack: MakeStack) -> None:
    """Ctrl-C during the start stops all started components, and no summary is printed."""
    stack = make_stack(SHOP, TRACES | {"no_listener": True})
    stack.up(terminal=True, ready=False)
    stack.wait_until(lambda: len(stack.events("started")) == 2, "both to be started")
    stack.press("\x03")
    assert stack.wait_for_exit("Ctrl-C") == 0
    assert stack.running_processes() == []
    assert "is ready after" not in stack.out


def test_nohup_is_respected(make_stack: MakeStack) -> None:
    """A launcher that was started with nohup ignores SIGHUP and keeps watching its components."""
    stack = make_stack(SHOP)
    stack.command = ["nohup", *stack.command]
    stack.up()
    stack.signal(signal.SIGHUP)
    os.kill(stack.pid_of("shop"), signal.SIGKILL)
    stack.wait_until(lambda: len(stack.events("started")) == 2, "the restart of the component")
    assert stack.events("SIGTERM") == []


def test_component_that_ignores_sigterm_is_killed(make_stack: MakeStack) -> None:
    """A component that ignores SIGTERM is killed after its grace period, with its children."""
    stack = make_stack(
        SHOP | {"ignores_sigterm": True, "grace": 1.0, "spawns_child": True},
        COLLECTOR | {"spawns_child": True},
    )
    stack.up()
    stack.wait_until(lambda: len(stack.events("started")) == 4, "the children of both")
    began = time.monotonic()
    stack.signal(signal.SIGTERM)
    assert stack.wait_for_exit("SIGTERM") == 0
    assert time.monotonic() - began > 1.0
    assert stack.events("gone") == ["collector gone"]
    assert stack.running_processes() == []


def test_set_port_in_use_is_refused_before_anything_starts(make_stack: MakeStack) -> None:
    """If a port that a variable sets is in use, nothing is started, and the error names both."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        stack = make_stack(SHOP, TRACES | {"more_ports": [1234]})
        stack.env["STUB_TRACES_1_PORT"] = str(port)
        refused = stack.demo("up")
    assert refused.returncode == 1
    assert refused.stderr == (
        f"demo up: STUB_TRACES_1_PORT={port}: port {port} is in use by process {os.getpid()}, "
        f"{psutil.Process().name()}\n"
    )
    assert stack.events() == []


def test_default_port_in_use_is_replaced_and_every_command_knows(make_stack: MakeStack) -> None:
    """If a default is in use, the next free port is used, reported, and shown by ``status``."""
    stack = make_stack(SHOP, TRACES)
    default = stack.plans[1]["port"]
    with socket.create_server(("127.0.0.1", default)):
        stack.up()
        report = json.loads(stack.demo("status", "--json").stdout)
    address = report["components"][1]["address"]
    number = int(address.rsplit(":", 1)[1])
    assert number > default
    assert f"port {default} is in use by process {os.getpid()}, " in stack.out
    assert f"; traces uses {number} (STUB_TRACES_0_PORT)" in stack.out
    assert report["components"][1]["state"] == "ready"
    assert address in stack.out


def test_two_stacks_that_start_at_once_get_different_ports(
    make_stack: MakeStack, tmp_path: Path
) -> None:
    """A stack does not choose the port of one that is still starting and does not listen yet."""
    first = make_stack(TRACES | {"no_listener": True})
    first.up(ready=False)
    first.wait_until(lambda: first.events("started"), "the start of the first")
    (tmp_path / "second").mkdir()
    with Stack(tmp_path / "second", TRACES | {"port": first.plans[0]["port"]}) as second:
        second.up()
        assert first.run["ports"] == {"STUB_TRACES_0_PORT": first.plans[0]["port"]}
        assert second.run["ports"]["STUB_TRACES_0_PORT"] > first.plans[0]["port"]
        assert not first.has_ended


def test_second_launcher_is_refused(make_stack: MakeStack) -> None:
    """A second launcher ends with an error that names the first one, which keeps running."""
    stack = make_stack(SHOP)
    stack.up()
    refused = stack.demo("up")
    assert refused.returncode == 1
    assert (
        f"a stack is already running (local, process {stack.run['launcher']['pid']}, since "
        in refused.stderr
    )
    assert "demo down" in refused.stderr
    assert not stack.has_ended
    assert stack.run["ready"]
    assert stack.events() == ["shop started"]


class Failure(NamedTuple):
    """How a component exits, and what the launcher must report.

    ``exit_code`` is negative for a signal.
    """

    exit_code: int
    report: str
    last_output: str = "no space left on device"


FAILURES = {
    "with a code": Failure(exit_code=3, report="exited with code 3"),
    "with code 0": Failure(exit_code=0, report="exited with code 0", last_output="bye"),
    "after much output": Failure(
        exit_code=4,
        report="exited with code 4",
        last_output="[/data] is full\n" * 50 + "[panic]",
    ),
    "killed": Failure(exit_code=-9, report="was terminated by SIGKILL"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_component_that_exits_before_all_are_ready_stops_all(
    make_stack: MakeStack, how: str
) -> None:
    """If a component exits during the start, its exit is reported and all others are stopped."""
    failure = FAILURES[how]
    failing = {
        "exit_code": failure.exit_code,
        "last_output": failure.last_output,
        "no_listener": True,
    }
    stack = make_stack(TRACES | failing, SHOP)
    stack.up(ready=False)
    stack.wait_until(lambda: len(stack.events("started")) == 2, "both to be started")
    stack.set_flag("exit")
    assert stack.wait_for_exit("a failure") == 1
    first_line, *other_lines = stack.err.splitlines()
    assert first_line.startswith(f"demo up: traces {failure.report} after ")
    assert first_line.endswith(" s. Last log lines:")
    assert other_lines == [
        *(f"    {line}" for line in failure.last_output.splitlines()[-8:]),
        f"  log: {stack.log('traces')}",
    ]
    assert stack.events("gone") == ["shop gone"]
    assert stack.running_processes() == []


def row(stack: Stack, name: str) -> dict[str, Any]:
    """Return what ``demo status --json`` reports of the component ``name``."""
    report = json.loads(stack.demo("status", "--json").stdout)
    rows: dict[str, dict[str, Any]] = {row["component"]: row for row in report["components"]}
    return rows[name]


def test_component_that_is_killed_is_restarted(make_stack: MakeStack) -> None:
    """A component that is killed is started again; terminal and status say how often and why."""
    stack = make_stack(SHOP, TRACES | {"spawns_child": True})
    stack.up()
    stack.wait_until(lambda: stack.events("started").count("child started"), "the child")
    os.kill(stack.pid_of("traces"), signal.SIGKILL)
    stack.wait_until(lambda: row(stack, "traces")["unexpected_exits"] == 1, "the exit in status")
    stack.wait_until(lambda: row(stack, "traces")["state"] == "ready", "the restart")
    assert "traces was terminated by SIGKILL after " in stack.out
    assert "It is started again in 0.05 s." in stack.out
    assert "traces has exited unexpectedly once; at " in stack.demo("status").stdout
    assert stack.demo("status").returncode == 0
    assert stack.events("started").count("shop started") == 1
    # The child of the killed process is ended too, because it may hold the port.
    assert stack.events("started").count("child started") == 2
    stack.signal(signal.SIGTERM)
    assert stack.wait_for_exit("SIGTERM") == 0
    assert stack.running_processes() == []


def test_component_that_exits_again_and_again_stays_down(make_stack: MakeStack) -> None:
    """After five exits a component stays down, the others run, and ``start`` starts it again."""
    failing = {"exit_code": 3, "last_output": "[/data] is full"}
    stack = make_stack(SHOP, TRACES | failing)
    stack.up()
    stack.set_flag("exit")
    stack.wait_until(lambda: row(stack, "traces")["state"] == "down", "the last exit")
    assert row(stack, "traces")["unexpected_exits"] == 5
    assert stack.events("started").count("traces started") == 5
    assert "It has exited 5 times within 60 s and stays down; `demo start traces`" in stack.out
    status = stack.demo("status")
    assert status.returncode == 1
    assert "traces has exited unexpectedly 5 times; at " in status.stdout
    assert " It stays down; `demo start traces` starts it again. Last log" in status.stdout
    assert "[/data] is full" in status.stdout
    assert row(stack, "shop")["state"] == "ready"
    (stack.folder / "exit").unlink()
    assert stack.demo("start", "traces").returncode == 0
    assert row(stack, "traces")["state"] == "ready"
    assert not stack.run["exits"]["traces"]["gave_up"]
    assert "stays down" not in stack.demo("status").stdout
    assert not stack.has_ended


def test_component_that_is_down_can_be_stopped_on_purpose(make_stack: MakeStack) -> None:
    """A component that waits for its restart can be stopped, and is then not started again."""
    stack = make_stack(SHOP, TRACES | {"exit_code": 3})
    stack.up()
    stack.set_flag("exit")
    stack.wait_until(lambda: row(stack, "traces")["state"] == "down", "the last exit")
    assert stack.demo("stop", "traces").returncode == 0
    assert row(stack, "traces")["state"] == "stopped on purpose"


WITHOUT_READER = "import os, sys\nos.dup2(os.pipe()[1], 1)\nos.execv(sys.argv[1], sys.argv[1:])"
"""A program that runs its arguments, with a pipe as stdout whose only reader is gone then."""


def test_stack_goes_on_without_a_reader_of_its_output(make_stack: MakeStack) -> None:
    """If the reader of the output is gone, components are started, restarted and stopped anyway."""
    stack = make_stack(SHOP, TRACES)
    stack.command = [sys.executable, "-c", WITHOUT_READER, *stack.command]
    stack.up()
    os.kill(stack.pid_of("traces"), signal.SIGKILL)
    stack.wait_until(lambda: len(stack.events("started")) == 3, "the restart")
    stack.signal(signal.SIGTERM)
    assert stack.wait_for_exit("SIGTERM") == 0
    assert stack.running_processes() == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), BrokenPipeError()])
def test_no_output_of_the_progress_can_fail(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Every step, the table and the summary are left out if the output cannot be written."""

    class LostFile(io.StringIO):
        def write(self, _text: str) -> int:
            raise error

    def exit_quietly(_console: Console) -> None:
        raise SystemExit(1)

    # Rich's own method would also replace the stdout of the tests.
    monkeypatch.setattr(Console, "on_broken_pipe", exit_quietly)
    for is_terminal in (False, True):
        console = Console(file=LostFile(), force_terminal=is_terminal)
        with ProgressDisplay(MODES["view"], console, NEXT_STEPS["view"]) as progress:
            progress.step("store", "starting")
            progress.step("store", "ready", done=True)
        progress.step("store", "stopped on purpose")
        progress.summary(1.0)


def test_restart_with_a_full_disk_and_without_a_log(make_stack: MakeStack) -> None:
    """If state and log cannot be written or read, a restart works, and is recorded later."""
    stack = make_stack(SHOP, TRACES)
    stack.up()
    draft = stack.state / "run.draft"
    draft.mkdir()  # It is in the way of the file, and the error is an OSError as of a full disk.
    stack.log("traces").unlink()
    os.kill(stack.pid_of("traces"), signal.SIGKILL)
    stack.wait_until(lambda: len(stack.events("started")) == 3, "the restart")
    assert stack.out.count("the state of the stack cannot be recorded, trying again: ") == 1
    assert "exits" in stack.run
    assert stack.run["exits"] == {}
    draft.rmdir()
    stack.wait_until(lambda: stack.run["exits"], "the exit to be recorded")
    assert stack.run["components"]["traces"]["pid"] == stack.pid_of("traces")
    assert stack.run["ready"]


def test_log_that_was_emptied_still_has_its_last_lines(make_stack: MakeStack) -> None:
    """The report of an exit has the last lines of a log that somebody has emptied meanwhile."""
    stack = make_stack(SHOP, TRACES | {"exit_code": 3, "last_output": "disk full"})
    stack.up()
    os.truncate(stack.log("traces"), 0)
    stack.set_flag("exit")
    stack.wait_until(lambda: stack.run["exits"], "the exit to be recorded")
    assert stack.run["exits"]["traces"]["log_tail"].strip() == "disk full"


NEVER_READY: dict[str, Plan] = {
    # Two seconds are enough for the component to listen, also on a busy machine.
    "503 joining the ring": {"not_ready_body": "joining the ring", "ready_timeout": 2.0},
    "refused": {"no_listener": True, "ready_timeout": 1.0},
}


@pytest.mark.parametrize("response", NEVER_READY)
def test_component_that_is_never_ready_is_named(make_stack: MakeStack, response: str) -> None:
    """If a component is not ready in time, the error has URL, last response and log."""
    stack = make_stack(SHOP, TRACES | NEVER_READY[response])
    failed = stack.demo("up")
    assert failed.returncode == 1
    port = stack.plans[1]["port"]
    seconds = NEVER_READY[response]["ready_timeout"]
    assert failed.stderr.startswith(
        f"demo up: traces is not ready after {seconds:.0f} s; "
        f"last response of http://127.0.0.1:{port}/ready: "
    )
    assert failed.stderr.endswith(f"{response}\n  log: {stack.log('traces')}\n")
    assert stack.running_processes() == []


@pytest.mark.parametrize("missing_bytes", [0, 1])
def test_nearly_full_disk_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing_bytes: int
) -> None:
    """A start with one byte less disk space than needed is refused, with space and folder."""
    monkeypatch.setattr(preflight, "STATE", tmp_path)
    usage = SimpleNamespace(free=preflight.MIN_FREE_BYTES - missing_bytes)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if not missing_bytes:
        preflight.check_disk()
        return
    for module, name in ((state, "STATE"), (state, "LOCK"), (state, "FILE")):
        monkeypatch.setattr(module, name, tmp_path / name)
    with pytest.raises(preflight.LaunchError, match=f"only 1024 MiB are free at {tmp_path}"):
        launcher.Launcher(Console(quiet=True)).up()


BLOCKED_PATHS = {
    "state": "",
    "state/lock": "",
    "state/run.draft": "",
    "state/logs": "traces cannot be started: ",
    "state/data": "traces cannot be started: ",
    "state/logs/shop.log": "shop cannot be started: ",
}


@pytest.mark.parametrize("blocked", BLOCKED_PATHS)
def test_unwritable_path_is_one_message(make_stack: MakeStack, blocked: str) -> None:
    """An unwritable path stops the start with one line that names the path and the reason."""
    stack = make_stack(TRACES, SHOP)
    path = stack.folder / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder is in the way of a file, and a file in the way of a folder.
    if path.suffix or path.name == "lock":
        path.mkdir()
    else:
        path.touch()
    failed = stack.demo("up")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"demo up: {BLOCKED_PATHS[blocked]}[Errno ")
    assert f": '{path}" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert stack.running_processes() == []
