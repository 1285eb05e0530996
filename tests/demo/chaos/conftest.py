"""Provides the fixture of a running local store, which the audit queries."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.stores import StoreProcess


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    """Start a local store in a process, and kill it at the end."""
    process = StoreProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop(signal.SIGKILL)
