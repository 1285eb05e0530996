"""``BoundedHttpProtocol`` on a socket: what the application receives of an unusual request."""

import ast
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import uvicorn

from tests.processes import wait_for
from three_pillars.http_protocol import BoundedHttpProtocol

HEAD = (
    b"POST /first HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
)
TOKENS = (b"h2c", b"H2C", b"websocket", b"TLS/1.0", b"foo", b"h2c, foo", b"")
BODIES = {
    "length": b"Content-Length: 5\r\n\r\nhello",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "chunks and trailers": (
        b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Last: 1\r\n\r\n"
    ),
    "expect": b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
}
LAST = b"POST /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend"
LAST_SEEN = ("POST", "/last", b"end")
ALL_AT_ONCE = 10**6
SEGMENTS = (ALL_AT_ONCE, 7, 1)
"""Numbers of bytes that are sent at once."""
TIMEOUT_S = 60
SEGMENT_PAUSE_S = 0.001
"""The pause between two segments, which lets the server receive them one by one."""

Seen = tuple[str, str, bytes]
"""A request as the application received it: method, path and body."""


class EchoServer:
    """A uvicorn server whose application answers with what it received, as a Python literal."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (any option of uvicorn)
        """Start the server on a free port."""
        config = uvicorn.Config(
            self.application,
            interface="asgi3",
            http=BoundedHttpProtocol,
            port=0,
            lifespan="off",
            log_config=None,
            access_log=False,
            **options,
        )
        self.server = uvicorn.Server(config)
        self.scopes: list[dict[str, Any]] = []
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_for("the server", lambda: self.server.started)
        self.address = self.server.servers[0].sockets[0].getsockname()

    async def application(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        """Answer one request."""
        self.scopes.append(scope)
        body = b""
        more_body = True
        while more_body:
            message = await receive()
            body += message.get("body", b"")
            more_body = message.get("more_body", False)
        answer = repr((scope["method"], scope["path"], body)).encode() + b"\n"
        length = str(len(answer)).encode()
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def stop(self) -> None:
        """Stop the server."""
        self.server.should_exit = True
        self.thread.join(TIMEOUT_S)

    def exchange(self, sent: bytes, segment_bytes: int = ALL_AT_ONCE) -> bytes:
        """Send ``sent`` in segments; return everything received until the connection is closed."""
        received = b""
        with socket.create_connection(self.address, TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(sent), segment_bytes):
                connection.sendall(sent[start : start + segment_bytes])
                if segment_bytes < len(sent):
                    time.sleep(SEGMENT_PAUSE_S)
            while part := connection.recv(65_536):
                received += part
        return received

    def seen(self, sent: bytes, segment_bytes: int = ALL_AT_ONCE) -> list[Seen]:
        """Send requests, the last one with ``Connection: close``; return what was received."""
        received = self.exchange(sent, segment_bytes)
        lines = [line for line in received.splitlines() if line.startswith(b"('")]
        return [cast("Seen", ast.literal_eval(line.decode())) for line in lines]


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    """Run a server that has no WebSocket implementation."""
    server = EchoServer(ws="none")
    yield server
    server.stop()


@pytest.mark.parametrize("segment_bytes", SEGMENTS)
@pytest.mark.parametrize("body", list(BODIES.values()), ids=list(BODIES))
@pytest.mark.parametrize("token", TOKENS)
def test_an_offered_upgrade_is_ignored(
    echo: EchoServer, token: bytes, body: bytes, segment_bytes: int
) -> None:
    """A request that offers an upgrade keeps its body, and so does the next on its connection."""
    request = HEAD % token + body
    seen = echo.seen(request + request + LAST, segment_bytes)
    assert seen == [("POST", "/first", b"hello"), ("POST", "/first", b"hello"), LAST_SEEN]


def test_the_application_receives_all_headers(echo: EchoServer) -> None:
    """The offer is among the headers that the application receives, in their order."""
    echo.scopes.clear()
    assert echo.seen(HEAD % b"h2c" + BODIES["length"] + LAST)
    names = [name for name, _ in echo.scopes[0]["headers"]]
    assert names == [b"host", b"connection", b"upgrade", b"http2-settings", b"content-length"]


def test_a_client_that_waits_for_continue_is_told_to(echo: EchoServer) -> None:
    """``Expect: 100-continue`` beside an offer is answered with 100, before the body is sent."""
    with socket.create_connection(echo.address, TIMEOUT_S) as connection:
        connection.sendall(HEAD % b"h2c" + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hello")
        assert b"b'hello'" in connection.recv(65_536)


def test_thousands_of_pipelined_offers_are_served(echo: EchoServer) -> None:
    """Very many requests with offers that arrive at once are all served, in order."""
    request = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    seen = echo.seen(request * 3000 + LAST)
    assert seen == [("GET", "/a", b"")] * 3000 + [LAST_SEEN]


def test_a_large_body_beside_an_offer_is_whole(echo: EchoServer) -> None:
    """A body of many segments keeps its length."""
    body = b"a" * 3_000_000
    head = HEAD % b"h2c" + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    (seen,) = echo.seen(head + body)
    assert seen == ("POST", "/first", body)


HALF_OFFERS = {
    "no connection header": b"Upgrade: h2c\r\n",
    "no upgrade header": b"Connection: upgrade\r\n",
    "two headers": b"Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: h2c\r\n",
    "two offers": b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
}


@pytest.mark.parametrize("offer", list(HALF_OFFERS.values()), ids=list(HALF_OFFERS))
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_other_forms_of_an_offer_are_ignored(
    echo: EchoServer, offer: bytes, version: bytes
) -> None:
    """Half an offer, one in two headers, and one in HTTP/1.0 leave the body in place."""
    request = b"POST /first HTTP/%s\r\nHost: x\r\n%sContent-Length: 5\r\n\r\nhello"
    keep_alive = b"Connection: keep-alive\r\n" if version == b"1.0" else b""
    seen = echo.seen(request % (version, offer + keep_alive) + LAST)
    assert seen[0] == ("POST", "/first", b"hello")


def test_fields_after_a_body_are_no_headers(echo: EchoServer) -> None:
    """Fields that follow a body in chunks neither become headers nor offer an upgrade."""
    echo.scopes.clear()
    trailers = b"Connection: upgrade\r\nUpgrade: h2c\r\nX-Forwarded-For: 10.0.0.1\r\n"
    request = (
        b"POST /first HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n0\r\n%s\r\n" % trailers
    )
    assert echo.seen(request + LAST) == [("POST", "/first", b"hello"), LAST_SEEN]
    names = [name for name, _ in echo.scopes[0]["headers"]]
    assert names == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("target", [b"x:80", b"/", b"/checkout"])
def test_a_tunnel_is_refused(echo: EchoServer, target: bytes) -> None:
    """CONNECT gets 400 and its connection is closed, so that nothing after it is a request."""
    request = b"CONNECT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" % target
    received = echo.exchange(request + LAST)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith((b"CONNECT is not supported.", b"Invalid HTTP request received."))


def test_a_websocket_handshake_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a WebSocket implementation, GET reaches it, and POST keeps its body."""
    handshakes: list[bytes] = []

    def keep(protocol: Any) -> None:  # noqa: ANN401  (a protocol of uvicorn)
        handshakes.append(protocol.scope["method"].encode())
        protocol.transport.close()

    monkeypatch.setattr(BoundedHttpProtocol, "handle_websocket_upgrade", keep)
    server = EchoServer(ws=cast("Any", object))
    try:
        assert server.seen(HEAD % b"websocket" + BODIES["length"] + LAST) == [
            ("POST", "/first", b"hello"),
            LAST_SEEN,
        ]
        handshake = (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert server.exchange(handshake) == b""
    finally:
        server.stop()
    assert handshakes == [b"GET"]
