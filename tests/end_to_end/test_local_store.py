"""The embedded stack by itself: what a person types into sqlite3, and what a kill in mid-load costs."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.end_to_end.conftest import FULL, Stack, wait_until
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.ledger import Ledger, fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces

pytestmark = pytest.mark.skipif(FULL, reason="about the embedded stack: make test")
DOORS = {"payment": 8001, "checkout": 8000, "store": 4318}
MODULES = {
    "payment": "services.payment",
    "checkout": "services.checkout",
    "store": "three_pillar_demo.local_store",
}
AWAY_SECONDS = 8.0
"""How long the receiver is gone; the services' own retry has to bridge 10 s."""


async def _bought(_purchase: Purchase) -> None:
    pass


def test_the_queries_of_the_page_have_answers(stack: Stack) -> None:
    """Each of the five queries that docs/reference/local-store.md invites to type finds rows once every card has been used."""
    queries = re.findall(
        r"```sql\n(.*?)```", Path("docs/reference/local-store.md").read_text(), re.DOTALL
    )
    assert len(queries) == 5
    ledger = asyncio.run(fill(6, 20, _bought))

    async def whole() -> bool:
        async with stack.backends() as backends:
            in_logs, _ = await check_logs(backends, ledger)
            found = (
                await check_traces(backends, ledger),
                in_logs,
                await check_exemplars(backends, ledger),
            )
            return all(check.passed for check in found)

    assert asyncio.run(whole())
    file = sqlite3.connect(f"file:{stack.state}/data/store/telemetry.db?mode=ro", uri=True)
    try:
        for query in queries:
            assert file.execute(query).fetchall(), query
    finally:
        file.close()


@contextmanager
def by_hand(stack: Stack) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """The three processes without a launcher, which would stop all when one dies."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in DOORS:
            running[name] = start(stack, name)
        for name in DOORS:
            wait_until(lambda name=name: answers(name), name)  # type: ignore[misc]
        yield running
    finally:
        for process in running.values():  # in this order: the services hand over what they hold
            process.terminate()
            process.wait(15)


def start(stack: Stack, name: str) -> subprocess.Popen[bytes]:
    """Start one component as the launcher would, on the stack's own data."""
    ours = {
        "STORE_DATA": str(stack.state / "data" / "store"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    with (stack.state / "logs" / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", MODULES[name]],
            env={**os.environ, **ours},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def answers(name: str) -> bool:
    """Whether a component is ready."""
    try:
        return httpx2.get(
            f"http://127.0.0.1:{DOORS[name]}/healthz", trust_env=False, timeout=1
        ).is_success
    except httpx2.HTTPError:
        return False


def test_killed_under_load_and_back_within_ten_seconds_nothing_is_lost(stack: Stack) -> None:
    """SIGKILL takes the receiver away for eight seconds while customers buy: every span, line and count is there afterwards."""

    async def prove() -> None:
        async with stack.backends() as backends:
            before = await read_counters(backends)
            ledger = Ledger()
            buying = asyncio.create_task(fill(120, 10, _bought))
            await asyncio.sleep(2)  # a load is under way
            running["store"].kill()
            await asyncio.to_thread(running["store"].wait)
            await asyncio.sleep(AWAY_SECONDS)
            running["store"] = start(stack, "store")
            ledger = await buying
            assert not ledger.unanswered
            in_traces = await check_traces(backends, ledger)
            assert in_traces.passed, in_traces.missing
            in_logs, others = await check_logs(backends, ledger)
            assert in_logs.passed, in_logs.missing
            in_metrics = await check_metrics(backends, ledger, before, others)
            assert in_metrics.passed, in_metrics.missing

    stack.down()
    try:
        with by_hand(stack) as running:
            asyncio.run(prove())
    finally:
        stack.up()
