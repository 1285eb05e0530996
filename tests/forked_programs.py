"""Runs many short programs quickly: as forks of a process that has imported what they import.

A program that refuses a setting spends nearly all its time on imports. In a fork it is a process of
its own, with its own variables, but the imports are done.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


class ForkServer:
    """The client of a ``fork_server`` process; the output of its programs goes to ``folder``."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path) -> None:
        self._server = server
        self._folder = folder

    def run(
        self,
        environment: Mapping[str, str],
        *,
        module: str = "",
        code: str = "",
        folder: Path = ROOT,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``module`` or ``code`` to its end in a fork with all variables of ``environment``."""
        stdout = self._folder / "stdout"
        stderr = self._folder / "stderr"
        program = {"module": module} if module else {"code": code}
        description = program | {
            "environment": dict(environment),
            "folder": str(folder),
            "stdout": str(stdout),
            "stderr": str(stderr),
        }
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(f"{json.dumps(description)}\n")
        self._server.stdin.flush()
        exit_code = int(self._server.stdout.readline())
        return subprocess.CompletedProcess(
            module or code, exit_code, stdout.read_text(), stderr.read_text()
        )


@contextmanager
def fork_server(folder: Path, *modules: str) -> Iterator[ForkServer]:
    """Run a server whose programs find ``modules`` imported, until the end of the block.

    ``modules`` must not read, when they are imported, a variable that a program is given. The
    server is started without variables of OpenTelemetry.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fork_server", *modules],
        cwd=ROOT,
        env=inherited,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        yield ForkServer(server, folder)
        assert server.stdin
        server.stdin.close()  # which ends the server
