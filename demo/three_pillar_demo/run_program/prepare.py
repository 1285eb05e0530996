"""Determines how a command is run: its words, its environment variables, and what to report."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from three_pillar_demo.run_program import other_languages, python
from three_pillar_demo.run_program.instrumented import Instrumented
from three_pillar_demo.run_program.program import find_program
from three_pillar_demo.run_program.variables import (
    ENDPOINT,
    SDK_DISABLED,
    SERVICE_NAME,
    Receiver,
    additions,
    given,
)


@dataclass(frozen=True)
class Prepared:
    """A command that is ready to be run.

    Attributes:
        program: The executable file.
        command: The words of the command; the first one is the program's name for itself.
        environment: All environment variables.
        notes: What to report before the command runs, one line each.
    """

    program: Path
    command: list[str]
    environment: dict[str, str]
    notes: list[str]


def prepare(
    command: list[str], environment: Mapping[str, str], folder: Path, receiver: Receiver
) -> Prepared:
    """Return how to run ``command`` in the working ``folder`` so that it sends telemetry.

    Raises:
        program.ProgramError: The command does not exist or is not executable.
    """
    inherited = without_own_tools(environment)
    program = find_program(command[0], inherited)
    instrumented = _instrument(program, command, inherited, folder)
    added = additions(inherited, receiver, folder, instrumented.protocol)
    complete = {**inherited, **added, **instrumented.variables}
    if instrumented.command[0] != command[0]:
        program = find_program(instrumented.command[0], inherited)
    notes = [_destination(complete, instrumented.by), instrumented.problem]
    if given(inherited, SDK_DISABLED).lower() == "true":
        notes.append(f"{SDK_DISABLED} is true, so no telemetry is sent")
    return Prepared(program, instrumented.command, complete, [note for note in notes if note])


def _instrument(
    program: Path, command: list[str], environment: Mapping[str, str], folder: Path
) -> Instrumented:
    if program.name in python.RUNNERS and command[1:2] == ["run"]:
        return python.instrument_in_runner(command, environment)
    interpreter = python.find_interpreter(program, environment)
    if interpreter:
        return python.instrument(command, interpreter, environment)
    node = other_languages.find_node(program, environment)
    if node:
        return other_languages.instrument_node(command, node, environment, folder)
    if program.name == "java":
        return other_languages.instrument_java(command, environment, folder)
    return Instrumented(command)


def _destination(environment: Mapping[str, str], by: str) -> str:
    name = given(environment, SERVICE_NAME)
    sender = f"telemetry of {name}" if name else "telemetry"
    instrumentation = f", instrumented by {by}" if by else ""
    return f"{sender} goes to {given(environment, ENDPOINT)}{instrumentation}"


def without_own_tools(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` without what uvx has added to it for this command.

    uvx puts the programs of this command's own environment first on ``PATH``, where ``python``
    would not be the user's. ``uv run`` and an activated environment set ``VIRTUAL_ENV`` as well:
    there, the user has chosen this environment.
    """
    own_programs = str(Path(sys.prefix, "bin"))
    folders = environment.get("PATH", "").split(os.pathsep)
    is_chosen = environment.get("VIRTUAL_ENV") == sys.prefix
    if "UV" in environment and folders[0] == own_programs and not is_chosen:
        return {**environment, "PATH": os.pathsep.join(folders[1:])}
    return dict(environment)
