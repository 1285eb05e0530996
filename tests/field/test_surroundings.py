"""Where the lines go, when they cannot go there: a full disk, nobody reading, nothing open. A log never changes an answer."""

import http.client
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.processes import NOTHING_BUT_THE_FLUSH, QUICK, Sink, free_port, listening, wait_for

SETTINGS = (
    NOTHING_BUT_THE_FLUSH | QUICK | {"CHECKOUT_PAYMENT_TIMEOUT": "4", "PAYMENT_SLOW_SECONDS": "5"}
)
SURROUNDINGS = {
    "full": (">/dev/full 2>/dev/full", "1"),
    "closed": (">&- 2>&-", "1"),
    "reader-gone": ("", "2"),
}
"""Where the shell leads stdout and stderr (nothing: into a pipe that nobody holds at the other end); checkout's workers."""
CARDS: dict[str, tuple[int, str]] = {
    "ordinary": (200, "Checkout complete"),
    "declined": (402, "Card declined"),
    "gateway-timeout": (500, "Payment gateway timeout"),
    "crash": (502, "Payment failed"),
    "slow": (504, "Payment took too long"),
    "not a card": (422, "card: String should match pattern '^[A-Za-z0-9._-]{1,64}$'"),
}
SHUTDOWN = {"1": -15, "2": 0}
"""uvicorn raises the signal again; its supervisor of several workers just ends."""


@dataclass
class Shop:
    """A shop in odd surroundings: what it answered, how it ended, and what the Collector got."""

    sink: Sink
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    kept_open: dict[str, bool] = field(default_factory=dict)
    metrics: str = ""
    exits: list[int] = field(default_factory=list)

    def spans(self) -> Counter[str]:
        """How many spans of each name arrived."""
        parts = [
            each for _, each in self.sink.received if isinstance(each, ExportTraceServiceRequest)
        ]
        scopes = [
            scope
            for part in parts
            for resource in part.resource_spans
            for scope in resource.scope_spans
        ]
        return Counter(span.name for scope in scopes for span in scope.spans)

    def lines(self) -> Counter[str]:
        """How many records of each event arrived."""
        parts = [
            each for _, each in self.sink.received if isinstance(each, ExportLogsServiceRequest)
        ]
        scopes = [
            scope
            for part in parts
            for resource in part.resource_logs
            for scope in resource.scope_logs
        ]
        return Counter(record.body.string_value for scope in scopes for record in scope.log_records)

    def lost(self) -> int:
        """How many lines the services counted as lost, as the Collector knows it."""
        parts = [
            each for _, each in self.sink.received if isinstance(each, ExportMetricsServiceRequest)
        ]
        scopes = [
            scope
            for part in parts
            for resource in part.resource_metrics
            for scope in resource.scope_metrics
        ]
        metrics = [
            metric
            for scope in scopes
            for metric in scope.metrics
            if metric.name == "log.lines.lost"
        ]
        return sum(point.as_int for metric in metrics for point in metric.sum.data_points)


