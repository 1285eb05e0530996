"""Makes a Python program instrument itself, with the OpenTelemetry of its own interpreter."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from three_pillar_demo.run_program.instrumented import Instrumented
from three_pillar_demo.run_program.program import head, interpreter
from three_pillar_demo.run_program.python_environment import PythonEnvironment, inspect
from three_pillar_demo.run_program.variables import GRPC, HTTP, given

PYTHON = re.compile(r"(python|pypy)(\d+(\.\d+)*t?)?")
"""The file name of a Python interpreter."""
INSTRUMENT = "opentelemetry-instrument"
OLD_LOG_VARIABLE = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
"""Makes distributions before 0.60 export log records.

In newer ones the instrumentation of ``logging`` does so by itself, and this variable would replace
it by a deprecated handler.
"""
RUNNERS = ("uv", "poetry", "pdm", "pipenv", "rye", "hatch")
"""Programs that run a command in the environment of a project, by ``PROGRAM run COMMAND``."""


def is_python(program: Path) -> bool:
    """Return whether ``program`` is an interpreter of Python, by its name."""
    return PYTHON.fullmatch(program.name) is not None


def find_interpreter(program: Path, environment: Mapping[str, str]) -> Path | None:
    """Return the Python interpreter that runs ``program``; None if it is no Python program."""
    if is_python(program):
        return program
    found = interpreter(program, environment)
    if found and is_python(found):
        return found
    return program.with_name("python") if found and _is_pyenv_shim(program) else None


def _is_pyenv_shim(program: Path) -> bool:
    """Return whether a shell script runs the program of its name that pyenv selects.

    Its folder has such a script for each program, also for ``python``.
    """
    return program.parent.name == "shims" and b"pyenv" in head(program)


def instrument(command: list[str], python: Path, environment: Mapping[str, str]) -> Instrumented:
    """Return how to run ``command``, a program that the interpreter ``python`` runs."""
    found = inspect([str(python)], command[0], environment)
    if found is None:
        return Instrumented(command, problem=f"not instrumented: {python} could not be inspected")
    if Path(command[0]).name == INSTRUMENT:
        return _with_instrumentation(command, found, environment)
    if not (found.has_library or found.has_distribution):
        return Instrumented(command, problem=found.how_to_install())
    return _with_instrumentation(command, found, environment, [found.instrument, *command])


def instrument_in_runner(command: list[str], environment: Mapping[str, str]) -> Instrumented:
    """Return how to run ``command``, such as ``poetry run flask run``."""
    runner = command[:2]
    inner = command[2:]
    shown = shlex.join(runner)
    if not inner or inner[0].startswith("-"):
        problem = f"not instrumented: write {INSTRUMENT} before the program of `{shown}`"
        return Instrumented(command, problem=problem)
    found = inspect([*runner, "python"], inner[0], environment)
    if found is None:
        return Instrumented(command, problem=f"not instrumented: `{shown} python` does not run")
    if inner[0] == INSTRUMENT:
        return _with_instrumentation(command, found, environment)
    if not (found.has_library or found.has_distribution):
        return Instrumented(command, problem=found.how_to_install())
    if inner[0].endswith(".py"):  # uv runs a file with Python.
        inner = ["python", *inner]
    elif not found.is_command:
        problem = f"not instrumented: {inner[0]} is not a program on the PATH of `{shown}`"
        return Instrumented(command, problem=problem)
    return _with_instrumentation(command, found, environment, [*runner, INSTRUMENT, *inner])


def _with_instrumentation(
    command: list[str],
    found: PythonEnvironment,
    environment: Mapping[str, str],
    instrumented: list[str] | None = None,
) -> Instrumented:
    """Return how to run a command in an environment that has OpenTelemetry.

    ``instrumented`` is the command with ``opentelemetry-instrument`` in it; None if ``command``
    has it already.
    """
    if found.has_library and instrumented:
        # Two instrumentations in one process would record each request twice.
        return Instrumented(command, "three_pillars, where the program calls its install()")
    variables = {}
    if not found.has_log_handler and not given(environment, OLD_LOG_VARIABLE):
        variables[OLD_LOG_VARIABLE] = "true"
    protocol = GRPC if found.has_grpc and not found.has_http else HTTP
    return Instrumented(instrumented or command, INSTRUMENT, variables=variables, protocol=protocol)
