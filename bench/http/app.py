"""The service under load, as ``python -m services.checkout`` runs it: ``python -m bench.http.app APP PORT install|spans|bare``.

With ``bare`` the services' own code runs unchanged, and the two calls into ``telemetry/`` do nothing; with ``spans`` the first
is the instrumentation alone.
"""

import os
import sys

import three_pillars.environment  # first: OpenTelemetry reads variables while it is imported

# isort: split
import three_pillars

# isort: split
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import services.checkout.__main__
import services.payment.__main__
from services.common import errors, server


def nothing() -> FastAPI:
    """An app with a route that does nothing."""
    app = errors.create_app("nothing")

    @app.get("/nothing")
    async def get_nothing() -> dict[str, str]:
        return {"status": "ok"}

    three_pillars.install(app, "nothing", package="three-pillar-demo")
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
    if how == "bare":
        for name in (
            *three_pillars.environment.DEFAULTS,
            "OTEL_SEMCONV_STABILITY_OPT_IN",
        ):  # ours, and no default of others
            os.environ.pop(name, None)
        three_pillars.install = lambda *_, **__: None
        three_pillars.instrument_client = lambda client: client
    if how == "spans":
        three_pillars.install = spans
    return {
        "nothing": nothing,
        "payment": services.payment.__main__.app,
        "checkout": services.checkout.__main__.app,
    }[app]()


if __name__ == "__main__":
    server.serve(
        "bench.http.app:build",
        server.EdgeSettings(bind="127.0.0.1", port=int(sys.argv[2]), workers=1),
    )
