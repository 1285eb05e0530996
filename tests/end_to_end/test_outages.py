"""The outcomes that only an outage or a bug causes have complete traces, logs and metrics."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.end_to_end.conftest import Stack, receiver_url, wait_until
from tests.private_ports import free_port
from tests.processes import status_of
from three_pillar_demo.load import checkout_client
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics
from three_pillar_demo.verify.trace_check import check_traces
from three_pillar_demo.verify.verify import wait_until_quiet

BROKEN = """
import sys, three_pillars, uvicorn
from services.checkout import app as checkout_app
from services.checkout.payment_client import PaymentClient

async def bug(*_args: object) -> None:
    raise ZeroDivisionError("a bug")

checkout_app.place_order = bug
app = checkout_app.create_app(PaymentClient("http://127.0.0.1:1", 1))
three_pillars.install(app, three_pillars.ServiceResource("checkout", namespace="shop"))
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False)
"""
UNREACHABLE = (
    "import runpy; runpy.run_module('services.checkout', run_name='__main__', alter_sys=True)"
)


@contextmanager
def another_checkout(program: str) -> Iterator[str]:
    """Run a second checkout until the end of the block, and yield its URL.

    ``program`` is its Python source. Nothing listens at its payment URL, and its telemetry goes to
    the Collector of the stack.
    """
    port = free_port()
    env = {
        **os.environ,
        "CHECKOUT_PORT": str(port),
        "CHECKOUT_PAYMENT_URL": f"http://127.0.0.1:{free_port()}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver_url(),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port)], env=env, stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    try:
        wait_until(lambda: status_of(f"{url}/healthz") == 200, f"checkout at {url}")
        yield url
    finally:
        process.terminate()
        process.wait(15)


@pytest.mark.parametrize(
    ("outcome", "program"),
    [("payment_unreachable", UNREACHABLE), ("crashed", BROKEN)],
    ids=["payment_unreachable", "crashed"],
)
def test_an_outage_is_complete_in_all_three_pillars(
    stack: Stack, outcome: str, program: str
) -> None:
    """Traces, logs and metrics of an outage or a bug are as ``outcomes.EXPECTED`` says."""
    assert stack

    async def verify(url: str) -> list[Check]:
        async with stack.backends() as backends, httpx2.AsyncClient(base_url=url) as http:
            counters_before = await wait_until_quiet(backends)
            assert counters_before is not None
            bought = Ledger()
            bought.purchases = [await checkout_client.buy(http) for _ in range(3)]
            assert dict(bought.outcomes) == {outcome: 3}
            logs, other_requests = await check_logs(backends, bought)
            return [
                await check_traces(backends, bought),
                logs,
                await check_metrics(backends, bought, counters_before, other_requests),
                await check_exemplars(backends, bought),
            ]

    with another_checkout(program) as url:
        checks = asyncio.run(verify(url))
    assert all(check.passed for check in checks), checks


def test_a_crash_has_its_exception_on_the_span_and_in_the_log(stack: Stack) -> None:
    """The traceback of a bug is on its span and in its log record, but not in the HTTP answer."""
    assert stack

    async def verify_exception(url: str) -> None:
        async with stack.backends() as backends, httpx2.AsyncClient(base_url=url) as http:
            purchase = await checkout_client.buy(http)
            assert purchase.message == "Internal error"

            async def is_stored() -> bool:
                spans = await backends.trace(purchase.trace_id)
                records = await backends.trace_logs(
                    purchase.trace_id, purchase.started, purchase.finished + 60
                )
                exceptions = [exception for span in spans for exception in span.exceptions]
                stacktraces = [record.fields.get("exception_stacktrace", "") for record in records]
                on_span = any("ZeroDivisionError: a bug" in text for text in exceptions)
                return on_span and any("a bug" in text for text in stacktraces)

            assert await poll_until(is_stored), "the traceback is not in both"

    with another_checkout(BROKEN) as url:
        asyncio.run(verify_exception(url))
