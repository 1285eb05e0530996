"""Canaries through every door, and through a service that repeats all it hears: none may be found in any store or line."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx2
import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from tests.security.canaries import Canaries
from tests.security.unredacted_otlp import everything
from tests.security.leaky_process import leaky

pytestmark = pytest.mark.stack
SHOP, PAYMENT, OTLP = "http://127.0.0.1:8000", "http://127.0.0.1:8001", "http://127.0.0.1:4318"


def by_every_door(http: httpx2.Client, base: str, canaries: Canaries) -> Iterator[httpx2.Response]:
    """Ask ``base`` with each canary in the body, the query, every kind of header, the path, a name, and all at once."""
    for text in (*canaries.shown.values(), canaries.sentence):
        code = quote(text)
        headers = {
            "user-agent": text,
            "x-note": text,
            "cookie": f"session={code}",
            "baggage": f"note={code}",
            "referer": text,
        }
        headers |= {
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "tracestate": "shop=1",
        }
        headers |= {"authorization": canaries.shown["bearer"]}
        for path in ("/checkout", "/charges", f"/said/{code}", f"/{code}"):
            yield http.post(f"{base}{path}?note={code}&{code}=1", content=text, headers=headers)
            yield http.get(f"{base}{path}?note={text}", headers=headers)
            yield http.post(
                base + path,
                json={text: text, "card": text, "order_id": text, "password": text},
                headers=headers,
            )
        yield http.post(f"{base}/checkout", headers={"host": code})


def purchases(http: httpx2.Client, canaries: Canaries) -> Iterator[httpx2.Response]:
    """Buy with cards, and with cards as order ids, that are real; and under the clean id, for the clean amount."""
    real = canaries.shown["card"]
    for order in ({"card": real}, {"order_id": real}, {"card": real, "order_id": real}):
        yield http.post(f"{SHOP}/checkout", json=order)
        yield http.post(
            f"{PAYMENT}/charges",
            json={"order_id": "o", "amount": "1", "currency": "EUR", "card": "crash"} | order,
        )
    item = {"sku": "tea", "quantity": 1, "unit_price": canaries.clean["amount"]}
    yield http.post(
        f"{SHOP}/checkout",
        json={"order_id": canaries.clean["order"], "items": [item], "card": "declined"},
    )


def by_otlp(http: httpx2.Client, canaries: Canaries) -> None:
    """Tell the second layer alone, as a service without the first one would."""
    for path, told in everything(canaries, [*canaries.shown.values(), canaries.sentence]).items():
        assert http.post(OTLP + path, json=told).is_success


def stored(stack: Stack, http: httpx2.Client, traces: set[str]) -> bytes:
    """All that anybody can read: every file of the stack, its services' lines too, and what the backends' APIs answer."""
    told = [path.read_bytes() for path in sorted(stack.state.rglob("*")) if path.is_file()]
    if FULL:
        told += [http.get(f"http://127.0.0.1:3200/api/traces/{each}").content for each in traces]
        week = {"start": str(time.time_ns() - 3600 * 10**9), "limit": "5000"}
        for service in ("checkout", "payment", "leaky", "outspoken", "unknown_service"):
            query = f'{{service_name="{service}"}}'
            told.append(
                http.get(
                    "http://127.0.0.1:3100/loki/api/v1/query_range", params={"query": query} | week
                ).content
            )
        every = {
            "match[]": '{__name__=~".+"}',
            "query": '{__name__=~".+"}',
            "start": str(time.time() - 3600),
            "end": str(time.time()),
        }
        told += [
            http.get(f"http://127.0.0.1:9090/api/v1/{each}", params=every).content
            for each in ("series", "query_exemplars")
        ]
        told.append(http.get("http://127.0.0.1:3200/api/v2/search/tags").content)
        told.append(http.get("http://127.0.0.1:3100/loki/api/v1/series").content)
    else:
        told.append(json.dumps(asyncio.run(answered(stack, traces)), default=str).encode())
    return b"\n".join(told)


async def answered(stack: Stack, traces: set[str]) -> list[object]:
    """What the questions of the house answer."""
    async with stack.backends() as backends:
        now = time.time()
        spans = [await backends.trace(each) for each in traces]
        return [spans, await backends.logs(now - 3600, now + 60, limit=5000)]


@pytest.mark.timeout(600)
def test_no_canary_is_in_any_store_or_line(stack: Stack) -> None:
    """Cards, accounts, addresses, tokens and passwords are found nowhere; order ids, amounts and trace ids are."""
    canaries, answers, said = Canaries(), list[httpx2.Response](), set[str]()
    with (
        httpx2.Client(timeout=30, trust_env=False, headers={"connection": "close"}) as http,
        leaky(stack.state / "logs", OTLP) as (repeating, _),
    ):
        for base in (SHOP, PAYMENT, repeating):
            answers += by_every_door(http, base, canaries)
        answers += purchases(http, canaries)
        by_otlp(http, canaries)
        said = {
            each.headers["traceresponse"].split("-")[1]
            for each in answers
            if "traceresponse" in each.headers
        }
        assert len(said) > 150
        wanted = {*said, canaries.clean["trace"]}

        async def arrived() -> bool:
            async with stack.backends() as backends:
                for each in tuple(wanted):
                    if await backends.trace(each) and await backends.trace_logs(
                        each, time.time() - 600, time.time() + 60
                    ):
                        wanted.discard(each)
                return not wanted

        wait_until(lambda: asyncio.run(arrived()), f"{len(said)} traces and their lines", 240)
        told = stored(stack, http, {*said, canaries.clean["trace"]})
    assert canaries.found(told) == set()
    assert [name for name, each in canaries.clean.items() if each.encode() not in told] == []
    outside = [
        each
        for each in answers
        if each.status_code >= 500 and each.request.url.port != httpx2.URL(repeating).port
    ]
    assert {each.status_code for each in outside} <= {500, 502, 504}
