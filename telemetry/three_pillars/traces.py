"""Traces: one SERVER span a request, one CLIENT span a call."""

import httpx2
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.instrumentation.propagators import (
    TraceResponsePropagator,
    set_global_response_propagator,
)
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span
from starlette.types import Scope

from . import trusted_callers
from .boundary import ORIGINALS


def instrument(app: FastAPI, traces: TracerProvider) -> None:
    """Give every request of ``app`` a SERVER span and a ``traceresponse`` header.

    FastAPI's own telemetry stands down where this instrumentation is installed, so nothing is told twice.
    """
    set_global_response_propagator(TraceResponsePropagator())  # type: ignore[no-untyped-call]
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=traces,
        # Its metrics end with the background tasks and do not see a crash in mid-stream; telemetry/requests.py has them.
        meter_provider=NoOpMeterProvider(),
        excluded_urls="",  # telemetry/edge.py decides, for all pillars
        # Without this every request makes three spans, and the two extra ones say nothing.
        exclude_spans=["receive", "send"],
        server_request_hook=_began,
    )


def _began(span: Span, scope: Scope) -> None:
    scope["app"] = scope[ORIGINALS][
        "app"
    ]  # the instrumentation has the route; who handles a crash wants the app
    trusted_callers.link(span, scope)


def instrument_client(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Give every call of ``client`` a CLIENT span and send ``traceparent`` with it."""
    HTTPX2ClientInstrumentor.instrument_client(client)
    return client


def trace_id() -> str:
    """The current trace id in its one spelling: 32 lower-case hex digits, zero-padded; empty outside a trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
