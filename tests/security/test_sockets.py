"""Raw bytes on a socket: no slow, endless or malformed request blocks a worker or causes a 5xx."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import psutil
import pytest

from tests.processes import Service, running_shop
from three_pillars.http_protocol import HEAD_TIMEOUT_S
from three_pillars.limits import BODY_TIMEOUT_S

CHUNKED = (
    b"POST /checkout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
WITH_LENGTH = CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d")
GET = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
NO_EXPORT = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
MEBIBYTE = 1024**2
MAX_BYTES_SENT = 8 * MEBIBYTE
MAX_MEMORY_GROWTH = 6 * MEBIBYTE
"""The tolerated growth of a service in bytes: three requests kept in memory would take 24 MiB,
while 2 MiB were measured without them."""
CONVERSATION_TIMEOUT_S = 60
CONNECT_TIMEOUT_S = 10
READ_BYTES = 65_536
SLOW_REQUESTS: dict[str, tuple[bytes, bytes, bytes]] = {
    "nothing at all": (b"", b"", b""),
    "half of a head": (b"POST /checkout HTTP/1.1\r\nHost: x\r\n", b"", b""),
    "a head, byte by byte": (b"GET /checkout HTTP/1.1\r\nA: ", b"a", b""),
    "a second head, byte by byte": (GET + b"GET /checkout HTTP/1.1\r\nA: ", b"a", b"404"),
    "half of a body": (WITH_LENGTH % 100 + b"{", b"", b"408"),
    "a body, byte by byte": (WITH_LENGTH % 100 + b"{", b" ", b"408"),
    "chunks, byte by byte": (CHUNKED, b"1\r\n \r\n", b"408"),
    "a body for an unknown path": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b" ",
        b"404",
    ),
    "a body that is announced with Expect": (
        WITH_LENGTH.replace(b"Host", b"Expect: 100-continue\r\nHost") % 9,
        b"",
        b"100",
    ),
    "fewer bytes than announced": (WITH_LENGTH % 5 + b"{}", b"", b"408"),
}
"""For each case: the bytes sent at once, the bytes sent every half second from then on, and the
status of the first response (empty if there is none)."""
ENDLESS_REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "a header line": (b"GET /checkout HTTP/1.1\r\nA: ", b"a" * 65_536),
    "headers": (b"GET /checkout HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
    "a path": (b"GET /", b"a" * 65_536),
    "a method": (b"", b"A" * 65_536),
    "trailers": (
        CHUNKED.replace(b"/checkout", b"/nowhere") + b"1\r\na\r\n0\r\n",
        b"A: b\r\n" * 10_000,
    ),
    "a chunk's extension": (CHUNKED + b"1;", b"a" * 65_536),
    "a body in chunks": (CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "a body with a length": (WITH_LENGTH % 10**12, b" " * 65_536),
}
MALFORMED_REQUESTS = {
    "a negative length": WITH_LENGTH.replace(b"%d", b"-5"),
    "a length that is a word": WITH_LENGTH.replace(b"%d", b"five"),
    "a length of 40 digits": WITH_LENGTH % 10**39,
    "two lengths": WITH_LENGTH.replace(b"Host", b"Content-Length: 6\r\nHost") % 5 + b"hello",
    "a length and chunks": CHUNKED.replace(b"Host", b"Content-Length: 5\r\nHost") + b"0\r\n\r\n",
    "a chunk of 2^72 bytes": CHUNKED + b"ffffffffffffffffff\r\na",
    "a chunk size that is no number": CHUNKED + b"x\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /checkout HTTP/9.9\r\n\r\n",
    "a NUL": b"GET /\x00 HTTP/1.1\r\n\r\n",
    "a folded header": b"GET /nowhere HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /nowhere HTTP/1.1\r\nHost : x\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "every byte": bytes(range(256)) * 4,
}


@dataclass
class Conversation:
    """The result of sending a request to a service.

    Attributes:
        received: The bytes that the service sent.
        closed: Whether the service closed the connection.
        bytes_sent: How many bytes were sent to the service.
    """

    received: bytes
    closed: bool
    bytes_sent: int

    @property
    def status(self) -> bytes:
        """The three digits of the first response's status; empty if there was no response."""
        _, _, rest = self.received.partition(b" ")
        return rest.partition(b" ")[0]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Checkout and payment, each with one worker, so that a blocked worker is noticed."""
    folder = tmp_path_factory.mktemp("services")
    with running_shop(folder, "http://127.0.0.1:9", **NO_EXPORT) as (checkout, payment):
        yield checkout, payment


def connect(url: str) -> socket.socket:
    """Return a TCP connection to the host and port of ``url``."""
    address = httpx2.URL(url)
    return socket.create_connection((address.host, address.port or 80), CONNECT_TIMEOUT_S)


def converse(
    url: str, request: bytes, continuation: bytes = b"", interval_s: float = 0.5
) -> Conversation:
    """Send ``request``, then ``continuation`` every ``interval_s`` seconds, and read the answer.

    It ends when the service closes the connection, or after ``MAX_BYTES_SENT`` bytes or
    ``CONVERSATION_TIMEOUT_S`` seconds.
    """
    conversation = Conversation(b"", closed=False, bytes_sent=len(request))
    deadline = time.monotonic() + CONVERSATION_TIMEOUT_S
    with connect(url) as connection:
        connection.settimeout(interval_s)
        try:
            connection.sendall(request)
            while time.monotonic() < deadline and conversation.bytes_sent < MAX_BYTES_SENT:
                try:
                    received = connection.recv(READ_BYTES)
                except TimeoutError:
                    connection.sendall(continuation)
                    conversation.bytes_sent += len(continuation)
                    continue
                if not received:
                    conversation.closed = True
                    break
                conversation.received += received
        except OSError:
            conversation.closed = True
    return conversation


def assert_rejected(conversation: Conversation) -> None:
    """Assert that the service sent nothing, or first a response with a status of 4xx."""
    assert not conversation.received or conversation.status.startswith(b"4"), conversation.received


def assert_healthy(services: tuple[Service, Service]) -> None:
    """Assert that both services run, and that a purchase succeeds."""
    checkout, payment = services
    assert checkout.process.poll() is None
    assert payment.process.poll() is None
    assert checkout.post("/checkout").status_code == 200


@pytest.mark.timeout(120)
def test_slow_requests_are_closed(services: tuple[Service, Service]) -> None:
    """A hundred slow connections are closed in time, while purchases still succeed."""
    checkout, _ = services
    with ThreadPoolExecutor(10 * len(SLOW_REQUESTS)) as pool:
        conversations = [
            (name, pool.submit(converse, checkout.url, request, continuation))
            for name, (request, continuation, _) in SLOW_REQUESTS.items()
            for _ in range(10)
        ]
        assert_healthy(services)
        for name, future in conversations:
            conversation = future.result()
            assert conversation.closed, (
                f"{name}: still open after a minute, although the limits are"
                f" {HEAD_TIMEOUT_S:g} s for a head and {BODY_TIMEOUT_S:g} s for a body"
            )
            _, _, status = SLOW_REQUESTS[name]
            assert conversation.status == status, (name, conversation.received)
    assert_healthy(services)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", list(ENDLESS_REQUESTS))
def test_endless_requests_are_closed(services: tuple[Service, Service], name: str) -> None:
    """A request without end is closed before 8 MiB were sent, and is not kept in memory."""
    checkout, _ = services
    process = psutil.Process(checkout.process.pid)
    converse(checkout.url, *ENDLESS_REQUESTS[name], interval_s=0.01)
    memory_before = process.memory_info().rss
    for _ in range(3):
        conversation = converse(checkout.url, *ENDLESS_REQUESTS[name], interval_s=0.001)
        assert conversation.closed, f"{conversation.bytes_sent} bytes were accepted"
        assert_rejected(conversation)
    assert process.memory_info().rss - memory_before < MAX_MEMORY_GROWTH
    assert_healthy(services)


@pytest.mark.parametrize("name", list(MALFORMED_REQUESTS))
def test_malformed_requests_are_rejected(services: tuple[Service, Service], name: str) -> None:
    """Malformed HTTP gets a 4xx or a closed connection, and then a purchase succeeds."""
    request = MALFORMED_REQUESTS[name].replace(b"Host", b"Connection: close\r\nHost")
    for service in services:
        assert_rejected(converse(service.url, request, interval_s=0.2))
    assert_healthy(services)


def test_pipelined_requests_are_answered_in_order(services: tuple[Service, Service]) -> None:
    """A thousand pipelined requests are answered, and dropped connections block nothing."""
    checkout, _ = services
    last_request = GET.replace(b"Host", b"Connection: close\r\nHost")
    conversation = converse(checkout.url, GET * 999 + last_request)
    assert conversation.closed
    assert conversation.received.count(b"HTTP/1.1 404") == 1000
    for _ in range(100):
        with connect(checkout.url) as connection:
            connection.sendall((WITH_LENGTH % 2 + b"{}") * 20 + WITH_LENGTH % 50)
    assert_healthy(services)
