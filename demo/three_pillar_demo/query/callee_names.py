"""Names what a CLIENT or PRODUCER span has called, from its attributes of any convention.

Instrumentations have used several sets of attribute names. Each tuple begins with the current one,
and the first attribute that the span has is the one that counts.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import urlsplit

from three_pillar_demo.query.service_map import Participant, ParticipantKind, service

# Of the hosts, only the first and the fourth name are current.
HOSTS = ("server.address", "net.peer.name", "http.host", "network.peer.address", "net.peer.ip")
PORTS = ("server.port", "net.peer.port", "network.peer.port")
URLS = ("url.full", "http.url")
DATABASE_SYSTEMS = ("db.system.name", "db.system")
DATABASE_NAMES = ("db.namespace", "db.name")
MESSAGING_SYSTEMS = ("messaging.system",)
DESTINATIONS = ("messaging.destination.name", "messaging.destination")
PEER_SERVICES = ("peer.service",)
RPC_SERVICES = ("rpc.service",)
DEFAULT_PORTS = {"http": "80", "https": "443"}
NO_CONNECTION = re.compile(
    r"Connect(ion)?(Error|Timeout|Exception|Refused)|ConnectorError|UnknownHost|refused"
    r"|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|getaddrinfo|UNAVAILABLE",
    re.IGNORECASE,
)
"""What the attribute ``error.type`` contains, in several languages, if a call reached nobody."""
IP_ADDRESS = re.compile(r"[\d.]+|.*:.*:.*")

Attributes = Mapping[str, str]
"""Attributes of a span as text; an attribute that is missing may also be empty."""


def callee_of(attributes: Attributes, *, is_message: bool = False) -> Participant:
    """Return what a call has reached, as far as the call itself says.

    ``is_message`` is True for a PRODUCER span. A callee that is no database and no message broker
    is a HOST, with its address or the name of its service.
    """
    messaging = first(attributes, MESSAGING_SYSTEMS)
    address = called_address(attributes)
    if is_message or messaging:
        topic = first(attributes, DESTINATIONS)
        return Participant(ParticipantKind.QUEUE, topic or address, messaging)
    peer = first(attributes, PEER_SERVICES)
    database = first(attributes, DATABASE_SYSTEMS)
    if database:
        name = peer or address or first(attributes, DATABASE_NAMES)
        return Participant(ParticipantKind.DATABASE, name, database)
    name = peer or address or first(attributes, RPC_SERVICES)
    return Participant(ParticipantKind.HOST, name)


def called_service(
    callee: Participant, services: Collection[str], answered: Mapping[str, str]
) -> Participant:
    """Return the service behind ``callee`` if it is known, and ``callee`` itself otherwise.

    A host is that service whose name it has, alone or as its first part (``stock`` of
    ``stock.shop.svc:3000``), or that has answered at its address before.

    Args:
        callee: What was called.
        services: The names of all services that send spans.
        answered: The name of the service that has answered at an address, by address.
    """
    if callee.kind is not ParticipantKind.HOST:
        return callee
    if callee.name in answered:
        return service(answered[callee.name])
    host = callee.name if callee.name.count(":") > 1 else callee.name.partition(":")[0]
    names = [callee.name, host]
    if not IP_ADDRESS.fullmatch(host):
        names.append(host.partition(".")[0])
    known = {*services, *answered.values()}
    found = next((name for name in names if name and name in known), "")
    return service(found) if found else callee


def called_address(attributes: Attributes) -> str:
    """Return the called host and port, as ``stock:3000``; "" if the call names none.

    The port is left out if it is not known.
    """
    host = first(attributes, HOSTS)
    port = first(attributes, PORTS)
    if not host:
        try:
            url = urlsplit(first(attributes, URLS))
            host = url.hostname or ""
        except ValueError:  # an invalid IPv6 address
            return ""
        # A port that is no number is text of somebody else, so it must not raise an exception.
        port = url.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
        port = port or DEFAULT_PORTS.get(url.scheme, "")
    return f"{host}:{port}" if host and port and ":" not in host else host


def first(attributes: Attributes, names: Iterable[str]) -> str:
    """Return the first attribute among ``names`` that is there and not empty; "" if none is."""
    return next((attributes[name] for name in names if attributes.get(name)), "")
