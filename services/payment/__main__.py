"""The edge of payment: reads settings, installs telemetry, starts uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

import telemetry
from doors import edge
from payment.app import create_app
from payment.faults import Faults

if TYPE_CHECKING:
    from fastapi import FastAPI


class Settings(edge.EdgeSettings):
    """Payment's settings: ``PAYMENT_PORT``, ``PAYMENT_FAILURE_RATE`` and so on."""

    model_config = SettingsConfigDict(env_prefix="PAYMENT_")

    port: int = Field(8001, ge=1, le=65535)
    latency_min: float = Field(Faults.latency_min, ge=0, le=60, description="Seconds a charge takes at least")
    latency_max: float = Field(Faults.latency_max, ge=0, le=60, description="Seconds a charge takes at most")
    failure_rate: float = Field(Faults.failure_rate, ge=0, le=1, description="Share of ordinary cards that time out")
    slow_seconds: float = Field(Faults.slow_seconds, ge=0, le=60, description="Seconds the card `slow` takes")
    seed: int = Field(Faults.seed, description="Seed of the draw; the order id is the rest of it")

    @model_validator(mode="after")
    def _latency_is_a_range(self) -> Self:
        if self.latency_min > self.latency_max:
            message = "PAYMENT_LATENCY_MIN must not be over PAYMENT_LATENCY_MAX"
            raise ValueError(message)
        return self


def app() -> FastAPI:
    """The whole service; uvicorn calls this once in each worker."""
    settings = edge.load(Settings)
    app = create_app(Faults(**settings.model_dump(exclude={"bind", "port", "workers"})))
    telemetry.install(app, "payment", package="three-pillar-demo")
    return app


if __name__ == "__main__":
    edge.serve("payment.__main__:app", edge.load(Settings))
