"""A whole stack, started once; a test that needs it otherwise restarts it and leaves it running."""

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
"""Whether the real Collector, Prometheus, Tempo and Loki are to run; the embedded stack otherwise."""
DEMO = [sys.executable, "-m", "three_pillar_demo"]
UP = ["--full"] * FULL
START_TIMEOUT_S = 300
POLL_SECONDS = 0.1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Everything in this folder needs the stack, and some of it the real one."""
    if "end_to_end" in str(item.path):
        item.add_marker(pytest.mark.stack)
    if item.get_closest_marker("full") and not FULL:
        item.add_marker(
            pytest.mark.skip(
                reason="about the real Collector, Prometheus, Tempo and Loki: make test-full"
            )
        )


def wait_until(done: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask until ``done`` says yes; fails with ``what`` it waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(POLL_SECONDS)


class Stack:
    """The demo command, with a state folder of its own."""

    def __init__(self, state: Path) -> None:
        """Keep everything under ``state``."""
        self.state = state
        self.foreground: subprocess.Popen[str] | None = None

    def demo(
        self,
        *arguments: str,
        seconds: float = 120,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``demo`` with ``arguments`` to its end."""
        done = subprocess.run(
            [*DEMO, *arguments],
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"demo {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        )
        return done

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """What the demo command finds in its environment."""
        return {**os.environ, "DEMO_STATE": str(self.state), "COLUMNS": "80", **(extra or {})}

    def up(self, **env: str) -> None:
        """Start it in the background."""
        self.demo("up", "--detach", *UP, seconds=START_TIMEOUT_S, env=env)

    def up_in_foreground(self) -> None:
        """Start it as in a terminal: the leader of a process group, which Ctrl-C reaches as a whole."""
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
        """Press it, and wait for the end."""
        assert self.foreground
        os.killpg(self.foreground.pid, signal.SIGINT)
        said, _ = self.foreground.communicate(timeout=60)
        self.foreground = None
        return str(said)

    def down(self) -> None:
        """Stop it."""
        self.demo("down")

    def backends(self) -> Backends:
        """Who answers for it."""
        return (
            LgtmBackends()
            if FULL
            else LocalBackends(self.state / "data" / "store" / "telemetry.db")
        )
