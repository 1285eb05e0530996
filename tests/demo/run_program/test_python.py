"""How ``demo run`` instruments Python programs, with real interpreters and a real distribution."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from three_pillar_demo.run_program.python import (
    INSTRUMENT,
    find_interpreter,
    instrument,
    instrument_in_runner,
)
from three_pillar_demo.run_program.python_environment import inspect
from three_pillar_demo.run_program.variables import GRPC, HTTP

BENCH_LOCK = Path(__file__).parents[3] / "requirements" / "bench.lock"
INSTALL_TIMEOUT_S = 300


def create_environment(folder: Path) -> Path:
    """Create a virtual environment without pip, and return its interpreter."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_S)
    return folder / "bin" / "python"


def site_packages(python: Path) -> Path:
    """Return the folder of the packages of a virtual environment."""
    return next((python.parent.parent / "lib").glob("python*/site-packages"))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which nothing is installed."""
    return create_environment(tmp_path_factory.mktemp("empty") / "with blank")


@pytest.fixture(scope="module")
def zero_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with OpenTelemetry's distribution for zero-code.

    Everything else comes from the environment of the tests, in which the distribution is missing.
    """
    python = create_environment(tmp_path_factory.mktemp("zero_code"))
    folder = site_packages(python)
    (folder / "tests.pth").write_text(sysconfig.get_path("purelib"))
    pin = next(
        line.split()[0]
        for line in BENCH_LOCK.read_text().splitlines()
        if line.startswith("opentelemetry-distro==")
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(folder), pin],
        check=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    return python


def test_a_program_with_the_distribution(zero_code: Path, tmp_path: Path) -> None:
    """A program whose own interpreter has the distribution runs under opentelemetry-instrument."""
    script = tmp_path / "server"
    script.write_text(f"#!{zero_code}\n")
    for program in (zero_code, script):
        interpreter = find_interpreter(program, os.environ)
        assert interpreter == zero_code
        result = instrument([str(program), "a", "b"], interpreter, os.environ)
        assert Path(result.command[0]).name == INSTRUMENT
        assert os.access(result.command[0], os.X_OK)
        assert result.command[1:] == [str(program), "a", "b"]
        assert (result.by, result.problem, result.protocol) == (INSTRUMENT, "", HTTP)


def test_a_program_without_the_distribution(empty: Path) -> None:
    """A program whose own interpreter lacks the distribution runs as it is, with a line of help."""
    # A shell can run the command in the line, which names this interpreter, despite its blank.
    command = [str(empty), "app.py"]
    result = instrument(command, empty, os.environ)
    assert result.command == command
    assert not result.by
    assert "\n" not in result.problem
    _, _, advice = result.problem.partition("To do so: ")
    words = shlex.split(advice)
    assert words[:5] == ["uv", "pip", "install", "--python", str(empty)]
    assert {"opentelemetry-distro", "opentelemetry-exporter-otlp"} <= set(words)


def test_advice_for_an_interpreter_with_pip(tmp_path: Path) -> None:
    """Where the interpreter has pip, the line of help is for pip."""
    python = create_environment(tmp_path)
    (site_packages(python) / "pip").mkdir()
    problem = instrument([str(python)], python, os.environ).problem
    assert f"{python} -m pip install opentelemetry-distro" in problem
    assert f"{python.with_name('opentelemetry-bootstrap')} -a install" in problem


def test_a_program_that_has_the_library() -> None:
    """A program whose interpreter has three_pillars is left to its ``install()``."""
    command = [sys.executable, "-m", "services.checkout"]
    result = instrument(command, Path(sys.executable), os.environ)
    assert result.command == command
    assert result.by.startswith("three_pillars")
    assert not result.problem
    assert not result.variables


def test_a_program_that_is_instrumented_already(zero_code: Path) -> None:
    """A command that begins with opentelemetry-instrument gets no second one."""
    command = ["/any/bin/opentelemetry-instrument", str(zero_code), "app.py"]
    assert instrument(command, zero_code, os.environ).command == command


