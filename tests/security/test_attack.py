"""Attacks on a running stack: forged trace context, and values that are different each time."""

import asyncio
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from itertools import count

import httpx2
import psutil
import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.components import FULL as FULL_COMPONENTS
from three_pillar_demo.stack.components import LOCAL as LOCAL_COMPONENTS

pytestmark = pytest.mark.stack
HOST = "127.0.0.1"
CHECKOUT_PORT = ports.CHECKOUT.number
PAYMENT_PORT = ports.PAYMENT.number
CONNECTIONS = 16
FORGED_REQUESTS = 1000
UNIQUE_REQUESTS = 20_000 if FULL else 2000
MAX_NEW_SERIES = 10
MAX_MEMORY_GROWTH = 1.10
MEMORY_ROUNDS = 4
"""How many times the unique values are sent at most until the memory is within its limit.

The memory of Tempo and Loki differs by half from one moment to the next, as their garbage collector
runs. What a store keeps of unique values remains in every round, and grows with each.
"""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
COMPONENTS = FULL_COMPONENTS if FULL else LOCAL_COMPONENTS
STORES = {"otel-collector", "prometheus", "tempo", "loki"} if FULL else {"store"}
ARRIVAL_TIMEOUT_S = 300


def raw_request(method: str, path: str, headers: dict[str, str], body: str = "") -> bytes:
    """Return the bytes of an HTTP request.

    A header value with line feeds is sent as several headers, one for each line.
    """
    lines = [f"{method} {path} HTTP/1.1"]
    for name, values in headers.items():
        lines += [f"{name}: {value}" for value in values.split("\n")]
    lines += [f"content-length: {len(body)}", "content-type: application/json", "", body]
    return "\r\n".join(lines).encode("latin-1")


async def send_all(requests: list[bytes], port: int = CHECKOUT_PORT) -> list[tuple[int, str]]:
    """Send requests over ``CONNECTIONS`` (16) connections, in parallel.

    Returns the status and the trace id of each response, in the order of the requests.
    """
    numbers = count()
    responses = [(0, "")] * len(requests)

    async def use_connection() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while (number := next(numbers)) < len(requests):
            writer.write(requests[number])
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status_line, *header_lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = dict(line.split(": ", 1) for line in header_lines)
            trace_id = headers.get("traceresponse", "--").split("-")[1]
            responses[number] = (int(status_line.split(" ")[1]), trace_id)
            if not requests[number].startswith(b"HEAD"):
                await reader.readexactly(int(headers.get("content-length", "0")))
        writer.close()

    await asyncio.gather(*(use_connection() for _ in range(CONNECTIONS)))
    return responses


def forged_request(number: int, trace_id: str) -> bytes:
    """Return a request with forged trace context in one of eight forms, chosen by ``number``.

    Most forms claim to belong to the trace ``trace_id``. Every twentieth request buys.
    """
    parent = f"00-{trace_id}-{secrets.token_hex(8)}-0"
    many_members = ",".join(f"k{member}=v" for member in range(2000))
    forged_headers = (
        {"traceparent": parent + "1"},
        {"traceparent": parent + "0"},
        {"traceparent": f"{parent}1\n{parent}1", "tracestate": "a=1\nb=2"},
        {"traceparent": parent + "0", "tracestate": "a=" + "x" * 20_000},
        {"Traceparent": parent + "0", "baggage": "sampled=false\nuser=admin"},
        {"traceparent": parent + "1", "baggage": many_members},
        {"traceparent": "00-" + "0" * 30_000},
        {"baggage": "x=" + "y" * 30_000},
    )
    headers = {"host": "shop", "x-forwarded-for": "127.0.0.1"}
    headers |= forged_headers[number % len(forged_headers)]
    if number % 20 == 0:
        return raw_request("POST", "/checkout", headers, '{"card": "declined"}')
    if number % 2:
        return raw_request("POST", "/checkout", headers, "{}x")
    return raw_request("GET", f"/{number}", headers)


@pytest.mark.timeout(600)
def test_forged_context_is_not_trusted(stack: Stack) -> None:
    """Forged, repeated or huge trace context is ignored: each request has a trace of its own."""
    forged_trace_id = secrets.token_hex(16)
    requests = [forged_request(number, forged_trace_id) for number in range(FORGED_REQUESTS)]
    responses = asyncio.run(send_all(requests))
    assert Counter(status for status, _ in responses) == {400: 500, 404: 450, 402: 50}
    status_by_trace = {trace_id: status for status, trace_id in responses}
    assert len(status_by_trace) == FORGED_REQUESTS
    missing = set(status_by_trace)
    unexpected_ids = list[str]()

    async def check_traces() -> bool:
        async with stack.backends() as backends:
            for trace_id in tuple(missing):
                spans = await backends.trace(trace_id)
                expected_spans = 4 if status_by_trace[trace_id] == 402 else 1
                if len(spans) == expected_spans:
                    missing.discard(trace_id)
                    roots = [span for span in spans if not span.parent_id]
                    if len(roots) != 1:
                        unexpected_ids.append(trace_id)
            unexpected_ids.extend(span.span_id for span in await backends.trace(forged_trace_id))
        return not missing

    wait_until(
        lambda: asyncio.run(check_traces()),
        f"the traces of {FORGED_REQUESTS} requests",
        ARRIVAL_TIMEOUT_S,
    )
    assert unexpected_ids == []


