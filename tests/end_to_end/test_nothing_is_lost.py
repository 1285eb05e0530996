"""Stops lose nothing: what was said right before one is found after the next start."""

import asyncio
import time
from collections import Counter

import pytest

from tests.end_to_end.conftest import Stack
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.check import poll_until
from three_pillar_demo.verify.ledger import Ledger, fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.trace_check import check_traces

STOPS = 10  # even: it ends in the background, as it began
WINDOW = 3600.0
"""How far back, in seconds, counters are asked for: instances of earlier starts are gone, and so is their instant value."""


async def _bought(_purchase: Purchase) -> None:
    pass


async def totals(backends: Backends) -> dict[str, Counter[str]]:
    """The last value of every counter of every instance that ever lived, summed by status."""
    found: dict[str, Counter[str]] = {}
    for service, endpoint in (("checkout", "/checkout"), ("payment", "/charges")):
        where = {"endpoint": endpoint}
        counted = await backends.counters(
            f"{service}_requests_total", ("status",), where, within=WINDOW
        )
        found[service] = Counter({status: round(value) for (status,), value in counted.items()})
    return found


@pytest.mark.timeout(600)
def test_stopped_right_after_the_last_answer_ten_times(stack: Stack) -> None:
    """Stopped by ``demo down`` and by Ctrl-C in turn, right after the last answer: every span, line and count is there."""

    async def before() -> dict[str, Counter[str]]:
        async with stack.backends() as backends:
            assert await poll_until(lambda: _still(backends))
            return await totals(backends)

    async def _still(backends: Backends) -> bool:
        first = await totals(backends)
        await asyncio.sleep(3)
        return first == await totals(backends)

    async def prove(ledger: Ledger, earlier: dict[str, Counter[str]]) -> None:
        async with stack.backends() as backends:
            in_traces = await check_traces(backends, ledger)
            assert in_traces.passed, in_traces.missing
            in_logs, _ = await check_logs(backends, ledger)
            assert in_logs.passed, in_logs.missing
            wanted = {"checkout": ledger.checkout_statuses(), "payment": ledger.payment_statuses()}
            found: dict[str, Counter[str]] = {}

            async def counted() -> bool:
                now = await totals(backends)
                found.update({service: now[service] - earlier[service] for service in wanted})
                return found == wanted

            assert await poll_until(counted), f"{found} is not {wanted}"

    earlier = asyncio.run(before())
    everything = Ledger(started=time.time())
    for stop in range(STOPS):
        # Twelve at once: some are under way in payment (the slow card) when the last answer comes.
        everything.purchases += asyncio.run(fill(12, 50, _bought)).purchases
        if stack.foreground:
            stack.ctrl_c()
            stack.up()
        else:
            stack.down()
            stack.up_in_foreground()
        assert len(everything.purchases) == 12 * (stop + 1)
    asyncio.run(prove(everything, earlier))
    assert stack.foreground is None
