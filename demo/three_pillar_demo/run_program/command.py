"""The command ``demo run``: starts the demo if nothing runs, and becomes the user's program."""

import io
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from three_pillar_demo.run_program.prepare import Prepared, prepare, without_own_tools
from three_pillar_demo.run_program.program import NOT_EXECUTABLE, ProgramError, find_program
from three_pillar_demo.run_program.variables import ENDPOINT, Receiver, given
from three_pillar_demo.stack import background, ports, state
from three_pillar_demo.stack.components import WEB
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.terminal import printable

START_TIMEOUT_S = 120.0
POLL_INTERVAL_S = 0.05
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")
"""The signals that Python ignores, which a program that it becomes would go on ignoring."""


def run(command: list[str], err: Console) -> int:
    """Replace this process by ``command``, with the variables that send its telemetry to the demo.

    So signals, terminal, input, output and exit code are the program's own. What the user should
    know is printed on ``err`` (standard error) before.

    Returns:
        The exit code if the command cannot be run: 127 if it is not found, 126 if it cannot be
        executed, 1 if the demo cannot be started.
    """
    try:
        # Before the demo is started: a mistyped command starts nothing.
        find_program(command[0], without_own_tools(os.environ))
        prepared = prepare(command, os.environ, Path.cwd(), _receiver(err))
    except ProgramError as error:
        _report(err, str(error))
        return error.exit_code
    except (LaunchError, state.RunningError, ports.PortError) as error:
        _report(err, str(error))
        return 1
    for note in prepared.notes:
        _report(err, note)
    try:
        _become(prepared)
    except OSError as error:
        _report(err, f"{command[0]}: {error.strerror}")
        return NOT_EXECUTABLE


def _become(prepared: Prepared) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    for name in IGNORED_BY_PYTHON:
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execve(prepared.program, prepared.command, prepared.environment)  # noqa: S606  (its purpose)


def _report(err: Console, text: str) -> None:
    message = "\n".join(printable(line, 1000) for line in text.splitlines())
    err.print(Text.assemble(("demo run: ", "cyan"), message), soft_wrap=True)


def _receiver(err: Console) -> Receiver:
    """Return the receiver of the running stack; start the mode ``view`` if nothing runs.

    Nothing is started where the user has chosen another receiver.

    Raises:
        LaunchError: The stack cannot be started, or does not become ready.
        ports.PortError: The environment variable of a port is no port number.
    """
    if not given(os.environ, ENDPOINT):
        if state.running() is None:
            _start_view(err)
        _wait_until_ready()
    http_port, grpc_port = ports.otlp_receivers(state.mode())
    return Receiver(http_port.number, grpc_port.number)


def _start_view(err: Console) -> None:
    """Start the mode ``view`` in the background; report nothing but where its page is.

    Raises:
        LaunchError: It cannot be started; the message has what the launcher has reported.
    """
    output = io.StringIO()
    try:
        background.start(Console(file=output, width=err.width), state.VIEW_MODE)
    except (LaunchError, state.RunningError) as error:
        if _is_started_by_another():
            return
        raise LaunchError(f"{output.getvalue().strip()}\n{error}".strip()) from error
    _report(err, f"the demo's page is {WEB.address}; `demo down` stops the demo")


def _is_started_by_another() -> bool:
    """Return whether another process starts a stack; wait until its launcher has recorded it.

    A launcher holds the lock during its checks, which take up to some seconds, before it records
    that it runs.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while state.running() is None:
        if not state.is_locked() or time.monotonic() > deadline:
            return state.running() is not None
        time.sleep(POLL_INTERVAL_S)
    return True


def _wait_until_ready() -> None:
    """Wait until a stack that is starting is ready.

    Raises:
        LaunchError: It has ended, or is not ready after ``START_TIMEOUT_S`` seconds.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        run = state.running()
        if run is None:
            raise LaunchError("the stack stopped while it was starting; see: demo logs launcher")
        if run.ready:
            return
        time.sleep(POLL_INTERVAL_S)
    raise LaunchError(f"the stack is not ready after {START_TIMEOUT_S:.0f} s; see: demo status")
