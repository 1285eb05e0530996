"""The service under load, as ``python -m services.checkout`` runs it: ``python -m bench.http.app APP PORT install|spans|bare``.

With ``bare`` the services' own code runs unchanged, and the two calls into ``telemetry/`` do nothing; with ``spans`` the first
is the instrumentation alone.
"""

import sys

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import services.checkout.service
import services.payment.service
import three_pillars
from services.common import errors, server


def nothing() -> FastAPI:
    """An app with a route that does nothing."""
    app = errors.create_app("nothing")

    @app.get("/nothing")
    async def get_nothing() -> dict[str, str]:
        return {"status": "ok"}

    three_pillars.reduce_pauses()
    three_pillars.install(app, three_pillars.ServiceResource("nothing"))
    return app


def spans(app: FastAPI, *_: object, **__: object) -> None:
    """Make one span a request, and nothing else, with the SDK's own batches."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


def build() -> FastAPI:
    """Build what the command line names; uvicorn calls this."""
    app, _, how = sys.argv[1:]
    if how != "install":
        three_pillars.reduce_pauses = lambda: None
    if how == "bare":
        three_pillars.install = lambda *_, **__: None
        three_pillars.instrument_client = lambda client: client
    if how == "spans":
        three_pillars.install = spans
    return {
        "nothing": nothing,
        "payment": services.payment.service.create_service,
        "checkout": services.checkout.service.create_service,
    }[app]()


if __name__ == "__main__":
    server.serve(
        "bench.http.app:build",
        server.ServiceSettings(bind="127.0.0.1", port=int(sys.argv[2]), workers=1),
    )
