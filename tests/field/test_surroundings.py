"""Services whose stdout is a full disk, closed, or a pipe without a reader.

A log line that cannot be written changes neither a response nor the telemetry sent by OTLP.
"""

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

from tests.private_ports import free_port
from tests.processes import (
    NOTHING_BUT_THE_FLUSH,
    QUICK,
    InMemoryCollector,
    run_collector,
    wait_for,
)

SETTINGS = (
    NOTHING_BUT_THE_FLUSH | QUICK | {"CHECKOUT_PAYMENT_TIMEOUT": "4", "PAYMENT_SLOW_SECONDS": "5"}
)
STDOUTS = {
    "full": (">/dev/full 2>/dev/full", "1"),
    "closed": (">&- 2>&-", "1"),
    "reader-gone": ("", "2"),
}
"""Pairs of the shell's redirections of stdout and stderr, and the number of checkout's workers.

Without a redirection, both are a pipe whose reading end is closed.
"""
STUCK_READER = "reader-stuck"
"""Name of the kind of stdout that is a pipe whose reading end is open but never read."""
RESPONSES: dict[str, tuple[int, str]] = {
    "ordinary": (200, "Checkout complete"),
    "declined": (402, "Card declined"),
    "gateway-timeout": (500, "Payment gateway timeout"),
    "crash": (502, "Payment failed"),
    "slow": (504, "Payment took too long"),
    "not a card": (422, "card: String should match pattern '^[A-Za-z0-9._-]{1,64}$'"),
}
"""The expected status and message of the response to a purchase, by its card."""
EXIT_CODES = {"1": -15, "2": 0}
"""The expected exit code of a service after SIGTERM, by its number of workers.

A single uvicorn process raises the signal again (-15); the supervisor of several exits with 0.
"""
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
REQUEST_TIMEOUT_S = 30


@dataclass
class Shop:
    """The results of one run of both services: responses, exit codes and exported telemetry."""

    collector: InMemoryCollector
    responses: dict[str, tuple[int, str]] = field(default_factory=dict)
    kept_open: dict[str, bool] = field(default_factory=dict)
    metrics: str = ""
    exit_codes: list[int] = field(default_factory=list)

    def spans(self) -> Counter[str]:
        """Return the number of exported spans by span name."""
        names = Counter[str]()
        for _, message in self.collector.received:
            if isinstance(message, ExportTraceServiceRequest):
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        names.update(span.name for span in scope.spans)
        return names

    def log_records(self) -> Counter[str]:
        """Return the number of exported log records by body."""
        bodies = Counter[str]()
        for _, message in self.collector.received:
            if isinstance(message, ExportLogsServiceRequest):
                for resource in message.resource_logs:
                    for scope in resource.scope_logs:
                        bodies.update(record.body.string_value for record in scope.log_records)
        return bodies

    def lost_lines(self) -> int:
        """Return the sum of ``log.lines.lost`` over all metric exports of both services."""
        lost = 0
        for _, message in self.collector.received:
            if isinstance(message, ExportMetricsServiceRequest):
                for resource in message.resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            if metric.name == "log.lines.lost":
                                lost += sum(point.as_int for point in metric.sum.data_points)
        return lost


