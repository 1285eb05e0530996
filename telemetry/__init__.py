"""The three pillars of any service: one call installs traces, metrics and logs into a FastAPI app.

This package knows nothing of checkouts and is meant to be copied. It reads the standard ``OTEL_*`` variables and no others.
"""

import settings.otel  # noqa: F401  (first: OpenTelemetry reads variables while it is imported)

# isort: split
import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import parent_process
from typing import Any

from fastapi import FastAPI
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from delivery.batches import Records, Spans
from delivery.losses import Losses
from delivery.session import Session, session
from telemetry import logs, metrics, requests, traces
from telemetry.edge import Edge
from telemetry.logs import log_to_stdout
from telemetry.traces import instrument_client, trace_id
from telemetry.trust import Trust

__all__ = ["QUIET_PATHS", "Pillars", "install", "instrument_client", "log_to_stdout", "trace_id"]

QUIET_PATHS = ("/healthz", "/metrics")
"""Probes and scrapes: no span, no count, no line, or they would drown the customers."""

FLUSH_SECONDS = 4.0
"""How long a stopping service waits for the Collector: under the 5 s it has, and far under an orchestrator's usual 10 s."""

UNWIND_SECONDS = 0.1
"""What uvicorn cut off at its own limit ends now, and is told of: a moment for that, before the last batch is made."""


@dataclass(frozen=True)
class Pillars:
    """The providers of one process. Tests make them with in-memory exporters."""

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
        threads = [threading.Thread(target=each.shutdown, daemon=True) for each in (self.traces, self.metrics, self.logs)]
        deadline = time.monotonic() + seconds
        for each in self.sessions:
            each.closing.set()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def to_collector(service: str, package: str) -> Pillars:
    """Build pillars that send by OTLP over HTTP to ``OTEL_EXPORTER_OTLP_ENDPOINT`` (default localhost:4318)."""
    ours = {"service.name": service, "service.namespace": "shop", "service.version": version(package)}
    theirs = dict(OTELResourceDetector().detect().attributes)
    if instance := theirs.get("service.instance.id") if parent_process() else None:
        theirs["service.instance.id"] = f"{instance}/{os.getpid()}"  # a worker: two may not count under one name
    # Resource.create() lets code win over OTEL_RESOURCE_ATTRIBUTES; an operator expects the opposite. It also adds
    # service.instance.id, a random UUID for each process, so that the counters of several workers add up.
    resource = Resource.create({"deployment.environment.name": "demo", **ours, **theirs})
    registry = CollectorRegistry()  # not the global one: that adds figures of the Python process
    spans, figures, lines = (session(signal) for signal in ("TRACES", "METRICS", "LOGS"))
    in_traces, in_logs = Losses("traces"), Losses("logs")
    return Pillars(
        traces.to_collector(resource, Spans(spans, in_traces) if spans else None),
        metrics.to_collector(resource, registry, figures),
        logs.to_collector(resource, Records(lines, in_logs) if lines else None),
        registry,
        [each for each in (spans, figures, lines) if each],
        (in_traces, in_logs),
    )


def install(app: FastAPI, service: str, *, package: str, inside: str = "", pillars: Pillars | None = None) -> None:
    """Install the three pillars into ``app``, which must be finished, and flush them when its lifespan ends.

    It must be the app that the server runs: nobody runs the lifespan of a mounted one, so its last batch would be lost.
    ``service`` is ``service.name`` and the prefix of the request metrics; the version of the installed ``package`` is
    ``service.version``. ``inside`` are the networks of callers whose traces go on here (telemetry/trust.py); by default none.
    ``pillars`` lead to the Collector by default; tests bring their own.
    """
    plain = app.build_middleware_stack()
    pillars = pillars or to_collector(service, package)
    logs.configure(pillars.logs)
    meter = pillars.metrics.get_meter("telemetry")
    observe = [each.observe for each in pillars.losses]
    meter.create_observable_counter("telemetry.dropped", observe, "{item}", "Spans and log records that nobody took.")
    app.add_middleware(requests.RequestsMiddleware, prefix=service, meter=meter, active=pillars.active)
    # First, or an app that answers everything would answer it.
    app.router.routes.insert(0, Route("/metrics", metrics.exposition(pillars.registry), include_in_schema=False))
    # Last, because it wraps everything above: the span is open while our own middleware counts and writes.
    traces.instrument(app, pillars.traces)
    app.middleware_stack = Edge(app.build_middleware_stack(), plain, QUIET_PATHS, Trust(inside))

    # Not atexit: uvicorn raises SIGTERM again after its shutdown, and the process dies before atexit runs.
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with inner(app) as state:
            yield state
        await asyncio.sleep(UNWIND_SECONDS)
        in_time = await asyncio.to_thread(pillars.shutdown)
        lost = {each.signal: each.undelivered() for each in pillars.losses}
        if any(lost.values()) or not in_time:
            logging.getLogger(__name__).warning(f"telemetry not delivered: {lost}. Is the Collector there?")

    app.router.lifespan_context = lifespan
