"""The edge of checkout: reads settings, installs telemetry, starts uvicorn."""

from fastapi import FastAPI
from pydantic import Field
from pydantic_settings import SettingsConfigDict

import three_pillars
from services.checkout import faults
from services.checkout.app import create_app
from services.checkout.payment_client import PaymentClient
from services.common import server
from three_pillars.environment import PORT

ADDRESS = rf"^https?://([\w.-]+|\[[0-9a-fA-F:]+\]){PORT}$"


class Settings(server.EdgeSettings):
    """Checkout's settings: ``CHECKOUT_PORT``, ``CHECKOUT_PAYMENT_URL`` and so on."""

    model_config = SettingsConfigDict(env_prefix="CHECKOUT_")

    port: int = Field(8000, ge=1, le=65535, description="Port to listen on, 1 to 65535")
    payment_url: str = Field(
        "http://127.0.0.1:8001", pattern=ADDRESS, description="Payment, like http://127.0.0.1:8001"
    )
    payment_timeout: float = Field(
        2.0, gt=0, le=60, description="Seconds to wait for payment, over 0 and up to 60"
    )
    # 50 purchases a second that all take the whole time-out of 2 s: more is a payment service in trouble, and a queue no help.
    payment_connections: int = Field(
        100, ge=1, le=1000, description="Calls to payment at once, in each worker, 1 to 1000"
    )


def app() -> FastAPI:
    """The whole service; uvicorn calls this once in each worker."""
    settings = Settings.load()
    payment = (settings.payment_url, settings.payment_timeout, settings.payment_connections)
    payments = (
        faults.FaultyClient(settings.drills, *payment)
        if settings.drills
        else PaymentClient(*payment)
    )
    app = create_app(payments)
    if settings.drills:
        app.add_middleware(faults.blocking, drills=settings.drills)
    three_pillars.install(app, "checkout", package="three-pillar-demo", inside=settings.inside)
    three_pillars.instrument_client(
        payments.http
    )  # after install: it takes the providers that install made the process's own
    return app


if __name__ == "__main__":
    server.serve("services.checkout.__main__:app", Settings.load())
