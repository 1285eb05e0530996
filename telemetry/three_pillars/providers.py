"""Build the tracer, meter and logger provider of OpenTelemetry's SDK, with their OTLP exporters."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk.metrics import ExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry

from .export.batch import CountingBatchLogRecordProcessor, CountingBatchSpanProcessor
from .export.drops import DropCounter
from .export.session import RetryingSession, otlp_session
from .fast_paths import FastPaths
from .forks import call_in_children
from .other_telemetry import register_own
from .resource import ServiceResource, build_resource
from .tail_sampling import TailSampling, kept_traces_filter
from .variables import OpenTelemetryVariables

FLUSH_TIMEOUT_S = 4.0
"""Seconds that a stopping service waits until its last telemetry has been sent.

An orchestrator usually kills a process 10 s after it asked the process to stop.
"""


@dataclass(frozen=True)
class TelemetryProviders:
    """The three providers of one application, and the objects that share their lifetime.

    ``otlp_providers`` builds providers that export by OTLP; tests build providers with in-memory
    exporters.
    """

    traces: TracerProvider
    metrics: MeterProvider
    logs: LoggerProvider
    registry: CollectorRegistry
    """The Prometheus registry whose metrics ``GET /metrics`` shows."""
    sessions: Sequence[RetryingSession] = ()
    """The HTTP sessions of the OTLP exporters, one for each signal that is sent."""
    drops: Sequence[DropCounter] = ()
    """The counters of undelivered items: one for spans and one for log records."""
    active_requests: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """The number of active requests by method and scheme, like ``("GET", "http")``."""
    record_queue: CountingBatchLogRecordProcessor | None = None
    """The processor of ``logs``, if the fast path ``log`` may put log records into its queue."""

    def shutdown(self, timeout_s: float = FLUSH_TIMEOUT_S) -> bool:
        """Shut down the three providers concurrently, which sends the queued telemetry.

        Return whether all three have ended within ``timeout_s`` seconds. The SDK's own
        ``force_flush`` ignores its timeout, so each provider is shut down in a daemon thread, and
        the threads share one deadline. A thread that still waits for the OTLP receiver at the
        deadline is abandoned.
        """
        threads = [
            threading.Thread(target=provider.shutdown, daemon=True)
            for provider in (self.traces, self.metrics, self.logs)
        ]
        deadline = time.monotonic() + timeout_s
        for session in self.sessions:
            session.shutdown.set()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def begin_at_zero(self) -> None:
        """In a child process of ``os.fork()``, drop all state that belongs to the parent.

        The SDK has already cleared its queues of spans and log records.
        """
        _reset_metrics(self.metrics)
        self.active_requests.clear()
        for counter in self.drops:
            counter.reset()
        for session in self.sessions:
            session.reset()


def otlp_providers(
    service: ServiceResource,
    variables: OpenTelemetryVariables,
    tail_sampling: TailSampling | None = None,
    fast_paths: FastPaths | None = None,
) -> TelemetryProviders:
    """Build providers that send by OTLP over HTTP, and make them the global providers.

    The providers send to OTEL_EXPORTER_OTLP_ENDPOINT, by default http://localhost:4318. If the
    variable OTEL_<signal>_EXPORTER is ``none``, the signal (``TRACES``, ``METRICS`` or ``LOGS``) is
    recorded and not sent. ``GET /metrics`` shows the metrics in any case. With ``tail_sampling``,
    exemplars name only traces that this rule of the Collector keeps. By default all fast paths are
    used.

    Raises:
        ConfigurationError: OTEL_METRICS_EXEMPLAR_FILTER is ``always_on``, and ``tail_sampling`` is
            given.
    """
    exemplar_filter = kept_traces_filter(tail_sampling, variables)
    paths = fast_paths or FastPaths()
    resource = build_resource(service)

    traces = tracer_provider(resource, variables)
    span_session = otlp_session("TRACES")
    span_drops = DropCounter("traces")
    if span_session:
        traces.add_span_processor(
            CountingBatchSpanProcessor(
                span_session, span_drops, variables, encodes_at_end=paths.export
            )
        )

    records = logger_provider(resource, variables)
    record_session = otlp_session("LOGS")
    record_drops = DropCounter("logs")
    record_queue = None
    if record_session:
        record_queue = CountingBatchLogRecordProcessor(
            record_session, record_drops, variables, encodes_at_end=paths.export
        )
        records.add_log_record_processor(record_queue)

    metric_session = otlp_session("METRICS")
    metric_readers: list[MetricReader] = []
    if metric_session:
        exporter = OTLPMetricExporter(session=metric_session)
        interval_ms = variables.metric_export_interval
        metric_readers.append(PeriodicExportingMetricReader(exporter, interval_ms))
    registry = CollectorRegistry()  # the global one also has figures of the Python process
    meters = meter_provider(resource, metric_readers, registry, exemplar_filter)

    register_own(traces, meters, records)
    trace.set_tracer_provider(traces)
    metrics.set_meter_provider(meters)
    logs.set_logger_provider(records)
    sessions = [session for session in (span_session, record_session, metric_session) if session]
    # The SDK counts the log records of a logger itself, if it is to count its own work.
    counts_itself = variables.python_sdk_internal_metrics_enabled == "true"
    providers = TelemetryProviders(
        traces,
        meters,
        records,
        registry,
        sessions,
        drops=(span_drops, record_drops),
        record_queue=record_queue if paths.log and not counts_itself else None,
    )
    # The SDK's own handlers were registered before, by the providers, and so they run before it.
    call_in_children(providers.begin_at_zero)
    return providers


# shutdown_on_exit is off in all three providers, because the lifespan flushes them within a time
# limit. At the exit of the interpreter the SDK would wait 30 s.


def tracer_provider(resource: Resource, variables: OpenTelemetryVariables) -> TracerProvider:
    """Build a tracer provider; the ``OTEL_*`` variables choose its limits and its sampler.

    Without OTEL_TRACES_SAMPLER every trace is recorded. The provider has no span processor, so it
    sends nothing until the caller adds one.
    """
    limits = SpanLimits(max_attribute_length=variables.attribute_value_length_limit)
    sampler_is_set = "traces_sampler" in variables.model_fields_set  # then the SDK builds it
    return TracerProvider(
        resource=resource,
        sampler=None if sampler_is_set else ALWAYS_ON,
        span_limits=limits,
        shutdown_on_exit=False,
    )


def logger_provider(resource: Resource, variables: OpenTelemetryVariables) -> LoggerProvider:
    """Build a logger provider; the ``OTEL_*`` variables limit the attributes of a log record."""
    limits = LogRecordLimits(max_attribute_length=variables.attribute_value_length_limit)
    return LoggerProvider(resource=resource, log_record_limits=limits, shutdown_on_exit=False)


def meter_provider(
    resource: Resource,
    readers: Sequence[MetricReader],
    registry: CollectorRegistry,
    exemplar_filter: ExemplarFilter | None = None,
) -> MeterProvider:
    """Build a meter provider whose metrics go to ``readers`` and to ``registry``.

    In ``registry`` the metrics have Prometheus's names. Without ``exemplar_filter``,
    OTEL_METRICS_EXEMPLAR_FILTER chooses the filter.
    """
    prometheus = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    return MeterProvider(
        resource=resource,
        metric_readers=[*readers, prometheus],
        exemplar_filter=exemplar_filter,
        shutdown_on_exit=False,
    )


def _reset_metrics(provider: MeterProvider) -> None:
    """Set all instruments of ``provider`` to zero, and release its locks.

    A thread that held a lock during the fork does not exist in the child, so it would never be
    released. The SDK has no public function for this.
    """
    consumer = provider._measurement_consumer  # noqa: SLF001
    consumer._lock = Lock()  # noqa: SLF001
    for reader in list(consumer._reader_storages):  # noqa: SLF001
        consumer.add_metric_reader(reader)  # replaces the reader's storage by an empty one
        if isinstance(reader, PeriodicExportingMetricReader):
            reader._export_lock = Lock()  # noqa: SLF001
        elif isinstance(reader, PrometheusMetricReader):
            # The metric target_info of the parent, with the parent's instance id.
            reader._collector._target_info = None  # noqa: SLF001
