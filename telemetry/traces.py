"""Traces: one SERVER span a request, one CLIENT span a call, sent to the Collector in batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.instrumentation.propagators import TraceResponsePropagator, set_global_response_propagator
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Status
from requests import Session

from telemetry import redact, trust
from telemetry.otlp import encodable


def to_collector(resource: Resource, session: Session | None) -> TracerProvider:
    """A provider that sends spans by OTLP, or to nobody without a ``session``; it becomes the process's own."""
    # shutdown_on_exit is off everywhere: the lifespan flushes with a time limit, atexit would wait 30 s.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    if session:
        provider.add_span_processor(BatchSpanProcessor(SpanExporter(session=session)))
    trace.set_tracer_provider(provider)
    return provider


class SpanExporter(OTLPSpanExporter):
    """Redacts; and spells out what OTLP cannot carry: one such text, from an exception, would cost the whole batch."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``."""
        return super().export([each if _is_plain(each) else _spelled(each) for each in spans])


def _is_plain(span: ReadableSpan) -> bool:
    events = [(each.name, dict(each.attributes or {})) for each in span.events]
    said = ascii((span.name, span.status.description, dict(span.attributes or {}), events))
    return "\\" not in said and not redact.hinted(said)


def _spelled(span: ReadableSpan) -> ReadableSpan:
    same = ("context", "parent", "resource", "links", "kind", "start_time", "end_time", "instrumentation_scope")

    def told(about: Mapping[str, Any] | None) -> dict[str, Any]:
        return redact.fields(encodable(dict(about or {})))

    return ReadableSpan(
        redact.text(encodable(span.name)),
        attributes=told(span.attributes),
        events=[Event(redact.text(encodable(each.name)), told(each.attributes), each.timestamp) for each in span.events],
        status=Status(span.status.status_code, redact.text(encodable(span.status.description or "")) or None),
        **{name: getattr(span, name) for name in same},
    )


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
        server_request_hook=trust.link,
    )


def instrument_client(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Give every call of ``client`` a CLIENT span and send ``traceparent`` with it."""
    HTTPX2ClientInstrumentor.instrument_client(client)
    return client


def trace_id() -> str:
    """The current trace id in its one spelling: 32 lower-case hex digits, zero-padded; empty outside a trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
