"""OTLP messages to send, the app with its file, and embedded as a process of its own."""

import asyncio
import base64
import gzip
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from starlette.testclient import TestClient

from three_pillar_demo.local_store.receiver import create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer

NANO = 10**9
MIB = 1024**2
PROTOBUF = {"content-type": "application/x-protobuf"}
CUMULATIVE, DELTA = 2, 1
READY_SECONDS = 20.0


def poll_until(done: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Ask until ``done`` says yes; fails with ``what`` it waited for."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)


async def until(done: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """``poll_until``, where others go on meanwhile."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        await asyncio.sleep(0.01)


def pairs(**attributes: Any) -> list[KeyValue]:  # noqa: ANN401  (any attribute's)
    """Attributes; ``__`` in a name is a dot."""
    kinds = {
        bool: "bool_value",
        int: "int_value",
        float: "double_value",
        str: "string_value",
        bytes: "bytes_value",
    }
    return [
        KeyValue(key=key.replace("__", "."), value=AnyValue(**{kinds[type(value)]: value}))
        for key, value in attributes.items()
    ]


def resource(service: str = "checkout", instance: str = "one") -> Resource:
    """Who speaks."""
    return Resource(
        attributes=pairs(
            service__name=service, service__namespace="shop", service__instance__id=instance
        )
    )


def span(
    name: str = "work", *, start: int = 0, seconds: float = 0.1, error: bool = False, **known: Any
) -> Span:
    """A span that starts now, if it does not say when, with new ids."""
    start = start or time.time_ns()
    ids: dict[str, Any] = {"trace_id": secrets.token_bytes(16), "span_id": secrets.token_bytes(8)}
    known = ids | {"kind": Span.SPAN_KIND_SERVER} | known
    status = Status(code=Status.STATUS_CODE_ERROR, message="failed") if error else None
    end = start + int(seconds * NANO)
    return Span(
        name=name, start_time_unix_nano=start, end_time_unix_nano=end, status=status, **known
    )


def traces(*spans: Span, service: str = "checkout") -> ExportTraceServiceRequest:
    """An export request of one service."""
    scoped = ScopeSpans(scope=InstrumentationScope(name="tests"), spans=spans)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource(service), scope_spans=[scoped])]
    )


def line(said: str = "done", *, at: int = 0, severity: int = 9, **known: Any) -> LogRecord:  # noqa: ANN401  (as above)
    """A log record of now, if it does not say when."""
    words = {9: "INFO", 13: "WARN", 17: "ERROR"}
    body = AnyValue(string_value=said)
    moment = at or time.time_ns()
    known = {"severity_text": words.get(severity, "")} | known
    return LogRecord(time_unix_nano=moment, body=body, severity_number=severity, **known)  # type: ignore[arg-type]


def logs(*lines: LogRecord, service: str = "checkout") -> ExportLogsServiceRequest:
    """An export request of one service."""
    scoped = ScopeLogs(scope=InstrumentationScope(name="tests"), log_records=lines)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource(service), scope_logs=[scoped])]
    )


def point(value: float, *, at: int = 0, start: int = 0, **known: Any) -> NumberDataPoint:  # noqa: ANN401  (as above)
    """A point of a sum or a gauge."""
    moment = at or time.time_ns()
    return NumberDataPoint(
        as_double=value, time_unix_nano=moment, start_time_unix_nano=start or moment - NANO, **known
    )


def counter(
    name: str, *points: NumberDataPoint, temporality: int = CUMULATIVE, monotonic: bool = True
) -> Metric:
    """A sum."""
    data = Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)  # type: ignore[arg-type]
    return Metric(name=name, sum=data)


def gauge(name: str, *points: NumberDataPoint) -> Metric:
    """A gauge."""
    return Metric(name=name, gauge=Gauge(data_points=points))


def buckets(  # noqa: PLR0913  (a histogram's own)
    counts: Sequence[int],
    bounds: Sequence[float] = (0.1, 1.0),
    *,
    total: float = 1.0,
    at: int = 0,
    start: int = 0,
    exemplars: Sequence[Exemplar] = (),
    attributes: Sequence[KeyValue] = (),
) -> HistogramDataPoint:
    """A point of an explicit histogram."""
    moment = at or time.time_ns()
    return HistogramDataPoint(
        bucket_counts=counts,
        explicit_bounds=bounds,
        count=sum(counts),
        sum=total,
        time_unix_nano=moment,
        start_time_unix_nano=start or moment - NANO,
        exemplars=exemplars,
        attributes=attributes,
    )


def histogram(
    name: str, *points: HistogramDataPoint, unit: str = "s", temporality: int = CUMULATIVE
) -> Metric:
    """An explicit histogram."""
    data = Histogram(data_points=points, aggregation_temporality=temporality)  # type: ignore[arg-type]
    return Metric(name=name, unit=unit, histogram=data)


def metrics(
    *found: Metric, service: str = "checkout", instance: str = "one"
) -> ExportMetricsServiceRequest:
    """An export request of one service."""
    scoped = ScopeMetrics(scope=InstrumentationScope(name="tests"), metrics=found)
    who = resource(service, instance)
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=who, scope_metrics=[scoped])]
    )


def as_json(request: Message) -> bytes:
    """The request as OTLP's JSON has it: ids in hex, where protobuf's own has base64."""

    def hexed(value: Any, key: str = "") -> Any:  # noqa: ANN401  (JSON)
        if isinstance(value, dict):
            return {name: hexed(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [hexed(each) for each in value]
        return (
            base64.b64decode(value).hex()
            if key.lower() in {"traceid", "spanid", "parentspanid"}
            else value
        )

    return json.dumps(hexed(json_format.MessageToDict(request))).encode()


class House:
    """The app in memory with its real file; ``send`` is a sender."""

    def __init__(self, path: Path, size: int = 512 * MIB) -> None:
        """Open or make the file at ``path``."""
        self.path = path
        self.store = Store(path, size)
        self.writer = Writer(self.store)
        self.client = TestClient(create_app(self.writer))

    def send(
        self, signal: str, body: bytes | Message, *, packed: bool = False, **headers: str
    ) -> httpx2.Response:
        """Post ``body``; ``packed`` with gzip."""
        raw = body if isinstance(body, bytes) else body.SerializeToString()
        known = PROTOBUF | ({"content-encoding": "gzip"} if packed else {})
        known |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            f"/v1/{signal}", content=gzip.compress(raw) if packed else raw, headers=known
        )

    def rows(self, query: str, *known: object) -> list[Any]:
        """What another process would read in the file."""
        return read(self.path, query, *known)

    def whole(self) -> bool:
        """Whether SQLite finds nothing wrong with the file."""
        return self.rows("PRAGMA integrity_check") == [("ok",)]


def read(path: Path, query: str, *known: object) -> list[Any]:
    """Rows out of the file at ``path``, read-only."""
    file = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return file.execute(query, known).fetchall()
    finally:
        file.close()


@contextmanager
def running(path: Path, size: int = 512 * MIB) -> Iterator[House]:
    """The app with its file, stopped at the end as a server would."""
    house = House(path, size)
    with house.client:
        yield house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The app with a new file."""
    with running(tmp_path / "telemetry.db") as house:
        yield house


class Process:
    """Embedded as a process of its own."""

    def __init__(self, data: Path, **settings: str) -> None:
        """Choose a free port; ``settings`` are names without their prefix."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.path, self.url = data / "telemetry.db", f"http://127.0.0.1:{self.port}"
        self.said = data.parent / f"{data.name}.log"
        known = {"STORE_PORT": str(self.port), "STORE_DATA": str(data)}
        self.env = {
            **os.environ,
            **known,
            **{f"STORE_{name}": value for name, value in settings.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait for its first answer."""
        with self.said.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "three_pillar_demo.local_store"],
                env=self.env,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        poll_until(
            self.answers, f"embedded to answer; it said {self.said.read_text()}", READY_SECONDS
        )

    def answers(self) -> bool:
        """Whether it says that it is well."""
        try:
            return httpx2.get(f"{self.url}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx2.HTTPError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait for its end; returns its exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(how)
        code = self.process.wait(timeout=15)
        self.process = None
        return code


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Embedded, not started yet; gone at the end."""
    embedded = Process(tmp_path / "data")
    yield embedded
    embedded.stop(signal.SIGKILL)
