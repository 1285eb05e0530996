"""The three pillars of any service: one call installs traces, metrics and logs into a FastAPI app.

This package knows nothing of checkouts and is meant to be copied. It reads the standard ``OTEL_*`` variables and no others.
"""

from . import environment  # noqa: F401  (first: OpenTelemetry reads variables while it is imported)

# isort: split
import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from . import logs, request_recorder, traces
from .boundary import Edge
from .logs import log_to_stdout
from .metrics_endpoint import metrics_handler
from .providers import Pillars, to_collector
from .traces import instrument_client, trace_id
from .trusted_callers import Trust

__all__ = ["QUIET_PATHS", "install", "instrument_client", "log_to_stdout", "trace_id"]

QUIET_PATHS = ("/healthz", "/metrics")
"""Probes and scrapes: no span, no count, no line, or they would drown the customers."""

UNWIND_SECONDS = 0.1
"""What uvicorn cut off at its own limit ends now, and is told of: a moment for that, before the last batch is made."""


def install(
    app: FastAPI, service: str, *, package: str, inside: str = "", pillars: Pillars | None = None
) -> None:
    """Install the three pillars into ``app``, which must be finished, and flush them when its lifespan ends.

    It must be the app that the server runs: nobody runs the lifespan of a mounted one, so its last batch would be lost.
    ``service`` is ``service.name`` and the prefix of the request metrics; the version of the installed ``package`` is
    ``service.version``. ``inside`` are the networks of callers whose traces go on here (guards/trust.py); by default none.
    ``pillars`` lead to the Collector by default; tests bring their own.
    """
    plain = app.build_middleware_stack()
    pillars = pillars or to_collector(service, package)
    logs.configure(pillars.logs)
    meter = pillars.metrics.get_meter("telemetry")
    observe = [each.observe for each in pillars.losses]
    meter.create_observable_counter(
        "telemetry.dropped", observe, "{item}", "Spans and log records that nobody took."
    )
    app.add_middleware(
        request_recorder.RequestsMiddleware, prefix=service, meter=meter, active=pillars.active
    )
    # First, or an app that answers everything would answer it.
    app.router.routes.insert(
        0, Route("/metrics", metrics_handler(pillars.registry), include_in_schema=False)
    )
    # Last, because it wraps everything above: the span is open while our own middleware counts and writes.
    traces.instrument(app, pillars.traces)
    app.middleware_stack = Edge(app.build_middleware_stack(), plain, QUIET_PATHS, Trust(inside))

    # Not atexit: uvicorn raises SIGTERM again after its shutdown, and the process dies before atexit runs.
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        try:
            async with inner(app) as state:
                yield state
        finally:
            await asyncio.sleep(UNWIND_SECONDS)
            in_time = await asyncio.to_thread(pillars.shutdown)
            lost = {each.signal: each.undelivered() for each in pillars.losses}
            if any(lost.values()) or not in_time:
                logging.getLogger(__name__).warning(
                    f"telemetry not delivered: {lost}. Is the Collector there?"
                )

    app.router.lifespan_context = lifespan
