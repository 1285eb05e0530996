"""Fixtures that run the client programs; ``make test-clients`` sets ``CLIENTS`` for them."""

import os
from collections.abc import Iterator

import pytest

from tests.clients.shops import CLIENTS, Client, Visit, visited
from tests.clients.store import ClientStore, running_store

ENABLED = "CLIENTS" in os.environ
"""Whether to run the clients; ``installation.REQUIRED`` are those that must not be skipped."""
clients_by_name = {client.name: client for client in CLIENTS}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skip the tests of this folder unless ``CLIENTS`` is set, because they install packages."""
    if not ENABLED:
        item.add_marker(pytest.mark.skip(reason="programs in other languages: make test-clients"))


@pytest.fixture(scope="module", params=clients_by_name)
def visit(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visit]:
    """The shop of each client in turn, after one request that succeeded and one that failed."""
    client: Client = clients_by_name[request.param]
    with visited(client, tmp_path_factory.mktemp(client.name)) as visit:
        yield visit


@pytest.fixture
def client_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientStore]:
    """A local store of its own for one test."""
    with running_store(tmp_path_factory.mktemp("store")) as store:
        yield store
