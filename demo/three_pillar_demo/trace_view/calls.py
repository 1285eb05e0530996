"""Reads whom a span called, and how it ended, under the names of every convention.

Instrumentations of HTTP have used two sets of attribute names, those of RPC, databases and message
brokers as well: ``http.url`` is the former name of ``url.full``. Both are read.
"""

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from three_pillar_demo.query.callee_names import (
    DATABASE_SYSTEMS,
    DEFAULT_PORTS,
    DESTINATIONS,
    HOSTS,
    MESSAGING_SYSTEMS,
    PEER_SERVICES,
    PORTS,
    URLS,
)
from three_pillar_demo.query.interface import Span
from three_pillar_demo.terminal import printable

PATHS = ("url.path", "http.target")
"""The names of the attributes with the called path; the second is the former name."""
CALLEES = (*URLS, *DESTINATIONS, *MESSAGING_SYSTEMS, *DATABASE_SYSTEMS, *PEER_SERVICES)
"""The names of the attributes that name a callee, the best one first."""
RPC_METHODS = ("rpc.service", "rpc.method")
HTTP_CLIENT = ("http.request.method", "http.method", *URLS)
"""Names of attributes of which each CLIENT span of an HTTP client has at least one."""
PREFIXES_WITHOUT_SERVER = ("db.", "messaging.")
"""The beginnings of the attribute names of calls to databases and message brokers.

Such systems rarely send spans of their own.
"""
TIMEOUT = re.compile(
    r"time[sd]?[ _-]?out|deadline[ _]?exceeded|TaskCancel|CancelledError|context canceled"
    r"|AbortError|operation was aborted|ESOCKETTIMEDOUT",
    re.IGNORECASE,
)
"""What the names and texts of errors say if the caller stopped waiting: in Python, Java
(``SocketTimeoutException``), Go (``context deadline exceeded``), Node.js (``ETIMEDOUT``,
``AbortError``) and .NET (``TaskCanceledException``)."""
NO_CONNECTION = re.compile(
    r"Connect(Error|Timeout|Exception)|ConnectorError|NewConnectionError|UnknownHost|refused"
    r"|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|getaddrinfo|no such host|no route to host"
    r"|name resolution",
    re.IGNORECASE,
)
"""What the names and texts of errors say if the call did not reach the called service."""
GRPC_GAVE_UP = {"CANCELLED", "DEADLINE_EXCEEDED"}
"""The statuses with which a gRPC client ends a call that has not been answered."""
GRPC_UNREACHED = "UNAVAILABLE"
GRPC_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of gRPC's status codes; a code is the position of its name."""
HTTP_STATUSES = ("http.response.status_code", "http.status_code")
"""The names of the attributes with the HTTP status; the second is the former name."""
RPC_STATUSES = ("rpc.response.status_code", "rpc.grpc.status_code")
"""The names of the attributes with the status of an RPC; the second is the former name."""


def status_of(span: Span) -> str:
    """Return the status of the answer that a span records; "" if it has none.

    It is the HTTP status, or the name of the gRPC status (``UNAVAILABLE``). An HTTP status of 0
    stands for no answer, as proxies record it.
    """
    for name in HTTP_STATUSES:
        status = str(span.attributes.get(name) or "")
        if status not in ("", "0"):
            return status
    for name in RPC_STATUSES:
        if span.attributes.get(name) not in (None, ""):
            return _grpc_name(str(span.attributes[name]))
    return ""


def _grpc_name(status: str) -> str:
    """Return the name of a gRPC status code; any other text is returned as it is."""
    if status.isascii() and status.isdecimal() and int(status) < len(GRPC_STATUSES):
        return GRPC_STATUSES[int(status)]
    return status


def callee_name(call: Span) -> str:
    """Return what a CLIENT or PRODUCER span says about whom it called.

    It is the URL, the topic, the database, the called service, the host with the path, or the RPC
    service, whichever is there first.
    """
    name = _first(call, CALLEES)
    if not name and called_address(call):
        name = called_address(call) + _first(call, PATHS)
    return printable(name or _first(call, RPC_METHODS) or "another service")


def called_address(call: Span) -> str:
    """Return the host and the port that ``call`` names, as ``stock:3000``; "" if it names none.

    The port is left out if it is not known.
    """
    url = _called_url(call)
    if url is not None:
        # A port that is no number is text of somebody else, so it must not raise an exception.
        port = url.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
        return _joined(url.hostname or "", port or DEFAULT_PORTS.get(url.scheme, ""))
    return _joined(_first(call, HOSTS), _first(call, PORTS))


def called_host(call: Span) -> str:
    """Return the host that ``call`` names, a name or an IP address; "" if it names none."""
    url = _called_url(call)
    if url is not None:
        return url.hostname or ""
    host = _first(call, HOSTS)
    # The attribute http.host may include a port; an IPv6 address has several colons.
    return host.partition(":")[0] if host.count(":") == 1 else host


def is_http_call(call: Span) -> bool:
    """Return True if ``call`` was made with an HTTP client."""
    return any(name in call.attributes for name in HTTP_CLIENT)


def has_no_server_span(call: Span) -> bool:
    """Return True if ``call`` is to a database or a message broker, or did not arrive."""
    if any(name.startswith(PREFIXES_WITHOUT_SERVER) for name in call.attributes):
        return True
    return status_of(call) == GRPC_UNREACHED or _error_matches(call, NO_CONNECTION)


def timed_out(call: Span) -> bool:
    """Return True if ``call`` records that its caller stopped waiting for an answer."""
    status = status_of(call)
    if status:
        return status in GRPC_GAVE_UP
    return call.error and _error_matches(call, TIMEOUT)


def _error_matches(call: Span, pattern: re.Pattern[str]) -> bool:
    """Return True if an error type, an exception or the status message contains ``pattern``."""
    names = ("error.type", "http.error_name", "http.error_message")
    texts = [str(call.attributes.get(name, "")) for name in names]
    return any(pattern.search(text) for text in (*texts, *call.exceptions, call.message))


def _called_url(call: Span) -> SplitResult | None:
    """Return the URL of ``call``; None if it has none with a host."""
    for name in URLS:
        try:
            url = urlsplit(str(call.attributes.get(name, "")))
            has_host = bool(url.hostname)
        except ValueError:  # an invalid IPv6 address
            continue
        if has_host:
            return url
    return None


def _first(call: Span, names: Iterable[str]) -> str:
    """Return the first attribute among ``names`` that ``call`` has; "" if it has none."""
    return next((str(call.attributes[name]) for name in names if call.attributes.get(name)), "")


def _joined(host: str, port: str) -> str:
    return f"{host}:{port}" if host and port and ":" not in host else host
