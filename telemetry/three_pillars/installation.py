"""``install()``: put the three pillars (traces, logs and metrics) into an application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from opentelemetry.metrics import Meter
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from . import environment, logs, traces
from .boundary import BoundaryMiddleware
from .fast_paths import FastPaths
from .metrics_endpoint import metrics_handler
from .other_telemetry import refuse_instrumented, refuse_other_setup
from .providers import TelemetryProviders, otlp_providers
from .recording import USUAL, Recording
from .request_recorder import RequestRecorderMiddleware
from .request_tally import RequestTally
from .resource import ServiceResource
from .span_details import remember_details
from .tally_hook import tally_of
from .trace_response import TraceResponseMiddleware
from .trusted_callers import TrustedCallers

EXCLUDED_PATHS = ("/healthz", "/metrics")
"""The paths of health probes and Prometheus scrapes; GET and HEAD of these paths are not recorded.

Such requests would outnumber all others.
"""

METER_NAME = "telemetry"
"""The instrumentation scope of the library's metrics."""

CANCELLED_REQUESTS_WAIT_S = 0.1
"""Seconds between the end of the application's lifespan and the flush of the telemetry.

At shutdown uvicorn cancels the requests that run longer than its ``timeout_graceful_shutdown``.
The cancelled requests end within this time, so their telemetry is in the last batch.
"""


def install(
    app: FastAPI,
    service: ServiceResource,
    *,
    trusted_networks: str = "",
    recording: Recording = USUAL,
    providers: TelemetryProviders | None = None,
) -> None:
    """Install traces, logs and metrics into ``app``, and flush them when its lifespan ends.

    Args:
        app: The finished application, with all its routes and middleware. It must be the
            application that the server runs, because the lifespan of a mounted application does
            not run, and the lifespan flushes the telemetry.
        service: The resource attributes of the service. Its ``name`` is also the prefix of the
            request metrics, even if OTEL_SERVICE_NAME sets another ``service.name``.
        trusted_networks: The callers whose traces are continued: addresses and networks,
            comma-separated, or ``*`` for all callers. By default no caller is trusted.
        recording: How requests are recorded. By default all fast paths are used, and the Collector
            is expected to keep all traces.
        providers: The OpenTelemetry providers that record the telemetry; by default those of
            ``otlp_providers``, which send the telemetry by OTLP. They have a filter of exemplars of
            their own, so ``recording`` must not have ``tail_sampling`` with them.

    Raises:
        ConfigurationError: ``OTEL_*`` variables have values that are invalid or would not take
            effect; or another set-up of OpenTelemetry, such as ``opentelemetry-instrument``, has
            set the global providers, and ``providers`` are not given.
        ValueError: ``trusted_networks`` has an item that is neither an address nor a network, or
            ``recording`` is refused: its ``fast_paths`` has an item that is not the name of a fast
            path, or its ``tail_sampling`` is given together with ``providers``.
        RuntimeError: ``app`` has already started, ``install()`` was called for it before, or it is
            instrumented already.
    """
    # What can fail comes first, so that a refused call leaves ``app`` unchanged; only os.environ
    # and the global providers may have changed. Starlette sets middleware_stack when the
    # application starts, and install() sets it below.
    if app.middleware_stack is not None:
        raise RuntimeError("install() must be called once, before the application starts")
    if providers and recording.tail_sampling:
        raise ValueError(
            "tail_sampling has no effect on providers; give their meter provider a filter"
        )
    # First the variables, because OpenTelemetry may raise on a bad one as soon as it is asked for
    # its global providers.
    environment.validate()
    if providers is None:
        refuse_other_setup()
    refuse_instrumented(app)
    chosen_paths = FastPaths.parse(recording.fast_paths)
    variables = environment.prepare()
    trusted_callers = TrustedCallers(trusted_networks)
    providers = providers or otlp_providers(
        service, variables, recording.tail_sampling, chosen_paths
    )

    # The application gets two chains of middleware around the same router: this one without
    # telemetry, for probes and scrapes, and the one below with telemetry. BoundaryMiddleware, at
    # the end of this function, chooses between them once for each request, so that traces, logs
    # and metrics agree on what is recorded.
    #
    # Starlette would build one chain when the application starts. This one is built now, because
    # our middleware is not added yet. Each of the application's own middleware classes has two
    # instances, one in each chain. The route and the lifespan that are added below belong to the
    # router, and so to both chains.
    uninstrumented_app = app.build_middleware_stack()

    # Logs: from here on, structlog and logging write JSON to stdout, and structlog also to OTLP.
    logs.configure(providers.logs, providers.record_queue)

    # Metrics: a middleware records each request, and /metrics shows the instruments.
    meter = providers.metrics.get_meter(METER_NAME)
    _count_drops(meter, providers)
    tally = tally_of(providers.metrics, METER_NAME) if chosen_paths.metrics else None
    _record_requests(app, service, meter, providers, tally)
    _add_metrics_route(app, providers)

    # Traces: OpenTelemetry replaces app.build_middleware_stack() as well, so that the next chain
    # is, from outside to inside: OpenTelemetry (opens the span), Starlette's response to a crash,
    # request recorder, FastAPI's and the application's middleware, router. The recorder runs inside
    # the span, so its log line and its metrics (by exemplars) have the trace id.
    traces.instrument(app, providers.traces, chosen_paths)
    instrumented_app = app.build_middleware_stack()
    if chosen_paths.routes:
        remember_details(instrumented_app)
    if chosen_paths.headers:
        instrumented_app = TraceResponseMiddleware(instrumented_app)

    # Because middleware_stack is set, Starlette does not build a chain of its own at startup.
    app.middleware_stack = BoundaryMiddleware(
        instrumented_app, uninstrumented_app, EXCLUDED_PATHS, trusted_callers, chosen_paths
    )
    # The router reads its lifespan at startup, so the lifespan can still be replaced.
    _flush_at_shutdown(app, providers)


def _count_drops(meter: Meter, providers: TelemetryProviders) -> None:
    """Create the counter ``telemetry.dropped`` of spans and log records that were not delivered."""
    meter.create_observable_counter(
        "telemetry.dropped",
        [counter.observe for counter in providers.drops],
        "{item}",
        "Spans and log records that were not delivered.",
    )


def _record_requests(
    app: FastAPI,
    service: ServiceResource,
    meter: Meter,
    providers: TelemetryProviders,
    tally: RequestTally | None,
) -> None:
    """Put the request recorder into the chain of middleware that ``app`` builds next.

    Its place is just inside of ServerErrorMiddleware: it sees an exception before this responds to
    it with 500, and every response of other middleware. ``app.add_middleware()`` would put it
    inside of FastAPI's own middleware, whose responses (413 for ``max_body_size``) it would miss.
    """
    build_application_stack = app.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        stack = build_application_stack()
        if not isinstance(stack, ServerErrorMiddleware):
            # The application has put middleware of its own around Starlette's. OpenTelemetry would
            # refuse to instrument such a chain.
            stack = ServerErrorMiddleware(stack, debug=app.debug)
        stack.app = RequestRecorderMiddleware(
            stack.app,
            prefix=service.name,
            meter=meter,
            active_requests=providers.active_requests,
            tally=tally,
        )
        return stack

    # As OpenTelemetry's instrumentation does it; Starlette has no other place for this.
    app.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]


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
