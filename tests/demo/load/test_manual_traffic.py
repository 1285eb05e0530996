"""Tests for purchases that are started by hand: their list, their limits, and their stream."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine

import httpx2
import pytest

from three_pillar_demo.load import manual_traffic
from three_pillar_demo.load.manual_traffic import ManualTraffic

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def answer(_request: httpx2.Request) -> httpx2.Response:
    """Answer like a checkout whose purchases succeed."""
    return httpx2.Response(200, json={"outcome": "success", "trace_id": TRACE})


async def refuse(request: httpx2.Request) -> httpx2.Response:
    """Raise the error of a checkout that cannot be reached."""
    raise httpx2.ConnectError("refused", request=request)


async def hang(_request: httpx2.Request) -> httpx2.Response:
    """Wait for ever, like a checkout that never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def run(
    shop: Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]],
    act: Callable[[ManualTraffic], Awaitable[None]],
) -> ManualTraffic:
    """Call ``act`` with a ``ManualTraffic`` whose checkout is ``shop``; close and return it."""

    async def run_and_close() -> ManualTraffic:
        traffic = ManualTraffic(
            httpx2.AsyncClient(transport=httpx2.MockTransport(shop), base_url="http://shop")
        )
        await act(traffic)
        await traffic.close()
        assert not traffic.in_flight
        return traffic

    return asyncio.run(run_and_close())


async def until(done: Callable[[], object]) -> None:
    """Wait until ``done`` returns a true value."""
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.005)


def test_a_purchase_is_listed_at_once() -> None:
    """A purchase is listed before checkout has answered, and completed by the answer."""

    async def act(traffic: ManualTraffic) -> None:
        traffic.buy("slow")
        assert [
            (purchase.card, purchase.outcome, purchase.seconds) for purchase in traffic.purchases
        ] == [("slow", "", None)]
        await until(lambda: traffic.purchases[0].outcome)

    (purchase,) = run(answer, act).purchases
    assert (purchase.outcome, purchase.status, purchase.trace_id, purchase.failed) == (
        "success",
        200,
        TRACE,
        False,
    )
    assert purchase.seconds is not None


def test_an_unanswered_purchase_has_failed() -> None:
    """A purchase that checkout does not answer is listed as failed, without a trace id."""

    async def act(traffic: ManualTraffic) -> None:
        traffic.buy("ordinary")
        await until(lambda: traffic.purchases[0].outcome)

    (purchase,) = run(refuse, act).purchases
    assert (purchase.outcome, purchase.failed, purchase.trace_id) == ("no answer", True, "")


def test_the_number_of_purchases_is_bounded() -> None:
    """The purchases in flight and the list of purchases are bounded when checkout never answers."""

    async def act(traffic: ManualTraffic) -> None:
        for _ in range(manual_traffic.MAX_IN_FLIGHT // manual_traffic.MAX_PURCHASES_PER_CALL + 3):
            traffic.buy("ordinary", manual_traffic.MAX_PURCHASES_PER_CALL)
        assert len(traffic.in_flight) == manual_traffic.MAX_IN_FLIGHT

    traffic = run(hang, act)
    assert traffic.not_sent == 3 * manual_traffic.MAX_PURCHASES_PER_CALL
    assert len(traffic.purchases) == manual_traffic.MAX_LISTED


@pytest.mark.parametrize(("card", "times"), [("stolen", 1), ("ordinary", 0), ("ordinary", 11)])
def test_bad_purchases_are_refused(card: str, times: int) -> None:
    """An unknown card, or a number of purchases out of range, is refused."""

    async def act(traffic: ManualTraffic) -> None:
        with pytest.raises(ValueError, match="a card is one of"):
            traffic.buy(card, times)

    assert not run(answer, act).purchases


@pytest.mark.parametrize("rate", [-1, 50.1, float("nan"), float("inf")])
def test_bad_rates_are_refused(rate: float) -> None:
    """A rate that is below 0, over 50 or not a number is refused."""

    async def act(traffic: ManualTraffic) -> None:
        with pytest.raises(ValueError, match="0 to 50"):
            traffic.stream(rate)

    assert run(answer, act).rate == 0


def test_a_stream_starts_and_ends() -> None:
    """Purchases arrive until the rate is set to 0 or the traffic is closed."""

    async def act(traffic: ManualTraffic) -> None:
        traffic.stream(50)
        await until(lambda: traffic.sent > 5)
        traffic.stream(0)
        sent = traffic.sent
        await asyncio.sleep(0.1)
        assert (traffic.sent, traffic.rate) == (sent, 0)
        traffic.stream(20)

    assert len(run(answer, act).purchases) > 5


def test_a_trace_is_found_or_assumed_to_be_readable() -> None:
    """A purchase waits until its trace was found, or until the search takes too long."""

    async def act(traffic: ManualTraffic) -> None:
        traffic.buy("ordinary", 2)
        await until(lambda: all(purchase.outcome for purchase in traffic.purchases))
        traffic.purchases[1].trace_id = "f" * 32
        traffic.mark_traces_found([TRACE])
        assert [purchase.trace_found for purchase in traffic.purchases] == [True, False]
        traffic.purchases[1].time = time.time() - manual_traffic.SEARCH_TIMEOUT_S - 1
        traffic.mark_traces_found([])
        assert not traffic.purchases_without_trace()

    run(answer, act)
