"""A local store of its own for each test, and what the query interface reads from it."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.demo.local_store.stores import StoreProcess
from tests.private_ports import free_port
from tests.processes import wait_for
from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.trace_view import gather
from three_pillar_demo.trace_view.view import TraceView

ARRIVAL_TIMEOUT_S = 60
Answer = TypeVar("Answer")


class ClientStore:
    """A running local store, with the queries that the tests of the clients make of it.

    Attributes:
        http: The URL for OTLP over HTTP.
        grpc: The URL for OTLP over gRPC.
    """

    def __init__(self, folder: Path) -> None:
        """Choose free ports; the data and the log of the store are in ``folder``."""
        grpc_port = free_port()
        self.process = StoreProcess(folder / "store", GRPC_PORT=str(grpc_port))
        self.http = self.process.url
        self.grpc = f"http://127.0.0.1:{grpc_port}"
        self.started = time.time()

    def stop(self) -> None:
        """End the process, whatever it does."""
        try:
            self.process.stop()
        except subprocess.TimeoutExpired:
            self.process.stop(signal.SIGKILL)

    def query(self, ask: Callable[[LocalBackends], Awaitable[Answer]]) -> Answer:
        """Return the answer to one query of the query interface."""

        async def ask_once() -> Answer:
            async with LocalBackends(self.process.path, self.http) as backends:
                return await ask(backends)

        # In a thread, because playwright runs an event loop in the thread of the test.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, ask_once()).result()

    def requests(self, service: str, *, failed: bool = False, limit: int = 20) -> list[str]:
        """Return the trace ids of the requests to ``service``, the newest first."""
        return self.query(
            lambda backends: backends.requests(
                service, self.started, time.time() + 1, failed=failed, limit=limit
            )
        )

    def ingested(self, signal_name: str) -> int:
        """Return how many ``spans``, ``lines`` or ``points`` the store has received."""
        return self.query(lambda backends: backends.ingested()).get(signal_name, 0)

    def trace(self, trace_id: str) -> list[Span]:
        """Return the spans of a trace."""
        return self.query(lambda backends: backends.trace(trace_id))

    def view(self, trace_id: str) -> TraceView:
        """Return the trace as the page shows it, with log records and exemplars."""
        return self.query(lambda backends: gather.fetch(backends, trace_id))[0]

    def logs(self, service: str) -> list[LogRecord]:
        """Return the log records of ``service``."""
        return self.query(
            lambda backends: backends.logs(self.started, time.time() + 1, service=service)
        )

    def counters(self, name: str, *labels: str, **where: str) -> dict[tuple[str, ...], float]:
        """Return the newest values of a metric, summed by ``labels``."""
        return self.query(lambda backends: backends.counters(name, labels, where))

    def wait_until(
        self, description: str | Callable[[], str], condition: Callable[[], object]
    ) -> None:
        """Wait until ``condition`` is true; a failure names what the store has received.

        A ``description`` that depends on what has arrived is a function.
        """
        try:
            wait_for("the store", condition, ARRIVAL_TIMEOUT_S)
        except AssertionError as error:
            text = description if isinstance(description, str) else description()
            ingested = self.query(lambda backends: backends.ingested())
            raise AssertionError(f"{error} to have {text}; it has {ingested}") from error


@contextmanager
def running_store(folder: Path) -> Iterator[ClientStore]:
    """Run a local store until the end of the block."""
    store = ClientStore(folder)
    try:
        store.process.start()
        yield store
    finally:
        store.stop()
