"""An application that installs the library, with its telemetry in memory."""

import asyncio
import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import httpx2
import structlog
from fastapi import FastAPI, WebSocket
from google.protobuf.message import Message as Proto
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
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
from three_pillars import ServiceResource, environment
from three_pillars.providers import (
    TelemetryProviders,
    logger_provider,
    meter_provider,
    tracer_provider,
)

RESOURCE = Resource.create({"service.name": "foreign"})
T = TypeVar("T")


class Foreign:
    """An app of somebody else's with the three pillars in memory."""

    def __init__(self, app: FastAPI, name: str = "foreign") -> None:
        """Install them."""
        self.app, self.name = app, name
        self._spans, self._records = InMemorySpanExporter(), InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._reader, self.stdout = InMemoryMetricReader(), io.StringIO()
        traces, logs = (
            tracer_provider(RESOURCE, environment.validate()),
            logger_provider(RESOURCE, environment.validate()),
        )
        traces.add_span_processor(SimpleSpanProcessor(self._spans))
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._records))
        registry = CollectorRegistry()
        meters = meter_provider(RESOURCE, [self._reader], registry)
        with contextlib.redirect_stdout(self.stdout):
            three_pillars.install(
                app,
                ServiceResource(name),
                providers=TelemetryProviders(traces, meters, logs, registry),
            )

    def ask(
        self, path: str, method: str = "GET", app: ASGIApp | None = None, **about: str
    ) -> httpx2.Response:
        """Ask the app, or another one that it is mounted in; ``about``: the ``host``, the ``root_path``."""

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(
                app or self.app, raise_app_exceptions=False, root_path=about.get("root_path", "")
            )
            async with httpx2.AsyncClient(
                transport=transport, base_url=f"http://{about.get('host', 'foreign')}"
            ) as http:
                return await http.request(method, path)

        return asyncio.run(send())

    def spans(self) -> list[ReadableSpan]:
        """The finished SERVER spans."""
        return [each for each in self._spans.get_finished_spans() if each.kind is SpanKind.SERVER]

    def encoded(self) -> list[dict[str, Any]]:
        """Each record as it is read again by whoever gets the batch by OTLP."""
        batch = encode_logs(self._records.get_finished_logs()).SerializeToString()
        return list(records([("", ExportLogsServiceRequest.FromString(batch))]))

    def lines(self) -> list[dict[str, Any]]:
        """What was written to stdout, read by a parser that knows no NaN and no half characters."""
        return [strict(line) for line in self.stdout.getvalue().splitlines()]

    def canonical(self) -> list[dict[str, Any]]:
        """The lines of whole requests."""
        return [line for line in self.lines() if "http.response.status_code" in line]

    def points(self, metric: str) -> dict[tuple[Any, ...], float]:
        """How often ``metric`` counted, by its labels' values."""
        data = self._reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )
        found = [
            point
            for scope in scopes
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        assert all(isinstance(point, NumberDataPoint | HistogramDataPoint) for point in found)
        counts = [
            point.value if isinstance(point, NumberDataPoint) else point.count for point in found
        ]
        return dict(
            zip(
                [tuple(dict(point.attributes or {}).values()) for point in found],
                counts,
                strict=True,
            )
        )

    def routes(self) -> dict[str, set[str]]:
        """The route of every request, as each pillar calls it."""
        standard = self._labels("http.server.request.duration", "http.route")
        return {
            "span name": {each.name.partition(" ")[2] or "unmatched" for each in self.spans()},
            "span attribute": {
                str(dict(each.attributes or {}).get("http.route", "unmatched"))
                for each in self.spans()
            },
            "line": {line["http.route"] for line in self.canonical()},
            "counter": self._labels(f"{self.name}.requests", "endpoint"),
            "latency": self._labels(f"{self.name}.request.latency", "endpoint"),
            "standard": standard,
        }

    def _labels(self, metric: str, label: str) -> set[str]:
        data = self._reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )
        found = [
            point
            for scope in scopes
            for each in scope.metrics
            if each.name == metric
            for point in each.data.data_points
        ]
        return {str(dict(point.attributes or {}).get(label, "unmatched")) for point in found}

    def told(self) -> tuple[int, int, float, float]:
        """How many SERVER spans, canonical lines, counts and times there are."""
        times = self.points("http.server.request.duration").values()
        return (
            len(self.spans()),
            len(self.canonical()),
            sum(self.points(f"{self.name}.requests").values()),
            sum(times),
        )


def strict(line: str) -> dict[str, Any]:
    """Parse as RFC 8259 has it: no NaN, and text that can be written as UTF-8."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    read: dict[str, Any] = json.loads(line, parse_constant=refuse)
    json.dumps(read, ensure_ascii=False).encode()
    return read


def plain(value: AnyValue) -> Any:  # noqa: ANN401  (whatever it holds)
    """Python's own for a value of OTLP."""
    match value.WhichOneof("value"):
        case "array_value":
            return [plain(each) for each in value.array_value.values]
        case "kvlist_value":
            return {each.key: plain(each.value) for each in value.kvlist_value.values}
        case None:
            return None
        case kind:
            return getattr(value, kind)


def records(received: list[tuple[str, Proto]]) -> Iterator[dict[str, Any]]:
    """All log records in ``received``: what they say, and whose trace."""
    for _, part in received:
        for resource in part.resource_logs if isinstance(part, ExportLogsServiceRequest) else ():
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                fields = {each.key: plain(each.value) for each in record.attributes}
                yield fields | {"event": plain(record.body), "trace": record.trace_id.hex()}


def leafy() -> FastAPI:
    """An app with a leaf, a crash and a websocket."""
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
