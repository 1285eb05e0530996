"""The service under load: ``python -m bench.http.app APP PORT install|spans|bare``.

``install`` runs the service with this project's telemetry, like ``python -m services.checkout``.
With ``bare`` the code of the services is unchanged, but every call of this project's telemetry
library ``three_pillars`` does nothing. With ``spans`` the OpenTelemetry instrumentation of FastAPI
is installed instead of ``three_pillars``.
"""

import sys

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_settings import SettingsConfigDict

import services.checkout.service
import services.payment.service
import three_pillars
from services.common import errors, server


class NothingSettings(server.ServiceSettings):
    """The settings of the app that does nothing, from variables like ``NOTHING_FAST_PATHS``."""

    model_config = SettingsConfigDict(env_prefix="NOTHING_")

    port: int = 8002


def do_nothing_app() -> FastAPI:
    """Return an app with telemetry whose only route, ``/nothing``, does no work.

    The mode on the command line decides which telemetry is installed.
    """
    settings = NothingSettings.load()
    app = errors.create_app("nothing")

    @app.get("/nothing")
    async def get_nothing() -> dict[str, str]:
        return {"status": "ok"}

    three_pillars.reduce_pauses()
    three_pillars.install(
        app,
        three_pillars.ServiceResource("nothing"),
        recording=three_pillars.Recording(settings.fast_paths),
    )
    return app


def install_spans(app: FastAPI, *_: object, **__: object) -> None:
    """Install only FastAPI's OpenTelemetry instrumentation: one span a request, sent in batches."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])


def build() -> FastAPI:
    """Return the app that the command line names, with the telemetry of the mode named there.

    uvicorn calls this function.
    """
    name, _, mode = sys.argv[1:]
    if mode != "install":
        three_pillars.reduce_pauses = lambda: None
    if mode == "bare":
        three_pillars.install = lambda *_, **__: None
        three_pillars.instrument_client = lambda client: client
    if mode == "spans":
        three_pillars.install = install_spans
    factories = {
        "nothing": do_nothing_app,
        "payment": services.payment.service.create_service,
        "checkout": services.checkout.service.create_service,
    }
    return factories[name]()


if __name__ == "__main__":
    settings = server.ServiceSettings(bind="127.0.0.1", port=int(sys.argv[2]), workers=1)
    server.serve("bench.http.app:build", settings)
