"""Raw bytes on a socket: slow, half, endless or wrong requests cost a connection and never a worker, memory or a 5xx."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import psutil
import pytest

from tests.processes import Service, running_shop
from three_pillars.http_protocol import HEAD_TIMEOUT_S
from three_pillars.limits import BODY_TIMEOUT_S

CHUNKED = b"POST /checkout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = CHUNKED.replace(b"Transfer-Encoding: chunked", b"Content-Length: %d")
GET = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
QUIET = {f"OTEL_{each}_EXPORTER": "none" for each in ("TRACES", "METRICS", "LOGS")}
MEBIBYTE = 1024**2
ENDLESS = 8 * MEBIBYTE
SLOW: dict[str, tuple[bytes, bytes, bytes]] = {
    "nothing at all": (b"", b"", b""),
    "half a head": (b"POST /checkout HTTP/1.1\r\nHost: x\r\n", b"", b""),
    "a head, byte by byte": (b"GET /checkout HTTP/1.1\r\nA: ", b"a", b""),
    "a second head, byte by byte": (GET + b"GET /checkout HTTP/1.1\r\nA: ", b"a", b"404"),
    "half a body": (SIZED % 100 + b"{", b"", b"408"),
    "a body, byte by byte": (SIZED % 100 + b"{", b" ", b"408"),
    "chunks, byte by byte": (CHUNKED, b"1\r\n \r\n", b"408"),
    "a body that nobody reads": (
        b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
        b" ",
        b"404",
    ),
    "a promise to send": (SIZED.replace(b"Host", b"Expect: 100-continue\r\nHost") % 9, b"", b"100"),
    "less than it said": (SIZED % 5 + b"{}", b"", b"408"),
}
"""What is sent at once, what is sent every half second from then on, and the status of the first answer, if there is one."""
ENDLESSLY: dict[str, tuple[bytes, bytes]] = {
    "a line": (b"GET /checkout HTTP/1.1\r\nA: ", b"a" * 65_536),
    "headers": (b"GET /checkout HTTP/1.1\r\n", b"A: b\r\n" * 10_000),
    "an address": (b"GET /", b"a" * 65_536),
    "a method": (b"", b"A" * 65_536),
    "trailers": (
        CHUNKED.replace(b"/checkout", b"/nowhere") + b"1\r\na\r\n0\r\n",
        b"A: b\r\n" * 10_000,
    ),
    "a chunk's extension": (CHUNKED + b"1;", b"a" * 65_536),
    "a body in chunks": (CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "a body of a size": (SIZED % 10**12, b" " * 65_536),
}
WRONG = {
    "a negative length": SIZED.replace(b"%d", b"-5"),
    "a length in words": SIZED.replace(b"%d", b"five"),
    "a length of 40 digits": SIZED % 10**39,
    "two lengths": SIZED.replace(b"Host", b"Content-Length: 6\r\nHost") % 5 + b"hello",
    "a length and chunks": CHUNKED.replace(b"Host", b"Content-Length: 5\r\nHost") + b"0\r\n\r\n",
    "a chunk of 2^72 bytes": CHUNKED + b"ffffffffffffffffff\r\na",
    "a chunk of no number": CHUNKED + b"x\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": b"GET /checkout HTTP/9.9\r\n\r\n",
    "a NUL": b"GET /\x00 HTTP/1.1\r\n\r\n",
    "a folded header": b"GET /nowhere HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /nowhere HTTP/1.1\r\nHost : x\r\n\r\n",
    "no address": b"GET  HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": bytes(range(256)) * 4,
}


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service]]:
    """Both services, each with one worker: what hangs it is seen."""
    with running_shop(tmp_path_factory.mktemp("doors"), "http://127.0.0.1:9", **QUIET) as (
        checkout,
        payment,
    ):
        yield checkout, payment


def converse(
    url: str, sent: bytes, then: bytes = b"", every: float = 0.5
) -> tuple[bytes, bool, int]:
    """Send, and go on sending, until the service hangs up; returns what it said, whether it did, and how much was sent."""
    said, count, deadline = b"", len(sent), time.monotonic() + 60
    address = httpx2.URL(url)
    with socket.create_connection((address.host, address.port or 80), 10) as peer:
        peer.settimeout(every)
        try:
            peer.sendall(sent)
            while time.monotonic() < deadline and count < ENDLESS:
                try:
                    if not (more := peer.recv(65_536)):
                        return said, True, count
                    said += more
                except TimeoutError:
                    peer.sendall(then)
                    count += len(then)
        except OSError:
            return said, True, count
    return said, False, count


def well(doors: tuple[Service, Service]) -> bool:
    """Whether a purchase goes through."""
    return (
        all(door.process.poll() is None for door in doors)
        and doors[0].post("/checkout").status_code == 200
    )


@pytest.mark.timeout(120)
def test_the_slow_are_hung_up_on(doors: tuple[Service, Service]) -> None:
    """A hundred connections that take their time over a head or a body are closed in time, and meanwhile customers buy."""
    with ThreadPoolExecutor(10 * len(SLOW)) as pool:
        talks = [
            (each, pool.submit(converse, doors[0].url, *SLOW[each][:2]))
            for each in SLOW
            for _ in range(10)
        ]
        assert well(doors)
        for each, talk in talks:
            said, closed, _ = talk.result()
            assert closed, (
                f"{each}: open after a minute, where {HEAD_TIMEOUT_S:g} s and {BODY_TIMEOUT_S:g} s are the limits"
            )
            assert said.split(b" ")[1:2] == [SLOW[each][2]] * bool(SLOW[each][2]), (each, said)
    assert well(doors)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", list(ENDLESSLY))
def test_the_endless_end(doors: tuple[Service, Service], name: str) -> None:
    """What has no end is cut off long before 8 MiB, and nothing of it stays in memory."""
    process = psutil.Process(doors[0].process.pid)
    converse(doors[0].url, *ENDLESSLY[name], every=0.01)
    before = process.memory_info().rss
    for _ in range(3):
        said, closed, sent = converse(doors[0].url, *ENDLESSLY[name], every=0.001)
        assert closed, f"it took {sent} bytes"
        assert not said or said.split(b" ")[1][:1] == b"4", said
    # Kept, three of them would be 24 MiB; what it tells of them, and the allocator's own, has been over 2.
    assert process.memory_info().rss - before < 6 * MEBIBYTE
    assert well(doors)


@pytest.mark.parametrize("name", list(WRONG))
def test_the_wrong_are_told_so(doors: tuple[Service, Service], name: str) -> None:
    """What is no HTTP gets a 4xx or a closed connection, from both services, and the next customer buys."""
    for door in doors:
        said, _, _ = converse(
            door.url, WRONG[name].replace(b"Host", b"Connection: close\r\nHost"), every=0.2
        )
        assert not said or said.split(b" ")[1][:1] == b"4", said
    assert well(doors)


def test_a_pipeline_is_answered_in_order(doors: tuple[Service, Service]) -> None:
    """A thousand requests written at once, and the connection dropped in the middle of others, hang nobody."""
    last = GET.replace(b"Host", b"Connection: close\r\nHost")
    said, closed, _ = converse(doors[0].url, GET * 999 + last)
    assert closed
    assert said.count(b"HTTP/1.1 404") == 1000
    for _ in range(100):
        address = httpx2.URL(doors[0].url)
        with socket.create_connection((address.host, address.port or 80), 10) as peer:
            peer.sendall((SIZED % 2 + b"{}") * 20 + SIZED % 50)
    assert well(doors)
