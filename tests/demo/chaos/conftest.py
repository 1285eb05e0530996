"""A store for those who look purchases up."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.conftest import Process


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Process]:
    """Embedded, running, and gone at the end."""
    process = Process(tmp_path / "data")
    process.start()
    yield process
    process.stop(signal.SIGKILL)
