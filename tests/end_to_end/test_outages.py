"""The rows of the outcome table that need something broken, seen in all three pillars."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.end_to_end.conftest import Stack, wait_until
from three_pillar_demo.load import checkout_client
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces

BROKEN = """
import sys, uvicorn, telemetry, checkout.app
from services.checkout.payment_client import PaymentClient

async def bug(*_args: object) -> None:
    raise ZeroDivisionError("a bug")

checkout.app.place_order = bug
app = checkout.app.create_app(PaymentClient("http://127.0.0.1:1", 1))
telemetry.install(app, "checkout", package="three-pillar-demo")
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""
UNREACHABLE = "import runpy; runpy.run_module('checkout', run_name='__main__', alter_sys=True)"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def another_checkout(program: str) -> Iterator[str]:
    """A second checkout beside the stack's own, with the same Collector; yields its address, then stops it."""
    port = free_port()
    env = {
        **os.environ,
        "CHECKOUT_PORT": str(port),
        "CHECKOUT_PAYMENT_URL": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port)], env=env, stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx2.get(f"{url}/healthz").is_success
        except httpx2.HTTPError:
            return False

    try:
        wait_until(answers, f"checkout at {url}")
        yield url
    finally:
        process.terminate()
        process.wait(15)


@pytest.mark.parametrize(
    ("outcome", "program"),
    [("payment_unreachable", UNREACHABLE), ("crashed", BROKEN)],
    ids=["payment_unreachable", "crashed"],
)
def test_an_outage_is_whole_in_all_three_pillars(stack: Stack, outcome: str, program: str) -> None:
    """Spans, lines, counts and exemplars of a purchase that nothing but an outage can cause are as the table says."""
    assert stack

    async def prove(url: str) -> list[Check]:
        async with stack.backends() as backends, httpx2.AsyncClient(base_url=url) as http:
            before = await read_counters(backends)
            bought = Ledger()
            bought.purchases = [await checkout_client.buy(http) for _ in range(3)]
            assert dict(bought.outcomes) == {outcome: 3}
            in_logs, others = await check_logs(backends, bought)
            return [
                await check_traces(backends, bought),
                in_logs,
                await check_metrics(backends, bought, before, others),
                await check_exemplars(backends, bought),
            ]

    with another_checkout(program) as url:
        found = asyncio.run(prove(url))
    assert all(check.passed for check in found), found


def test_the_exception_of_a_crash_is_on_its_span_and_its_line(stack: Stack) -> None:
    """A bug in checkout is found by its traceback, on the span and on the line, and not by the customer."""
    assert stack

    async def look(url: str) -> None:
        async with stack.backends() as backends, httpx2.AsyncClient(base_url=url) as http:
            purchase = await checkout_client.buy(http)
            assert purchase.message == "Internal error"

            async def told() -> bool:
                spans = await backends.trace(purchase.trace_id)
                lines = await backends.trace_logs(
                    purchase.trace_id, purchase.started, purchase.finished + 60
                )
                return any(
                    "ZeroDivisionError: a bug" in each for span in spans for each in span.exceptions
                ) and any("a bug" in line.fields.get("exception_stacktrace", "") for line in lines)

            assert await poll_until(told), "the traceback is not in both"

    with another_checkout(BROKEN) as url:
        asyncio.run(look(url))
