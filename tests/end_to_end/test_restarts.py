"""A component that is killed in mid-load is restarted, and nothing is lost."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable

import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.ledger import Ledger, fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import Counters, check_metrics
from three_pillar_demo.verify.trace_check import check_traces
from three_pillar_demo.verify.verify import wait_until_quiet

RECEIVER = "otel-collector" if FULL else "store"
OUTAGE_S = 8.0
"""How long the receiver is down in the longer outage, in seconds; the services retry an export for
10 s."""


async def _ignore(_purchase: Purchase) -> None:
    pass


def row(stack: Stack, name: str) -> dict[str, object]:
    """Return what ``demo status --json`` reports of the component ``name``."""
    report = json.loads(stack.demo("status", "--json", check=False).stdout)
    rows: dict[str, dict[str, object]] = {row["component"]: row for row in report["components"]}
    return rows[name]


def kill(stack: Stack, name: str) -> None:
    """Send SIGKILL to the process of the component ``name``, as a crash would end it."""
    os.kill(int(str(row(stack, name)["pid"])), signal.SIGKILL)


async def buy_during(breaking: Callable[[], Awaitable[None]], purchases: int) -> Ledger:
    """Send ``purchases`` purchases, ten a second, and await ``breaking`` after two seconds."""
    buying = asyncio.create_task(fill(purchases, 10, _ignore))
    await asyncio.sleep(2)  # a load is under way
    await breaking()
    return await buying


async def check_complete(backends: Backends, ledger: Ledger, counters_before: Counters) -> None:
    """Check that every purchase was answered and is in all three pillars, exactly once."""
    assert not ledger.unanswered
    traces = await check_traces(backends, ledger)
    assert traces.passed, traces.problems
    logs, other_requests = await check_logs(backends, ledger)
    assert logs.passed, logs.problems
    metrics = await check_metrics(backends, ledger, counters_before, other_requests)
    assert metrics.passed, metrics.problems


@pytest.mark.parametrize(
    "outage", ["killed", pytest.param("away for eight seconds", marks=pytest.mark.long)]
)
def test_a_receiver_that_dies_in_mid_load_loses_nothing(stack: Stack, outage: str) -> None:
    """Telemetry of purchases while the receiver is killed and restarted is complete afterwards."""

    async def breaking() -> None:
        if outage == "killed":
            await asyncio.to_thread(kill, stack, RECEIVER)
            return
        await asyncio.to_thread(stack.demo, "kill", RECEIVER)
        await asyncio.sleep(OUTAGE_S)
        await asyncio.to_thread(stack.demo, "start", RECEIVER)

    async def buy_and_check() -> None:
        async with stack.backends() as backends:
            counters_before = await wait_until_quiet(backends)
            assert counters_before is not None
            ledger = await buy_during(breaking, 40 if outage == "killed" else 120)
            await check_complete(backends, ledger, counters_before)

    asyncio.run(buy_and_check())
    status = stack.demo("status").stdout
    assert (f"{RECEIVER} has exited unexpectedly" in status) == (outage == "killed")
    stack.down()
    stack.up()


def test_purchases_go_on_after_payment_was_killed(stack: Stack) -> None:
    """Checkout answers while payment is down, and purchases succeed again without a command."""

    async def breaking() -> None:
        await asyncio.to_thread(kill, stack, "payment")

    ledger = asyncio.run(buy_during(breaking, 40))
    assert not ledger.unanswered
    wait_until(lambda: row(stack, "payment")["state"] == "ready", "the restart of payment")

    async def buy_and_check() -> None:
        async with stack.backends() as backends:
            counters_before = await wait_until_quiet(backends)
            assert counters_before is not None
            await check_complete(backends, await fill(10, 10, _ignore), counters_before)

    asyncio.run(buy_and_check())
    stack.down()
    stack.up()


def test_a_killed_launcher_is_replaced(stack: Stack) -> None:
    """After SIGKILL of the launcher, ``demo up`` ends what is still running and starts anew."""
    run = json.loads((stack.state / "run.json").read_text())
    pids = {name: process["pid"] for name, process in run["components"].items()}
    os.kill(run["launcher"]["pid"], signal.SIGKILL)
    wait_until(
        lambda: (
            "Nothing" in stack.demo("status", check=False).stdout
            or "was killed" in stack.demo("status", check=False).stdout
        ),
        "the end of the launcher",
    )
    stack.up()
    current = json.loads((stack.state / "run.json").read_text())["components"]
    assert current.keys() == pids.keys()
    assert not {process["pid"] for process in current.values()} & set(pids.values())
    assert "402 Card declined" in stack.demo("checkout", "--card", "declined").stdout


@pytest.mark.full
def test_a_damaged_queue_does_not_keep_the_collector_down(stack: Stack) -> None:
    """A queue file of the Collector with zeros in its first pages is set aside at the start."""
    stack.demo("stop", "otel-collector")
    folder = stack.state / "data" / "otel-collector"
    file = next(path for path in folder.glob("exporter_*") if "damaged" not in path.name)
    with file.open("r+b") as queue:
        queue.write(bytes(4 * 4096))
    stack.demo("start", "otel-collector")
    assert row(stack, "otel-collector")["state"] == "ready"
    (aside,) = folder.glob(f"{file.name}.damaged-*")
    assert f"is kept as {aside}" in (stack.state / "logs" / "launcher.log").read_text()
    aside.unlink()
