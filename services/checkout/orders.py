"""The business rules of checkout: compute the price of a basket, charge it, name the outcome."""

import uuid
from decimal import Decimal
from typing import Annotated, Self

import structlog
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.checkout.payment_client import PaymentClient, PaymentError

log = structlog.get_logger()
tracer = trace.get_tracer("checkout.orders")

CENT = Decimal("0.01")
MAX_TOTAL = 1_000_000
"""The highest total price of a basket, in units of its currency (not in cents)."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]

OUTCOMES = {
    "success": (200, "Checkout complete"),
    "declined": (402, "Card declined"),
    "gateway_timeout": (500, "Payment gateway timeout"),
    "payment_slow": (504, "Payment took too long"),
    "payment_crashed": (502, "Payment failed"),
    "payment_unreachable": (503, "Payment unreachable"),
    "payment_busy": (503, "Payment is busy"),
}
"""The outcomes of an order, each with the HTTP status and the message of checkout's response."""


class Item(BaseModel):
    """One item of a basket; ``unit_price`` is in units of the basket's currency, not in cents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Name
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)]
    unit_price: Annotated[Decimal, Field(gt=0, le=100_000, decimal_places=2)]


class Basket(BaseModel):
    """The body of a checkout request: the items that a customer buys and the card that pays.

    An empty list of items is invalid. A request without a body buys the default basket.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: Annotated[list[Item], Field(min_length=1, max_length=50)] = [
        Item(sku="tea", quantity=2, unit_price=Decimal("4.50"))
    ]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    card: Name = "ordinary"
    order_id: Name = Field(
        default_factory=lambda: uuid.uuid4().hex, description="Give one to make a run repeat"
    )

    @property
    def total(self) -> Decimal:
        """The price of all items, in units of ``currency``, with two decimal places."""
        total = sum((item.quantity * item.unit_price for item in self.items), Decimal(0))
        return total.quantize(CENT)

    @model_validator(mode="after")
    def _total_is_bounded(self) -> Self:
        if self.total > MAX_TOTAL:
            raise ValueError(f"the basket's total must not be over {MAX_TOTAL}")
        return self


async def place_order(basket: Basket, payments: PaymentClient) -> str:
    """Charge the card for ``basket``, and return the outcome, a key of ``OUTCOMES``.

    A failed payment does not raise an exception: it is an outcome, and gives the span
    ``place order`` an error status. A declined card is an expected outcome, so the span gets no
    error status.
    """
    attributes: dict[str, str | float] = {
        "order.id": basket.order_id,
        "order.amount": float(basket.total),
        "order.currency": basket.currency,
    }
    structlog.contextvars.bind_contextvars(**attributes)
    with tracer.start_as_current_span("place order", attributes=attributes) as span:
        try:
            outcome = await payments.charge(
                basket.order_id, basket.total, basket.currency, basket.card
            )
        except PaymentError as error:
            outcome = error.outcome
            _, message = OUTCOMES[outcome]
            # The cause of the error is recorded on the CLIENT span, a child of this one.
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, message))
            span.set_attribute("error.type", outcome)
            structlog.contextvars.bind_contextvars(**{"error.type": outcome})
            log.error(f"order not placed: {error}")
        span.set_attribute("order.outcome", outcome)
    return outcome
