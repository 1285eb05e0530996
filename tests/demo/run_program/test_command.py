"""``demo run`` as a process: it becomes the program, so nothing of it lies in between."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from tests.demo.run_program.running import SEND_FAILURE, Demo
from tests.processes import wait_for
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.run_program import command
from three_pillar_demo.run_program.variables import ENDPOINT, Receiver
from three_pillar_demo.stack import state

REPORT_SIGNALS = """
import os, signal, sys, time
def report(number, frame):
    print("got", signal.Signals(number).name, flush=True)
    if number != signal.SIGCONT:
        sys.exit(40 + number)
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGCONT"):
    signal.signal(getattr(signal, name), report)
print("ready", os.getpid(), flush=True)
while True:
    time.sleep(0.01)
"""


COUNT_CHILDREN = """
import os
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The command, while ``demo view`` runs."""
    command = Demo(tmp_path_factory.mktemp("view") / "state")
    result = command.run("view", "--detach")
    assert result.returncode == 0, result.stdout + result.stderr
    yield command
    assert command.run("down").returncode == 0


@contextmanager
def started(demo: Demo, *program: str) -> Iterator[subprocess.Popen[str]]:
    """Run ``demo run -- PROGRAM`` with pipes until the end of the block.

    As in a shell, it has a process group of its own: the system ignores SIGTSTP in a group that no
    process of the session could continue.
    """
    with subprocess.Popen(
        [*demo.command, "run", "--", *program],
        env=demo.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_input_output_and_exit_code_pass_through(demo: Demo) -> None:
    """The program reads stdin, its output arrives unchanged, and its exit code is the result."""
    script = 'printf "to stdout: "; cat; echo to stderr >&2; exit 7'
    result = demo.run("run", "--", "sh", "-c", script, stdin="from stdin")
    assert result.returncode == 7
    assert result.stdout == "to stdout: from stdin"
    assert result.stderr.splitlines()[-1] == "to stderr"
    assert all(line.startswith("demo run: ") for line in result.stderr.splitlines()[:-1])


def test_only_otel_variables_are_added(demo: Demo, tmp_path: Path) -> None:
    """The program gets the endpoint of the running store, and no other variable is changed."""
    result = demo.run("run", "--", "env", "-0", cwd=tmp_path, OTEL_SERVICE_NAME="mine")
    variables = dict(entry.split("=", 1) for entry in result.stdout.split("\0") if entry)
    assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == demo.endpoint
    assert variables["OTEL_SERVICE_NAME"] == "mine"
    others = {name: value for name, value in variables.items() if not name.startswith("OTEL_")}
    assert others.items() <= {**demo.environment, "PWD": others.get("PWD", "")}.items()
    assert demo.environment.keys() <= others.keys()


def test_options_of_the_program_are_its_own(demo: Demo) -> None:
    """Words after the program, options and ``--`` among them, are arguments of the program."""
    words = ["--detach", "-x", "--", "run", "--help", ""]
    result = demo.run("run", "printf", "<%s>", *words)
    assert result.stdout == "".join(f"<{word}>" for word in words)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_signals_reach_the_program(demo: Demo, name: str) -> None:
    """A signal to the process is handled by the program itself, which decides the exit code."""
    number = signal.Signals[name]
    with started(demo, sys.executable, "-c", REPORT_SIGNALS) as process:
        assert process.stdout
        ready = process.stdout.readline()
        assert ready.split() == ["ready", str(process.pid)]
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert output == f"got {name}\n"
    assert process.returncode == 40 + number


def test_a_signal_that_ends_the_program_is_seen_outside(demo: Demo) -> None:
    """A program that a signal has ended has the exit status of this signal."""
    result = demo.run("run", "--", "sh", "-c", "kill -KILL $$")
    assert result.returncode == -signal.SIGKILL


def test_the_program_can_be_suspended(demo: Demo) -> None:
    """SIGTSTP suspends the program, and SIGCONT continues it, as Ctrl-Z and ``fg`` do."""
    with started(demo, sys.executable, "-c", REPORT_SIGNALS) as process:
        assert process.stdout
        process.stdout.readline()
        status = psutil.Process(process.pid).status
        process.send_signal(signal.SIGTSTP)
        wait_for("the program to be suspended", lambda: status() == psutil.STATUS_STOPPED)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline() == "got SIGCONT\n"


def test_the_program_has_the_terminal(demo: Demo) -> None:
    """On a terminal, all three streams of the program are the terminal."""
    controller, terminal = pty.openpty()
    script = "import os; print([os.isatty(number) for number in range(3)])"
    process = subprocess.Popen(
        [*demo.command, "run", "--", sys.executable, "-c", script],
        env=demo.environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    assert process.wait(60) == 0
    output = os.read(controller, 65536).decode()
    os.close(controller)
    assert "[True, True, True]" in output


@pytest.mark.skipif(sys.platform != "linux", reason="/proc shows signals and open files")
def test_the_program_inherits_no_open_file_and_no_ignored_signal(demo: Demo) -> None:
    """The program starts with the open files and ignored signals with which it would otherwise."""
    script = "grep SigIgn /proc/self/status; ls /proc/self/fd"
    expected = subprocess.run(
        ["/bin/sh", "-c", script], input="", capture_output=True, text=True, check=True
    ).stdout
    assert demo.run("run", "--", "/bin/sh", "-c", script).stdout == expected


@pytest.mark.parametrize(("mode", "expected"), [(None, 127), (0o644, 126), (0o755, 126)])
def test_a_command_that_cannot_be_run(tmp_path: Path, mode: int | None, expected: int) -> None:
    """A missing, not executable or not understood file gives a shell's exit code, and one line."""
    demo = Demo(tmp_path / "state")
    program = tmp_path / "program"
    if mode:
        program.write_bytes(b"\x00\x01")
        program.chmod(mode)
    try:
        result = demo.run("run", "--", str(program))
        assert result.returncode == expected
        lines = result.stderr.splitlines()
        assert lines[-1].startswith(f"demo run: {program}")
        if mode != 0o755:
            assert len(lines) == 1
            assert not (tmp_path / "state" / "run.json").exists()
    finally:
        demo.run("down")


