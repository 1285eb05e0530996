"""Both services as processes on free ports, and an OTLP receiver that keeps what it receives."""

import http.client
import json
import os
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
from urllib.parse import urlsplit

import httpx2
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.private_ports import free_port

NOTHING_BUT_THE_FLUSH = dict.fromkeys(
    ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"), "600000"
)
"""Environment variables that set all export intervals to 600 s, so that everything that arrives
during a test was sent by the flush at the end of a process."""
QUICK = {"PAYMENT_LATENCY_MIN": "0", "PAYMENT_LATENCY_MAX": "0.01", "PAYMENT_FAILURE_RATE": "0"}
"""Environment variables of a payment service that answers within 10 ms and never fails by
chance."""
POLL_INTERVAL_S = 0.05
STOP_TIMEOUT_S = 10


def wait_for(description: str, condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until ``condition`` returns a true value, at most ``seconds``.

    If it does not, the test fails, and the message contains ``description``.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {description}"
        time.sleep(POLL_INTERVAL_S)


def status_of(url: str, timeout_s: float = 5) -> int | None:
    """Return the HTTP status of a GET of ``url``; None if nothing answers.

    Tests poll with it. A client of httpx2 would read all certificates of the system each time.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout_s)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class InMemoryCollector:
    """The content of what an OTLP receiver got over HTTP.

    Attributes:
        url: The URL of the receiver.
        spans: Service name and trace id of each span.
        lines: Service name and trace id of each log record.
        counts: The newest value of each request counter, by service, instance id and attributes.
        instances: The ``service.instance.id`` values of each service.
        received: Path and decoded message of each request.
    """

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.spans: list[tuple[str, str]] = []
        self.lines: list[tuple[str, str]] = []
        self.counts: dict[tuple[str, str, str], int] = {}
        self.instances: dict[str, set[str]] = defaultdict(set)
        self.received: list[tuple[str, Message]] = []

    def take(self, path: str, body: bytes) -> None:
        """Decode and keep the message that was sent to ``path``."""
        if path == "/v1/traces":
            self._take_traces(path, ExportTraceServiceRequest.FromString(body))
        elif path == "/v1/logs":
            self._take_logs(path, ExportLogsServiceRequest.FromString(body))
        else:
            self._take_metrics(path, ExportMetricsServiceRequest.FromString(body))

    def _take_traces(self, path: str, message: ExportTraceServiceRequest) -> None:
        self.received.append((path, message))
        for resource_spans in message.resource_spans:
            service, _ = self._identity(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                self.spans += [(service, span.trace_id.hex()) for span in scope_spans.spans]

    def _take_logs(self, path: str, message: ExportLogsServiceRequest) -> None:
        self.received.append((path, message))
        for resource_logs in message.resource_logs:
            service, _ = self._identity(resource_logs.resource)
            for scope_logs in resource_logs.scope_logs:
                self.lines += [
                    (service, record.trace_id.hex()) for record in scope_logs.log_records
                ]

    def _take_metrics(self, path: str, message: ExportMetricsServiceRequest) -> None:
        self.received.append((path, message))
        for resource_metrics in message.resource_metrics:
            service, instance = self._identity(resource_metrics.resource)
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    if metric.name == f"{service}.requests":
                        for point in metric.sum.data_points:
                            self.counts[service, instance, str(point.attributes)] = point.as_int

    def counted(self, service: str) -> int:
        """Return how many requests all instances of ``service`` have counted so far."""
        return sum(count for (name, _, _), count in self.counts.items() if name == service)

    def _identity(self, resource: Resource) -> tuple[str, str]:
        """Return service name and instance id of a resource, and add it to ``instances``."""
        attributes = {item.key: item.value.string_value for item in resource.attributes}
        service = attributes["service.name"]
        instance = attributes["service.instance.id"]
        self.instances[service].add(instance)
        return service, instance


@contextmanager
def run_collector(port: int = 0) -> Iterator[InMemoryCollector]:
    """Run an OTLP receiver until the end of the block; yield what it receives.

    It listens on ``port``, or on a free one.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                collector.take(self.path, body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    lock = threading.Lock()
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        collector = InMemoryCollector(server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:  # a failing test would never end otherwise
            server.shutdown()
            thread.join()


@dataclass
class Service:
    """A running service: its URL, its process, and the file that its output goes to."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def post(self, path: str, body: dict[str, object] | None = None) -> httpx2.Response:
        """Send a POST request over a new connection, and return the response."""
        return httpx2.post(self.url + path, json=body, timeout=60, trust_env=False)

    def stop(self, seconds: float) -> None:
        """Send SIGTERM, and wait at most ``seconds`` until the process has ended."""
        self.process.terminate()
        self.process.wait(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON log lines of its output, as dictionaries."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@contextmanager
def serve(name: str, folder: Path, collector: str, **settings: str) -> Iterator[Service]:
    """Run ``python -m services.NAME`` until the end of the block.

    All workers are ready when the block begins. ``collector`` is the URL that telemetry is sent to.
    The variables of OpenTelemetry and the services are not inherited from the test run: the process
    gets only ``QUICK`` and ``settings``.
    """
    port = free_port()
    prefix = name.upper()
    prefixes = ("OTEL_", "CHECKOUT_", "PAYMENT_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    own = {f"{prefix}_PORT": str(port), "OTEL_EXPORTER_OTLP_ENDPOINT": collector}
    output = folder / f"{name}-{port}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", f"services.{name}"],
            env=inherited | QUICK | own | settings,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    service = Service(f"http://127.0.0.1:{port}", process, output)
    workers = int(settings.get(f"{prefix}_WORKERS", "1"))

    def is_ready() -> bool:
        text = output.read_text()
        started = text.count("Application startup complete")
        return "Uvicorn running on" in text and started == workers

    try:
        wait_for(
            f"{name} with {workers} workers: {output}",
            lambda: process.poll() is not None or is_ready(),
        )
        assert process.poll() is None, output.read_text()
        yield service
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def running_shop(
    folder: Path, collector: str, **settings: str
) -> Iterator[tuple[Service, Service]]:
    """Run a checkout and a payment service until the end of the block; yield them in this order.

    ``collector`` is the URL that telemetry is sent to; both services get ``settings``.
    """
    with ExitStack() as stack:
        payment = stack.enter_context(serve("payment", folder, collector, **settings))
        checkout = stack.enter_context(
            serve("checkout", folder, collector, CHECKOUT_PAYMENT_URL=payment.url, **settings)
        )
        yield checkout, payment
