"""Tests of the checks before each command: help needs neither a clone nor valid settings."""

import sys

import pytest

from three_pillar_demo import __main__, paths
from three_pillar_demo.command_app import SHOP_COMMANDS
from three_pillar_demo.stack import state

Output = pytest.CaptureFixture[str]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run ``demo`` with ``arguments`` in this process; return the exit code."""
    monkeypatch.setattr(sys, "argv", ["demo", *arguments])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    return int(ended.value.code or 0)


@pytest.fixture(params=["no clone", "invalid port", "mode view"])
def _obstacle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "no clone":
        monkeypatch.setattr(paths, "CHECKOUT", None)
    elif request.param == "invalid port":
        monkeypatch.setenv("WEB_PORT", "none")
    else:
        monkeypatch.setattr(state, "mode", lambda: state.VIEW_MODE)


@pytest.mark.usefixtures("_obstacle")
@pytest.mark.parametrize("command", sorted(SHOP_COMMANDS | {"run", "import", "status"}))
def test_help_is_always_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, command: str
) -> None:
    """The help of every command is printed, whatever would keep the command from running."""
    assert run(monkeypatch, command, "--help") == 0
    assert f"Usage: demo {command} " in capsys.readouterr().out


@pytest.mark.parametrize("command", sorted(SHOP_COMMANDS))
def test_a_command_of_the_shop_is_refused_without_a_clone(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, command: str
) -> None:
    """Without ``--help``, a command that needs the clone ends with 2 and says so."""
    monkeypatch.setattr(paths, "CHECKOUT", None)
    arguments = ["check", "slow-payment"] if command == "drill" else []
    assert run(monkeypatch, command, *arguments) == 2
    assert f"`demo {command}` needs a clone" in capsys.readouterr().err


def test_help_of_a_program_is_not_help_of_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    """The settings are checked for ``demo run -- PROGRAM --help``, which runs a program."""
    monkeypatch.setenv("WEB_PORT", "none")
    assert run(monkeypatch, "run", "--", "echo", "--help") == 2
    assert "WEB_PORT=none: not a port number" in capsys.readouterr().err
