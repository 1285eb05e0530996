"""Forked programs behave as processes that Python has just started."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forked_programs import ForkServer, fork_server

VARIABLES = {"GIVEN": "text \udcff", "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """A server whose programs find nothing imported."""
    with fork_server(tmp_path_factory.mktemp("programs")) as server:
        yield server


@pytest.mark.parametrize(
    "code",
    [
        "import os, sys; print(ascii(dict(os.environ)), os.getcwd(), sys.argv[1:])",
        "import sys; print('said'); sys.exit(3)",
        "import atexit; atexit.register(print, 'at exit'); raise ValueError('why')",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import sys; print(__name__, repr(sys.stdin.read()), file=sys.stderr)",
    ],
    ids=["surroundings", "exit code", "exception", "signal", "files"],
)
def test_a_fork_is_a_process_of_its_own(server: ForkServer, tmp_path: Path, code: str) -> None:
    """A forked program has the variables, folder, output and exit code of ``python -c``."""
    forked = server.run(VARIABLES, code=code, folder=tmp_path)
    started = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=VARIABLES,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]