def request_of_words(number: int, word: Callable[[], str]) -> bytes:
    """Return a request in which ``word()`` provides every value that a client can choose.

    ``number`` chooses the method and the path.
    """
    headers = {
        "host": f"{word()}.example:{number % 60_000 + 1}",
        "user-agent": word(),
        "baggage": f"{word()}={word()}",
        f"x-{word()}": word(),
        "x-forwarded-for": word(),
        "x-forwarded-proto": word(),
        "forwarded": f"for={word()}",
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        "origin": f"http://{word()}",
    }
    method = METHODS[number % len(METHODS)]
    paths = ("/checkout", f"/{word()}/{word()}", f"/checkout/{word()}")
    path = paths[number % len(paths)]
    body = ""
    if method == "POST":
        body = f'{{"{word()}": "{word()}", "order_id": "{word()}"}}'
    return raw_request(method, f"{path}?{word()}={word()}", headers, body)


def stored_counts(stack: Stack, http: httpx2.Client) -> Counter[str]:
    """Return the current number of metric series and of log streams in the stores."""
    if not FULL:
        file = sqlite3.connect(f"file:{stack.state}/data/store/telemetry.db?mode=ro", uri=True)
        (series,) = file.execute("SELECT count(*) FROM series").fetchone()
        (streams,) = file.execute("SELECT count(*) FROM source").fetchone()
        file.close()
        return Counter({"series": series, "streams": streams})
    params = {"query": 'count({job=~".+"})'}
    response = http.get(f"{ports.PROMETHEUS.url}/api/v1/query", params=params).json()
    series = int(response["data"]["result"][0]["value"][1])
    streams = http.get(f"{ports.LOKI.url}/loki/api/v1/series").json()["data"]
    return Counter({"series": series, "streams": len(streams)})


def resident_memory() -> Counter[str]:
    """Return the resident memory of each running component in bytes, by name."""
    names = {component.ports[0].number: component.name for component in COMPONENTS}
    memory = Counter[str]()
    for connection in psutil.net_connections("tcp"):
        port = getattr(connection.laddr, "port", 0)
        if connection.status == psutil.CONN_LISTEN and connection.pid and port in names:
            memory[names[port]] = psutil.Process(connection.pid).memory_info().rss
    return memory


async def has_arrived(stack: Stack, trace_id: str) -> bool:
    """Return whether the backends have spans and log records of a trace."""
    async with stack.backends() as backends:
        now = time.time()
        spans = await backends.trace(trace_id)
        return bool(spans and await backends.trace_logs(trace_id, now - 900, now + 60))


@pytest.mark.timeout(1200)
def test_unique_values_make_no_store_grow(stack: Stack) -> None:
    """Requests with unique values everywhere add no log streams and hardly any series."""
    # Two rounds with one fixed word each come first: afterwards every class of response has its
    # series, and the memory is what as many requests take anyway.
    with httpx2.Client(timeout=30, trust_env=False) as http:

        def attack(word: Callable[[], str]) -> tuple[Counter[str], Counter[str]]:
            for port in (CHECKOUT_PORT, PAYMENT_PORT):
                requests = [
                    request_of_words(number, word) for number in range(UNIQUE_REQUESTS // 2)
                ]
                responses = asyncio.run(send_all(requests, port))
                assert {status for status, _ in responses} <= {400, 404, 405, 422}
                _, last_trace_id = responses[-1]
                wait_until(
                    lambda trace_id=last_trace_id: asyncio.run(has_arrived(stack, trace_id)),  # type: ignore[misc]
                    "the last trace",
                    ARRIVAL_TIMEOUT_S,
                )
            return stored_counts(stack, http), resident_memory()

        _, memory_at_first = attack(lambda: "word")
        counts_before, memory_before = attack(lambda: "other")
        memory_before |= memory_at_first  # the larger of both, for each component
        growing = set(STORES)
        for _ in range(MEMORY_ROUNDS):
            counts_after, memory_after = attack(lambda: secrets.token_hex(8))
            growth = {
                name: round(memory_after[name] / memory_before[name], 3) for name in memory_before
            }
            print(  # noqa: T201
                f"{UNIQUE_REQUESTS} requests: {dict(counts_before)} became {dict(counts_after)}; "
                f"memory {dict(memory_after)}, times {growth}"
            )
            assert counts_after["series"] - counts_before["series"] <= MAX_NEW_SERIES
            assert counts_after["streams"] == counts_before["streams"]
            growing = {name for name in growing if growth[name] > MAX_MEMORY_GROWTH}
            if not growing:
                break
    assert growing == set(), growth