@contextmanager
def run_service(
    name: str, stdout: str, **settings: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the service ``name`` until the end of the block, and yield its URL and process.

    ``stdout`` is a key of ``STDOUTS`` or ``STUCK_READER``. The block begins when the service
    responds to a health check, because its log cannot be read.
    """
    redirections, _ = STDOUTS.get(stdout, ("", "1"))
    port = free_port()
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OTEL_", "CHECKOUT_", "PAYMENT_"))
    }
    environment[f"{name.upper()}_PORT"] = str(port)
    reader, writer = os.pipe()
    if stdout != STUCK_READER:
        os.close(reader)
    command = f'exec "$0" -m "$1" {redirections}'
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command, sys.executable, f"services.{name}"],
            env=environment | settings,
            stdout=writer,
            stderr=writer,
        )
    finally:
        os.close(writer)

    def is_ready() -> bool:
        with closing(
            http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)
        ) as connection:
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == 200
            except OSError:
                return False

    try:
        wait_for(
            f"{name} with stdout {stdout}",
            lambda: process.poll() is not None or is_ready(),
            START_TIMEOUT_S,
        )
        assert process.poll() is None, f"{name} ended with {process.returncode}"
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()
        if stdout == STUCK_READER:
            os.close(reader)


def buy(shop: Shop, url: str) -> None:
    """Buy with each card of ``RESPONSES`` over one connection, read ``/metrics``, fill ``shop``."""
    address = urlsplit(url)
    with closing(
        http.client.HTTPConnection(address.hostname or "", address.port, timeout=15)
    ) as connection:
        headers = {"content-type": "application/json"}
        for card in RESPONSES:
            connection.request("POST", "/checkout", json.dumps({"card": card}), headers)
            response = connection.getresponse()
            body: dict[str, Any] = json.loads(response.read())
            message = body.get("message", body.get("detail", ""))
            shop.responses[card] = (response.status, message)
            shop.kept_open[card] = connection.sock is not None
        connection.request("GET", "/metrics")
        shop.metrics = connection.getresponse().read().decode()


def run_shop(stdout: str) -> Shop:
    """Start both services with this ``stdout``, buy with each card, and stop them."""
    with run_collector() as collector, ExitStack() as stack:
        shop = Shop(collector)
        settings = SETTINGS | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        payment_url, payment = stack.enter_context(run_service("payment", stdout, **settings))
        _, workers = STDOUTS[stdout]
        settings |= {"CHECKOUT_WORKERS": workers, "CHECKOUT_PAYMENT_URL": payment_url}
        url, checkout = stack.enter_context(run_service("checkout", stdout, **settings))
        buy(shop, url)
        for process in (checkout, payment):
            process.terminate()
        shop.exit_codes = [process.wait(STOP_TIMEOUT_S) for process in (checkout, payment)]
    return shop


Shops = Callable[[str], Shop]


@pytest.fixture(scope="module")
def shops() -> Iterator[Shops]:
    """Run one shop for each of ``STDOUTS``, all at once; yield a function that returns its results.

    The function raises if that shop has failed, so that only its own tests fail.
    """
    with ThreadPoolExecutor(len(STDOUTS)) as threads:
        futures = {stdout: threads.submit(run_shop, stdout) for stdout in STDOUTS}
        yield lambda stdout: futures[stdout].result()


@pytest.mark.parametrize("card", RESPONSES)
@pytest.mark.parametrize("stdout", STDOUTS)
def test_stdout_changes_no_response(shops: Shops, stdout: str, card: str) -> None:
    """With any stdout, every card gets its usual status and message, on an open connection."""
    assert shops(stdout).responses[card] == RESPONSES[card]
    assert shops(stdout).kept_open[card]


@pytest.mark.parametrize("stdout", STDOUTS)
def test_otlp_export_is_complete(shops: Shops, stdout: str) -> None:
    """With any stdout, every span and every log record is exported by OTLP."""
    charges = len(RESPONSES) - 1  # the last one is no valid card, so it is not charged
    assert shops(stdout).spans() == {
        "POST /checkout": len(RESPONSES),
        "place order": charges,
        "POST": charges,
        "POST /charges": charges,
    }
    records = shops(stdout).log_records()

    def count_of(prefix: str) -> int:
        return sum(count for body, count in records.items() if body.startswith(prefix))

    assert count_of("POST /checkout") == len(RESPONSES)
    assert count_of("POST /charges") == charges
    assert count_of("order not placed") == 3


@pytest.mark.parametrize("stdout", STDOUTS)
def test_lost_lines_are_counted(shops: Shops, stdout: str) -> None:
    """Each line that stdout did not accept is counted as lost, by OTLP and on ``/metrics``."""
    assert shops(stdout).lost_lines() >= sum(shops(stdout).log_records().values())
    _, workers = STDOUTS[stdout]
    if workers == "1":  # of several workers, /metrics shows one
        assert "log_lines_lost_total" in shops(stdout).metrics


@pytest.mark.parametrize("stdout", STDOUTS)
def test_exit_code_is_unchanged(shops: Shops, stdout: str) -> None:
    """After SIGTERM a service has its usual exit code, although Python cannot flush stdout."""
    _, workers = STDOUTS[stdout]
    assert shops(stdout).exit_codes == [EXIT_CODES[workers], EXIT_CODES["1"]]


def test_stuck_reader_delays_no_response() -> None:
    """A service whose stdout is a full pipe, because its reader does not read, still responds."""
    order = json.dumps({"order_id": "o", "amount": "1", "currency": "EUR", "card": "declined"})
    with (
        run_collector() as collector,
        run_service(
            "payment", STUCK_READER, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **QUICK
        ) as (url, _),
    ):
        address = urlsplit(url)
        with closing(
            http.client.HTTPConnection(
                address.hostname or "", address.port, timeout=REQUEST_TIMEOUT_S
            )
        ) as connection:
            for _ in range(400):  # a pipe holds 64 KiB
                headers = {"content-type": "application/json"}
                connection.request("POST", "/charges", order, headers)
                response = connection.getresponse()
                assert (response.status, bool(response.read())) == (200, True)
