"""The ports of the test processes."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROCESSES = 20
"""More than the test processes that `.ci/run` has at once."""
SCRIPT = """
from tests.private_ports import free_port
print(free_port(), free_port(), flush=True)
input()
"""


def test_no_two_processes_get_the_same_free_port() -> None:
    """Processes that run at the same time get different ports, as many as `.ci/run` has."""
    with ExitStack() as running:
        processes = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SCRIPT],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(PROCESSES)
        ]
        answers = [process.stdout.readline().split() for process in processes if process.stdout]
        for process in processes:
            process.communicate("\n")
    ports = [port for answer in answers for port in answer]
    assert len(ports) == 2 * PROCESSES
    assert len(set(ports)) == len(ports)
