"""The providers of one process: what it tells, with whom it says so, and how that gets to the Collector."""

import gc
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import parent_process

from opentelemetry import _logs as logs
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from .export.batch import Records, Spans
from .export.drops import Losses
from .export.session import Session, session

FLUSH_SECONDS = 4.0
"""How long a stopping service waits for the Collector: under the 5 s it has, and far under an orchestrator's usual 10 s."""

SWITCH_SECONDS = 0.001
"""After so long the threads that encode let a request go on. Python's own 5 ms, at each system call of the request, made its
p99 three times as long while they work; below 1 ms nothing more is gained."""


@dataclass(frozen=True)
class Pillars:
    """The providers of one process, and the requests it has under way by method and scheme. Tests have in-memory exporters."""

    traces: TracerProvider
    metrics: MeterProvider
    logs: LoggerProvider
    registry: CollectorRegistry
    sessions: Sequence[Session] = ()
    losses: Sequence[Losses] = ()
    active: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def shutdown(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Send what is left, all three at once; False when that took over ``seconds``, as with a Collector that hangs.

        The SDK's own ``force_flush`` ignores its timeout, so each provider gets a daemon thread and all share one deadline.
        """
        threads = [
            threading.Thread(target=each.shutdown, daemon=True)
            for each in (self.traces, self.metrics, self.logs)
        ]
        deadline = time.monotonic() + seconds
        for each in self.sessions:
            each.closing.set()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


class _Hashed(Resource):
    """Hashed once: the encoders ask for every span and record, and the SDK's own writes its JSON each time."""

    def __init__(self, known: Resource) -> None:
        super().__init__(known.attributes, known.schema_url)
        self.hash = super().__hash__()

    def __hash__(self) -> int:
        return self.hash


def to_collector(service: str, package: str) -> Pillars:
    """Build pillars that send by OTLP over HTTP to ``OTEL_EXPORTER_OTLP_ENDPOINT`` (default localhost:4318).

    They become the process's own. A signal whose exporter is ``none`` is made, shown on ``/metrics``, and sent to nobody.
    """
    gc.collect()
    gc.freeze()  # each full collection looked through all that a process loads and keeps, and nobody was served for 60 ms
    sys.setswitchinterval(SWITCH_SECONDS)
    ours = {
        "service.name": service,
        "service.namespace": "shop",
        "service.version": version(package),
    }
    theirs = dict(OTELResourceDetector().detect().attributes)
    if instance := theirs.get("service.instance.id") if parent_process() else None:
        theirs["service.instance.id"] = (
            f"{instance}/{os.getpid()}"  # a worker: two may not count under one name
        )
    # Resource.create() lets code win over OTEL_RESOURCE_ATTRIBUTES; an operator expects the opposite. It also adds
    # service.instance.id, a random UUID for each process, so that the counters of several workers add up.
    resource = _Hashed(Resource.create({"deployment.environment.name": "demo", **ours, **theirs}))
    to_traces, to_metrics, to_logs = (session(signal) for signal in ("TRACES", "METRICS", "LOGS"))
    losses = in_traces, in_logs = Losses("traces"), Losses("logs")
    # shutdown_on_exit is off everywhere: the lifespan flushes with a time limit, atexit would wait 30 s.
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    if to_traces:
        tracers.add_span_processor(Spans(to_traces, in_traces))
    if to_logs:
        loggers.add_log_record_processor(Records(to_logs, in_logs))
    registry = CollectorRegistry()  # not the global one: that adds figures of the Python process
    readers = (
        [PeriodicExportingMetricReader(OTLPMetricExporter(session=to_metrics))]
        if to_metrics
        else []
    )
    meters = meter_provider(resource, readers, registry)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(meters)
    logs.set_logger_provider(loggers)
    sessions = [each for each in (to_traces, to_metrics, to_logs) if each]
    return Pillars(tracers, meters, loggers, registry, sessions, losses)


def meter_provider(
    resource: Resource, readers: Sequence[MetricReader], registry: CollectorRegistry
) -> MeterProvider:
    """Build a provider that feeds ``readers`` and shows the same figures, under Prometheus' names, in ``registry``."""
    shown = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    return MeterProvider(
        resource=resource, metric_readers=[*readers, shown], shutdown_on_exit=False
    )
