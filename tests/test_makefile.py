"""The Makefile: it sets up the environment, and builds binaries before they are needed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def dry_run(*arguments: str, **env: str) -> str:
    """Return the shell commands that ``make`` would run, without running them."""
    command = ["make", "--dry-run", *arguments]
    completed = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout


@pytest.mark.parametrize(("dont_write_bytecode", "compiles"), [("", False), ("1", True)])
def test_setup_compiles_where_python_may_not(dont_write_bytecode: str, *, compiles: bool) -> None:
    """The set-up compiles all modules if Python is configured not to write bytecode later."""
    # -W: as if the lock file had just changed.
    commands = dry_run(
        "-W",
        "requirements/runtime.lock",
        ".venv/.ready",
        PYTHONDONTWRITEBYTECODE=dont_write_bytecode,
    )
    assert commands.count("--require-hashes") == 4  # Two lock files, with uv or with pip.
    assert commands.count("--compile-bytecode") == (2 if compiles else 0)
    assert commands.count("--no-compile") == (0 if compiles else 2)


@pytest.mark.parametrize("verb", ["up-full", "test-full", "bench"])
def test_binaries_are_built_before_they_are_needed(verb: str) -> None:
    """A make verb that uses real backends runs the build script once, and before them."""
    assert dry_run("binaries").count("-m native.build") == 1
    commands_before, commands_after = dry_run(verb).split("-m native.build\n")
    assert "demo up" not in commands_before
    assert re.search(r"demo up --full|STACK=full|bench\.collector", commands_after)


@pytest.mark.parametrize("verb", ["setup", "demo", "up", "test", "test-fast"])
def test_local_mode_needs_no_binaries(verb: str) -> None:
    """A make verb that needs only Python does not run the build script."""
    assert "native.build" not in dry_run(verb)
