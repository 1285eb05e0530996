"""The doors of checkout: ``POST /checkout`` and ``GET /healthz``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import JSONResponse

from checkout.orders import SUCCESS, Basket, place
from checkout.payment_client import PaymentClient
from doors import answers
from doors.body import BodyLimit


def create_app(payments: PaymentClient) -> FastAPI:
    """The app without telemetry; it closes ``payments`` when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await payments.http.aclose()

    app = FastAPI(title="checkout", docs_url=None, redoc_url=None, lifespan=lifespan)  # both pages load scripts from a CDN
    app.add_middleware(BodyLimit)
    answers.install(app)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/checkout")
    async def post_checkout(basket: Basket | None = None) -> JSONResponse:
        basket = basket or Basket()
        outcome = await place(basket, payments)
        said = {"status": "success", "message": outcome.message} if outcome is SUCCESS else {"detail": outcome.message}
        order = {"order_id": basket.order_id, "amount": str(basket.total), "currency": basket.currency}
        return answers.answer(outcome.status, outcome.name, **said, **order)

    return app
