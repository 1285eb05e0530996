"""Both services as real processes on ports of their own: workers, a Collector that is there or not, SIGTERM."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

NOTHING_BUT_THE_FLUSH = dict.fromkeys(
    ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"), "600000"
)
"""No batch is sent by the clock: what arrives was flushed."""
QUICK = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0.01", "PAYMENT_FAILURE_RATE": "0"}


def wait_for(what: str, found: Callable[[], object], seconds: float = 20) -> None:
    """Poll until ``found`` is true; a failure says what was waited for."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)


class Sink:
    """A Collector of few words: it keeps what it is sent."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        """Start with nothing."""
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.spans: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.counts: dict[tuple[str, str, str], int] = {}
        self.instances: dict[str, set[str]] = defaultdict(set)

    def take(self, path: str, body: bytes) -> None:
        """Keep the trace ids of spans and lines by service, and the latest of each cumulative count by instance."""
        if path == "/v1/traces":
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                service, _ = self._who(part.resource)
                self.spans += [(service, each.trace_id.hex()) for scope in part.scope_spans for each in scope.spans]
        elif path == "/v1/logs":
            for batch in ExportLogsServiceRequest.FromString(body).resource_logs:
                service, _ = self._who(batch.resource)
                self.lines += [(service, each.trace_id.hex()) for scope in batch.scope_logs for each in scope.log_records]
        else:
            for data in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                service, instance = self._who(data.resource)
                for metric in (metric for scope in data.scope_metrics for metric in scope.metrics):
                    if metric.name == f"{service}.requests":
                        for point in metric.sum.data_points:
                            self.counts[service, instance, str(point.attributes)] = point.as_int

    def counted(self, service: str) -> int:
        """How many requests all instances of ``service`` counted together."""
        return sum(count for (who, _, _), count in self.counts.items() if who == service)

    def _who(self, resource: Resource) -> tuple[str, str]:
        about = {each.key: each.value.string_value for each in resource.attributes}
        self.instances[about["service.name"]].add(about["service.instance.id"])
        return about["service.name"], about["service.instance.id"]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A sink on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                kept.take(self.path, body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Sink(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@dataclass
class Service:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def post(self, path: str, body: dict[str, object] | None = None) -> httpx2.Response:
        """Ask once, over a connection of its own."""
        return httpx2.post(self.url + path, json=body, timeout=10, trust_env=False)

    def stop(self, seconds: float) -> None:
        """SIGTERM, and be gone within ``seconds``."""
        self.process.terminate()
        self.process.wait(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """Everything it wrote, each line parsed."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(name: str, folder: Path, collector: str, **settings: str) -> Iterator[Service]:
    """Run ``python -m name`` until the end of the block, ready with all its workers; only ``settings`` tell it anything."""
    port, prefix = free_port(), name.upper()
    strange = ("OTEL_", "CHECKOUT_", "PAYMENT_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    ours = {f"{prefix}_PORT": str(port), "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    output = folder / f"{name}-{port}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", name], env=clean | QUICK | ours | settings, stdout=file, stderr=subprocess.STDOUT
        )
    service = Service(f"http://127.0.0.1:{port}", process, output)
    workers = int(settings.get(f"{prefix}_WORKERS", "1"))

    def ready() -> bool:
        said = output.read_text()
        return "Uvicorn running on" in said and said.count("Application startup complete") == workers

    try:
        wait_for(f"{name} with {workers} workers: {output}", lambda: process.poll() is not None or ready())
        assert process.poll() is None, output.read_text()
        yield service
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def shop(folder: Path, collector: str, **settings: str) -> Iterator[tuple[Service, Service]]:
    """Run checkout in front of payment."""
    with ExitStack() as stack:
        payment = stack.enter_context(serve("payment", folder, collector, **settings))
        checkout = stack.enter_context(serve("checkout", folder, collector, CHECKOUT_PAYMENT_URL=payment.url, **settings))
        yield checkout, payment


def test_the_shop_sells_without_a_collector(tmp_path: Path, closed_port: int) -> None:
    """With nobody there to take the telemetry customers notice nothing, and SIGTERM still ends each service in 10 s."""
    with shop(tmp_path, f"http://127.0.0.1:{closed_port}", OTEL_METRIC_EXPORT_INTERVAL="100") as services:
        outcomes = [services[0].post("/checkout").json()["outcome"]]
        wait_for("a failed export", lambda: any(line["level"] == "warning" for line in services[0].lines()))
        outcomes += [services[0].post("/checkout").json()["outcome"] for _ in range(4)]
        assert outcomes == ["success"] * 5
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda service: service.stop(10), services))
        for service in services:
            assert sum("http.response.status_code" in line for line in service.lines()) == 5


def test_the_last_request_is_flushed(tmp_path: Path, sink: Sink) -> None:
    """On SIGTERM everything of the request just answered reaches the Collector within 5 s: spans, lines and counts."""
    with shop(tmp_path, sink.url, **NOTHING_BUT_THE_FLUSH) as (checkout, payment):
        trace_id = checkout.post("/checkout").json()["trace_id"]
        assert not sink.spans
        checkout.stop(5)
        payment.stop(5)
    assert sorted(sink.spans) == [("checkout", trace_id)] * 3 + [("payment", trace_id)]
    assert sorted(sink.lines) == [("checkout", trace_id), ("payment", trace_id)]
    assert (sink.counted("checkout"), sink.counted("payment")) == (1, 1)


def test_two_workers_count_together_exactly(tmp_path: Path, sink: Sink) -> None:
    """With two workers each, the counts of all instances add up to the purchases made, the last ones included."""
    often = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "600000"}
    bought = 0
    with shop(tmp_path, sink.url, CHECKOUT_WORKERS="2", PAYMENT_WORKERS="2", **often) as (checkout, payment):

        def everybody_worked() -> bool:
            nonlocal bought
            with ThreadPoolExecutor(8) as customers:
                answers = list(customers.map(lambda _: checkout.post("/checkout"), range(16)))
            assert [answer.status_code for answer in answers] == [200] * 16
            bought += 16
            return all(len(sink.instances[service]) == 2 for service in ("checkout", "payment"))

        wait_for("both workers of both services to have served", everybody_worked)
        everybody_worked()
        checkout.stop(10)
        payment.stop(10)
    assert (sink.counted("checkout"), sink.counted("payment")) == (bought, bought)
    assert (len(sink.spans), len(sink.lines)) == (4 * bought, 2 * bought)


def test_an_order_has_one_fate(tmp_path: Path, closed_port: int) -> None:
    """The same order id and seed meet the same outcome in any process; another seed is another run."""
    collector, chance = f"http://127.0.0.1:{closed_port}", {"PAYMENT_FAILURE_RATE": "0.5"}
    charge: dict[str, object] = {"amount": "1", "currency": "EUR", "card": "ordinary"}
    fates = []
    for seed in ("7", "7", "8"):
        with serve("payment", tmp_path, collector, PAYMENT_SEED=seed, **chance) as payment:
            fates.append([payment.post("/charges", charge | {"order_id": f"order-{n}"}).status_code for n in range(20)])
            payment.process.kill()
    assert fates[0] == fates[1]
    assert set(fates[0]) == {200, 504}
    assert fates[0] != fates[2]
