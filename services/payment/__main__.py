"""The edge of payment: reads settings, installs telemetry, starts uvicorn."""

from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import SettingsConfigDict

import three_pillars
from services.common import server
from services.payment.app import create_app
from services.payment.faults import Faults


class Settings(server.EdgeSettings, Faults):
    """Payment's settings: ``PAYMENT_PORT``, ``PAYMENT_FAILURE_RATE`` and so on."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_")

    port: int = Field(8001, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    inside: str = Field(
        "127.0.0.0/8,::1",
        description="Networks of callers whose traces go on here, comma-separated, or *",
    )


def app() -> FastAPI:
    """Build the whole service; uvicorn calls this once in each worker."""
    settings = Settings.load()
    app = create_app(settings)
    three_pillars.install(app, "payment", package="three-pillar-demo", inside=settings.inside)
    return app


if __name__ == "__main__":
    server.serve("services.payment.__main__:app", Settings.load())
