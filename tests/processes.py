"""Both services as real processes on ports of their own, and a Collector of few words that keeps what it is sent."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

NOTHING_BUT_THE_FLUSH = dict.fromkeys(
    ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"), "600000"
)
"""No batch is sent by the clock: what arrives was flushed."""
QUICK = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0.01", "PAYMENT_FAILURE_RATE": "0"}


def wait_for(what: str, found: Callable[[], object], seconds: float = 60) -> None:
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
        self.received: list[tuple[str, Message]] = []

    def take(self, path: str, body: bytes) -> None:
        """Keep the message; of spans and lines the trace ids by service, of cumulative counts the latest by instance."""
        if path == "/v1/traces":
            spans = ExportTraceServiceRequest.FromString(body)
            self.received.append((path, spans))
            for part in spans.resource_spans:
                service, _ = self._who(part.resource)
                self.spans += [
                    (service, each.trace_id.hex())
                    for scope in part.scope_spans
                    for each in scope.spans
                ]
        elif path == "/v1/logs":
            lines = ExportLogsServiceRequest.FromString(body)
            self.received.append((path, lines))
            for batch in lines.resource_logs:
                service, _ = self._who(batch.resource)
                self.lines += [
                    (service, each.trace_id.hex())
                    for scope in batch.scope_logs
                    for each in scope.log_records
                ]
        else:
            metrics = ExportMetricsServiceRequest.FromString(body)
            self.received.append((path, metrics))
            for data in metrics.resource_metrics:
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


@contextmanager
def listening() -> Iterator[Sink]:
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
        try:
            yield kept
        finally:  # or a failing test would never end
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
        return httpx2.post(self.url + path, json=body, timeout=60, trust_env=False)

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
            [sys.executable, "-m", f"services.{name}"],
            env=clean | QUICK | ours | settings,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    service = Service(f"http://127.0.0.1:{port}", process, output)
    workers = int(settings.get(f"{prefix}_WORKERS", "1"))

    def ready() -> bool:
        said = output.read_text()
        return (
            "Uvicorn running on" in said and said.count("Application startup complete") == workers
        )

    try:
        wait_for(
            f"{name} with {workers} workers: {output}",
            lambda: process.poll() is not None or ready(),
        )
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
        checkout = stack.enter_context(
            serve("checkout", folder, collector, CHECKOUT_PAYMENT_URL=payment.url, **settings)
        )
        yield checkout, payment
