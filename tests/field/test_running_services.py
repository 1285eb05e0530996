"""Running services."""

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

from tests.field.raw_http import (
    SPAN,
)
from tests.processes import InMemoryCollector, Service, free_port, run_collector, serve, wait_for


@dataclass(frozen=True)
class Town:
    """One payment service, a checkout for each setting to try, and the Collector of them all."""

    collector: InMemoryCollector
    payment: Service
    checkouts: dict[str, Service]

    def records(self, trace_id: str) -> list[str]:
        """Which services' records have this trace id, as the Collector knows it."""
        return sorted(who for who, found in self.sink.lines if found == trace_id)


CHECKOUTS = {
    "always_off": {"OTEL_TRACES_SAMPLER": "always_off", "CHECKOUT_PAYMENT_CONNECTIONS": "1"},
    "parentbased_traceidratio": {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    },
}
"""By their samplers, which start no trace; one of them has a single connection, the other as many as usual."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """All these processes, started at once."""
    folder, often, port = (
        tmp_path_factory.mktemp("town"),
        {"OTEL_BLRP_SCHEDULE_DELAY": "100"},
        str(free_port()),
    )
    paid = {
        "CHECKOUT_PAYMENT_URL": f"http://127.0.0.1:{port}",
        "CHECKOUT_TRUSTED_NETWORKS": "127.0.0.1",
        "CHECKOUT_PAYMENT_TIMEOUT": "5",
    }
    with run_collector() as collector, ExitStack() as stack:
        doors = [
            serve(
                "payment",
                folder,
                collector.url,
                PAYMENT_PORT=port,
                PAYMENT_SLOW_SECONDS="8",
                **often,
            )
        ]
        doors += [
            serve("checkout", folder, collector.url, **paid, **often, **more)
            for more in CHECKOUTS.values()
        ]
        with ThreadPoolExecutor() as pool:
            payment, *checkouts = pool.map(stack.enter_context, doors)
        yield Town(collector, payment, dict(zip(CHECKOUTS, checkouts, strict=True)))
        for each in (payment, *checkouts):
            each.process.kill()


def contains(file: Path, text: str) -> bool:
    """Whether ``text`` is in ``file`` by now."""
    return text in file.read_text()


@pytest.mark.parametrize(
    "flags", ["", "00", "01"], ids=["no parent", "unsampled parent", "sampled parent"]
)
@pytest.mark.parametrize("sampler", list(CHECKOUTS))
def test_an_id_without_a_trace_is_in_the_lines(town: Town, sampler: str, flags: str) -> None:
    """An operator may sample nothing: the id in the answer is still in the lines of both services, on stdout and by OTLP."""
    checkout = town.checkouts[sampler]
    ours = f"{len(sampler):030x}{flags}"
    headers = {"traceparent": f"00-{ours}-{SPAN}-{flags}"} if flags else {}
    answer = httpx2.post(checkout.url + "/checkout", headers=headers, timeout=60, trust_env=False)
    trace_id = answer.json()["trace_id"]
    assert answer.status_code == 200
    assert trace_id == ours if flags else len(trace_id) == 32
    assert answer.headers["traceresponse"].split("-")[1] == trace_id
    for file in (checkout.output, town.payment.output):
        wait_for(f"{trace_id} in {file}", partial(contains, file, trace_id))
    wait_for(
        f"two records of {trace_id}", lambda: town.records(trace_id) == ["checkout", "payment"]
    )


def test_who_hangs_up_in_mid_body_has_abandoned_it(town: Town) -> None:
    """Half a basket was refused to nobody: its one line says abandoned, and not what the answer would have said."""
    checkout = next(iter(town.checkouts.values()))
    url = httpx2.URL(checkout.url)
    with socket.create_connection((url.host, url.port or 80)) as client:
        client.sendall(
            b"POST /checkout HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n"
        )
        client.sendall(b'content-length: 99\r\n\r\n{"card": ')

    def told() -> list[dict[str, Any]]:
        return [each for each in checkout.lines() if each.get("http.response.status_code") == 499]

    wait_for("its line", told)
    assert [(each["outcome"], each["event"]) for each in told()] == [
        ("abandoned", "POST /checkout 499 abandoned")
    ]


def test_real_connections_are_given_back(town: Town) -> None:
    """One connection, and one purchase after the other: each has its own outcome, whatever became of the one before."""
    cards = {"declined": 402, "gateway-timeout": 500, "crash": 502, "slow": 504, "ordinary": 200}
    narrow = town.checkouts["always_off"]
    found = [
        narrow.post("/checkout", {"card": each}).status_code
        for card in cards
        for each in (card, "ordinary")
    ]
    assert found == [status for each in cards.values() for status in (each, 200)]


def test_the_hundred_and_first_is_told_why(town: Town) -> None:
    """Of 101 purchases at once that payment is slow with, one never had a connection, and that is what it is told."""
    door = town.checkouts["parentbased_traceidratio"]

    async def buy() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
            return await asyncio.gather(
                *(http.post(f"{door.url}/checkout", json={"card": "slow"}) for _ in range(101))
            )

    found = asyncio.run(buy())
    assert Counter(each.status_code for each in found) == {504: 100, 503: 1}
    (busy,) = [each.json() for each in found if each.status_code == 503]
    assert (busy["outcome"], busy["detail"]) == ("payment_busy", "Payment is busy")
    said = [each["event"] for each in door.lines() if each.get("trace_id") == busy["trace_id"]]
    assert [each for each in said if "all 100 connections were in use" in each]
