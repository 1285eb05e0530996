"""Each purchase returns its connection to payment, and waits for one only for a limited time."""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from decimal import Decimal

import httpcore2
import httpx2
import pytest
from opentelemetry.trace import format_trace_id

from services.checkout.payment_client import PaymentClient
from tests.conftest import ShopFactory
from tests.field.raw_http import ACTIVE_REQUESTS, total
from tests.in_memory_shop import CANONICAL, InMemoryShop

POLL_INTERVAL_S = 0.01
TIMEOUT_S = 20


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` returns a true value; raise TimeoutError after 20 s."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(POLL_INTERVAL_S)


async def wait_forever() -> None:
    """Wait without an end."""
    await asyncio.Event().wait()


def payment_stub(wait: Callable[[], Awaitable[object]] = wait_forever) -> httpx2.MockTransport:
    """Return a transport that simulates payment: the card of the request selects the response.

    For the card ``slow`` it awaits ``wait()`` before it authorises the charge.
    """
    responses = {
        "crash": httpx2.Response(500),
        "gateway-timeout": httpx2.Response(504),
        "unreadable": httpx2.Response(200, content=b"[" * 100_000),
    }
    errors: dict[str, Exception] = {
        "unreachable": httpx2.ConnectError("connection refused"),
        "broken": httpx2.ReadError("connection broken"),
        "bug": KeyError(),
    }

    async def handle(request: httpx2.Request) -> httpx2.Response:
        card = json.loads(await request.aread())["card"]
        if card in errors:
            raise errors[card]
        if card in responses:
            return responses[card]
        if card == "slow":
            await wait()
        outcome = "declined" if card == "declined" else "authorised"
        return httpx2.Response(200, json={"outcome": outcome})

    return httpx2.MockTransport(handle)


def active_requests(shop: InMemoryShop) -> float:
    """Return the number of active requests, from the metric ``http.server.active_requests``."""
    return total(shop.samples().get(ACTIVE_REQUESTS, []))


OUTCOMES = {
    "ordinary": "success",
    "declined": "declined",
    "gateway-timeout": "gateway_timeout",
    "crash": "payment_crashed",
    "broken": "payment_crashed",
    "unreadable": "payment_crashed",
    "unreachable": "payment_unreachable",
    "slow": "payment_slow",
    "bug": "crashed",
}


@pytest.mark.parametrize(("card", "outcome"), list(OUTCOMES.items()), ids=list(OUTCOMES))
def test_a_connection_is_returned(build_shop: ShopFactory, card: str, outcome: str) -> None:
    """A purchase with any outcome returns its only connection, so that the next one succeeds."""
    shop = build_shop(transport=payment_stub(), connections=1, payment_timeout=1)
    response = shop.request(json={"card": card})
    next_response = shop.request(json={"card": "ordinary"})
    assert (response.json()["outcome"], next_response.json()["outcome"]) == (outcome, "success")


def test_a_cancelled_purchase_returns_its_connection(build_shop: ShopFactory) -> None:
    """A purchase that is cancelled in its call, or while it waits, occupies no connection."""
    shop = build_shop(transport=payment_stub(), connections=1)

    async def cancel_three_and_buy() -> httpx2.Response:
        transport = httpx2.ASGITransport(shop.checkout)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            purchases = [
                asyncio.create_task(http.post("/checkout", json={"card": "slow"})) for _ in range(3)
            ]
            await wait_until(lambda: active_requests(shop) == 3)
            for purchase in reversed(purchases):
                purchase.cancel()
            await asyncio.wait(purchases)
            return await http.post("/checkout")

    assert asyncio.run(cancel_three_and_buy()).json()["outcome"] == "success"


async def buy_two_slowly(shop: InMemoryShop) -> list[httpx2.Response]:
    """Buy twice with the card ``slow``, 0.2 s apart, and return both responses in order."""
    transport = httpx2.ASGITransport(shop.checkout)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
        first_purchase = asyncio.create_task(http.post("/checkout", json={"card": "slow"}))
        await asyncio.sleep(0.2)
        second_purchase = asyncio.create_task(http.post("/checkout", json={"card": "slow"}))
        return list(await asyncio.gather(first_purchase, second_purchase))


def logged_reasons(shop: InMemoryShop, response: httpx2.Response) -> list[str]:
    """Return the events of all log lines of a purchase except its canonical line."""
    trace_id = response.json()["trace_id"]
    lines = [line for line in shop.lines() if line["trace_id"] == trace_id]
    return [line["event"] for line in lines if CANONICAL not in line]


def test_a_purchase_without_a_connection_is_payment_busy(build_shop: ShopFactory) -> None:
    """A purchase that waits too long for a connection has the outcome payment_busy and no call."""
    calls = []

    async def wait() -> None:
        calls.append("slow")
        await wait_forever()

    shop = build_shop(transport=payment_stub(wait), connections=1, payment_timeout=1)
    slow, busy = asyncio.run(buy_two_slowly(shop))
    assert (slow.status_code, slow.json()["outcome"]) == (504, "payment_slow")
    assert (busy.status_code, busy.json()["outcome"]) == (503, "payment_busy")
    assert busy.json()["detail"] == "Payment is busy"
    assert len(calls) == 1
    (reason,) = logged_reasons(shop, busy)
    assert "all 1 connections were in use" in reason
    kinds = sorted(
        span.kind.name
        for span in shop.spans
        if format_trace_id(span.context.trace_id) == busy.json()["trace_id"]
    )
    assert kinds == ["INTERNAL", "SERVER"], "a call that was not made has no CLIENT span"


def test_the_reason_names_the_time_that_payment_had(build_shop: ShopFactory) -> None:
    """The logged reason of a time-out names the time without the wait for a connection."""
    calls = []
    first_may_finish = asyncio.Event()

    async def wait() -> None:
        calls.append("slow")
        if len(calls) == 1:
            await first_may_finish.wait()
        else:
            await wait_forever()

    shop = build_shop(transport=payment_stub(wait), connections=1, payment_timeout=1.5)

    async def buy() -> list[httpx2.Response]:
        purchases = asyncio.create_task(buy_two_slowly(shop))
        await wait_until(lambda: active_requests(shop) == 2)
        await asyncio.sleep(0.2)  # the second purchase waits at least this long
        first_may_finish.set()
        return await purchases

    success, timed_out = asyncio.run(buy())
    assert (success.json()["outcome"], timed_out.json()["outcome"]) == ("success", "payment_slow")
    (reason,) = logged_reasons(shop, timed_out)
    match = re.search(r"no answer within ([\d.]+) s", reason)
    assert match
    assert float(match[1]) < 1.4


def test_the_wait_for_a_connection_is_part_of_the_time_limit() -> None:
    """The time that a call waits for a connection counts as a part of its time limit."""
    may_respond = asyncio.Event()
    deadlines = []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        deadlines.append(request.extensions["deadline"])
        await may_respond.wait()
        return httpx2.Response(200, json={"outcome": "authorised"})

    async def charge_twice() -> None:
        loop = asyncio.get_running_loop()
        client = PaymentClient("http://payment", 60, 1, httpx2.MockTransport(handle))
        first_charge = asyncio.create_task(client.charge("a", Decimal(1), "EUR", "ordinary"))
        await wait_until(lambda: deadlines)
        second_charge = asyncio.create_task(client.charge("b", Decimal(1), "EUR", "ordinary"))
        await asyncio.sleep(0)
        second_began_at = loop.time()
        await wait_until(lambda: loop.time() > second_began_at)
        may_respond.set()
        assert [await first_charge, await second_charge] == ["success", "success"]
        assert deadlines[1] <= second_began_at + 60
        await client.http.aclose()

    asyncio.run(charge_twice())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_certificates_are_read_only_for_https(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """The client of payment reads the machine's certificates for HTTPS alone: it takes 25 ms."""
    contexts: list[ssl.SSLContext] = []

    def read_certificates(**_: object) -> ssl.SSLContext:
        contexts.append(ssl.create_default_context())
        return contexts[-1]

    monkeypatch.setattr(httpcore2, "default_ssl_context", read_certificates)
    PaymentClient(f"{scheme}://payment", 1)
    assert len(contexts) == (scheme == "https")
