"""Tests of the service map from Tempo and Prometheus, with answers as the real ones give them."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import httpx2

from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.service_map import (
    CLIENTS,
    CallCounts,
    Outcomes,
    Participant,
    ParticipantKind,
    ServiceMap,
    service,
)

START = 1_796_000_000.0
END = START + 30
HOST = ParticipantKind.HOST
Labelled = tuple[dict[str, Any], float]


class Backend:
    """Answers the queries of the service map; the attributes have the answers."""

    def __init__(self) -> None:
        self.edges: list[Labelled] = []
        self.failed_edges: list[Labelled] = []
        self.requests: list[Labelled] = []
        self.hosts: list[Labelled] = []
        self.former_hosts: list[Labelled] = []
        self.service_at_address = ""
        self.queries: list[dict[str, list[str]]] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response to a request of Prometheus' or Tempo's API."""
        query = parse_qs(request.url.query.decode())
        self.queries.append(query)
        text = (query.get("q") or query["query"])[0]
        if request.url.path == "/api/v1/query":
            is_failed = "request_failed_total" in text
            return httpx2.Response(200, json=vector(self.failed_edges if is_failed else self.edges))
        if request.url.path == "/api/search":
            return httpx2.Response(200, json=search_result(self.service_at_address))
        if "!<" not in text:
            return httpx2.Response(200, json=series(self.requests))
        is_former = "by (resource.service.name, status, span.error.type, span.net.peer" in text
        return httpx2.Response(200, json=series(self.former_hosts if is_former else self.hosts))

    def map(self, times: int = 1) -> ServiceMap:
        """Return the service map of half a minute, after asking for it that many ``times``."""

        async def query() -> ServiceMap:
            async with LgtmBackends(httpx2.MockTransport(self.answer)) as backends:
                for _ in range(times - 1):
                    await backends.service_map(START, END)
                return await backends.service_map(START, END)

        return asyncio.run(query())


