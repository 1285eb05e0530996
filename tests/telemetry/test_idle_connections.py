"""``BoundedHttpProtocol`` on a socket: connections without a request do not keep others out."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.processes import wait_for
from tests.telemetry.test_upgrade_offers import TIMEOUT_S, EchoServer
from three_pillars import http_protocol

MAX_IDLE = 20
MAX_REQUESTS = 5
GET = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
KEPT_OPEN = b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n"
HALF_OF_A_BODY = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel"
WAYS_TO_WAIT = {
    "silent": b"",
    "half of a head": b"GET /x HTTP/1.1\r\nHo",
    "after an answer": KEPT_OPEN,
}
"""What a connection has sent that then sends nothing more."""


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Iterator[EchoServer]:
    """Run a server that keeps 20 idle connections, and serves five requests at the same time."""
    monkeypatch.setattr(http_protocol, "MAX_IDLE_CONNECTIONS", MAX_IDLE)
    server = EchoServer(
        ws="none", limit_concurrency=MAX_IDLE + MAX_REQUESTS, timeout_keep_alive=10 * TIMEOUT_S
    )
    yield server
    server.stop()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Close all connections of a test at its end."""
    with ExitStack() as stack:
        yield stack


def connect(echo: EchoServer, opened: ExitStack, sent: bytes) -> socket.socket:
    """Open a connection, send ``sent``, and wait for the answer if it is a whole request."""
    connection = opened.enter_context(socket.create_connection(echo.address, TIMEOUT_S))
    connection.sendall(sent)
    if sent == KEPT_OPEN:
        assert answer(connection).startswith(b"HTTP/1.1 200")
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return the whole answer to a request, or what was sent before the connection was closed."""
    received = b""
    while not received.endswith(b")\n") and (part := connection.recv(1000)):
        received += part
    return received


@pytest.mark.parametrize("sent", WAYS_TO_WAIT.values(), ids=WAYS_TO_WAIT)
def test_idle_connections_do_not_keep_others_out(
    echo: EchoServer, opened: ExitStack, sent: bytes
) -> None:
    """With many more idle connections than may be open, the next request is answered."""
    for _ in range(3 * MAX_IDLE):
        connect(echo, opened, sent)
    assert echo.exchange(GET).startswith(b"HTTP/1.1 200")
    connections = echo.server.server_state.connections
    wait_for("the others to be closed", lambda: len(connections) <= MAX_IDLE)


def test_a_request_in_progress_is_not_closed(echo: EchoServer, opened: ExitStack) -> None:
    """Idle connections make room for others, and requests that are being answered do not."""
    slow = [connect(echo, opened, HALF_OF_A_BODY) for _ in range(MAX_REQUESTS - 1)]
    wait_for("the slow requests", lambda: len(echo.scopes) == len(slow))
    for _ in range(2 * MAX_IDLE):
        connect(echo, opened, b"")
    assert echo.exchange(GET).startswith(b"HTTP/1.1 200")
    for connection in slow:
        connection.sendall(b"lo")
        assert b"b'hello'" in answer(connection)


def test_the_longest_idle_connection_is_closed(echo: EchoServer, opened: ExitStack) -> None:
    """A connection that was used a moment ago stays open, and one that was not is closed."""
    unused, used = (connect(echo, opened, KEPT_OPEN) for _ in range(2))
    for _ in range(MAX_IDLE - 2):
        connect(echo, opened, KEPT_OPEN)
    used.sendall(KEPT_OPEN)
    assert answer(used).startswith(b"HTTP/1.1 200")
    connect(echo, opened, KEPT_OPEN)
    assert unused.recv(1) == b"", "the server has closed it"
    used.sendall(KEPT_OPEN)
    assert answer(used).startswith(b"HTTP/1.1 200")


def test_too_many_requests_are_refused(echo: EchoServer, opened: ExitStack) -> None:
    """Requests beyond the limit of the server are answered with 503 while the others go on."""
    for _ in range(MAX_IDLE + MAX_REQUESTS):
        connect(echo, opened, HALF_OF_A_BODY)
    wait_for("the slow requests", lambda: len(echo.scopes) >= MAX_IDLE + MAX_REQUESTS - 1)
    assert echo.exchange(GET).startswith(b"HTTP/1.1 503")
