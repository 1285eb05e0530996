"""How the launcher asks a component whether it is ready."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from three_pillar_demo.stack import readiness

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A function that starts a server on one connection; it sends the bytes given, then closes.

    The function returns the server's URL.
    """
    servers: list[socket.socket] = []

    def start(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def respond() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=respond, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/healthz"

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (True, "200 ok")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (True, "204 ")),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nno\n", (False, "503 no")),
        (b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", (False, "301 ")),
    ],
)
def test_the_status_decides(serve: Serve, answer: bytes, expected: tuple[bool, str]) -> None:
    """A component is ready if it answers with a success; the text has status and body."""
    assert readiness.ask(serve(answer)) == expected


@pytest.mark.parametrize("answer", [b"", b"\xff\x00 not HTTP\r\n\r\n"])
def test_an_answer_that_is_not_http(serve: Serve, answer: bytes) -> None:
    """An answer that is none counts as not ready, and the text says why."""
    is_ready, text = readiness.ask(serve(answer))
    assert not is_ready
    assert text


def test_a_long_body_is_cut(serve: Serve) -> None:
    """The text has the beginning of the body only, however long it is."""
    is_ready, text = readiness.ask(serve(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000))
    assert is_ready
    assert len(text) < 200


def test_no_server(closed_port: int) -> None:
    """A port on which nothing listens counts as not ready, and the text says so."""
    is_ready, text = readiness.ask(f"http://127.0.0.1:{closed_port}/healthz")
    assert not is_ready
    assert "refused" in text