def vector(samples: list[Labelled]) -> dict[str, Any]:
    """Return Prometheus' answer."""
    result = [{"metric": labels, "value": [END, str(value)]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def series(counts: list[Labelled]) -> dict[str, Any]:
    """Return Tempo's answer to a metrics query; a value that is None is not there."""
    return {
        "series": [
            {"labels": [label(*item) for item in labels.items()], "value": value}
            for labels, value in counts
        ]
    }


def label(key: str, value: Any) -> dict[str, Any]:  # noqa: ANN401  (any attribute value)
    """Return a label of Tempo, which gives its value a type."""
    if isinstance(value, int):
        return {"key": key, "value": {"intValue": str(value)}}
    return {"key": key, "value": {"stringValue": "nil" if value is None else value}}


def search_result(name: str) -> dict[str, Any]:
    """Return Tempo's answer to the search for a span of the service ``name``."""
    attributes = [{"key": "service.name", "value": {"stringValue": name}}]
    spans = [{"spanID": "1", "attributes": attributes}]
    return {"traces": [{"traceID": "1", "spanSets": [{"spans": spans}]}] if name else []}


def host_calls(status: str, **labels: Any) -> dict[str, Any]:  # noqa: ANN401  (any attribute value)
    """Return the labels of calls of checkout; ``__`` in a keyword becomes a dot."""
    dotted = {f"span.{name.replace('__', '.')}": value for name, value in labels.items()}
    error_type = {"span.error.type": dotted.pop("span.error.type", None)}
    return {"resource.service.name": "checkout", "status": status} | error_type | dotted


def edge(client: str, server: str, connection_type: str = "", **labels: str) -> dict[str, str]:
    """Return the labels of an edge in Tempo's metrics; Prometheus leaves out empty ones."""
    present = {"connection_type": connection_type} if connection_type else {}
    return {"client": client, "server": server} | present | labels


def test_edges_of_the_metrics_are_calls() -> None:
    """Tempo's edges lead to services, databases, queues and hosts; "user" stands for clients."""
    backend = Backend()
    backend.requests = [
        ({"resource.service.name": "front", "status": "unset"}, 8),
        ({"resource.service.name": "front", "status": "error"}, 2),
    ]
    kafka = {"messaging_system": "kafka"}
    backend.edges = [
        (edge("user", "front", "virtual_node"), 10),
        (edge("front", "cart"), 5),
        (edge("front", "worker", "messaging_system", **kafka), 4),
        (edge("cart", "pg", "database", db_system_name="postgresql"), 3),
        (edge("cart", "redis", "database", db_system="redis"), 2),
        (edge("front", "ledger", "virtual_node"), 1),
        (edge("front", "audit", "virtual_node", **kafka), 1),
        (edge("orders", "mailer", "virtual_node", **kafka), 1),
        (edge("front", "gone"), 0),
    ]
    backend.failed_edges = [
        (edge("front", "cart"), 2.5),
        (edge("front", "ledger", "virtual_node"), 1),
    ]
    result = backend.map()
    assert result.services["front"] == Outcomes(10, 2)
    database = ParticipantKind.DATABASE
    queue = ParticipantKind.QUEUE
    assert result.calls == {
        (CLIENTS, service("front")): CallCounts(10, 0, None),
        (service("front"), service("cart")): CallCounts(5, 2.5, None),
        (service("front"), service("worker")): CallCounts(4, 0, None),
        (service("cart"), Participant(database, "pg", "postgresql")): CallCounts(3, 0, None),
        (service("cart"), Participant(database, "", "redis")): CallCounts(2, 0, None),
        (service("front"), Participant(HOST, "ledger")): CallCounts(1, 1, None),
        (service("front"), Participant(queue, "audit", "kafka")): CallCounts(1, 0, None),
        (Participant(queue, "orders", "kafka"), service("mailer")): CallCounts(1, 0, None),
    }
    assert result.notes


def test_a_service_may_have_the_name_that_tempo_gives_to_clients() -> None:
    """A service called "user" that sends spans is a service, and its calls are its own."""
    backend = Backend()
    backend.requests = [({"resource.service.name": "user", "status": "unset"}, 1)]
    backend.edges = [(edge("user", "front"), 1), (edge("user", "user", "virtual_node"), 1)]
    calls = backend.map().calls
    assert (service("user"), service("front")) in calls


def test_hosts_come_from_a_search_in_tempo() -> None:
    """Calls of hosts are named by current and former attributes, and those not reached are told."""
    backend = Backend()
    backend.hosts = [
        (host_calls("unset", server__address="api.test", server__port=443), 4),
        (host_calls("error", server__address="api.test", server__port=443), 1),
        (
            host_calls(
                "error", error__type="ConnectError", server__address="10.0.0.9", server__port=None
            ),
            3,
        ),
    ]
    backend.former_hosts = [
        (host_calls("unset", net__peer__name="old", net__peer__port=80), 2),
        (host_calls("unset", net__peer__name=None, net__peer__port=None), 2),
    ]
    assert backend.map().calls == {
        (service("checkout"), Participant(HOST, "api.test:443")): CallCounts(5, 1),
        (service("checkout"), Participant(HOST, "10.0.0.9")): CallCounts(3, 3, 0, 3),
        (service("checkout"), Participant(HOST, "old:80")): CallCounts(2),
        (service("checkout"), Participant(HOST)): CallCounts(2),
    }


def test_a_dead_service_is_found_by_its_address() -> None:
    """Calls that nobody answers lead to the service that has answered at the address before."""
    backend = Backend()
    backend.service_at_address = "payment"
    backend.hosts = [(host_calls("error", server__address="127.0.0.1", server__port=8001), 7)]
    result = backend.map()
    assert result.calls == {(service("checkout"), service("payment")): CallCounts(7, 7, 0, 7)}
    assert result.services == {"checkout": Outcomes(), "payment": Outcomes()}
    search = next(query["q"][0] for query in backend.queries if "select" in query.get("q", [""])[0])
    assert 'span.server.address="127.0.0.1"' in search
    assert "span.server.port=8001" in search


def test_the_service_at_an_address_is_searched_once_in_a_while() -> None:
    """Whether or not a service is found, its address is not searched again at once."""
    for name in ("payment", ""):
        backend = Backend()
        backend.service_at_address = name
        backend.hosts = [(host_calls("error", server__address="127.0.0.1", server__port=8001), 7)]
        backend.map(times=3)
        assert sum("select" in query.get("q", [""])[0] for query in backend.queries) == 1


def test_hostile_addresses_are_quoted() -> None:
    """An address cannot leave its text literal in TraceQL, and a port that is no number is left."""
    backend = Backend()
    backend.hosts = [(host_calls("error", server__address='x" || 1', server__port="8 || 1=1"), 1)]
    backend.map()
    search = next(query["q"][0] for query in backend.queries if "select" in query.get("q", [""])[0])
    assert json.dumps('x" || 1') in search
    assert "1=1" not in search


def test_tempo_gets_the_time_to_match_both_ends_of_a_call() -> None:
    """Searches end ten seconds ago, and the map says which time it is about."""
    backend = Backend()
    result = backend.map()
    assert (result.start, result.end) == (START - 10, END - 10)
    ends = {query["end"][0] for query in backend.queries if "end" in query}
    assert ends == {str(int(END - 10))}
