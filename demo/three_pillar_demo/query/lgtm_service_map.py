"""Computes the service map from Tempo, and from the metrics that Tempo generates from spans.

The metrics in Prometheus have the calls between services, to databases and to message brokers. A
call of another host without a span there is counted by a search in Tempo: its address must not be a
label of Tempo's metrics, which would take the address of a SERVER span from the Host header.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from three_pillar_demo.query import callee_names
from three_pillar_demo.query.lgtm_requests import IS_REQUEST, TempoSearch
from three_pillar_demo.query.service_addresses import ServiceAddresses
from three_pillar_demo.query.service_map import (
    ARRIVAL_GRACE_S,
    CLIENTS,
    CallCounts,
    Participant,
    ParticipantKind,
    ServiceMap,
    service,
)

EDGE_LABELS = "client, server, connection_type, db_system_name, db_system, messaging_system"
"""The labels of Tempo's service graph metrics; those of products are set in config/tempo.yaml."""
UNANSWERED = "({ kind=server || kind=consumer || kind=client || kind=producer } !< "
"""The beginning of a query for spans that are not the parent of a span that takes part in calls."""
HAS_NO_NAME = (
    "span.peer.service=nil && span.db.system.name=nil && span.db.system=nil && span.db.name=nil"
    " && span.db.namespace=nil && span.messaging.system=nil"
)
"""The condition for a call that is not in Tempo's metrics if no service has answered it."""
UNKNOWN_CLIENT = "user"
"""The name that Tempo gives to the sender of a request whose span has no parent."""
SERVICE = "resource.service.name"
HOST_LABELS = ("span.server.address", "span.net.peer.name")
PORT_LABELS = ("span.server.port", "span.net.peer.port")
MAX_LOOKUPS = 5
"""The number of addresses, those with the most failed calls, whose services are searched."""
NOTES = (
    "Tempo names a host only by server.address, net.peer.name or peer.service, not by a URL.",
    "Tempo does not say which end of a call between two services has failed.",
)


Labelled = tuple[dict[str, str], float]
"""The labels of a series, and its value."""


class Clients(TempoSearch, Protocol):
    """The queries of Tempo and Prometheus that this module needs."""

    async def promql(self, query: str, at: float | None = None) -> list[Labelled]:
        """Return the labels and value of each series of a PromQL query."""

    async def traceql_counts(self, query: str, start: float, end: float) -> list[Labelled]:
        """Return the labels and value of each series of a metrics query in TraceQL."""


async def service_map(
    clients: Clients, addresses: ServiceAddresses, start: float, end: float
) -> ServiceMap:
    """Return the service map of the time range, which is moved by ``ARRIVAL_GRACE_S``."""
    first = start - ARRIVAL_GRACE_S
    last = end - ARRIVAL_GRACE_S
    counter = f"traces_service_graph_request_total[{max(1.0, end - start) * 1000:.0f}ms]"
    failed_counter = counter.replace("_request_", "_request_failed_")
    edges, failed_edges, requests, *hosts = await asyncio.gather(
        clients.promql(f"sum by ({EDGE_LABELS}) (increase({counter}))", end),
        clients.promql(f"sum by ({EDGE_LABELS}) (increase({failed_counter}))", end),
        clients.traceql_counts(
            f"{{ {IS_REQUEST} }} | count_over_time() by ({SERVICE}, status)", first, last
        ),
        *(clients.traceql_counts(query, first, last) for query in _host_queries()),
    )
    result = ServiceMap(first, last, notes=NOTES)
    for labels, count in requests:
        failed = count if labels.get("status") == "error" else 0.0
        result.add_requests(labels.get(SERVICE, ""), count, failed)
    unanswered = [labelled for counts in hosts for labelled in counts]
    for name in _senders(edges, unanswered):
        result.add_requests(name, 0, 0)
    failed_by_edge = {_key(labels): count for labels, count in failed_edges}
    for labels, count in edges:
        if count > 0:
            _add_edge(result, labels, count, failed_by_edge.get(_key(labels), 0.0))
    await _add_hosts(addresses, result, unanswered)
    return result


