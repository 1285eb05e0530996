"""One of two modes runs: every command finds out which, and the full one wants what this project does not build."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.stubs.running import Stack
from three_pillar_demo.stack import preflight
from three_pillar_demo.stack.components import (
    BY_NAME,
    DEFAULT,
    FULL,
    LOCAL,
    MODES,
    WEB,
    environment,
)
from three_pillar_demo.stack.external_binary import LOKI, TEMPO, ExternalBinary

Make = Callable[..., Stack]
Plan = dict[str, Any]
SHOP: Plan = {"name": "shop", "stop_order": 1}
BUILT: Plan = {"name": "crossroads", "stop_order": 2, "full": True, "binary": "prometheus"}
TRACES: Plan = {"name": "traces", "stop_order": 3, "full": True, "official": ["tracer", "3.0.3"]}
LOGS: Plan = {"name": "logs", "stop_order": 3, "full": True, "official": ["keeper", "3.7.6"]}
DIFFERS = " on PATH is 3.1.0; known to work: 3.0.3"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Stacks that end with the test; what is brought lies in a folder of theirs that is on PATH."""
    with ExitStack() as stacks:

        def build(*plans: Plan) -> Stack:
            stack = stacks.enter_context(Stack(tmp_path, *plans))
            stack.env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{stack.env['PATH']}"
            return stack

        yield build


def bring(folder: Path, name: str, version: str) -> None:
    """Put a program on PATH that tells its version, or runs its arguments."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec echo "{name}, version {version} (branch: x)"\nexec "$@"\n'
    )
    path.chmod(0o755)


def seen(stack: Stack) -> tuple[str, list[str]]:
    """The mode that ``demo status --json`` tells, and the components it lists."""
    said = json.loads(stack.demo("status", "--json").stdout)
    return said["mode"], [each["component"] for each in said["components"]]


def test_every_command_finds_the_mode(make: Make, tmp_path: Path) -> None:
    """Status, logs and down need not be told which mode runs; when nothing does, status shows the last one."""
    bring(tmp_path, "tracer", "3.0.9")
    stack = make(SHOP, TRACES)
    assert seen(stack) == ("local", ["shop"])
    started = stack.demo("up", "--detach", "--full")
    assert (started.returncode, started.stderr) == (0, "")
    assert "version" not in started.stdout  # another patch release is as good
    assert stack.run["mode"] == "full"
    assert seen(stack) == ("full", ["shop", "traces"])
    assert "traces" in stack.demo("logs", "traces").stdout
    refused = stack.demo("up")
    assert "a stack is running already (full, process " in refused.stderr
    assert stack.demo("down").returncode == 0
    assert stack.diary("gone") == ["shop gone", "traces gone"]
    assert seen(stack) == ("full", ["shop", "traces"])
    stack.up()
    assert seen(stack) == ("local", ["shop"])
    assert stack.demo("down").returncode == 0
    assert stack.left() == []


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("there", [(), ("tracer",)])
def test_what_is_missing_is_told_before_anything_starts(
    make: Make, tmp_path: Path, there: tuple[str, ...], *, detached: bool
) -> None:
    """One message names what is not on PATH and the two ways to have it; nothing has been started or built by then."""
    for name in there:
        bring(tmp_path, name, "3.0.3")
    stack = make(SHOP, BUILT, TRACES, LOGS)
    failed = stack.demo("up", "--full", *(["--detach"] if detached else []))
    assert (failed.returncode, failed.stdout) == (1, "")
    missing = "keeper 3.7.6" if there else "tracer 3.0.3 and keeper 3.7.6"
    assert failed.stderr.startswith(
        f"demo up: --full wants {missing} on PATH; nothing has been started.\n"
    )
    assert ("https://example.com/tracer/releases" in failed.stderr) == (not there)
    assert "https://example.com/keeper/releases" in failed.stderr
    assert "docker compose up" in failed.stderr
    assert stack.diary() == []
    assert not stack.cache.exists()
    assert not stack.log("build-crossroads").exists()


@pytest.mark.parametrize(
    ("version", "doubt"),
    [("3.0.0", ""), ("3.1.0", DIFFERS), ("none", "a version it does not tell")],
)
def test_another_version_is_one_warning(
    make: Make, tmp_path: Path, version: str, doubt: str
) -> None:
    """Another patch release is used without a word, any other version with one line that names both."""
    bring(tmp_path, "tracer", version)
    stack = make(SHOP, TRACES)
    started = stack.demo("up", "--detach", "--full")
    assert started.returncode == 0
    warnings = [line for line in started.stdout.splitlines() if "known to work" in line]
    assert len(warnings) == (1 if doubt else 0)
    assert not doubt or doubt in warnings[0]
    assert stack.demo("down").returncode == 0


def test_the_embedded_mode_is_python_alone() -> None:
    """By default nothing is looked for on PATH, nothing is built, and a sender need not know which mode runs."""
    assert MODES[DEFAULT] is LOCAL
    assert all(component.binary is None for component in LOCAL)
    assert preflight.check_official(LOCAL) == []
    assert [component for component in FULL if component in LOCAL] == [*LOCAL[:2], WEB]
    assert BY_NAME["store"].ports[0] == BY_NAME["otel-collector"].ports[0] == 4318
    assert {official for each in FULL if isinstance(official := each.binary, ExternalBinary)} == {
        TEMPO,
        LOKI,
    }


def test_what_receives_telemetry_sends_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's own OTEL_ settings reach the services, with the receiver of this house, and nobody else."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318")
    for name, component in BY_NAME.items():
        endpoint = environment(component).get("OTEL_EXPORTER_OTLP_ENDPOINT")
        assert endpoint == ("http://127.0.0.1:4318" if name in {"payment", "checkout"} else None)
    assert environment(BY_NAME["store"])["STORE_DATA"] == str(BY_NAME["store"].data)
