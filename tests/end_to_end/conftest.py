"""A whole stack, started once for all tests; a test that needs it differently restarts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends

FULL = os.environ.get("STACK") == "full"
"""Whether the real Collector, Prometheus, Tempo and Loki run instead of the local stack."""
DEMO = [sys.executable, "-m", "three_pillar_demo"]
UP = ["--full"] if FULL else []
START_TIMEOUT_S = 180
POLL_INTERVAL_S = 0.1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder with ``stack``, and skip tests of the real stack without it."""
    if "end_to_end" in str(item.path):
        item.add_marker(pytest.mark.stack)
    if item.get_closest_marker("full") and not FULL:
        reason = "about the real Collector, Prometheus, Tempo and Loki: make test-full"
        item.add_marker(pytest.mark.skip(reason=reason))


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Poll until ``condition`` returns True; the failure says what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(POLL_INTERVAL_S)


class Stack:
    """A stack that is controlled by the demo command and keeps everything below ``state``."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.foreground: subprocess.Popen[str] | None = None

    def demo(
        self,
        *arguments: str,
        seconds: float = 120,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the demo command to its end; with ``check`` it must succeed."""
        result = subprocess.run(
            [*DEMO, *arguments],
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or result.returncode == 0, (
            f"demo {' '.join(arguments)}:\n{result.stdout}\n{result.stderr}"
        )
        return result

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of the demo command."""
        return {**os.environ, "DEMO_STATE": str(self.state), "COLUMNS": "80", **(extra or {})}

    def up(self, **env: str) -> None:
        """Start the stack in the background."""
        self.demo("up", "--detach", *UP, seconds=START_TIMEOUT_S, env=env)

    def up_in_foreground(self) -> None:
        """Start the stack as a terminal does: as the leader of a process group."""
        self.foreground = subprocess.Popen(
            [*DEMO, "up", *UP],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        wait_until(
            lambda: self.demo("status", check=False).returncode == 0, "every component to be ready"
        )

    def ctrl_c(self) -> str:
        """Send SIGINT to the process group, wait for the end, and return the output."""
        assert self.foreground
        os.killpg(self.foreground.pid, signal.SIGINT)
        output, _ = self.foreground.communicate(timeout=60)
        self.foreground = None
        return str(output)

    def down(self) -> None:
        """Stop the stack."""
        self.demo("down")

    def backends(self) -> Backends:
        """Return the query interface of this stack."""
        if FULL:
            return LgtmBackends()
        return LocalBackends(self.state / "data" / "store" / "telemetry.db")
