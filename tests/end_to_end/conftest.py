"""A running stack for all tests of this folder; a test that needs other settings restarts it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import ports

FULL = os.environ.get("STACK") == "full"
"""Whether the tests use the real Collector, Prometheus, Tempo and Loki (``STACK=full``) instead
of the local stack."""
DEMO = [sys.executable, "-m", "three_pillar_demo"]
UP = ["--full"] if FULL else []
START_TIMEOUT_S = 180
POLL_INTERVAL_S = 0.1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder with ``stack``.

    Tests marked ``full`` are skipped unless the real stack is tested (``STACK=full``).
    """
    if "end_to_end" in str(item.path):
        item.add_marker(pytest.mark.stack)
    if item.get_closest_marker("full") and not FULL:
        reason = "about the real Collector, Prometheus, Tempo and Loki: make test-real"
        item.add_marker(pytest.mark.skip(reason=reason))


def wait_until(condition: Callable[[], bool], description: str, seconds: float = 60) -> None:
    """Wait until ``condition`` returns True, at most ``seconds``.

    If it does not, the test fails, and the message contains ``description``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {description}"
        time.sleep(POLL_INTERVAL_S)


def receiver_url() -> str:
    """Return the URL on which the stack of this test session receives OTLP over HTTP."""
    return (ports.COLLECTOR if FULL else ports.STORE).url


class Stack:
    """A stack that the ``demo`` command controls; all its files are in the folder ``state``."""

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
        """Run ``demo`` with ``arguments`` to its end, and return the completed process.

        It may take at most ``seconds``. With ``check``, the test fails if the exit code is not 0.
        """
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
        """Return the environment variables for the ``demo`` command, with ``extra`` added."""
        return {**os.environ, "DEMO_STATE": str(self.state), "COLUMNS": "80", **(extra or {})}

    def up(self, **env: str) -> None:
        """Start the stack in the background, with the environment variables ``env`` added."""
        self.demo("up", "--detach", *UP, seconds=START_TIMEOUT_S, env=env)

    def up_in_foreground(self) -> None:
        """Start the stack in the foreground, in a process group of its own as in a terminal."""
        self.foreground = subprocess.Popen(
            [*DEMO, "up", *UP],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        pid = self.foreground.pid

        def is_ready() -> bool:
            run = self.run()
            return run.get("ready") is True and run["launcher"]["pid"] == pid

        wait_until(is_ready, "every component to be ready")

    def ctrl_c(self) -> str:
        """Send SIGINT to the stack in the foreground; return its output once it has ended."""
        assert self.foreground
        os.killpg(self.foreground.pid, signal.SIGINT)
        output, _ = self.foreground.communicate(timeout=60)
        self.foreground = None
        return str(output)

    def run(self) -> dict[str, Any]:
        """Return the content of ``run.json``, or an empty dictionary if there is none."""
        try:
            content: dict[str, Any] = json.loads((self.state / "run.json").read_text())
        except FileNotFoundError:
            return {}
        return content

    def down(self) -> None:
        """Stop the stack that runs in the background."""
        self.demo("down")

    def backends(self) -> Backends:
        """Return a client for the queries of traces, logs and metrics of this stack."""
        if FULL:
            return LgtmBackends()
        return LocalBackends(self.state / "data" / "store" / "telemetry.db")
