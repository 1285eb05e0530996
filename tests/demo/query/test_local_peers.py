"""Tests that the local store finds the peers of a request, and what their spans say."""

import asyncio
import secrets
import time
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.demo.local_store.messages import attributes, span, trace_request
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.query import local_peers
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.peers import MAX_TREE_SPANS, Fact, Facts, PeerQuery, value_text

OWN_TRACE = secrets.token_bytes(16)
NOW = time.time_ns()
SERVER = OtlpSpan.SPAN_KIND_SERVER
CONSUMER = OtlpSpan.SPAN_KIND_CONSUMER
INTERNAL = OtlpSpan.SPAN_KIND_INTERNAL


def peers(store: InMemoryStore, kind: str = "SERVER", **wanted: Any) -> list[Facts]:  # noqa: ANN401  (the fields of PeerQuery)
    """Return what the peers of a request of ``web`` say that started at ``NOW``."""
    defaults: dict[str, Any] = {"failed": False, "names": ("n", "deep", "service.version")}
    query = PeerQuery(
        OWN_TRACE.hex(),
        "web",
        "GET /",
        kind,
        time=NOW,
        within=900 * NANO,
        **defaults | wanted,
    )

    async def run() -> list[Facts]:
        async with LocalBackends(store.path) as backends:
            return await backends.peer_facts(query)

    return asyncio.run(run())


def send(store: InMemoryStore, *spans: OtlpSpan, service: str = "web") -> None:
    """Store ``spans`` of one service."""
    store.send("traces", trace_request(*spans, service=service))


def request(number: int, at_s: float, kind: int = SERVER, **changes: Any) -> OtlpSpan:  # noqa: ANN401  (fields of a span)
    """Return a request with the attribute ``n``, ``at_s`` seconds after ``NOW``."""
    defaults: dict[str, Any] = {
        "name": "GET /",
        "start": NOW + int(at_s * NANO),
        "kind": kind,
        "attributes": attributes(n=number),
    }
    return span(**defaults | changes)


def numbers(found: list[Facts]) -> list[int]:
    """Return the values of the attribute ``n`` of each peer, in their order."""
    return [int(fact.value) for said in found for fact in said if fact.name == "n"]


@pytest.mark.parametrize("kind", [SERVER, CONSUMER])
def test_the_nearest_peers_are_found(in_memory_store: InMemoryStore, kind: int) -> None:
    """Peers before and after the request are found, the nearest first, up to the limit."""
    send(in_memory_store, request(0, 0, kind, trace_id=OWN_TRACE))
    for number, at_s in enumerate((-300, -1, 2, 400, -1000, 1000), start=1):
        send(in_memory_store, request(number, at_s, kind))
    name = "SERVER" if kind == SERVER else "CONSUMER"
    assert numbers(peers(in_memory_store, name)) == [2, 3, 1, 4]
    assert numbers(peers(in_memory_store, name, limit=2)) == [2, 3]


@pytest.mark.parametrize("kind", [SERVER, CONSUMER])
def test_peers_are_between_two_times(in_memory_store: InMemoryStore, kind: int) -> None:
    """No peer started before the earliest or after the latest time that is asked for."""
    send(in_memory_store, request(0, 0, kind, trace_id=OWN_TRACE))
    for number, at_s in enumerate((-300, -1, 2, 400), start=1):
        send(in_memory_store, request(number, at_s, kind))
    name = "SERVER" if kind == SERVER else "CONSUMER"
    since = NOW - 100 * NANO
    until = NOW + 100 * NANO
    assert numbers(peers(in_memory_store, name, since=since)) == [2, 3, 4]
    assert numbers(peers(in_memory_store, name, until=until)) == [2, 3, 1]
    assert numbers(peers(in_memory_store, name, since=since, until=until)) == [2, 3]


def test_only_the_same_requests_are_peers(in_memory_store: InMemoryStore) -> None:
    """Another service, name, kind, outcome, or the trace itself is no peer."""
    send(in_memory_store, request(1, -1))
    send(in_memory_store, request(2, -1, error=True))
    send(in_memory_store, request(3, -1, name="GET /other"))
    send(in_memory_store, request(4, -1, kind=INTERNAL))
    send(in_memory_store, request(5, -1, trace_id=OWN_TRACE))
    send(in_memory_store, request(6, -1), service="other")
    assert numbers(peers(in_memory_store)) == [1]
    assert numbers(peers(in_memory_store, failed=True)) == [2]
    assert numbers(peers(in_memory_store, kind="INTERNAL")) == [4]
    assert peers(in_memory_store, kind="99") == []


