"""A stranger's requests on the live stack: none is believed, none is lost, and the stores do not grow with what he makes up."""

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
from three_pillar_demo.stack.components import FULL as REAL
from three_pillar_demo.stack.components import LOCAL

pytestmark = pytest.mark.stack
HOST, PORT, PAYMENT = "127.0.0.1", 8000, 8001
AT_ONCE = 16
FORGERS, ATTACKERS = 1000, 20_000 if FULL else 2000
NEW_SERIES, GROWTH = 10, 1.10
KNOWN = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
LISTED = REAL if FULL else LOCAL
STORES = {"otel-collector", "prometheus", "tempo", "loki"} if FULL else {"store"}


def request(method: str, path: str, headers: dict[str, str], body: str = "") -> bytes:
    """An HTTP request as bytes; a header that is there twice has its values separated by a line."""
    said = [f"{name}: {value}" for name, values in headers.items() for value in values.split("\n")]
    said += [f"content-length: {len(body)}", "content-type: application/json"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *said, "", body]).encode("latin-1")


async def ask_all(requests: list[bytes], port: int = PORT) -> list[tuple[int, str]]:
    """Send them over a few connections, each kept; returns each answer's status and trace id."""
    numbers, answers = count(), [(0, "")] * len(requests)

    async def customer() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while (number := next(numbers)) < len(requests):
            writer.write(requests[number])
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
            answers[number] = (
                int(head.split(" ")[1]),
                fields.get("traceresponse", "--").split("-")[1],
            )
            if not requests[number].startswith(b"HEAD"):
                await reader.readexactly(int(fields.get("content-length", "0")))
        writer.close()

    await asyncio.gather(*(customer() for _ in range(AT_ONCE)))
    return answers


def forged(number: int, theirs: str) -> bytes:
    """One of the ways to claim to belong to a trace; some of them buy."""
    parent = f"00-{theirs}-{secrets.token_hex(8)}-0"
    headers = {"host": "shop", "x-forwarded-for": "127.0.0.1"} | (
        {"traceparent": parent + "1"},
        {"traceparent": parent + "0"},
        {"traceparent": f"{parent}1\n{parent}1", "tracestate": "a=1\nb=2"},
        {"traceparent": parent + "0", "tracestate": "a=" + "x" * 20_000},
        {"Traceparent": parent + "0", "baggage": "sampled=false\nuser=admin"},
        {"traceparent": parent + "1", "baggage": ",".join(f"k{each}=v" for each in range(2000))},
        {"traceparent": "00-" + "0" * 30_000},
        {"baggage": "x=" + "y" * 30_000},
    )[number % 8]
    if number % 20 == 0:
        return request("POST", "/checkout", headers, '{"card": "declined"}')
    return (
        request("POST", "/checkout", headers, "{}x")
        if number % 2
        else request("GET", f"/{number}", headers)
    )


@pytest.mark.timeout(600)
def test_a_thousand_strangers_are_not_believed(stack: Stack) -> None:
    """Of 1,000 requests with forged, repeated or huge context none is continued, merged with another or sampled out."""
    theirs = secrets.token_hex(16)
    answers = asyncio.run(ask_all([forged(number, theirs) for number in range(FORGERS)]))
    ids = [trace_id for _, trace_id in answers]
    assert Counter(status for status, _ in answers) == {400: 500, 404: 450, 402: 50}
    assert len(set(ids)) == FORGERS
    wanted, wrong = set(ids), list[str]()

    async def look() -> bool:
        async with stack.backends() as backends:
            for each in tuple(wanted):
                spans = await backends.trace(each)
                if len(spans) == (4 if answers[ids.index(each)][0] == 402 else 1):
                    wanted.discard(each)
                    if [span.parent_id for span in spans].count("") != 1:
                        wrong.append(each)
            wrong.extend(span.span_id for span in await backends.trace(theirs))
        return not wanted

    wait_until(lambda: asyncio.run(look()), f"the traces of {FORGERS} strangers", 300)
    assert wrong == []


