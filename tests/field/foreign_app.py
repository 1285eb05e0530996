"""A FastAPI application that is not part of the demo, with the library and in-memory exporters."""

import asyncio
import contextlib
import io
import json
from typing import Any, NoReturn

import httpx2
import structlog
from fastapi import FastAPI, WebSocket
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

import three_pillars
from tests.field.otlp import log_records
from three_pillars import Recording, ServiceResource, environment
from three_pillars.providers import (
    TelemetryProviders,
    logger_provider,
    meter_provider,
    tracer_provider,
)

RESOURCE = Resource.create({"service.name": "foreign"})
UNMATCHED = "unmatched"


class ForeignApp:
    """A FastAPI application with the library installed, whose telemetry is kept in memory."""

    def __init__(self, app: FastAPI, name: str = "foreign", fast_paths: str = "all") -> None:
        """Install the library into ``app``; ``name`` is its service name and metric prefix."""
        self.app = app
        self.name = name
        self.stdout = io.StringIO()
        self._spans = InMemorySpanExporter()
        self._log_records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._reader = InMemoryMetricReader()
        variables = environment.validate()
        traces = tracer_provider(RESOURCE, variables)
        traces.add_span_processor(SimpleSpanProcessor(self._spans))
        logs = logger_provider(RESOURCE, variables)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._log_records))
        registry = CollectorRegistry()
        meters = meter_provider(RESOURCE, [self._reader], registry)
        # Logging is configured with the stdout of this moment.
        with contextlib.redirect_stdout(self.stdout):
            three_pillars.install(
                app,
                ServiceResource(name),
                recording=Recording(fast_paths),
                providers=TelemetryProviders(traces, meters, logs, registry),
            )

    def request(  # noqa: PLR0913  (each argument is one property of the request)
        self,
        path: str,
        method: str = "GET",
        *,
        outer_app: ASGIApp | None = None,
        host: str = "foreign",
        root_path: str = "",
        headers: list[tuple[str, str]] | None = None,
    ) -> httpx2.Response:
        """Send one request to the application and return the response.

        If ``outer_app`` is given, in which the application is mounted, it gets the request instead.
        """
        app = outer_app or self.app

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False, root_path=root_path)
            async with httpx2.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
                return await http.request(method, path, headers=headers)

        return asyncio.run(send())

    def server_spans(self) -> list[ReadableSpan]:
        """Return the finished SERVER spans."""
        spans = self._spans.get_finished_spans()
        return [span for span in spans if span.kind is SpanKind.SERVER]

    def decoded_records(self) -> list[dict[str, Any]]:
        """Encode all log records as one OTLP batch, decode it, and return the decoded records."""
        batch = encode_logs(self._log_records.get_finished_logs()).SerializeToString()
        return list(log_records([ExportLogsServiceRequest.FromString(batch)]))

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON lines of stdout, each parsed by ``parse_strictly``."""
        return [parse_strictly(line) for line in self.stdout.getvalue().splitlines()]

    def canonical_lines(self) -> list[dict[str, Any]]:
        """Return the lines of stdout that are canonical log lines: one for each request."""
        return [line for line in self.lines() if "http.response.status_code" in line]

    def counts(self, metric: str) -> dict[tuple[Any, ...], float]:
        """Return the count of each series of ``metric``, by the tuple of its label values."""
        return {tuple(labels.values()): count for labels, count in self._points(metric)}

    def route_names(self) -> dict[str, set[str]]:
        """Return the set of route templates in each part of the telemetry that names a route.

        The keys are six such parts, for example ``span name`` and ``canonical line``.
        """
        spans = self.server_spans()
        attributes = [dict(span.attributes or {}) for span in spans]
        return {
            "span name": {span.name.partition(" ")[2] or UNMATCHED for span in spans},
            "span attribute": {str(values.get("http.route", UNMATCHED)) for values in attributes},
            "canonical line": {line["http.route"] for line in self.canonical_lines()},
            "counter": self._label_values(f"{self.name}.requests", "endpoint"),
            "latency": self._label_values(f"{self.name}.request.latency", "endpoint"),
            "standard": self._label_values("http.server.request.duration", "http.route"),
        }

    def signal_counts(self) -> tuple[int, int, float, float]:
        """Return four numbers of requests: SERVER spans, canonical lines, counts and durations."""
        return (
            len(self.server_spans()),
            len(self.canonical_lines()),
            sum(self.counts(f"{self.name}.requests").values()),
            sum(self.counts("http.server.request.duration").values()),
        )

    def _label_values(self, metric: str, label: str) -> set[str]:
        return {str(labels.get(label, UNMATCHED)) for labels, _ in self._points(metric)}

    def _points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Return a pair for each data point of the metric ``name``: its labels and its count."""
        data = self._reader.get_metrics_data()
        if not data:
            return []
        points = []
        for resource_metrics in data.resource_metrics:
            for scope_metrics in resource_metrics.scope_metrics:
                for metric in scope_metrics.metrics:
                    if metric.name == name:
                        points += [_labels_and_count(point) for point in metric.data.data_points]
        return points


def _labels_and_count(point: object) -> tuple[dict[str, Any], float]:
    assert isinstance(point, NumberDataPoint | HistogramDataPoint)
    count = point.value if isinstance(point, NumberDataPoint) else point.count
    return dict(point.attributes or {}), count


def parse_strictly(line: str) -> dict[str, Any]:
    """Parse JSON as RFC 8259 defines it: fail on NaN, and on text that UTF-8 cannot encode."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    parsed: dict[str, Any] = json.loads(line, parse_constant=refuse)
    json.dumps(parsed, ensure_ascii=False).encode()
    return parsed


def item_app() -> FastAPI:
    """Build an application with a route that succeeds, one that crashes, and a websocket."""
    app = FastAPI()

    @app.get("/item/{number}")
    async def item(number: str) -> dict[str, str]:
        structlog.get_logger().info("inside")
        return {"number": number, "trace_id": three_pillars.trace_id()}

    @app.get("/crash")
    async def crash() -> None:
        raise ValueError("boom")

    @app.websocket("/talk/{number}")
    async def talk(websocket: WebSocket, number: str) -> None:
        await websocket.accept()
        await websocket.send_text(number)
        await websocket.close()

    return app