def test_the_working_folder_cannot_deceive_the_inspection(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules in the working folder with names of the standard library are not imported."""
    for name in ("json", "shutil", "importlib", "sysconfig", "three_pillars"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    found = inspect([str(empty)], "app.py", os.environ)
    assert found is not None
    assert not found.has_library


@pytest.mark.parametrize(
    "text",
    ["#!/bin/sh\necho no JSON\n", "#!/bin/sh\necho '{}'\n", "#!/bin/sh\nexit 3\n", "#!/no\n"],
)
def test_an_interpreter_that_cannot_be_inspected(text: str, tmp_path: Path) -> None:
    """A program that is only called python runs as it is, and one line says so."""
    python = tmp_path / "python3"
    python.write_text(text)
    python.chmod(0o755)
    result = instrument([str(python)], python, os.environ)
    assert result.command == [str(python)]
    assert result.problem == f"not instrumented: {python} could not be inspected"


def write_runner(folder: Path, python: Path) -> Path:
    """Write a program that runs commands as ``poetry run`` does: with ``python`` on ``PATH``."""
    runner = folder / "poetry"
    script = f'#!/bin/sh\nshift\nPATH={shlex.quote(str(python.parent))}:$PATH exec "$@"\n'
    runner.write_text(script)
    runner.chmod(0o755)
    return runner


def test_a_command_in_the_environment_of_a_project(zero_code: Path, tmp_path: Path) -> None:
    """``poetry run`` and its like get opentelemetry-instrument before the program."""
    runner = [str(write_runner(tmp_path, zero_code)), "run"]
    result = instrument_in_runner([*runner, "python", "app.py"], os.environ)
    assert result.command == [*runner, INSTRUMENT, "python", "app.py"]
    result = instrument_in_runner([*runner, "app.py"], os.environ)
    assert result.command == [*runner, INSTRUMENT, "python", "app.py"]


def test_a_project_whose_command_cannot_be_instrumented(
    empty: Path, zero_code: Path, tmp_path: Path
) -> None:
    """Options, unknown programs and missing packages leave the command as it is, and say so."""
    runner = [str(write_runner(tmp_path, zero_code)), "run"]
    without_packages = tmp_path / "other"
    without_packages.mkdir()
    other_runner = [str(write_runner(without_packages, empty)), "run"]
    for command, problem in (
        ([*runner, "--with", "flask", "app.py"], "write opentelemetry-instrument before"),
        (runner, "write opentelemetry-instrument before"),
        ([*runner, "start-of-pyproject"], "is not a program on the PATH"),
        ([*other_runner, "python", "app.py"], "not installed for it"),
        (["/no/such/poetry", "run", "python"], "does not run"),
    ):
        result = instrument_in_runner(command, os.environ)
        assert result.command == command
        assert problem in result.problem


def test_a_distribution_with_grpc_alone(tmp_path: Path) -> None:
    """A distribution that has only the exporter for gRPC uses gRPC; one without any is no help."""
    # The exporters are told apart by their packages, so empty packages stand for them here.
    python = create_environment(tmp_path)
    folder = site_packages(python)
    for name in ("opentelemetry/distro", "opentelemetry/instrumentation"):
        (folder / name).mkdir(parents=True)
    script = python.with_name(INSTRUMENT)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    metadata = folder / "opentelemetry_instrumentation-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: opentelemetry-instrumentation\nVersion: 1\n")
    (metadata / "RECORD").write_text(f"../../../bin/{INSTRUMENT},,\n")
    command = [str(python), "app.py"]
    assert "not installed" in instrument(command, python, os.environ).problem
    (folder / "opentelemetry/exporter/otlp/proto/grpc").mkdir(parents=True)
    result = instrument(command, python, os.environ)
    assert result.protocol == GRPC
    assert result.command == [str(script), *command]
    # This distribution is too old to export log records by itself.
    assert list(result.variables.values()) == ["true"]
    assert not instrument(command, python, {**os.environ, **result.variables}).variables
