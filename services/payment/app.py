"""The FastAPI application of the payment service: ``POST /charges``."""

import structlog
from fastapi import FastAPI
from starlette.responses import JSONResponse

from services.common import errors
from services.payment.charges import Charge, charge
from services.payment.faults import Faults, GatewayTimeoutError


def create_app(faults: Faults) -> FastAPI:
    """Return the application of payment, without telemetry.

    ``faults`` simulates the latency and the failures of the bank's gateway.
    """
    app = errors.create_app("payment")

    @app.post("/charges")
    async def post_charges(request: Charge) -> JSONResponse:
        structlog.contextvars.bind_contextvars(**{"order.id": request.order_id})
        try:
            outcome = await charge(request, faults)
        except GatewayTimeoutError:
            structlog.contextvars.bind_contextvars(**{"error.type": "gateway_timeout"})
            structlog.get_logger().error("the bank's gateway did not answer: order not charged")
            return errors.json_response(504, "gateway_timeout", detail="Gateway timeout")
        return errors.json_response(200, outcome)

    return app
