"""The launcher starts, watches and stops a stack: here one of stub components, which behave as badly as real ones can."""

import os
import shutil
import signal
import socket
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

Make = Callable[..., Stack]
Plan = dict[str, Any]
SHOP: Plan = {"name": "shop", "stop_order": 1}
CROSSROADS: Plan = {"name": "crossroads", "stop_order": 2}
TRACES: Plan = {"name": "traces", "stop_order": 3}
LOGS: Plan = {"name": "logs", "stop_order": 3}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Stacks that end with the test."""
    with ExitStack() as stacks:
        yield lambda *plans: stacks.enter_context(Stack(tmp_path, *plans))


def test_all_ready_is_one_table_and_what_to_type_next(make: Make) -> None:
    """Once all are ready there is one table with each address and log, what to type next, and run.json says ready."""
    stack = make(SHOP | {"says": "warming up"}, TRACES)
    stack.up(ready=False)
    stack.until(lambda: "traces          ready after" in stack.out, "the first to be ready")
    assert not stack.run["ready"]
    stack.let("warm")
    stack.until(lambda: stack.is_ready, "both to be ready")
    before, table = stack.out.split("component  address", maxsplit=1)
    for plan in stack.plans:
        assert f"{plan['name']:15} ready after" in before
        row = next(line for line in table.splitlines() if line.startswith(plan["name"]))
        assert row.split() == [
            plan["name"],
            f"http://127.0.0.1:{plan['port']}",
            f"state/logs/{plan['name']}.log",
        ]
    assert "make checkout" in table
    assert stack.run["ready"]
    assert list(stack.run["components"]) == ["shop", "traces"]


def close_twice(stack: Stack) -> None:
    """A closed window is one wish, though shell and kernel both pass it on."""
    stack.signal(signal.SIGHUP)
    stack.until(lambda: stack.diary("SIGTERM"), "the first component to be told")
    stack.signal(signal.SIGHUP)


ENDS: dict[str, Callable[[Stack], None]] = {
    "Ctrl-C": lambda stack: stack.type("\x03"),
    "closing its window": Stack.close_terminal,
    "SIGTERM": lambda stack: stack.signal(signal.SIGTERM),
    "SIGHUP twice": close_twice,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_wish_to_stop_stops_all_in_order(make: Make, how: str) -> None:
    """It is the normal end, exit code 0; only the launcher hears it, and stops one after the other along the data's way."""
    stack = make(TRACES, LOGS, CROSSROADS, SHOP)
    stack.up(terminal=True)
    ENDS[how](stack)
    assert stack.end(how) == 0 or how == "closing its window"  # nobody is left to see that one
    diary = stack.diary("SIGINT", "SIGHUP", "SIGTERM", "gone")
    assert diary[:4] == ["shop SIGTERM", "shop gone", "crossroads SIGTERM", "crossroads gone"]
    assert sorted(diary[4:6]) == ["logs SIGTERM", "traces SIGTERM"]  # equal ones together
    assert sorted(diary[6:]) == ["logs gone", "traces gone"]
    assert stack.left() == []
    assert (stack.run["ready"], stack.run["components"]) == (False, {})


def test_a_second_ctrl_c_stops_at_once(make: Make) -> None:
    """Who presses Ctrl-C again does not wait for anybody's grace."""
    stack = make(SHOP | {"deaf": True, "grace": 600}, CROSSROADS)
    stack.up(terminal=True)
    stack.type("\x03")
    stack.until(lambda: stack.diary("SIGTERM"), "the deaf one to be told")
    stack.type("\x03")
    assert stack.end("the second Ctrl-C") == 0
    assert stack.left() == []


def test_ctrl_c_before_all_is_ready_stops_too(make: Make) -> None:
    """What has been started by then is stopped, and nothing is said to be ready."""
    stack = make(SHOP, TRACES | {"silent": True})
    stack.up(terminal=True, ready=False)
    stack.until(lambda: len(stack.diary("started")) == 2, "both to be started")
    stack.type("\x03")
    assert stack.end("Ctrl-C") == 0
    assert stack.left() == []
    assert "is ready after" not in stack.out


def test_nohup_is_honoured(make: Make) -> None:
    """A launcher that was told to ignore hangups goes on after one."""
    stack = make(SHOP | {"exit": 1})
    stack.command = ["nohup", *stack.command]
    stack.up()
    stack.signal(signal.SIGHUP)
    stack.let("die")
    assert stack.end("a death, so it still watches") == 1


def test_who_ignores_sigterm_is_killed_after_its_grace(make: Make) -> None:
    """A deaf component gets its grace and no more; what it or a polite one has started goes with it."""
    stack = make(SHOP | {"deaf": True, "grace": 1.0, "child": True}, CROSSROADS | {"child": True})
    stack.up()
    stack.until(lambda: len(stack.diary("started")) == 4, "the children of both")
    began = time.monotonic()
    stack.signal(signal.SIGTERM)
    assert stack.end("SIGTERM") == 0
    assert time.monotonic() - began > 1.0
    assert stack.diary("gone") == ["crossroads gone"]
    assert stack.left() == []


