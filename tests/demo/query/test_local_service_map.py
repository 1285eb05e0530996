"""Tests of the service map of the local store, with spans as foreign programs send them."""

import asyncio
import secrets
import time
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.demo.local_store.messages import attributes, span, trace_request
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.query import local_service_map
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.service_map import (
    CLIENTS,
    CallCounts,
    Outcomes,
    Participant,
    ParticipantKind,
    ServiceMap,
    service,
)
from three_pillar_demo.query.service_map_statements import SELECT_ANSWERED
from three_pillar_demo.query.sqlite_reader import SqliteReader

INTERNAL = OtlpSpan.SPAN_KIND_INTERNAL
SERVER = OtlpSpan.SPAN_KIND_SERVER
CLIENT = OtlpSpan.SPAN_KIND_CLIENT
PRODUCER = OtlpSpan.SPAN_KIND_PRODUCER
CONSUMER = OtlpSpan.SPAN_KIND_CONSUMER
RANGE_S = 60.0
OLD_S = 30.0
"""The age of a call whose span at the other end does not arrive any more, in seconds."""
HOST = ParticipantKind.HOST


class Senders:
    """Sends spans of several services; each of one trace."""

    def __init__(self, store: InMemoryStore) -> None:
        self.store = store
        self.trace_id = secrets.token_bytes(16)

    def send(
        self,
        name: str,
        kind: int,
        parent: bytes = b"",
        *,
        error: bool = False,
        age_s: float = OLD_S,
        **values: Any,  # noqa: ANN401  (any attribute value)
    ) -> bytes:
        """Store a span of the service ``name``, and return its id."""
        sent = span(
            start=time.time_ns() - int(age_s * NANO),
            error=error,
            kind=kind,
            trace_id=self.trace_id,
            parent_span_id=parent,
            attributes=attributes(**values),
        )
        self.store.send("traces", trace_request(sent, service=name))
        return sent.span_id


@pytest.fixture
def senders(in_memory_store: InMemoryStore) -> Senders:
    """Senders of one trace into an empty store."""
    return Senders(in_memory_store)


def map_of(store: InMemoryStore, range_s: float = RANGE_S, backends: Any = None) -> ServiceMap:  # noqa: ANN401  (LocalBackends or None)
    """Return the service map of the last ``range_s`` seconds."""

    async def query() -> ServiceMap:
        now = time.time()
        async with backends or LocalBackends(store.path) as opened:
            result: ServiceMap = await opened.service_map(now - range_s, now)
            return result

    return asyncio.run(query())


def test_requests_and_calls_between_services_are_counted(senders: Senders) -> None:
    """A request without a parent comes from clients; a failed answer is failed at both ends."""
    root = senders.send("front", SERVER)
    call = senders.send("front", CLIENT, root, error=True)
    senders.send("cart", SERVER, call, error=True)
    late = senders.send("front", CLIENT, root, error=True)
    senders.send("cart", SERVER, late)
    result = map_of(senders.store)
    assert result.services == {"front": Outcomes(1, 0), "cart": Outcomes(2, 1)}
    assert result.calls == {
        (CLIENTS, service("front")): CallCounts(1, 0, 0),
        (service("front"), service("cart")): CallCounts(2, 2, 1),
    }


def test_what_sends_no_spans_is_called_by_its_name(senders: Senders) -> None:
    """Databases, queues and foreign hosts are callees, also with former attribute names."""
    root = senders.send("front", SERVER)
    senders.send("front", CLIENT, root, db__system__name="postgresql", server__address="pg")
    senders.send("front", CLIENT, root, db__system="redis", net__peer__name="cache")
    senders.send("front", CLIENT, root, http__url="https://api.test/pay/1?x=2", error=True)
    senders.send("front", CLIENT, root, http__url="https://api.test/pay/2")
    senders.send("front", PRODUCER, root, messaging__system="kafka", messaging__destination="out")
    callees = {callee: counts for (_, callee), counts in map_of(senders.store).calls.items()}
    del callees[service("front")]
    assert callees == {
        Participant(ParticipantKind.DATABASE, "pg", "postgresql"): CallCounts(1),
        Participant(ParticipantKind.DATABASE, "cache", "redis"): CallCounts(1),
        Participant(HOST, "api.test:443"): CallCounts(2, 1),
        Participant(ParticipantKind.QUEUE, "out", "kafka"): CallCounts(1),
    }


