"""The FastAPI application of the checkout service: ``POST /checkout``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import JSONResponse

from services.checkout.orders import OUTCOMES, Basket, place_order
from services.checkout.payment_client import PaymentClient
from services.common import errors


def create_app(payments: PaymentClient) -> FastAPI:
    """Return the application of checkout, without telemetry.

    The application charges cards through ``payments``. When the application stops, it closes the
    HTTP client of ``payments``.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await payments.http.aclose()

    app = errors.create_app("checkout", lifespan)

    @app.post("/checkout")
    async def post_checkout(basket: Basket | None = None) -> JSONResponse:
        basket = basket or Basket()
        outcome = await place_order(basket, payments)
        status, message = OUTCOMES[outcome]
        fields = {"detail": message}
        if outcome == "success":
            fields = {"status": "success", "message": message}
        return errors.json_response(
            status,
            outcome,
            **fields,
            order_id=basket.order_id,
            amount=str(basket.total),
            currency=basket.currency,
        )

    return app
