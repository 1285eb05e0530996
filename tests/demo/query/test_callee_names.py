"""Tests of what a call is said to have called, under the attribute names of every convention."""

import pytest

from three_pillar_demo.query.callee_names import called_service, callee_of
from three_pillar_demo.query.service_map import Participant, ParticipantKind, service

DATABASE = ParticipantKind.DATABASE
HOST = ParticipantKind.HOST
QUEUE = ParticipantKind.QUEUE


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"server.address": "stock", "server.port": "3000"}, Participant(HOST, "stock:3000")),
        ({"net.peer.name": "stock", "net.peer.port": "80"}, Participant(HOST, "stock:80")),
        ({"http.url": "https://u:p@api.test/a?b"}, Participant(HOST, "api.test:443")),
        ({"url.full": "http://[::1]:80/"}, Participant(HOST, "::1")),
        ({"url.full": "http://[::1/"}, Participant(HOST)),
        ({"http.url": "http://a.test:port/"}, Participant(HOST, "a.test:port")),
        ({"http.host": "stock:3000"}, Participant(HOST, "stock:3000")),
        ({"peer.service": "ledger", "net.peer.name": "x"}, Participant(HOST, "ledger")),
        ({"rpc.service": "shop.Stock"}, Participant(HOST, "shop.Stock")),
        ({}, Participant(HOST)),
        (
            {"db.system.name": "postgresql", "server.address": "pg", "server.port": "5432"},
            Participant(DATABASE, "pg:5432", "postgresql"),
        ),
        ({"db.system": "redis", "net.peer.name": "r"}, Participant(DATABASE, "r", "redis")),
        ({"db.system": "sqlite", "db.name": "shop"}, Participant(DATABASE, "shop", "sqlite")),
        ({"db.system": "sqlite"}, Participant(DATABASE, "", "sqlite")),
        (
            {"messaging.system": "kafka", "messaging.destination.name": "orders"},
            Participant(QUEUE, "orders", "kafka"),
        ),
        (
            {"messaging.system": "rabbitmq", "messaging.destination": "old"},
            Participant(QUEUE, "old", "rabbitmq"),
        ),
        ({"messaging.system": "sqs"}, Participant(QUEUE, "", "sqs")),
    ],
)
def test_a_callee_is_named_by_any_convention(
    attributes: dict[str, str], expected: Participant
) -> None:
    """Current and former attribute names of HTTP, RPC, databases and messaging name the callee."""
    assert callee_of(attributes) == expected


def test_a_message_goes_to_a_queue() -> None:
    """A PRODUCER span has sent to a queue, also if it names only the address of the broker."""
    attributes = {"server.address": "broker"}
    assert callee_of(attributes, is_message=True) == Participant(QUEUE, "broker")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stock:3000", "stock"),
        ("stock.shop.svc.cluster.local:3000", "stock"),
        ("10.0.0.7:9000", "cart"),
        ("ledger", ""),
        ("10.0.0.8:9000", ""),
        ("", ""),
    ],
)
def test_a_host_is_the_service_that_it_is_known_to_be(name: str, expected: str) -> None:
    """A host is a service by its name, or by having answered; "10" is not the host 10.0.0.8."""
    callee = Participant(HOST, name)
    found = called_service(callee, {"stock", "10", "front"}, {"10.0.0.7:9000": "cart"})
    assert found == (service(expected) if expected else callee)


def test_a_database_is_never_taken_for_a_service() -> None:
    """A database stays one if a service has its name."""
    callee = Participant(DATABASE, "stock", "redis")
    assert called_service(callee, {"stock"}, {"stock": "stock"}) == callee
