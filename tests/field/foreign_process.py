"""A foreign app that runs."""

import http.client
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import three_pillars
from tests.field.foreign_app import T, plain, records
from tests.processes import InMemoryCollector, free_port, run_collector, wait_for

FOREIGN = """
import asyncio, os, sys
from contextlib import suppress
from collections import defaultdict
import structlog, uvicorn
import three_pillars
from fastapi import BackgroundTasks, Depends, FastAPI
from opentelemetry import metrics, trace
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

app, gates = FastAPI(), defaultdict(asyncio.Event)

async def held(name):
    await gates[name].wait()

async def boom():
    raise ValueError("boom \\ud800")

async def trickle(name):
    yield b"data: first\\n\\n"
    await held(name)
    yield b"data: last\\n\\n"

async def endless():
    while True:
        yield b"data: more\\n\\n"
        await asyncio.sleep(0.02)

async def broken():
    yield b"data: first\\n\\n"
    await boom()

async def after_held():
    yield
    await held("yield")

async def after_boom():
    yield
    await boom()

@app.get("/open/{name}")
async def open_gate(name: str):
    gates[name].set()

@app.post("/heavy")
async def heavy(body: dict[str, str]):
    return body

@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(held, "background")

@app.get("/background-crash")
async def background_crash(tasks: BackgroundTasks):
    tasks.add_task(boom)

@app.get("/stream/{name}")
async def stream(name: str):
    return StreamingResponse(trickle(name), media_type="text/event-stream")

@app.get("/endless")
async def without_end():
    return StreamingResponse(endless(), media_type="text/event-stream")

@app.get("/stream-crash")
async def stream_crash():
    return StreamingResponse(broken())

@app.get("/yield", dependencies=[Depends(after_held)])
async def with_yield():
    return "ok"

@app.get("/yield-crash", dependencies=[Depends(after_boom)])
async def with_yield_crash():
    return "ok"

@app.get("/crash")
async def crash():
    await boom()

@app.get("/file")
@app.head("/head")
async def file():
    return FileResponse(__file__)

@app.get("/nothing")
@app.get("/empty")
async def empty():
    return Response(status_code=204)

@app.get("/odd-span")
@app.get("/odd-link")
async def odd_span():
    with trace.get_tracer("foreign").start_as_current_span("odd", attributes={"half": "\\ud800"}) as span:
        span.record_exception(ValueError("\\udfff"))
        span.add_event("half", {"half": ["\\ud800"]})
        span.add_link(span.get_span_context(), {"half": "\\ud800"})

@app.get("/odd-status")
async def odd_status():
    with suppress(ValueError), trace.get_tracer("foreign").start_as_current_span("odd"):
        raise ValueError("half \\ud800")

@app.get("/odd-event")
async def odd_event():
    trace.get_current_span().add_event("half \\ud800")

@app.get("/odd-metric")
async def odd_metric():
    metrics.get_meter("foreign").create_counter("odd").add(1, {"half": "\\ud800"})

@app.get("/odd-line")
async def odd_line():
    structlog.get_logger().error(ValueError("\\ud800"), half="\\ud800", odd={1, 2}, nan=float("nan"))

sub = FastAPI()
@sub.get("/item/{number}")
async def item(number: str):
    return {"trace_id": three_pillars.trace_id()}

app.mount("/sub", sub)
app.mount("/static", StaticFiles(directory=os.path.dirname(__file__)))
if "middleware" in sys.argv:
    @app.middleware("http")
    async def through(request, call_next):
        return await call_next(request)

three_pillars.install(app, three_pillars.ServiceResource("foreign"))
uvicorn.run(app, port=int(sys.argv[1]), log_config=None, access_log=False, timeout_graceful_shutdown=1)
"""


