"""Fixtures: the local store in memory and as a process."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.stores import InMemoryStore, StoreProcess, running_store


@pytest.fixture
def in_memory_store(tmp_path: Path) -> Iterator[InMemoryStore]:
    """Run the store's application with a new file."""
    with running_store(tmp_path / "telemetry.db") as in_memory_store:
        yield in_memory_store


@pytest.fixture
def store_process(tmp_path: Path) -> Iterator[StoreProcess]:
    """Provide a process that is not started yet, and kill it at the end."""
    store_process = StoreProcess(tmp_path / "data")
    yield store_process
    store_process.stop(signal.SIGKILL)
