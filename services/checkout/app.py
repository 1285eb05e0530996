"""The door of checkout: ``POST /checkout``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import JSONResponse

from services.checkout.orders import OUTCOMES, Basket, place
from services.checkout.payment_client import PaymentClient
from services.common import errors


def create_app(payments: PaymentClient) -> FastAPI:
    """The app without telemetry; it closes ``payments`` when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await payments.http.aclose()

    app = errors.create_app("checkout", lifespan)

    @app.post("/checkout")
    async def post_checkout(basket: Basket | None = None) -> JSONResponse:
        basket = basket or Basket()
        outcome = await place(basket, payments)
        status, message = OUTCOMES[outcome]
        said = (
            {"status": "success", "message": message}
            if outcome == "success"
            else {"detail": message}
        )
        order = {
            "order_id": basket.order_id,
            "amount": str(basket.total),
            "currency": basket.currency,
        }
        return errors.answer(status, outcome, **said, **order)

    return app