def test_a_port_in_use_is_refused_before_anything_starts(make: Make) -> None:
    """The refusal names port, component and holder."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        stack = make(SHOP, TRACES | {"more_ports": [port]})
        refused = stack.demo("up")
    assert refused.returncode == 1
    assert (
        f"port {port} (traces): process {os.getpid()}, {psutil.Process().name()}\n"
        in refused.stderr
    )
    assert str(stack.plans[0]["port"]) not in refused.stderr
    assert stack.diary() == []


def test_running_twice_is_refused(make: Make) -> None:
    """The second one says who runs, and what to do; the first one goes on."""
    stack = make(SHOP)
    stack.up()
    refused = stack.demo("up")
    assert refused.returncode == 1
    assert (
        f"a stack is running already (local, process {stack.run['launcher']['pid']}, since "
        in refused.stderr
    )
    assert "demo down" in refused.stderr
    assert not stack.ended
    assert stack.run["ready"]
    assert stack.diary() == ["shop started"]


class Death(NamedTuple):
    """When and how a component dies, and what is said of it."""

    ready: bool
    exit: int
    said: str
    words: str = "no space left on device"


DEATHS = {
    "before it is ready": Death(ready=False, exit=3, said="ended with exit code 3"),
    "before it is ready, without a fault": Death(
        ready=False, exit=0, said="ended with exit code 0", words="bye"
    ),
    "later, after much talk": Death(
        ready=True,
        exit=4,
        said="ended with exit code 4",
        words="[/data] is full\n" * 50 + "[panic]",
    ),
    "later, killed": Death(ready=True, exit=-9, said="was ended by SIGKILL"),
}


@pytest.mark.parametrize("when", DEATHS)
def test_a_component_that_dies_stops_all(make: Make, when: str) -> None:
    """One message names it, its exit code or signal, its last words and its log; all else is stopped."""
    death = DEATHS[when]
    stack = make(
        TRACES | {"exit": death.exit, "words": death.words, "silent": not death.ready}, SHOP
    )
    stack.up(ready=death.ready)
    stack.until(lambda: len(stack.diary("started")) == 2, "both to be started")
    stack.let("die")
    assert stack.end("a death") == 1
    first, *rest = stack.err.splitlines()
    assert first.startswith(f"demo up: traces {death.said} after ")
    assert rest == [
        *(f"    {line}" for line in death.words.splitlines()[-8:]),
        f"  its log: {stack.log('traces')}",
    ]
    assert stack.diary("gone") == ["shop gone"]
    assert stack.left() == []


SLOW: dict[str, Plan] = {
    "503 joining the ring": {
        "says": "joining the ring",
        "ready_seconds": 2.0,
    },  # time enough to come to its door when all is slow
    "refused": {"silent": True, "ready_seconds": 1.0},
}


@pytest.mark.parametrize("said", SLOW)
def test_who_is_never_ready_is_named(make: Make, said: str) -> None:
    """After its limit the message says what was asked, what it last answered, and where its log is."""
    stack = make(SHOP, TRACES | SLOW[said])
    failed = stack.demo("up")
    assert failed.returncode == 1
    port, seconds = stack.plans[1]["port"], SLOW[said]["ready_seconds"]
    assert failed.stderr.startswith(
        f"demo up: traces is not ready after {seconds:.0f} s: http://127.0.0.1:{port}/ready said "
    )
    assert failed.stderr.endswith(f"{said}\n  its log: {stack.log('traces')}\n")
    assert stack.left() == []


@pytest.mark.parametrize("missing", [0, 1])
def test_a_nearly_full_disk_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: int
) -> None:
    """A byte less than a run needs is refused, with how much is free and where."""
    monkeypatch.setattr(preflight, "STATE", tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: SimpleNamespace(free=preflight.FREE_BYTES - missing)
    )
    if not missing:
        preflight.check_disk()
        return
    for module, name in ((state, "STATE"), (state, "LOCK"), (state, "FILE")):
        monkeypatch.setattr(module, name, tmp_path / name)
    with pytest.raises(preflight.LaunchError, match=f"only 1024 MiB are free at {tmp_path}"):
        launcher.Launcher(Console(quiet=True)).up()


BLOCKED = {
    "state": "",
    "state/lock": "",
    "state/run.draft": "",
    "state/logs": "traces cannot be started: ",
    "state/data": "traces cannot be started: ",
    "state/logs/shop.log": "shop cannot be started: ",
}


@pytest.mark.parametrize("blocked", BLOCKED)
def test_what_cannot_be_written_is_one_clear_message(make: Make, blocked: str) -> None:
    """It names the path and what is wrong with it, without a traceback, and what was started is stopped."""
    stack = make(TRACES, SHOP)
    path = stack.folder / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if path.suffix or path.name == "lock" else path.touch()  # the other kind is in the way
    failed = stack.demo("up")
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"demo up: {BLOCKED[blocked]}[Errno ")
    assert f": '{path}" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert stack.left() == []
