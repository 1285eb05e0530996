"""The settings of the payment service, and its application with telemetry."""

from importlib.metadata import version
from typing import ClassVar

from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import SettingsConfigDict

import three_pillars
from services.common.server import ServiceSettings
from services.common.tail_sampling import TailSamplingSettings
from services.payment.app import create_app
from services.payment.faults import Faults


class Settings(ServiceSettings, Faults):
    """Payment's settings, from the variables ``PAYMENT_PORT``, ``PAYMENT_FAILURE_RATE`` etc."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_")
    former_names: ClassVar[dict[str, str]] = {"trusted_networks": "PAYMENT_INSIDE"}

    port: int = Field(8001, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    trusted_networks: str = Field(
        "127.0.0.0/8,::1",
        description="Networks of callers whose traces are continued, comma-separated, or * for all",
    )


def create_service() -> FastAPI:
    """Build payment's application with telemetry, once in each worker process of uvicorn."""
    settings = Settings.load()
    app = create_app(settings)
    three_pillars.reduce_pauses()
    three_pillars.install(
        app,
        three_pillars.ServiceResource(
            name="payment",
            version=version("three-pillar-demo"),
            namespace="shop",
            environment="demo",
        ),
        trusted_networks=settings.trusted_networks,
        recording=three_pillars.Recording(settings.fast_paths, TailSamplingSettings.load().rule()),
    )
    return app
