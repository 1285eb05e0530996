"""Traces: one SERVER span a request, one CLIENT span a call, sent to the Collector in batches."""

from collections.abc import Sequence

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
    """Spells out what a failed request's exception said: one piece of text that OTLP cannot carry costs the whole batch."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send ``spans``."""
        return super().export([each if _is_plain(each) else _spelled(each) for each in spans])


def _is_plain(span: ReadableSpan) -> bool:
    values = [span.name, span.status.description, *(span.attributes or {}).values()]
    values += [value for each in span.events for value in (each.name, *(each.attributes or {}).values())]
    return all(value.isascii() for value in values if isinstance(value, str))


def _spelled(span: ReadableSpan) -> ReadableSpan:
    same = ("context", "parent", "resource", "links", "kind", "start_time", "end_time", "instrumentation_scope")
    return ReadableSpan(
        encodable(span.name),
        attributes=encodable(dict(span.attributes or {})),
        events=[Event(encodable(each.name), encodable(dict(each.attributes or {})), each.timestamp) for each in span.events],
        status=Status(span.status.status_code, encodable(span.status.description)),
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
    )


def instrument_client(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Give every call of ``client`` a CLIENT span and send ``traceparent`` with it."""
    HTTPX2ClientInstrumentor.instrument_client(client)
    return client


def trace_id() -> str:
    """The current trace id in its one spelling: 32 lower-case hex digits, zero-padded; empty outside a trace."""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""
