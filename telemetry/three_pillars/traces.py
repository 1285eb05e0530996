"""Traces: one SERVER span for each request and one CLIENT span for each outgoing call."""

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

from .boundary import ORIGINAL_SCOPE
from .fast_paths import FastPaths
from .trace_response import SPAN_CONTEXT
from .trusted_callers import link_untrusted_trace


def instrument(app: FastAPI, traces: TracerProvider, fast_paths: FastPaths) -> None:
    """Instrument ``app``: each request gets a SERVER span and a response header ``traceresponse``.

    With the fast path ``headers``, ``TraceResponseMiddleware`` adds this header instead.

    The tracer provider ``traces`` gets the spans.
    """
    _switch_off_own_telemetry(app)
    if not fast_paths.headers:
        set_global_response_propagator(TraceResponsePropagator())  # type: ignore[no-untyped-call]
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=traces,
        # Its metrics include background tasks and miss a crash in the middle of a stream;
        # request_recorder.py records ours.
        meter_provider=NoOpMeterProvider(),
        excluded_urls="",  # boundary.py excludes paths, for all three pillars
        # Without this every request has three spans, and the other two add no information.
        exclude_spans=["receive", "send"],
        server_request_hook=_on_span_started,
    )


def _switch_off_own_telemetry(app: FastAPI) -> None:
    """Switch off FastAPI's own telemetry, so that no request has two SERVER spans.

    That includes its automatic configuration: it would add exporters to the global providers, and
    so send everything a second time, and past the redaction. FastAPI would also stay inactive by
    itself, but only after a search for OpenTelemetry's middleware, in each request.
    """
    # FastAPI has no public switch for an application that exists.
    telemetry = app._telemetry  # noqa: SLF001
    for option in ("auto_configure", "tracing", "metrics", "logs"):
        telemetry[option] = False


def _on_span_started(span: Span, scope: Scope) -> None:
    # The instrumentation has read the route. Starlette's error handling needs the real application.
    scope["app"] = scope[ORIGINAL_SCOPE]["app"]
    scope[SPAN_CONTEXT] = span.get_span_context()
    link_untrusted_trace(span, scope)


def instrument_client(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Instrument ``client``, so that each call has a CLIENT span and a header ``traceparent``.

    Return the same client.
    """
    HTTPX2ClientInstrumentor.instrument_client(client)
    return client


def trace_id() -> str:
    """Return the current trace id as 32 lower-case hex digits, or an empty text outside a trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