def test_messages_reach_their_consumers(senders: Senders) -> None:
    """A consumer is called by the producer of its trace, or else by the queue."""
    sent = senders.send("front", PRODUCER, messaging__system="kafka")
    senders.send("worker", CONSUMER, sent, messaging__system="kafka")
    queue: dict[str, Any] = {"messaging__system": "kafka", "messaging__destination__name": "orders"}
    senders.send("mailer", CONSUMER, **queue)
    assert set(map_of(senders.store).calls) == {
        (service("front"), service("worker")),
        (Participant(ParticipantKind.QUEUE, "orders", "kafka"), service("mailer")),
    }


@pytest.mark.parametrize("has_name", [True, False])
def test_a_dead_service_is_still_called(senders: Senders, *, has_name: bool) -> None:
    """Calls of a service that does not answer any more lead to it, and have not arrived."""
    host = "payment.shop.svc" if has_name else "127.0.0.1"
    address: dict[str, Any] = {"server__address": host, "server__port": 8001}
    age_s = 2 * RANGE_S
    call = senders.send("checkout", CLIENT, age_s=age_s, **address)
    senders.send("payment", SERVER, call, age_s=age_s)
    senders.send("checkout", CLIENT, error=True, **address)
    calls = map_of(senders.store).calls
    assert calls == {(service("checkout"), service("payment")): CallCounts(1, 1, 0, 1)}


def test_the_address_of_a_dead_service_is_remembered(senders: Senders) -> None:
    """The service at an address is known for as long as the page runs."""
    address: dict[str, Any] = {"server__address": "10.0.0.7", "server__port": 8001}
    call = senders.send("checkout", CLIENT, **address)
    senders.send("payment", SERVER, call)
    backends = LocalBackends(senders.store.path)
    map_of(senders.store, backends=backends)
    assert backends.service_maps.answered == {"10.0.0.7:8001": "payment"}