def _host_queries() -> list[str]:
    """Return the queries for calls without a span at the other end, by current and former names."""
    named, formerly_named = HOST_LABELS
    selected = (
        (f"{named}!=nil", (named, PORT_LABELS[0])),
        (f"{named}=nil", (formerly_named, PORT_LABELS[1])),
    )
    return [
        f"{UNANSWERED}{{ kind=client && {condition} && {HAS_NO_NAME} }}) | count_over_time() by "
        f"({SERVICE}, status, span.error.type, {', '.join(labels)})"
        for condition, labels in selected
    ]


def _senders(edges: Sequence[Labelled], unanswered: Sequence[Labelled]) -> Iterator[str]:
    """Yield the names of the services that have sent a span of one of these calls."""
    for labels, _ in edges:
        connection = labels.get("connection_type", "")
        if connection != "virtual_node":
            yield labels.get("client", "")
        if connection not in ("virtual_node", "database"):
            yield labels.get("server", "")
    for labels, _ in unanswered:
        yield labels.get(SERVICE, "")


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _add_edge(result: ServiceMap, labels: Mapping[str, str], calls: float, failed: float) -> None:
    """Add the calls of one series of Tempo's metrics."""
    connection = labels.get("connection_type", "")
    counts = CallCounts(calls, min(failed, calls), None)
    callee = service(labels.get("server", ""))
    caller = service(labels.get("client", ""))
    if connection == "virtual_node" and caller.name not in result.services:
        is_queue = labels.get("messaging_system") and caller.name != UNKNOWN_CLIENT
        caller = _queue(caller.name, labels) if is_queue else CLIENTS
    elif connection == "database":
        system = callee_names.first(labels, ("db_system_name", "db_system"))
        name = callee.name if callee.name != system else ""
        callee = Participant(ParticipantKind.DATABASE, name, system)
    elif connection == "virtual_node":
        host = Participant(ParticipantKind.HOST, callee.name)
        named = _queue(callee.name, labels) if labels.get("messaging_system") else host
        callee = callee_names.called_service(named, result.services, {})
        if callee.kind is ParticipantKind.SERVICE:
            counts.not_arrived = counts.failed
    result.add_calls(caller, callee, counts)


def _queue(name: str, labels: Mapping[str, str]) -> Participant:
    return Participant(ParticipantKind.QUEUE, name, labels.get("messaging_system", ""))


async def _add_hosts(
    addresses: ServiceAddresses, result: ServiceMap, counted: list[Labelled]
) -> None:
    """Add the calls of hosts without a span there; the service behind a failing one is searched."""
    failures: dict[str, float] = {}
    for labels, count in counted:
        callee = _host(labels, result, {})
        if labels.get("status") == "error" and callee.kind is ParticipantKind.HOST and callee.name:
            failures[callee.name] = failures.get(callee.name, 0.0) + count
    most_failed = sorted(failures, key=lambda address: -failures[address])[:MAX_LOOKUPS]
    answered = await addresses.services_at(most_failed, result.end)
    for labels, count in counted:
        callee = _host(labels, result, answered)
        failed = count if labels.get("status") == "error" else 0.0
        is_lost = callee_names.NO_CONNECTION.search(labels.get("span.error.type", ""))
        counts = CallCounts(count, failed)
        if is_lost or callee.kind is ParticipantKind.SERVICE:
            counts.not_arrived = failed
        if callee.kind is ParticipantKind.SERVICE:
            result.add_requests(callee.name, 0, 0)
        result.add_calls(service(labels.get(SERVICE, "")), callee, counts)


def _host(
    labels: Mapping[str, str], result: ServiceMap, answered: Mapping[str, str]
) -> Participant:
    attributes = {name.removeprefix("span."): value for name, value in labels.items()}
    callee = callee_names.callee_of(attributes)
    return callee_names.called_service(callee, result.services, answered)