def test_peers_are_found_by_duration(in_memory_store: InMemoryStore) -> None:
    """The duration reaches the shortest one that is wanted, and stays below the longest one."""
    for number, seconds in enumerate((0.1, 0.5, 2.0)):
        send(in_memory_store, request(number, -1 - number, seconds=seconds))
    half = NANO // 2
    assert numbers(peers(in_memory_store, min_duration=half)) == [1, 2]
    assert numbers(peers(in_memory_store, max_duration=half)) == [0]


def test_a_peer_says_what_its_spans_say(in_memory_store: InMemoryStore) -> None:
    """The spans below a peer count, of all services, but not those above or beside it."""
    trace_id = secrets.token_bytes(16)
    caller = span("call", trace_id=trace_id, kind=OtlpSpan.SPAN_KIND_CLIENT)
    own = request(1, -1, trace_id=trace_id, parent_span_id=caller.span_id)
    below = span(
        "work",
        trace_id=trace_id,
        parent_span_id=own.span_id,
        kind=INTERNAL,
        attributes=attributes(deep="yes", ignored="x"),
    )
    beside = span(
        "other",
        trace_id=trace_id,
        parent_span_id=caller.span_id,
        kind=INTERNAL,
        attributes=attributes(deep="no"),
    )
    send(in_memory_store, own)
    send(in_memory_store, caller, beside, service="shop")
    send(in_memory_store, below, service="stock")
    expected = {Fact("web", "n", "1"), Fact("stock", "deep", "yes")}
    assert peers(in_memory_store) == [expected]
    assert peers(in_memory_store, whole_tree=False) == [{Fact("web", "n", "1")}]


def test_a_peer_with_too_many_spans_is_left_out(in_memory_store: InMemoryStore) -> None:
    """A peer of hundreds of spans is no peer of a small request; by its own span it is."""
    trace_id = secrets.token_bytes(16)
    own = request(1, -1, trace_id=trace_id)
    below = [
        span(str(number), trace_id=trace_id, parent_span_id=own.span_id, kind=INTERNAL)
        for number in range(MAX_TREE_SPANS)
    ]
    send(in_memory_store, own, *below)
    send(in_memory_store, request(2, -2))
    assert numbers(peers(in_memory_store)) == [2]
    assert numbers(peers(in_memory_store, whole_tree=False)) == [1, 2]


def test_the_number_of_spans_read_is_bounded(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the traces of the peers have too many spans together, the nearest ones are read."""
    monkeypatch.setattr(local_peers, "MAX_SPANS", 3)
    for number in range(6):
        send(in_memory_store, request(number, -1 - number))
    assert numbers(peers(in_memory_store)) == [0, 1, 2]


def test_the_search_is_bounded(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of other services count for the number of spans that are searched."""
    monkeypatch.setattr(local_peers, "MAX_SERVERS_SCANNED", 3)
    send(in_memory_store, request(1, -9))
    for number in range(2):
        send(in_memory_store, request(9, -1 - number), service="busy")
    assert numbers(peers(in_memory_store)) == [1]
    send(in_memory_store, request(9, -3), service="busy")
    assert peers(in_memory_store) == []


def test_broken_trees_end(in_memory_store: InMemoryStore) -> None:
    """A span that is its own parent, or repeats, says what it says once."""
    trace_id = secrets.token_bytes(16)
    span_id = secrets.token_bytes(8)
    loop = request(1, -1, trace_id=trace_id, span_id=span_id, parent_span_id=span_id)
    send(in_memory_store, loop, loop)
    found = peers(in_memory_store)
    assert set(found) == {frozenset({Fact("web", "n", "1")})}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("visa", "visa"),
        (7, "7"),
        (True, "true"),
        (9.0, "9"),
        (0.1, "0.1"),
        (float("nan"), ""),
        (["a"], ""),
        ({"a": 1}, ""),
        (None, ""),
        ("x" * 201, ""),
    ],
)
def test_values_are_compared_as_texts(value: object, expected: str) -> None:
    """Each backend gives one text for a value; what is no single short value is left out."""
    assert value_text(value) == expected
