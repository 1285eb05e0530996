"""``install()``: put the three pillars (traces, logs and metrics) into an application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from opentelemetry.metrics import Meter
from starlette.routing import Route

from . import environment, logs, traces
from .boundary import BoundaryMiddleware
from .metrics_endpoint import metrics_handler
from .providers import TelemetryProviders, otlp_providers
from .request_recorder import RequestRecorderMiddleware
from .resource import ServiceResource
from .trusted_callers import TrustedCallers

EXCLUDED_PATHS = ("/healthz", "/metrics")
"""The paths of health probes and Prometheus scrapes; GET and HEAD of these paths are not recorded.

Such requests would outnumber all others.
"""

CANCELLED_REQUESTS_WAIT_S = 0.1
"""How long, in seconds, the lifespan of the application waits before it flushes the telemetry.

The lifespan waits at its end, when the server shuts down. uvicorn cancels the requests that are
still running after its ``timeout_graceful_shutdown``. The cancelled requests end within this time,
so their telemetry is in the last batch.
"""


def install(
    app: FastAPI,
    service: ServiceResource,
    *,
    trusted_networks: str = "",
    providers: TelemetryProviders | None = None,
) -> None:
    """Install traces, logs and metrics into ``app``, and flush them when its lifespan ends.

    Args:
        app: The finished application: all routes and middleware are added. It must be the
            application that the server runs, because no server runs the lifespan of a mounted one.
        service: The resource attributes of the service; ``service.name`` is also the prefix of
            the request metrics.
        trusted_networks: The callers whose traces are continued: addresses and networks,
            comma-separated, or ``*`` for all callers. By default no caller is trusted.
        providers: The OpenTelemetry providers that record the telemetry; by default those of
            ``otlp_providers``, which send the telemetry by OTLP.

    Raises:
        ConfigurationError: ``OTEL_*`` variables have values that are invalid or would not take
            effect.
        ValueError: ``trusted_networks`` has an item that is neither an address nor a network.
        RuntimeError: ``app`` has already started, or ``install()`` was called for it before.
    """
    # What can fail comes first, so that a refused call leaves the application as it was.
    if app.middleware_stack is not None:
        raise RuntimeError("install() must be called once, before the application starts")
    variables = environment.prepare()
    trusted_callers = TrustedCallers(trusted_networks)
    providers = providers or otlp_providers(service, variables)

    # build_middleware_stack() returns the chain of all middleware around the router. It is called
    # twice: here without our telemetry, below with it. Both chains end in the same router, so the
    # route and the lifespan that are added below belong to both.
    uninstrumented_app = app.build_middleware_stack()

    # Logs: from here on, structlog and logging write JSON to stdout, and structlog also to OTLP.
    logs.configure(providers.logs)

    # Metrics: a middleware records each request, and /metrics shows the instruments. Starlette
    # creates the middleware when it builds the next stack, as the outermost one so far.
    meter = providers.metrics.get_meter("telemetry")
    _count_drops(meter, providers)
    app.add_middleware(
        RequestRecorderMiddleware,
        prefix=service.name,
        meter=meter,
        active_requests=providers.active_requests,
    )
    _add_metrics_route(app, providers)

    # Traces: this replaces app.build_middleware_stack() by a method that also adds the middleware
    # of OpenTelemetry, outside of all others. So a span is open while a request is recorded.
    traces.instrument(app, providers.traces)
    instrumented_app = app.build_middleware_stack()

    # BoundaryMiddleware sends each request to one of the two: to the instrumented application, or,
    # if it is not to be recorded, to the other. Without this assignment, Starlette would build a
    # stack of its own at the first request.
    app.middleware_stack = BoundaryMiddleware(
        instrumented_app, uninstrumented_app, EXCLUDED_PATHS, trusted_callers
    )
    _flush_at_shutdown(app, providers)


def _count_drops(meter: Meter, providers: TelemetryProviders) -> None:
    """Create the counter ``telemetry.dropped`` of spans and log records that were not delivered."""
    meter.create_observable_counter(
        "telemetry.dropped",
        [counter.observe for counter in providers.drops],
        "{item}",
        "Spans and log records that were not delivered.",
    )


def _add_metrics_route(app: FastAPI, providers: TelemetryProviders) -> None:
    """Add ``GET /metrics`` before all other routes, because one of them may match every path."""
    route = Route("/metrics", metrics_handler(providers.registry), include_in_schema=False)
    app.router.routes.insert(0, route)


def _flush_at_shutdown(app: FastAPI, providers: TelemetryProviders) -> None:
    """Shut ``providers`` down when the lifespan of ``app`` ends, and log what was not delivered.

    ``atexit`` cannot be used for this: uvicorn raises SIGTERM again after its shutdown, and this
    signal ends the process before ``atexit`` runs.
    """
    application_lifespan = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            async with application_lifespan(app) as state:
                yield state
        finally:
            await asyncio.sleep(CANCELLED_REQUESTS_WAIT_S)
            ended_in_time = await asyncio.to_thread(providers.shutdown)
            undelivered = {counter.signal: counter.undelivered() for counter in providers.drops}
            if any(undelivered.values()) or not ended_in_time:
                logging.getLogger(__name__).warning(
                    f"shut down with undelivered telemetry: {undelivered}"
                )

    app.router.lifespan_context = lifespan