def test_an_unknown_address_is_not_searched_every_time(
    senders: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for the service at an address that fails for long is repeated after a while."""
    searches: list[str] = []
    fetch = SqliteReader.fetch

    async def counted(reader: SqliteReader, statement: str, parameters: Any = ()) -> list[Any]:  # noqa: ANN401  (as in SqliteReader)
        searches.extend(["search"] if statement == SELECT_ANSWERED else [])
        return await fetch(reader, statement, parameters)

    monkeypatch.setattr(SqliteReader, "fetch", counted)
    senders.send("front", CLIENT, error=True, server__address="api.test")
    backends = LocalBackends(senders.store.path)
    for expected in (1, 1):
        map_of(senders.store, backends=backends)
        backends.reader.lock = asyncio.Lock()  # each call of asyncio.run has a loop of its own
        assert len(searches) == expected
    monkeypatch.setattr(local_service_map, "LOOK_UP_INTERVAL_S", 0.0)
    map_of(senders.store, backends=backends)
    assert len(searches) == 2


def test_a_span_that_may_still_arrive_is_waited_for(senders: Senders) -> None:
    """A new call of a service does not count as lost, unless there was no connection."""
    address: dict[str, Any] = {"server__address": "payment"}
    senders.send("payment", SERVER)
    senders.send("checkout", CLIENT, error=True, age_s=1, error__type="timeout", **address)
    calls = map_of(senders.store).calls
    assert (service("checkout"), service("payment")) not in calls
    senders.send("checkout", CLIENT, error=True, age_s=1, error__type="ConnectError", **address)
    calls = map_of(senders.store).calls
    assert calls[service("checkout"), service("payment")] == CallCounts(1, 1, 0, 1)


def test_a_host_without_a_connection_is_not_reached(senders: Senders) -> None:
    """A foreign host has not been reached if the error says so; any other answer has come."""
    error: dict[str, Any] = {"server__address": "api.test", "error": True}
    senders.send("front", CLIENT, error__type="ConnectionRefusedError", **error)
    senders.send("front", CLIENT, error__type="500", **error)
    calls = map_of(senders.store).calls
    assert calls == {(service("front"), Participant(HOST, "api.test")): CallCounts(2, 2, 0, 1)}


@pytest.mark.parametrize("has_arrived", [True, False])
def test_a_call_within_a_call_counts_once(senders: Senders, *, has_arrived: bool) -> None:
    """Two instrumentations of one call, such as requests and urllib3, make one call."""
    outer = senders.send("front", CLIENT, server__address="outer")
    inner = senders.send("front", CLIENT, outer, server__address="inner")
    if has_arrived:
        senders.send("cart", SERVER, inner)
    callee = service("cart") if has_arrived else Participant(HOST, "outer")
    assert map_of(senders.store).calls == {(service("front"), callee): CallCounts(1)}


def test_a_call_with_two_answers_multiplies_no_other_call(senders: Senders) -> None:
    """A call within one that was answered twice, as after a retry by a proxy, still counts once."""
    outer = senders.send("front", CLIENT)
    for callee in ("cart", "stock"):
        senders.send(callee, SERVER, outer)
    inner = senders.send("front", CLIENT, outer)
    senders.send("payment", SERVER, inner)
    calls = map_of(senders.store).calls
    assert {callee.name: counts.calls for (_, callee), counts in calls.items()} == {
        "cart": 1,
        "stock": 1,
        "payment": 1,
    }


def test_a_job_and_a_service_that_calls_itself_are_shown(senders: Senders) -> None:
    """A root span of any kind is a request, and a service may be its own callee."""
    root = senders.send("nightly", INTERNAL, error=True)
    call = senders.send("nightly", CLIENT, root)
    senders.send("nightly", SERVER, call)
    result = map_of(senders.store)
    assert result.services == {"nightly": Outcomes(2, 1)}
    assert set(result.calls) == {(service("nightly"), service("nightly"))}


def test_hostile_attributes_cost_nothing_else(senders: Senders) -> None:
    """Attributes of any type and length are read as text that is cut, and the others stay."""
    senders.send("front", CLIENT, server__address="x" * 3_000, server__port="\x00port")
    senders.send("front", CLIENT, server__address=True, server__port=1.5)
    senders.send("front", CLIENT, server__address="y" * 100_000)
    senders.send("front", CLIENT, http__url="://", peer__service="")
    names = {callee.name for _, callee in map_of(senders.store).calls}
    assert names == {f"{'x'.ljust(255, 'x')}:\x00port", "True:1.5", ""}


def test_a_bounded_number_of_spans_is_examined(
    senders: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more spans than are read, the map begins where they do, and its counts are complete."""
    for age_s in (50, 40, 30, 20, 10):
        senders.send("front", SERVER, age_s=age_s)
    monkeypatch.setattr(local_service_map, "ROWS_SCANNED", (1, 2))
    monkeypatch.setattr(local_service_map, "ROWS_COMPARED", 1)
    result = map_of(senders.store)
    assert result.end - result.start == pytest.approx(30, abs=5)
    assert result.services == {"front": Outcomes(2, 0)}
    assert map_of(senders.store, range_s=15).services == {"front": Outcomes(1, 0)}


def test_rates_begin_with_the_spans(senders: Senders) -> None:
    """Numbers are divided by the time since the oldest span of the store, if that is in range."""
    sent_at = time.time() - 20
    senders.send("front", SERVER, age_s=20)
    senders.send("front", SERVER, age_s=2)
    hour = map_of(senders.store, range_s=3600)
    assert hour.begin
    assert sent_at <= hour.begin <= time.time() - 20
    assert hour.seconds == pytest.approx(3600 / 6), "at least a sixth of the range"
    short = map_of(senders.store, range_s=15)
    assert short.begin is None
    assert short.seconds == pytest.approx(15)
    assert ServiceMap(100, 160, begin=120).seconds == pytest.approx(40)


def test_a_clock_that_is_ahead_begins_nothing(senders: Senders) -> None:
    """A store whose oldest span is dated in the future has no other time range for it."""
    senders.send("front", SERVER, age_s=-3600)
    assert map_of(senders.store).begin is None


def test_an_empty_store_has_an_empty_map(in_memory_store: InMemoryStore) -> None:
    """Without spans there are no services and no calls."""
    result = map_of(in_memory_store)
    assert (result.services, result.calls) == ({}, {})