@dataclass
class Told:
    """What three pillars said of one route."""

    span: Span | None
    line: dict[str, Any] | None
    counted: list[str]
    times: list[tuple[str, float]]

    @property
    def whole(self) -> bool:
        """Whether everybody has spoken."""
        return bool(self.span and self.line and self.counted and len(self.times) == 2)

    @property
    def statuses(self) -> set[int]:
        """The status, as everybody has it."""
        assert self.span
        assert self.line
        name, standard = (
            "http.response.status_code",
            dict(self.times)["http.server.request.duration"],
        )
        assert standard
        return {
            int(fields(self.span.attributes)[name]),
            int(self.line[name]),
            *map(int, self.counted),
        }


def fields(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as Python has them."""
    return {each.key: plain(each.value) for each in attributes}


@dataclass
class Process:
    """A foreign app that runs."""

    port: int
    popen: subprocess.Popen[bytes]
    collector: InMemoryCollector
    output: Path

    def connect(
        self, path: str, method: str = "GET"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request and read the head of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path)
        return connection, connection.getresponse()

    def ask(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The status and the whole body."""
        connection, answer = self.connect(path, method)
        with closing(connection):
            return answer.status, answer.read()

    def messages(self, kind: type[T]) -> list[T]:
        """What the Collector got of a kind."""
        return [each for _, each in list(self.collector.received) if isinstance(each, kind)]

    def told(self, route: str, method: str = "GET", spans: int = 1) -> Told:
        """What there is by now, of one request or of so many."""
        parts = [
            each
            for part in self.messages(ExportTraceServiceRequest)
            for each in part.resource_spans
        ]
        found = [
            each
            for part in parts
            for scope in part.scope_spans
            for each in scope.spans
            if each.name == f"{method} {route}"
        ]
        events = list(records(list(self.collector.received)))
        lines = [
            each
            for each in events
            if each.get("http.route") == route and each["http.request.method"] == method
        ]
        counted, times = [], []
        for part in self.messages(ExportMetricsServiceRequest)[-1:]:
            scopes = [
                scope for resource in part.resource_metrics for scope in resource.scope_metrics
            ]
            for metric in (metric for scope in scopes for metric in scope.metrics):
                for point in metric.sum.data_points:
                    about = fields(point.attributes)
                    if metric.name == "foreign.requests" and (
                        about["endpoint"],
                        about["method"],
                    ) == (route, method):
                        counted += [about["status"]] * point.as_int
                for point in metric.histogram.data_points:
                    about = fields(point.attributes)
                    right = about.get("http.request.method", method) == method
                    if route in {about.get("endpoint"), about.get("http.route")} and right:
                        times += [(metric.name, point.sum)] * point.count
        assert max(len(found), len(lines)) <= spans
        return Told(found[0] if found else None, lines[0] if lines else None, counted, times)

    def wait_told(self, route: str, method: str = "GET") -> Told:
        """All there is to say of ``route``."""
        wait_for(
            f"span, line, count and times of {method} {route}",
            lambda: self.told(route, method).whole,
        )
        return self.told(route, method)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        self.popen.terminate()
        self.popen.wait(20)


@contextmanager
def running(folder: Path, *how: str, interval: str = "100") -> Iterator[Process]:
    """Run the foreign app with a copy of ``telemetry/``."""
    folder.mkdir()
    shutil.copytree(
        Path(three_pillars.__file__).parent,
        folder / "three_pillars",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (folder / "script.py").write_text(FOREIGN)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    often = dict.fromkeys(
        ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY", "OTEL_METRIC_EXPORT_INTERVAL"),
        interval,
    )
    port = free_port()
    with run_collector() as collector, (folder / "output").open("wb") as output:
        settings = (
            clean
            | often
            | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "PYTHONPATH": str(folder)}
        )
        popen = subprocess.Popen(
            [sys.executable, "script.py", str(port), *how],
            cwd=folder,
            env=settings,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        process = Process(port, popen, collector, folder / "output")
        said = process.output.read_text
        try:
            wait_for(
                f"the app {how}", lambda: popen.poll() is not None or "Uvicorn running" in said()
            )
            assert popen.poll() is None, said()
            yield process
        finally:
            popen.kill()
            popen.wait()
