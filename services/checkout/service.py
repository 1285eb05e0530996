"""The settings of the checkout service, and its application with telemetry."""

from importlib.metadata import version
from typing import ClassVar

from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import SettingsConfigDict

import three_pillars
from services.checkout import faults
from services.checkout.app import create_app
from services.checkout.payment_client import PaymentClient
from services.common.server import ServiceSettings
from services.common.tail_sampling import TailSamplingSettings
from three_pillars.variable_types import HTTP_ADDRESS


class Settings(ServiceSettings):
    """Checkout's settings, from the variables ``CHECKOUT_PORT``, ``CHECKOUT_PAYMENT_URL`` etc."""

    model_config = SettingsConfigDict(env_prefix="CHECKOUT_")
    former_names: ClassVar[dict[str, str]] = {"trusted_networks": "CHECKOUT_INSIDE"}

    port: int = Field(8000, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    payment_url: str = Field(
        "http://127.0.0.1:8001",
        pattern=f"{HTTP_ADDRESS}$",
        description="Address of payment, like http://127.0.0.1:8001",
    )
    payment_timeout: float = Field(
        2.0, gt=0, le=60, description="Seconds to wait for payment, over 0 and up to 60"
    )
    # 50 purchases a second that all take the whole time limit of 2 s. More than that is a payment
    # service in trouble, and a longer queue does not help.
    payment_connections: int = Field(
        100, ge=1, le=1000, description="Concurrent calls of payment by each worker, 1 to 1000"
    )


def create_service() -> FastAPI:
    """Build checkout's application with telemetry, once in each worker process of uvicorn."""
    settings = Settings.load()
    payments = _payment_client(settings)
    app = create_app(payments)
    if settings.drills:
        app.add_middleware(faults.blocking, drills=settings.drills)
    three_pillars.reduce_pauses()
    three_pillars.install(
        app,
        three_pillars.ServiceResource(
            name="checkout",
            version=version("three-pillar-demo"),
            namespace="shop",
            environment="demo",
        ),
        trusted_networks=settings.trusted_networks,
        recording=three_pillars.Recording(settings.fast_paths, TailSamplingSettings.load().rule()),
    )
    # After install(), which makes the providers that this uses the process's own.
    three_pillars.instrument_client(payments.http)
    return app


def _payment_client(settings: Settings) -> PaymentClient:
    """Return a client of payment.

    If ``settings.drills`` is set, a drill can make the client fail.
    """
    url = settings.payment_url
    timeout_s = settings.payment_timeout
    connections = settings.payment_connections
    if settings.drills:
        return faults.FaultyPaymentClient(settings.drills, url, timeout_s, connections)
    return PaymentClient(url, timeout_s, connections)
