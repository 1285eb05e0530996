"""Customers sent by hand: a row each, within bounds, and a stream that ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

import httpx2
import pytest

from three_pillar_demo.load import manual_traffic as customers
from three_pillar_demo.load.manual_traffic import ManualTraffic

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def answer(_request: httpx2.Request) -> httpx2.Response:
    """A shop that sells."""
    return httpx2.Response(200, json={"outcome": "success", "trace_id": TRACE})


async def refuse(request: httpx2.Request) -> httpx2.Response:
    """A shop that is not there."""
    raise httpx2.ConnectError("refused", request=request)


async def hang(_request: httpx2.Request) -> httpx2.Response:
    """A shop that never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def run(
    shop: Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]],
    act: Callable[[ManualTraffic], Awaitable[None]],
) -> ManualTraffic:
    """A till on which somebody acts."""

    async def day() -> ManualTraffic:
        till = ManualTraffic(
            httpx2.AsyncClient(transport=httpx2.MockTransport(shop), base_url="http://shop")
        )
        await act(till)
        await till.close()
        assert not till.under_way
        return till

    return asyncio.run(day())


async def until(done: Callable[[], object]) -> None:
    """Wait for it."""
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.005)


def test_a_row_is_there_at_once() -> None:
    """Before the shop has answered the row is there; afterwards it has outcome, duration and trace id."""

    async def act(till: ManualTraffic) -> None:
        till.buy("slow")
        assert [(row.card, row.outcome, row.seconds) for row in till.rows] == [("slow", "", None)]
        await until(lambda: till.rows[0].outcome)

    (row,) = run(answer, act).rows
    assert (row.outcome, row.status, row.trace_id, row.failed) == ("success", 200, TRACE, False)
    assert row.seconds is not None


def test_no_answer_is_a_failure() -> None:
    """A shop that is not there leaves a row that says so, without a trace."""

    async def act(till: ManualTraffic) -> None:
        till.buy("ordinary")
        await until(lambda: till.rows[0].outcome)

    (row,) = run(refuse, act).rows
    assert (row.outcome, row.failed, row.trace_id) == ("no answer", True, "")


def test_too_many_are_turned_away() -> None:
    """A shop that answers nothing holds a bounded number of customers, and a bounded number of rows is kept."""

    async def act(till: ManualTraffic) -> None:
        for _ in range(customers.CAP // customers.MOST + 3):
            till.buy("ordinary", customers.MOST)
        assert len(till.under_way) == customers.CAP

    till = run(hang, act)
    assert till.turned_away == 3 * customers.MOST
    assert len(till.rows) == customers.ROWS


@pytest.mark.parametrize(("card", "times"), [("stolen", 1), ("ordinary", 0), ("ordinary", 11)])
def test_nobody_buys_what_there_is_not(card: str, times: int) -> None:
    """An unknown card, or too many at once, is refused."""

    async def act(till: ManualTraffic) -> None:
        with pytest.raises(ValueError, match="a card is one of"):
            till.buy(card, times)

    assert not run(answer, act).rows


@pytest.mark.parametrize("rate", [-1, 50.1, float("nan"), float("inf")])
def test_a_stream_has_bounds(rate: float) -> None:
    """A rate below 0, over 50, or no number is refused."""

    async def act(till: ManualTraffic) -> None:
        with pytest.raises(ValueError, match="0 to 50"):
            till.stream(rate)

    assert run(answer, act).rate == 0


def test_a_stream_comes_and_goes() -> None:
    """Customers come at the rate until it is 0, and the stream ends with the till."""

    async def act(till: ManualTraffic) -> None:
        till.stream(50)
        await until(lambda: till.sent > 5)
        till.stream(0)
        sent = till.sent
        await asyncio.sleep(0.1)
        assert (till.sent, till.rate) == (sent, 0)
        till.stream(20)

    assert len(run(answer, act).rows) > 5


def test_a_trace_is_seen_or_taken_to_be_there() -> None:
    """A row waits until its trace was found, or so long that no search will find it."""

    async def act(till: ManualTraffic) -> None:
        till.buy("ordinary", 2)
        await until(lambda: all(row.outcome for row in till.rows))
        till.rows[1].trace_id = "f" * 32
        till.seen([TRACE])
        assert [row.there for row in till.rows] == [True, False]
        till.rows[1].time = time.time() - customers.LATE - 1
        till.seen([])
        assert not till.waiting()

    run(answer, act)
