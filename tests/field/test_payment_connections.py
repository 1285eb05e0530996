"""Payment with too much to do."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from decimal import Decimal

import httpx2
import pytest
from opentelemetry.trace import format_trace_id

from services.checkout.payment_client import PaymentClient
from tests.conftest import ShopFactory
from tests.field.raw_http import (
    ACTIVE,
)
from tests.in_memory_shop import CANONICAL, InMemoryShop


async def until(found: Callable[[], object]) -> None:
    """Let the others go on until it is ``found``; a test that waits in vain ends with a time-out."""
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.01)


async def forever() -> None:
    """Never come back."""
    await asyncio.Event().wait()


def payment(waits: Callable[[], Awaitable[object]] = forever) -> httpx2.MockTransport:
    """A payment in memory that does what the card's name says; for the card ``slow`` it ``waits`` first."""

    async def handle(request: httpx2.Request) -> httpx2.Response:
        card = json.loads(await request.aread())["card"]
        match card:
            case "slow":
                await waits()
            case "unreachable":
                raise httpx2.ConnectError("nobody there")
            case "broken":
                raise httpx2.ReadError("broken off")
            case "crash":
                return httpx2.Response(500)
            case "gateway-timeout":
                return httpx2.Response(504)
            case "nonsense":
                return httpx2.Response(200, content=b"[" * 100_000)
            case "bug":
                raise KeyError
        return httpx2.Response(
            200, json={"outcome": "declined" if card == "declined" else "authorised"}
        )

    return httpx2.MockTransport(handle)


FATES = {
    "ordinary": "success",
    "declined": "declined",
    "gateway-timeout": "gateway_timeout",
    "crash": "payment_crashed",
    "broken": "payment_crashed",
    "nonsense": "payment_crashed",
    "unreachable": "payment_unreachable",
    "slow": "payment_slow",
    "bug": "crashed",
}


@pytest.mark.parametrize(("card", "outcome"), list(FATES.items()), ids=list(FATES))
def test_a_connection_is_given_back(build_shop: ShopFactory, card: str, outcome: str) -> None:
    """Whatever became of a purchase, its connection is free for the next one."""
    shop = build_shop(transport=payment(), calls=1, limit=1)
    assert [shop.request(json={"card": each}).json()["outcome"] for each in (card, "ordinary")] == [
        outcome,
        "success",
    ]


def test_a_customer_who_leaves_gives_back_too(build_shop: ShopFactory) -> None:
    """A purchase that is cancelled, in its call or before its turn, leaves no connection in use."""
    shop = build_shop(transport=payment(), calls=1)

    async def leave() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(shop.checkout), base_url="http://shop"
        ) as http:
            tasks = [
                asyncio.create_task(http.post("/checkout", json={"card": "slow"})) for _ in range(3)
            ]
            await until(lambda: sum(each.count for each in shop.samples().get(ACTIVE, [])) == 3)
            for task in reversed(tasks):
                task.cancel()
            await asyncio.wait(tasks)
            answer = await http.post("/checkout")
            assert answer.json()["outcome"] == "success"

    asyncio.run(leave())


async def buy_in_turn(shop: InMemoryShop, *cards: str, pause: float) -> list[httpx2.Response]:
    """Buy with each card, ``pause`` seconds after the one before."""
    tasks = []
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(shop.checkout), base_url="http://shop"
    ) as http:
        for card in cards:
            tasks.append(asyncio.create_task(http.post("/checkout", json={"card": card})))
            await asyncio.sleep(pause)
        return list(await asyncio.gather(*tasks))


def reasons(shop: InMemoryShop, answer: httpx2.Response) -> list[str]:
    """What was said of this purchase before its canonical line."""
    mine = [each for each in shop.lines() if each["trace_id"] == answer.json()["trace_id"]]
    return [each["event"] for each in mine if CANONICAL not in each]


def test_who_gets_no_connection_is_told_so(build_shop: ShopFactory) -> None:
    """A purchase that waits for a connection until it is too late is ``payment_busy``, in words, and payment is not called."""
    called = []

    async def wait() -> None:
        called.append(1)
        await forever()

    shop = build_shop(transport=payment(wait), calls=1, limit=1)
    slow, busy = asyncio.run(buy_in_turn(shop, "slow", "slow", pause=0.2))
    assert (slow.status_code, slow.json()["outcome"]) == (504, "payment_slow")
    assert (busy.status_code, busy.json()["outcome"], busy.json()["detail"]) == (
        503,
        "payment_busy",
        "Payment is busy",
    )
    assert len(called) == 1
    (why,) = reasons(shop, busy)
    assert "all 1 connections were in use" in why
    found = [
        each
        for each in shop.spans
        if format_trace_id(each.context.trace_id) == busy.json()["trace_id"]
    ]
    assert sorted(each.kind.name for each in found) == ["INTERNAL", "SERVER"], (
        "no CLIENT span for a call that was not made"
    )


def test_a_late_turn_is_not_said_to_have_been_a_whole_one(build_shop: ShopFactory) -> None:
    """Where the wait for a connection took part of the limit, the reason names the time that payment really had."""
    called, turn = [], asyncio.Event()

    async def wait() -> None:
        called.append(1)
        await (turn.wait() if len(called) == 1 else forever())

    shop = build_shop(transport=payment(wait), calls=1, limit=1.5)

    async def buy() -> list[httpx2.Response]:
        buying = asyncio.create_task(buy_in_turn(shop, "slow", "slow", pause=0.2))
        await until(lambda: sum(each.count for each in shop.samples().get(ACTIVE, [])) == 2)
        await asyncio.sleep(0.2)  # the second one waits so long at least
        turn.set()
        return await buying

    first, late = asyncio.run(buy())
    assert (first.json()["outcome"], late.json()["outcome"]) == ("success", "payment_slow")
    (why,) = reasons(shop, late)
    found = re.search(r"no answer within ([\d.]+) s", why)
    assert found
    assert float(found[1]) < 1.4


def test_the_wait_for_a_turn_is_part_of_the_limit() -> None:
    """Who waited for a connection has that much less for the call: nobody waits longer than the limit in all."""
    turn, deadlines = asyncio.Event(), []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        deadlines.append(request.extensions["deadline"])
        await turn.wait()
        return httpx2.Response(200, json={"outcome": "authorised"})

    async def buy() -> None:
        loop = asyncio.get_running_loop()
        client = PaymentClient("http://payment", 60, 1, httpx2.MockTransport(handle))
        first = asyncio.create_task(client.charge("a", Decimal(1), "EUR", "ordinary"))
        await until(lambda: deadlines)
        second = asyncio.create_task(client.charge("b", Decimal(1), "EUR", "ordinary"))
        await asyncio.sleep(0)
        asked = loop.time()
        await until(lambda: loop.time() > asked)
        turn.set()
        assert [await first, await second] == ["success"] * 2
        assert deadlines[1] <= asked + 60
        await client.http.aclose()

    asyncio.run(buy())
