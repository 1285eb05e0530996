"""What ``demo run`` determines before it becomes the program."""

import os
import sys
from pathlib import Path

import pytest

from three_pillar_demo.run_program.prepare import prepare, without_own_tools
from three_pillar_demo.run_program.variables import Receiver

RECEIVER = Receiver(http_port=14318, grpc_port=14317)
OWN_PROGRAMS = str(Path(sys.prefix, "bin"))


def test_uvx_does_not_change_the_users_python() -> None:
    """The folder that uvx puts first on ``PATH`` for this command is not passed to the program."""
    environment = {"UV": "/usr/bin/uv", "PATH": f"{OWN_PROGRAMS}{os.pathsep}/usr/bin"}
    assert without_own_tools(environment) == {"UV": "/usr/bin/uv", "PATH": "/usr/bin"}


@pytest.mark.parametrize(
    "changes",
    [
        {"VIRTUAL_ENV": sys.prefix},  # An activated environment, or uv run.
        {"UV": None},  # An image whose PATH begins with its environment.
        {"PATH": f"/usr/bin{os.pathsep}{OWN_PROGRAMS}"},
    ],
)
def test_an_environment_that_the_user_has_chosen_is_kept(changes: dict[str, str | None]) -> None:
    """``PATH`` is left as it is unless uvx has added this command's environment to it."""
    environment = {"UV": "/usr/bin/uv", "PATH": f"{OWN_PROGRAMS}{os.pathsep}/usr/bin"}
    chosen = {name: value for name, value in (environment | changes).items() if value}
    assert without_own_tools(chosen) == chosen


def test_a_program_of_no_known_language_gets_the_variables(tmp_path: Path) -> None:
    """Any other program runs as it is, with the variables, and one line says where they lead."""
    prepared = prepare(["ls", "-l"], os.environ, tmp_path / "shopfront", RECEIVER)
    assert prepared.command == ["ls", "-l"]
    assert prepared.program.name == "ls"
    assert prepared.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:14318"
    assert prepared.notes == ["telemetry of shopfront goes to http://127.0.0.1:14318"]


def test_telemetry_that_is_switched_off_is_reported(tmp_path: Path) -> None:
    """``OTEL_SDK_DISABLED`` of the user wins, and a line says that nothing will arrive."""
    environment = {**os.environ, "OTEL_SDK_DISABLED": "TRUE"}
    prepared = prepare(["ls"], environment, tmp_path, RECEIVER)
    assert prepared.notes[-1] == "OTEL_SDK_DISABLED is true, so no telemetry is sent"
    assert prepared.environment["OTEL_SDK_DISABLED"] == "TRUE"
