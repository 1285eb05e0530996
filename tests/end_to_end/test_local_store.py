"""The local stack: the documented SQL queries, and a store that is killed under load."""

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
from three_pillar_demo.stack import ports
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.ledger import Ledger, fill
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces

pytestmark = pytest.mark.skipif(FULL, reason="about the local stack: make test")
PORTS = {"payment": ports.PAYMENT, "checkout": ports.CHECKOUT, "store": ports.STORE}
MODULES = {
    "payment": "services.payment",
    "checkout": "services.checkout",
    "store": "three_pillar_demo.local_store",
}
OUTAGE_S = 8.0
"""How long the store is down, in seconds; the services retry an export for 10 s."""


async def _ignore(_purchase: Purchase) -> None:
    pass


def test_the_documented_queries_return_rows(stack: Stack) -> None:
    """Each of the five documented SQL queries returns rows after purchases with every card."""
    queries = re.findall(
        r"```sql\n(.*?)```", Path("docs/reference/local-store.md").read_text(), re.DOTALL
    )
    assert len(queries) == 5
    ledger = asyncio.run(fill(6, 20, _ignore))

    async def is_complete() -> bool:
        async with stack.backends() as backends:
            logs, _ = await check_logs(backends, ledger)
            checks = (
                await check_traces(backends, ledger),
                logs,
                await check_exemplars(backends, ledger),
            )
            return all(check.passed for check in checks)

    assert asyncio.run(is_complete())
    file = sqlite3.connect(f"file:{stack.state}/data/store/telemetry.db?mode=ro", uri=True)
    try:
        for query in queries:
            assert file.execute(query).fetchall(), query
    finally:
        file.close()


@contextmanager
def without_launcher(stack: Stack) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Run the three processes of the local stack until the end of the block; yield them by name.

    The launcher is not used, because it restarts a process that exits.
    """
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in PORTS:
            running[name] = start(stack, name)
        for name in PORTS:
            wait_until(lambda name=name: is_ready(name), name)  # type: ignore[misc]
        yield running
    finally:
        for process in running.values():  # services first, so that they can flush
            process.terminate()
            process.wait(15)


def start(stack: Stack, name: str) -> subprocess.Popen[bytes]:
    """Start one component with the data and the log file of ``stack``; return its process."""
    settings = {
        "CHECKOUT_PAYMENT_URL": ports.PAYMENT.url,
        "STORE_DATA": str(stack.state / "data" / "store"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": ports.STORE.url,
    }
    with (stack.state / "logs" / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", MODULES[name]],
            env={**os.environ, **settings},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def is_ready(name: str) -> bool:
    """Return whether the component ``name`` answers its health check."""
    try:
        return httpx2.get(f"{PORTS[name].url}/healthz", trust_env=False, timeout=1).is_success
    except httpx2.HTTPError:
        return False


def test_a_killed_store_that_returns_within_ten_seconds_loses_nothing(stack: Stack) -> None:
    """An outage of the store of eight seconds loses no span, no log record and no count."""

    async def verify() -> None:
        async with stack.backends() as backends:
            counters_before = await read_counters(backends)
            ledger = Ledger()
            buying = asyncio.create_task(fill(120, 10, _ignore))
            await asyncio.sleep(2)  # a load is under way
            running["store"].kill()
            await asyncio.to_thread(running["store"].wait)
            await asyncio.sleep(OUTAGE_S)
            running["store"] = start(stack, "store")
            ledger = await buying
            assert not ledger.unanswered
            traces = await check_traces(backends, ledger)
            assert traces.passed, traces.problems
            logs, other_requests = await check_logs(backends, ledger)
            assert logs.passed, logs.problems
            metrics = await check_metrics(backends, ledger, counters_before, other_requests)
            assert metrics.passed, metrics.problems

    stack.down()
    try:
        with without_launcher(stack) as running:
            asyncio.run(verify())
    finally:
        stack.up()
