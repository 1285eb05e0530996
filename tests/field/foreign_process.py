"""Run ``foreign_service.py`` as a process, and read what it sends to an in-memory Collector."""

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import three_pillars
from tests.field.otlp import log_records, python_attributes
from tests.private_ports import free_port
from tests.processes import InMemoryCollector, run_collector, wait_for

SCRIPT = Path(__file__).parent / "foreign_service.py"
STATUS = "http.response.status_code"
MessageType = TypeVar("MessageType", bound=Message)


@dataclass
class RecordedRequest:
    """The telemetry of one request that the Collector has received so far."""

    span: Span | None
    record: dict[str, Any] | None
    counted_statuses: list[str]
    durations: list[tuple[str, float]]
    """A pair for each duration in a histogram: the name of the histogram and the seconds."""

    @property
    def complete(self) -> bool:
        """Whether span, log record, request count and both durations have arrived."""
        return bool(
            self.span and self.record and self.counted_statuses and len(self.durations) == 2
        )

    @property
    def statuses(self) -> set[int]:
        """The set of HTTP statuses that span, log record and counter have for the request."""
        assert self.span
        assert self.record
        assert dict(self.durations)["http.server.request.duration"]
        span_status = python_attributes(self.span.attributes)[STATUS]
        counted = [int(status) for status in self.counted_statuses]
        return {int(span_status), int(self.record[STATUS]), *counted}


@dataclass
class ForeignProcess:
    """A running process of ``foreign_service.py``, its Collector and its output file."""

    port: int
    popen: subprocess.Popen[bytes]
    collector: InMemoryCollector
    output: Path

    def connect(
        self, path: str, method: str = "GET"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request; return the open connection and the response, with its body unread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path)
        return connection, connection.getresponse()

    def request(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Send one request; return the status and the whole body."""
        connection, response = self.connect(path, method)
        with closing(connection):
            return response.status, response.read()

    def messages(self, message_type: type[MessageType]) -> list[MessageType]:
        """Return the OTLP messages of type ``message_type`` that the Collector has received."""
        received = [message for _, message in list(self.collector.received)]
        return [message for message in received if isinstance(message, message_type)]

    def spans(self) -> list[Span]:
        """Return the spans that the Collector has received."""
        return [
            span
            for message in self.messages(ExportTraceServiceRequest)
            for resource_spans in message.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        ]

    def log_records(self) -> list[dict[str, Any]]:
        """Return the log records that the Collector has received."""
        return list(log_records([message for _, message in list(self.collector.received)]))

    def metrics(self) -> list[Metric]:
        """Return the metrics of the latest export that the Collector has received."""
        return [
            metric
            for message in self.messages(ExportMetricsServiceRequest)[-1:]
            for resource_metrics in message.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
        ]

    def recorded(self, route: str, method: str = "GET", max_requests: int = 1) -> RecordedRequest:
        """Return the telemetry that has arrived of the first request to ``route``.

        Fail if there are more than ``max_requests`` spans or log records of that route.
        """
        spans = [span for span in self.spans() if span.name == f"{method} {route}"]
        records = [
            record
            for record in self.log_records()
            if record.get("http.route") == route and record["http.request.method"] == method
        ]
        assert max(len(spans), len(records)) <= max_requests
        counted_statuses: list[str] = []
        durations: list[tuple[str, float]] = []
        for metric in self.metrics():
            if metric.name == "foreign.requests":
                counted_statuses += _counted_statuses(metric, route, method)
            durations += _durations(metric, route, method)
        return RecordedRequest(
            spans[0] if spans else None,
            records[0] if records else None,
            counted_statuses,
            durations,
        )

    def wait_recorded(self, route: str, method: str = "GET") -> RecordedRequest:
        """Wait until the telemetry of the request to ``route`` is complete, and return it."""
        wait_for(
            f"span, log record, count and durations of {method} {route}",
            lambda: self.recorded(route, method).complete,
        )
        return self.recorded(route, method)

    def stop(self) -> None:
        """Send SIGTERM and wait for the end of the process."""
        self.popen.terminate()
        self.popen.wait(20)


def _counted_statuses(metric: Metric, route: str, method: str) -> list[str]:
    """Return the status label of each request to ``route`` that the counter ``metric`` has."""
    statuses = []
    for point in metric.sum.data_points:
        labels = python_attributes(point.attributes)
        if (labels["endpoint"], labels["method"]) == (route, method):
            statuses += [labels["status"] for _ in range(point.as_int)]
    return statuses


def _durations(metric: Metric, route: str, method: str) -> list[tuple[str, float]]:
    """Return a pair for each request to ``route`` in the histogram ``metric``: its name, seconds.

    A histogram has only the sum of several durations, so each pair then has that sum.
    """
    durations = []
    for point in metric.histogram.data_points:
        labels = python_attributes(point.attributes)
        if labels.get("http.request.method", method) != method:
            continue
        if route in {labels.get("endpoint"), labels.get("http.route")}:
            durations += [(metric.name, point.sum) for _ in range(point.count)]
    return durations


@contextmanager
def run_foreign_service(
    folder: Path, *arguments: str, export_interval_ms: str = "100"
) -> Iterator[ForeignProcess]:
    """Run ``foreign_service.py`` in ``folder`` until the end of the block.

    The process uses a copy of the library in ``folder``. ``arguments`` are those of the script
    behind the port.
    """
    folder.mkdir()
    shutil.copytree(
        Path(three_pillars.__file__).parent,
        folder / "three_pillars",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(SCRIPT, folder / "script.py")
    port = free_port()
    output = folder / "output"
    with run_collector() as collector, output.open("wb") as output_file:
        popen = subprocess.Popen(
            [sys.executable, "script.py", str(port), *arguments],
            cwd=folder,
            env=_environment(folder, collector, export_interval_ms),
            stdout=output_file,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(
                f"the foreign service {arguments}",
                lambda: popen.poll() is not None or "Uvicorn running" in output.read_text(),
            )
            assert popen.poll() is None, output.read_text()
            yield ForeignProcess(port, popen, collector, output)
        finally:
            popen.kill()
            popen.wait()


def _environment(
    folder: Path, collector: InMemoryCollector, export_interval_ms: str
) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {
        **inherited,
        "OTEL_BSP_SCHEDULE_DELAY": export_interval_ms,
        "OTEL_BLRP_SCHEDULE_DELAY": export_interval_ms,
        "OTEL_METRIC_EXPORT_INTERVAL": export_interval_ms,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "PYTHONPATH": str(folder),
    }