@contextmanager
def start(
    name: str, surroundings: str, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a service until the end of the block; ready when it answers, for nobody can read what it says."""
    where, _ = SURROUNDINGS.get(surroundings, ("", "1"))
    port = free_port()
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "CHECKOUT_", "PAYMENT_"))
    }
    clean |= {f"{name.upper()}_PORT": str(port)}
    reading, writing = os.pipe()
    if surroundings != "reader-asleep":
        os.close(reading)
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec "$0" -m "$1" {where}', sys.executable, name],
            env=clean | settings,
            stdout=writing,
            stderr=writing,
        )
    finally:
        os.close(writing)

    def ready() -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as probe:
            try:
                probe.request("GET", "/healthz")
                return probe.getresponse().status == 200
            except OSError:
                return False

    try:
        wait_for(
            f"{name} with stdout {surroundings}", lambda: process.poll() is not None or ready(), 60
        )
        assert process.poll() is None, f"{name} ended with {process.returncode}"
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()
        if surroundings == "reader-asleep":
            os.close(reading)


def buy(shop: Shop, url: str) -> None:
    """Pay with each card over one connection, and look at the metrics."""
    address = urlsplit(url)
    with closing(
        http.client.HTTPConnection(address.hostname or "", address.port, timeout=15)
    ) as connection:
        for card in CARDS:
            connection.request(
                "POST",
                "/checkout",
                json.dumps({"card": card}),
                {"content-type": "application/json"},
            )
            answer = connection.getresponse()
            said: dict[str, Any] = json.loads(answer.read())
            shop.answers[card] = (answer.status, said.get("message", said.get("detail", "")))
            shop.kept_open[card] = connection.sock is not None
        connection.request("GET", "/metrics")
        shop.metrics = connection.getresponse().read().decode()


def run(name: str) -> Shop:
    """Start a shop, buy, and stop it."""
    with listening() as sink, ExitStack() as stack:
        shop, settings = Shop(sink), SETTINGS | {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
        payments, payment = stack.enter_context(start("payment", name, **settings))
        settings |= {"CHECKOUT_WORKERS": SURROUNDINGS[name][1], "CHECKOUT_PAYMENT_URL": payments}
        url, checkout = stack.enter_context(start("checkout", name, **settings))
        buy(shop, url)
        for process in (checkout, payment):
            process.terminate()
        shop.exits = [process.wait(20) for process in (checkout, payment)]
    return shop


Shops = Callable[[str], Shop]


@pytest.fixture(scope="module")
def shops() -> Iterator[Shops]:
    """One shop for each of the surroundings, all at once; one that breaks fails its own tests only."""
    with ThreadPoolExecutor(len(SURROUNDINGS)) as threads:
        running = {name: threads.submit(run, name) for name in SURROUNDINGS}
        yield lambda name: running[name].result()


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_log_changes_no_answer(shops: Shops, name: str, card: str) -> None:
    """Every card is answered with its own status and words wherever stdout and stderr lead, and the connection stays open."""
    assert shops(name).answers[card] == CARDS[card]
    assert shops(name).kept_open[card]


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_the_collector_gets_everything(shops: Shops, name: str) -> None:
    """Every span and every line goes out by OTLP, whatever becomes of stdout."""
    charged = len(CARDS) - 1  # the last one is no card
    assert shops(name).spans() == {
        "POST /checkout": len(CARDS),
        "place order": charged,
        "POST": charged,
        "POST /charges": charged,
    }
    lines = shops(name).lines()
    assert sum(
        count for event, count in lines.items() if event.startswith("POST /checkout")
    ) == len(CARDS)
    assert (
        sum(count for event, count in lines.items() if event.startswith("POST /charges")) == charged
    )
    assert sum(count for event, count in lines.items() if event.startswith("order not placed")) == 3


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_lost_lines_are_counted(shops: Shops, name: str) -> None:
    """Each line that stdout did not take is counted, and the count goes out by OTLP and is on ``/metrics``."""
    assert shops(name).lost() >= sum(shops(name).lines().values())
    if SURROUNDINGS[name][1] == "1":  # of several workers, /metrics shows one
        assert "log_lines_lost_total" in shops(name).metrics


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_deaf_stdout_ends_as_ever(shops: Shops, name: str) -> None:
    """SIGTERM ends a service with the exit code it always has, also where Python cannot flush stdout at its end."""
    assert shops(name).exits == [SHUTDOWN[SURROUNDINGS[name][1]], SHUTDOWN["1"]]


def test_a_reader_who_sleeps_stops_nobody() -> None:
    """A pipe that is full, because its reader does not read, changes no answer either: nobody waits for a log."""
    order = json.dumps({"order_id": "o", "amount": "1", "currency": "EUR", "card": "declined"})
    with (
        listening() as sink,
        start("payment", "reader-asleep", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **QUICK) as (
            url,
            _,
        ),
    ):
        address = urlsplit(url)
        with closing(
            http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        ) as connection:
            for _ in range(400):  # a pipe takes 64 KiB
                connection.request("POST", "/charges", order, {"content-type": "application/json"})
                answer = connection.getresponse()
                assert (answer.status, bool(answer.read())) == (200, True)
