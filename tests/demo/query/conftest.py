"""Fixtures that run the local store, in this process or in a process of its own."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.stores import InMemoryStore, StoreProcess, running_store


@pytest.fixture
def in_memory_store(tmp_path: Path) -> Iterator[InMemoryStore]:
    """Yield a local store that runs in this process, with a new file."""
    with running_store(tmp_path / "telemetry.db") as in_memory_store:
        yield in_memory_store


@pytest.fixture
def store_process(tmp_path: Path) -> Iterator[StoreProcess]:
    """Yield a local store for a process of its own, not started yet; kill it after the test."""
    store_process = StoreProcess(tmp_path / "data")
    yield store_process
    store_process.stop(signal.SIGKILL)
