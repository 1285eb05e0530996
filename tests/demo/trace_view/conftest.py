"""Fixtures that run the local store in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.local_store.stores import InMemoryStore, running_store


@pytest.fixture
def in_memory_store(tmp_path: Path) -> Iterator[InMemoryStore]:
    """Yield a local store that runs in this process, with a new file."""
    with running_store(tmp_path / "telemetry.db") as in_memory_store:
        yield in_memory_store
