"""Fixtures: a running local store, in which purchases are looked up."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.stores import StoreProcess


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    """Start the local store, and kill it at the end."""
    process = StoreProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop(signal.SIGKILL)
