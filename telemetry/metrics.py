"""Metrics: recorded once with the OpenTelemetry API; they leave by OTLP, and ``/metrics`` shows the same instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from starlette.requests import Request


def registry() -> CollectorRegistry:
    """A fresh registry: the library's global one would add the process's own Python metrics."""
    return CollectorRegistry()


def provider(resource: Resource, *readers: MetricReader) -> MeterProvider:
    """A provider that keeps what we chart and drops what nobody asked for."""
    # The instrumentation keeps the response size on an object that concurrent requests share: the figure is wrong.
    sizes = View(instrument_name="http.server.*.body.size", aggregation=DropAggregation())
    return MeterProvider(resource=resource, metric_readers=readers, views=[sizes], shutdown_on_exit=False)


def prometheus_reader(registry: CollectorRegistry) -> PrometheusMetricReader:
    """Fills ``registry`` with the names and labels that Prometheus gives the same instruments when they come by OTLP."""
    return PrometheusMetricReader(scope_info_enabled=False, registry=registry)


def to_collector(resource: Resource, registry: CollectorRegistry) -> MeterProvider:
    """A provider that sends metrics by OTLP and shows them in ``registry``; it becomes the process's own."""
    meters = provider(resource, PeriodicExportingMetricReader(OTLPMetricExporter()), prometheus_reader(registry))
    metrics.set_meter_provider(meters)
    return meters


def exposition(registry: CollectorRegistry) -> Callable[[Request], Response]:
    """``GET /metrics`` in the Prometheus formats (text, or OpenMetrics when asked for).

    It shows this one process: ``target_info`` names its ``service_instance_id``. The sum over all workers is in Prometheus.
    """

    def answer(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return answer