def test_the_demo_is_started_if_nothing_runs(tmp_path: Path) -> None:
    """Two commands at once start one ``demo view``, which is a child of neither program."""
    demo = Demo(tmp_path / "state")
    arguments = ("run", "--", sys.executable, "-c", COUNT_CHILDREN)
    try:
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(lambda _: demo.run(*arguments), range(2)))
        for result in results:
            assert (result.returncode, result.stdout) == (0, "no child\n"), result.stderr
        status = demo.run("status")
        assert status.returncode == 0
        assert "payment" not in status.stdout
    finally:
        assert demo.run("down").returncode == 0


def test_a_launcher_that_is_still_checking_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program runs with a stack that another process has begun to start, but not recorded."""
    for name in ("FILE", "LOCK", "BACKGROUND_LOCK"):
        monkeypatch.setattr(state, name, tmp_path / name)
    run = state.Run(state.current_process(), time.time(), "view", ready=True)
    run.ports = {"STORE_PORT": 4901, "STORE_GRPC_PORT": 4902}
    for variable in (*run.ports, ENDPOINT):
        monkeypatch.delenv(variable, raising=False)
    with state.launcher_lock(), ThreadPoolExecutor() as pool:
        receiver = pool.submit(command._receiver, Console(quiet=True))  # noqa: SLF001  (the wait is in it)
        with pytest.raises(TimeoutError):
            receiver.result(timeout=2 * state.LOCK_TIMEOUT_S)
        run.save()
        assert receiver.result(timeout=60) == Receiver(4901, 4902)


def test_another_receiver_of_the_user(tmp_path: Path) -> None:
    """Where the user names another receiver, nothing is started."""
    demo = Demo(tmp_path / "state")
    endpoint = "http://127.0.0.1:9/"
    script = 'echo "$OTEL_EXPORTER_OTLP_ENDPOINT"'
    result = demo.run("run", "--", "sh", "-c", script, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert (result.returncode, result.stdout) == (0, f"{endpoint}\n")
    assert not (tmp_path / "state" / "run.json").exists()


def test_a_demo_that_cannot_start_is_reported(tmp_path: Path) -> None:
    """If ``demo view`` cannot start, the program is not run, and the reason is printed."""
    demo = Demo(tmp_path / "state")
    result = demo.run("run", "--", "echo", "done", WEB_PORT=demo.environment["STORE_PORT"])
    assert result.returncode == 1
    assert not result.stdout
    assert "STORE_PORT are both" in result.stderr


def test_the_telemetry_of_the_program_arrives(demo: Demo, tmp_path: Path) -> None:
    """A program that uses OpenTelemetry's SDK is found in the store, under its folder's name."""
    folder = tmp_path / "shopfront"
    folder.mkdir()
    (folder / "app.py").write_text(SEND_FAILURE)
    result = demo.run("run", "--", sys.executable, "app.py", cwd=folder)
    assert result.returncode == 0, result.stderr

    async def names() -> list[tuple[str, str]]:
        async with LocalBackends(demo.state / "data/store/telemetry.db") as backends:
            now = time.time()
            spans = await backends.request_spans(now - 60, now + 60)
            return [(span.service, span.name) for span in spans]

    wait_for("the span", lambda: ("shopfront", "GET /products") in asyncio.run(names()))
