"""The local store as tests run it: within the test process, or as a process of its own."""

import asyncio
import gzip
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from google.protobuf.message import Message
from starlette.testclient import TestClient

from tests.demo.local_store.messages import MIB
from tests.private_ports import free_port
from tests.processes import status_of
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.receiver import create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer

PROTOBUF = {"content-type": "application/x-protobuf"}
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
HEALTH_TIMEOUT_S = 10.0
COMMAND = [sys.executable, "-m", "three_pillar_demo.local_store"]


def poll_until(is_done: Callable[[], bool], description: str, timeout_s: float = 60) -> None:
    """Call ``is_done`` until it returns True; fail with ``description`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {description}"
        time.sleep(0.02)


async def async_poll_until(
    is_done: Callable[[], bool], description: str, timeout_s: float = 60
) -> None:
    """Do the same as ``poll_until`` while other coroutines run."""
    deadline = time.monotonic() + timeout_s
    while not is_done():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for {description}"
        await asyncio.sleep(0.01)


class InMemoryStore:
    """The local store within the test process: real file and writer, but no network."""

    def __init__(self, path: Path, size_bytes: int = 512 * MIB) -> None:
        """Open or create the file at ``path``, limited to ``size_bytes``, and start the writer."""
        self.path = path
        self.store = Store(path, size_bytes)
        self.writer = Writer(self.store)
        self.client = TestClient(create_app(Intake(self.writer)))

    def send(
        self,
        signal_name: str,
        request: bytes | Message,
        headers: Mapping[str, str] | None = None,
        *,
        compress: bool = False,
    ) -> httpx2.Response:
        """Post ``request`` to ``/v1/{signal_name}``, as protobuf unless ``headers`` differ.

        With ``compress``, the body is compressed with gzip.
        """
        body = request if isinstance(request, bytes) else request.SerializeToString()
        all_headers = dict(PROTOBUF)
        if compress:
            body = gzip.compress(body)
            all_headers["content-encoding"] = "gzip"
        all_headers |= headers or {}
        return self.client.post(f"/v1/{signal_name}", content=body, headers=all_headers)

    def rows(self, query: str, *parameters: object) -> list[Any]:
        """Return the rows of a query, read through a second, read-only connection."""
        return read_rows(self.path, query, *parameters)

    def is_intact(self) -> bool:
        """Return whether SQLite's integrity check of the file succeeds."""
        return self.rows("PRAGMA integrity_check") == [("ok",)]


def read_rows(path: Path, query: str, *parameters: object) -> list[Any]:
    """Return the rows of a query of the file at ``path``, which is opened read-only."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return connection.execute(query, parameters).fetchall()
    finally:
        connection.close()


@contextmanager
def running_store(path: Path, size_bytes: int = 512 * MIB) -> Iterator[InMemoryStore]:
    """Yield a running local store; at the end, shut it down as the HTTP server does."""
    in_memory_store = InMemoryStore(path, size_bytes)
    with in_memory_store.client:
        yield in_memory_store


class StoreProcess:
    """The local store as a process of its own, on free ports."""

    def __init__(self, data: Path, **settings: str) -> None:
        """Choose free ports; ``settings`` are ``STORE_`` variables without prefix."""
        self.port = free_port()
        self.grpc_port = free_port()
        self.path = data / "telemetry.db"
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.parent / f"{data.name}.log"
        self.env = dict(os.environ)
        self.env["STORE_PORT"] = str(self.port)
        self.env["STORE_GRPC_PORT"] = str(self.grpc_port)
        self.env["STORE_DATA"] = str(data)
        self.env |= {f"STORE_{name}": value for name, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, and wait until it is healthy; fail if it ends before."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                COMMAND, env=self.env, stdout=output, stderr=subprocess.STDOUT
            )
        process = self.process

        def is_started() -> bool:
            assert process.poll() is None, self.log.read_text()
            return self.is_healthy()

        poll_until(is_started, "the store to be healthy", READY_TIMEOUT_S)

    def run_to_end(self) -> subprocess.CompletedProcess[str]:
        """Run the process until it ends by itself; return its exit code and output."""
        return subprocess.run(
            COMMAND,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=READY_TIMEOUT_S,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Return whether ``/healthz`` of the process answers 200."""
        return status_of(f"{self.url}/healthz", HEALTH_TIMEOUT_S) == 200

    def peak_memory_bytes(self) -> int:
        """Return the largest resident size that the running process has had so far."""
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(peak) * 1024

    def stop(self, signal_number: signal.Signals = signal.SIGTERM) -> int:
        """Send the process a signal and wait for its end; return its exit code.

        The result is 0 if the process is not running.
        """
        if self.process is None:
            return 0
        self.process.send_signal(signal_number)
        code = self.process.wait(timeout=STOP_TIMEOUT_S)
        self.process = None
        return code
