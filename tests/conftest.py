"""The whole house in memory: both services, one set of pillars, and eyes on everything that leaves them."""

import asyncio
import contextlib
import contextvars
import io
import json
import logging
import socket
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from opentelemetry import trace
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_trace_id
from prometheus_client import CollectorRegistry

import three_pillars
from services.checkout.app import create_app as create_checkout
from services.checkout.payment_client import PaymentClient
from services.payment.app import create_app as create_payment
from services.payment.faults import Faults
from tests.end_to_end.conftest import FULL, Stack
from tests.processes import Sink, listening
from three_pillar_demo.stack import binaries
from three_pillar_demo.stack.binaries import PROMETHEUS
from three_pillar_demo.stack.external_binary import LOKI, TEMPO
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, ORDER, PAYMENT
from three_pillars.providers import Pillars, meter_provider

RESOURCE = Resource.create({"service.name": "house"})
CANONICAL = "http.response.status_code"
"""The attribute that only a request's one canonical line has."""

Build = Callable[..., "House"]


@dataclass(frozen=True)
class Sample:
    """One series: its labels, how often it counted, and the trace ids of its exemplars."""

    labels: dict[str, Any]
    count: float
    traces: set[str]


class House:
    """Checkout wired to payment without a network. ``ask`` is a customer; the rest is what the backends would hold."""

    def __init__(  # noqa: PLR0913  (a house has many doors)
        self,
        spans: tuple[TracerProvider, InMemorySpanExporter],
        *,
        limit: float = 5.0,
        calls: int = 100,
        url: str = "",
        transport: httpx2.AsyncBaseTransport | None = None,
        inside: str = "",
        **faults: float,
    ) -> None:
        """Build it; a ``url`` leads out of the house, a ``transport`` stands in for payment, ``inside`` may continue traces."""
        traces, self._spans = spans
        self._records, self._reader, self.stdout = (
            InMemoryLogRecordExporter(),
            InMemoryMetricReader(),
            io.StringIO(),
        )  # type: ignore[no-untyped-call]
        self._running: set[asyncio.Task[None]] = set()
        registry = CollectorRegistry()
        logs = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._records))
        meters = meter_provider(RESOURCE, [self._reader], registry)
        pillars = Pillars(traces, meters, logs, registry)

        quick = Faults.model_validate(
            {"latency_min": 0, "latency_max": 0.001, "failure_rate": 0, "slow_seconds": 0.3}
            | faults
        )
        self.payment = create_payment(quick)
        within = (
            None
            if url
            else transport or httpx2.ASGITransport(self._call_payment, raise_app_exceptions=False)
        )
        payments = PaymentClient(url or "http://payment", limit, calls, within)
        self.checkout = create_checkout(payments)
        with contextlib.redirect_stdout(
            self.stdout
        ):  # logging is configured with the stdout of this moment
            three_pillars.install(
                self.payment, "payment", package="three-pillar-demo", inside="*", pillars=pillars
            )
            three_pillars.install(
                self.checkout,
                "checkout",
                package="three-pillar-demo",
                inside=inside,
                pillars=pillars,
            )
        three_pillars.instrument_client(payments.http)

    async def _call_payment(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        """As over a network: payment sees none of the caller's context, and goes on when the caller gives up."""
        task = asyncio.create_task(
            self.payment(scope, receive, send), context=contextvars.Context()
        )
        self._running.add(task)
        await asyncio.shield(task)

    def ask(self, method: str = "POST", path: str = "/checkout", **request: Any) -> httpx2.Response:  # noqa: ANN401  (httpx's own)
        """Send one request, described as httpx does, and wait until payment is done too; ``/charges`` is payment's own."""
        app = self.payment if path == "/charges" else self.checkout

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
                answer = await http.request(method, path, **request)
            await self.finish()
            return answer

        return asyncio.run(send())

    async def finish(self) -> None:
        """Wait until payment is done with everything it was asked."""
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All finished spans."""
        return self._spans.get_finished_spans()

    @property
    def roles(self) -> dict[str, ReadableSpan]:
        """The spans by their part in a purchase, as ``demo.proof.outcomes`` names them; each may be there once."""
        roles = [_role(span) for span in self.spans]
        assert len(roles) == len(set(roles)), roles
        return dict(zip(roles, self.spans, strict=True))

    @property
    def records(self) -> list[LogRecord]:
        """All log records as OTLP would send them."""
        return [each.log_record for each in self._records.get_finished_logs()]

    def lines(self) -> list[dict[str, Any]]:
        """What was written to stdout, each line parsed."""
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]

    def samples(self) -> dict[str, list[Sample]]:
        """What was counted, by instrument. Exemplars belong to one collection: a second look finds none."""
        data = self._reader.get_metrics_data()
        scopes = (
            [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )
        metrics = [metric for scope in scopes for metric in scope.metrics]
        return {
            metric.name: [_sample(point) for point in metric.data.data_points] for metric in metrics
        }


def _sample(point: object) -> Sample:
    assert isinstance(point, NumberDataPoint | HistogramDataPoint)
    count = point.value if isinstance(point, NumberDataPoint) else point.count
    return Sample(
        dict(point.attributes or {}),
        count,
        {format_trace_id(each.trace_id or 0) for each in point.exemplars},
    )


def about(thing: ReadableSpan | LogRecord | Event) -> dict[str, Any]:
    """The attributes of anything that has some."""
    return dict(thing.attributes or {})


def _role(span: ReadableSpan) -> str:
    if span.kind is SpanKind.SERVER:
        return PAYMENT if about(span).get("http.route") == "/charges" else CHECKOUT
    return {SpanKind.CLIENT: CLIENT, SpanKind.INTERNAL: ORDER}[span.kind]


@pytest.fixture(scope="session")
def tracing() -> tuple[TracerProvider, InMemorySpanExporter]:
    """The process's one tracer provider; OpenTelemetry lets it be set once."""
    exporter, provider = (
        InMemorySpanExporter(),
        TracerProvider(resource=RESOURCE, shutdown_on_exit=False),
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider, exporter


@pytest.fixture
def build(tracing: tuple[TracerProvider, InMemorySpanExporter]) -> Iterator[Build]:
    """Build houses to measure; logging is put back afterwards."""
    tracing[1].clear()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield lambda **settings: House(tracing, **settings)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def house(build: Build) -> House:
    """A house where nothing goes wrong by itself."""
    return build()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so nobody else gets it, but refuses every connection."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A Collector of few words."""
    with listening() as kept:
        yield kept


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack: the embedded one, or with ``STACK=full`` the real one, which builds what may be built."""
    if FULL and (missing := [each.name for each in (TEMPO, LOKI) if not each.path]):
        pytest.skip(f"no {' and no '.join(missing)} on PATH: the real stack cannot be started")
    house = Stack(tmp_path_factory.mktemp("stack"))
    house.up()
    yield house
    if house.foreground:
        house.ctrl_c()
    house.down()


@pytest.fixture(scope="session")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prometheus' own judge, built with it when it is not there yet."""
    tool = PROMETHEUS.folder() / "promtool"
    if not tool.exists():
        binaries.build(
            PROMETHEUS, tmp_path_factory.mktemp("build") / "prometheus.log", lambda _step: None
        )
    return tool
