"""Metrics: recorded once with the OpenTelemetry API; they leave by OTLP, and ``/metrics`` shows the same instruments."""

from collections.abc import Callable, Sequence

from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from requests import Session
from starlette.requests import Request
from starlette.responses import Response


def provider(resource: Resource, readers: Sequence[MetricReader], registry: CollectorRegistry) -> MeterProvider:
    """Build a provider that feeds ``readers`` and shows the same figures, under Prometheus' names, in ``registry``."""
    shown = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    return MeterProvider(resource=resource, metric_readers=[*readers, shown], shutdown_on_exit=False)


def to_collector(resource: Resource, registry: CollectorRegistry, session: Session | None) -> MeterProvider:
    """Build a provider that sends metrics by OTLP, or to nobody without a ``session``, and make it the process's own."""
    readers = [PeriodicExportingMetricReader(OTLPMetricExporter(session=session))] if session else []
    meters = provider(resource, readers, registry)
    metrics.set_meter_provider(meters)
    return meters


def exposition(registry: CollectorRegistry) -> Callable[[Request], Response]:
    """Build ``GET /metrics``, in the Prometheus text format, or OpenMetrics when asked for.

    It shows this one process, whose ``service_instance_id`` is in ``target_info``; the sum over workers is in Prometheus.
    """

    def answer(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):  # it reads a version as numbers; whoever asks for another gets the plain format
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"content-type": content_type})

    return answer
