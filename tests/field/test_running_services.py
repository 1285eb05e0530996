"""The services as processes: with samplers that drop every trace, and with few connections."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.field.raw_http import PARENT_SPAN_ID
from tests.private_ports import free_port
from tests.processes import InMemoryCollector, Service, run_collector, serve, wait_for

SAMPLERS = {
    "always_off": {"OTEL_TRACES_SAMPLER": "always_off", "CHECKOUT_PAYMENT_CONNECTIONS": "1"},
    "parentbased_traceidratio": {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    },
}
"""The settings of each checkout by the name of its sampler, which drops every new trace.

The first checkout has one connection to payment, the other one has the default of 100.
"""


@dataclass(frozen=True)
class RunningServices:
    """One payment service, one checkout for each of ``SAMPLERS``, and the Collector of them all."""

    collector: InMemoryCollector
    payment: Service
    checkouts: dict[str, Service]

    def services_with_record_of(self, trace_id: str) -> list[str]:
        """Return the sorted service names of the log records with ``trace_id``, one a record."""
        return sorted(service for service, logged in self.collector.lines if logged == trace_id)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Run the payment service and both checkouts, started at the same time."""
    folder = tmp_path_factory.mktemp("services")
    port = str(free_port())
    quick_export = {"OTEL_BLRP_SCHEDULE_DELAY": "100"}
    checkout_settings = {
        "CHECKOUT_PAYMENT_URL": f"http://127.0.0.1:{port}",
        "CHECKOUT_TRUSTED_NETWORKS": "127.0.0.1",
        "CHECKOUT_PAYMENT_TIMEOUT": "5",
        **quick_export,
    }
    payment_settings = {"PAYMENT_PORT": port, "PAYMENT_SLOW_SECONDS": "8", **quick_export}
    with run_collector() as collector, ExitStack() as stack:
        starts = [serve("payment", folder, collector.url, **payment_settings)]
        starts += [
            serve("checkout", folder, collector.url, **checkout_settings, **sampler)
            for sampler in SAMPLERS.values()
        ]
        with ThreadPoolExecutor() as pool:
            payment, *checkouts = pool.map(stack.enter_context, starts)
        yield RunningServices(collector, payment, dict(zip(SAMPLERS, checkouts, strict=True)))
        for service in (payment, *checkouts):
            service.process.kill()


def file_contains(file: Path, text: str) -> bool:
    """Return whether ``file`` contains ``text``."""
    return text in file.read_text()


@pytest.mark.parametrize(
    "flags", ["", "00", "01"], ids=["no parent", "unsampled parent", "sampled parent"]
)
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_the_id_of_an_unsampled_trace_is_in_the_logs(
    running: RunningServices, sampler: str, flags: str
) -> None:
    """The trace id of a response is in the logs of both services, although no trace is sampled."""
    checkout = running.checkouts[sampler]
    parent_trace_id = f"{len(sampler):030x}{flags}"
    headers = {}
    if flags:
        headers = {"traceparent": f"00-{parent_trace_id}-{PARENT_SPAN_ID}-{flags}"}
    response = httpx2.post(checkout.url + "/checkout", headers=headers, timeout=60, trust_env=False)
    trace_id = response.json()["trace_id"]
    assert response.status_code == 200
    if flags:
        assert trace_id == parent_trace_id
    assert len(trace_id) == 32
    assert response.headers["traceresponse"].split("-")[1] == trace_id
    for file in (checkout.output, running.payment.output):
        wait_for(f"{trace_id} in {file}", partial(file_contains, file, trace_id))
    wait_for(
        f"two log records of {trace_id}",
        lambda: running.services_with_record_of(trace_id) == ["checkout", "payment"],
    )


def test_a_request_whose_body_breaks_off_is_abandoned(running: RunningServices) -> None:
    """A request whose client disconnects within the body has one line, with outcome abandoned."""
    checkout = running.checkouts["always_off"]
    url = httpx2.URL(checkout.url)
    with socket.create_connection((url.host, url.port or 80)) as client:
        client.sendall(
            b"POST /checkout HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n"
        )
        client.sendall(b'content-length: 99\r\n\r\n{"card": ')

    def abandoned_lines() -> list[dict[str, Any]]:
        lines = checkout.lines()
        return [line for line in lines if line.get("http.response.status_code") == 499]

    wait_for("the line of the request", abandoned_lines)
    results = [(line["outcome"], line["event"]) for line in abandoned_lines()]
    assert results == [("abandoned", "POST /checkout 499 abandoned")]


def test_a_single_connection_serves_all_outcomes(running: RunningServices) -> None:
    """With one connection, every card has its usual outcome, and the next purchase succeeds."""
    checkout = running.checkouts["always_off"]
    statuses = {"declined": 402, "gateway-timeout": 500, "crash": 502, "slow": 504, "ordinary": 200}
    for card, status in statuses.items():
        assert checkout.post("/checkout", {"card": card}).status_code == status
        assert checkout.post("/checkout", {"card": "ordinary"}).status_code == 200


def test_the_101st_purchase_at_once_is_payment_busy(running: RunningServices) -> None:
    """Of 101 slow purchases at once, 100 time out, and one is refused for want of a connection."""
    checkout = running.checkouts["parentbased_traceidratio"]

    async def buy_101() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
            purchases = [
                http.post(f"{checkout.url}/checkout", json={"card": "slow"}) for _ in range(101)
            ]
            return await asyncio.gather(*purchases)

    responses = asyncio.run(buy_101())
    assert Counter(response.status_code for response in responses) == {504: 100, 503: 1}
    (busy,) = [response.json() for response in responses if response.status_code == 503]
    assert (busy["outcome"], busy["detail"]) == ("payment_busy", "Payment is busy")
    events = [
        line["event"] for line in checkout.lines() if line.get("trace_id") == busy["trace_id"]
    ]
    assert any("all 100 connections were in use" in event for event in events)
