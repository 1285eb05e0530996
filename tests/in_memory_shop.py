"""Both services in one process, without a network; all their telemetry is kept in memory."""

import asyncio
import contextlib
import contextvars
import io
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import httpx2
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    NumberDataPoint,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_trace_id
from prometheus_client import CollectorRegistry

import three_pillars
from services.checkout.app import create_app as create_checkout
from services.checkout.payment_client import PaymentClient
from services.payment.app import create_app as create_payment
from services.payment.faults import Faults
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, ORDER, PAYMENT
from three_pillars import ServiceResource, environment
from three_pillars.providers import TelemetryProviders, logger_provider, meter_provider

RESOURCE = Resource.create({"service.name": "shop"})
CANONICAL = "http.response.status_code"
"""An attribute that only canonical log records have: the one record that sums up a request."""
QUICK_FAULTS = {"latency_min": 0, "latency_max": 0.001, "failure_rate": 0, "slow_seconds": 0.3}


@dataclass(frozen=True)
class Sample:
    """The current value of one metric series.

    Attributes:
        labels: Its attributes.
        count: The value of a counter or gauge, or the number of values in a histogram.
        traces: The trace ids of its exemplars.
    """

    labels: dict[str, Any]
    count: float
    traces: set[str]


class InMemoryShop:
    """Checkout, whose calls of payment stay inside the process.

    ``request()`` sends an HTTP request; the other public members return the telemetry so far.
    """

    def __init__(  # noqa: PLR0913  (each argument replaces one part)
        self,
        tracing: tuple[TracerProvider, InMemorySpanExporter],
        *,
        payment_timeout: float = 5.0,
        connections: int = 100,
        payment_url: str = "",
        transport: httpx2.AsyncBaseTransport | None = None,
        trusted_networks: str = "",
        **faults: float,
    ) -> None:
        """Build both services.

        Args:
            tracing: The tracer provider of the process and its exporter.
            payment_timeout: How long checkout waits for payment, in seconds.
            connections: How many connections to payment checkout may have open at once.
            payment_url: The URL of a payment service outside this process, to use instead.
            transport: An HTTP transport that answers in place of payment.
            trusted_networks: The networks of callers whose trace context checkout continues.
            **faults: Fields of payment's ``Faults``, such as ``failure_rate``.
        """
        traces, self._spans = tracing
        self._log_records = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self._reader = InMemoryMetricReader()
        self.stdout = io.StringIO()
        self._running: set[asyncio.Task[None]] = set()
        registry = CollectorRegistry()
        logs = logger_provider(RESOURCE, environment.validate())
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._log_records))
        meters = meter_provider(RESOURCE, [self._reader], registry)
        providers = TelemetryProviders(traces, meters, logs, registry)

        self.payment = create_payment(Faults.model_validate(QUICK_FAULTS | faults))
        if not payment_url:
            transport = transport or httpx2.ASGITransport(
                self._call_payment, raise_app_exceptions=False
            )
        payments = PaymentClient(
            payment_url or "http://payment", payment_timeout, connections, transport
        )
        self.checkout = create_checkout(payments)
        # Logging is configured with the stdout of this moment.
        with contextlib.redirect_stdout(self.stdout):
            three_pillars.install(
                self.payment,
                ServiceResource("payment"),
                trusted_networks="*",
                providers=providers,
            )
            three_pillars.install(
                self.checkout,
                ServiceResource("checkout"),
                trusted_networks=trusted_networks,
                providers=providers,
            )
        three_pillars.instrument_client(payments.http)

    async def _call_payment(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  (ASGI)
        """Call payment as if over a network.

        Payment does not see the context variables of checkout, and goes on when checkout gives up.
        """
        task = asyncio.create_task(
            self.payment(scope, receive, send), context=contextvars.Context()
        )
        self._running.add(task)
        await asyncio.shield(task)

    def request(
        self,
        method: str = "POST",
        path: str = "/checkout",
        **options: Any,  # noqa: ANN401  (the options of httpx2)
    ) -> httpx2.Response:
        """Send one request; return the response once payment has finished as well.

        The path ``/charges`` goes to payment, every other path to checkout.
        """
        app = self.payment if path == "/charges" else self.checkout

        async def send() -> httpx2.Response:
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
                response = await http.request(method, path, **options)
            await self.finish()
            return response

        return asyncio.run(send())

    async def finish(self) -> None:
        """Wait until payment has finished all requests, also those that checkout gave up."""
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """All finished spans of both services."""
        return self._spans.get_finished_spans()

    @property
    def spans_by_role(self) -> dict[str, ReadableSpan]:
        """All finished spans by their role, such as ``CHECKOUT`` (see verify/outcomes.py).

        Fails if two spans have the same role.
        """
        roles = [_role(span) for span in self.spans]
        assert len(roles) == len(set(roles)), roles
        return dict(zip(roles, self.spans, strict=True))

    @property
    def records(self) -> list[LogRecord]:
        """All log records of both services, as they would be exported by OTLP."""
        return [finished.log_record for finished in self._log_records.get_finished_logs()]

    def lines(self) -> list[dict[str, Any]]:
        """Return the JSON log lines on stdout, as dictionaries."""
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]

    def samples(self) -> dict[str, list[Sample]]:
        """Return the current metric series of both services, by metric name.

        Each exemplar is returned once only, so a second call has none.
        """
        data = self._reader.get_metrics_data()
        if not data:
            return {}
        return {
            metric.name: [_sample(point) for point in metric.data.data_points]
            for resource_metrics in data.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics
        }


def _sample(point: object) -> Sample:
    assert isinstance(point, NumberDataPoint | HistogramDataPoint)
    count = point.value if isinstance(point, NumberDataPoint) else point.count
    traces = {format_trace_id(exemplar.trace_id or 0) for exemplar in point.exemplars}
    return Sample(dict(point.attributes or {}), count, traces)


def attributes_of(item: ReadableSpan | LogRecord | Event) -> dict[str, Any]:
    """Return the attributes of ``item`` as a dictionary, which is empty if it has none."""
    return dict(item.attributes or {})


def _role(span: ReadableSpan) -> str:
    if span.kind is SpanKind.SERVER:
        return PAYMENT if attributes_of(span).get("http.route") == "/charges" else CHECKOUT
    return {SpanKind.CLIENT: CLIENT, SpanKind.INTERNAL: ORDER}[span.kind]
