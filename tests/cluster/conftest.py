"""A running cluster for all tests of this folder: Tempo and Loki if they are on PATH."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.conftest import Stack
from three_pillar_demo.paths import STATE
from three_pillar_demo.stack.cluster import choice

MODE = choice.choose()
"""The mode of the cluster that these tests start."""
SHARE = "50"
"""The percentage of the traces that is kept: there are many of them, and many of the others."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder with ``cluster``."""
    if "tests/cluster" in str(item.path):
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Stack]:
    """The cluster, which runs until the last test."""
    stack = Stack(STATE)
    stack.demo("up", "--cluster", "--detach", seconds=300, env={"TAIL_SAMPLING_PERCENTAGE": SHARE})
    yield stack
    stack.down()