def made_up(number: int, word: Callable[[], str]) -> bytes:
    """A request of which everything is new that a client chooses."""
    headers = {
        "host": f"{word()}.example:{number % 60_000 + 1}",
        "user-agent": word(),
        "baggage": f"{word()}={word()}",
    }
    headers |= {
        f"x-{word()}": word(),
        "x-forwarded-for": word(),
        "x-forwarded-proto": word(),
        "forwarded": f"for={word()}",
    }
    headers |= {
        "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
        "origin": f"http://{word()}",
    }
    method, path = (
        KNOWN[number % len(KNOWN)],
        ("/checkout", f"/{word()}/{word()}", f"/checkout/{word()}")[number % 3],
    )
    body = f'{{"{word()}": "{word()}", "order_id": "{word()}"}}' if method == "POST" else ""
    return request(method, f"{path}?{word()}={word()}", headers, body)


def kept(stack: Stack, http: httpx2.Client) -> Counter[str]:
    """How many series and streams the stores have."""
    if not FULL:
        file = sqlite3.connect(f"file:{stack.state}/data/store/telemetry.db?mode=ro", uri=True)
        counted = {
            "series": "SELECT count(*) FROM series",
            "streams": "SELECT count(*) FROM source",
        }
        found = Counter(
            {name: file.execute(query).fetchone()[0] for name, query in counted.items()}
        )
        file.close()
        return found
    every = {"query": 'count({job=~".+"})'}
    series = http.get("http://127.0.0.1:9090/api/v1/query", params=every).json()["data"]["result"][
        0
    ]["value"][1]
    streams = http.get("http://127.0.0.1:3100/loki/api/v1/series").json()["data"]
    return Counter({"series": int(series), "streams": len(streams)})


def memory() -> Counter[str]:
    """Bytes that each process of the stack holds."""
    ports = {port: each.name for each in LISTED for port in each.ports[:1]}
    found = Counter[str]()
    for each in psutil.net_connections("tcp"):
        port = getattr(each.laddr, "port", 0)
        if each.status == psutil.CONN_LISTEN and each.pid and port in ports:
            found[ports[port]] = psutil.Process(each.pid).memory_info().rss
    return found


@pytest.mark.timeout(1200)
def test_what_is_made_up_makes_nothing_grow(stack: Stack) -> None:
    """Unique paths, hosts, agents, queries, headers and baggage make no series, no streams, and no store larger than usual."""
    # Usual is what as many requests of a few words make: they come first, so that every class of answer has its series.
    with httpx2.Client(timeout=30, trust_env=False) as http:

        def attack(words: Callable[[], str]) -> tuple[Counter[str], Counter[str]]:
            for port in (PORT, PAYMENT):
                answers = asyncio.run(
                    ask_all([made_up(number, words) for number in range(ATTACKERS // 2)], port)
                )
                assert {status for status, _ in answers} <= {400, 404, 405, 422}
                last = answers[-1][1]
                wait_until(lambda last=last: asyncio.run(there(stack, last)), "the last trace", 300)  # type: ignore[misc]
            return kept(stack, http), memory()

        few = ["word", "other"]
        attack(lambda: few[0])
        usual, small = attack(lambda: few[1])
        after, large = attack(lambda: secrets.token_hex(8))
    growth = {name: round(large[name] / small[name], 3) for name in small}
    print(
        f"{ATTACKERS} requests: {dict(usual)} became {dict(after)}; memory {dict(large)}, times {growth}"
    )
    assert after["series"] - usual["series"] <= NEW_SERIES
    assert after["streams"] == usual["streams"]
    assert {name for name in STORES if growth[name] > GROWTH} == set(), growth


async def there(stack: Stack, trace_id: str) -> bool:
    """Whether a trace and its line have arrived."""
    async with stack.backends() as backends:
        now = time.time()
        return bool(
            await backends.trace(trace_id)
            and await backends.trace_logs(trace_id, now - 900, now + 60)
        )
