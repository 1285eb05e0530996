"""A stop loses nothing: telemetry sent just before it is stored after the next start."""

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

"""How often the stack is stopped and started; an even number, as it runs in turn in the
background and in the foreground, and must run in the background at the end."""
COUNTER_WINDOW_S = 3600.0
"""How far back counters are read, in seconds: service instances of earlier starts have no
current value."""


async def _ignore(_purchase: Purchase) -> None:
    pass


async def totals(backends: Backends) -> dict[str, Counter[str]]:
    """Return the request counts by service and HTTP status.

    They are the last values of the counters, summed over all service instances.
    """
    sums: dict[str, Counter[str]] = {}
    for service, endpoint in (("checkout", "/checkout"), ("payment", "/charges")):
        where = {"endpoint": endpoint}
        values = await backends.counters(
            f"{service}_requests_total", ("status",), where, within=COUNTER_WINDOW_S
        )
        sums[service] = Counter({status: round(value) for (status,), value in values.items()})
    return sums


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stops", [2, pytest.param(10, marks=pytest.mark.long)])
def test_a_stop_right_after_the_last_answer_loses_nothing(stack: Stack, stops: int) -> None:
    """Stops, in turn by ``demo down`` and by Ctrl-C, lose no span, log record or count."""

    async def counters_before() -> dict[str, Counter[str]]:
        async with stack.backends() as backends:
            assert await poll_until(lambda: is_quiet(backends))
            return await totals(backends)

    async def is_quiet(backends: Backends) -> bool:
        earlier_totals = await totals(backends)
        await asyncio.sleep(3)
        return earlier_totals == await totals(backends)

    async def verify(ledger: Ledger, earlier: dict[str, Counter[str]]) -> None:
        async with stack.backends() as backends:
            traces = await check_traces(backends, ledger)
            assert traces.passed, traces.problems
            logs, _ = await check_logs(backends, ledger)
            assert logs.passed, logs.problems
            expected = {
                "checkout": ledger.checkout_statuses(),
                "payment": ledger.payment_statuses(),
            }
            actual: dict[str, Counter[str]] = {}

            async def is_counted() -> bool:
                current_totals = await totals(backends)
                for service in expected:
                    actual[service] = current_totals[service] - earlier[service]
                return actual == expected

            assert await poll_until(is_counted), f"{actual} is not {expected}"

    earlier = asyncio.run(counters_before())
    ledger = Ledger(started=time.time())
    for stop in range(stops):
        # Twelve at once: with the slow card, payment is still working when the last answer arrives.
        ledger.purchases += asyncio.run(fill(12, 50, _ignore)).purchases
        if stack.foreground:
            stack.ctrl_c()
            stack.up()
        else:
            stack.down()
            stack.up_in_foreground()
        assert len(ledger.purchases) == 12 * (stop + 1)
    asyncio.run(verify(ledger, earlier))
    assert stack.foreground is None
