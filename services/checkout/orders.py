"""The rules: price a basket, place an order, name its outcome; and the span that tells of it."""

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

MAX_TOTAL, CENT = 1_000_000, Decimal("0.01")
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
"""What can become of an order: the status and the words of checkout's answer."""


class Item(BaseModel):
    """One line of a basket; ``unit_price`` in units of the basket's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Name
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)]
    unit_price: Annotated[Decimal, Field(gt=0, le=100_000, decimal_places=2)]


class Basket(BaseModel):
    """What a customer buys and the card that pays. A basket without items is not one; no basket at all is the default."""

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
        """The price of it all, in units of ``currency``."""
        return sum((item.quantity * item.unit_price for item in self.items), Decimal(0)).quantize(
            CENT
        )

    @model_validator(mode="after")
    def _total_is_bounded(self) -> Self:
        if self.total > MAX_TOTAL:
            raise ValueError(f"the basket's total must not be over {MAX_TOTAL}")
        return self


async def place(basket: Basket, payments: PaymentClient) -> str:
    """Have the basket paid and name the outcome, one of ``OUTCOMES``; never raises for a failing payment.

    A decline is business, not a fault: its span stays without error status.
    """
    about: dict[str, str | float] = {
        "order.id": basket.order_id,
        "order.amount": float(basket.total),
        "order.currency": basket.currency,
    }
    structlog.contextvars.bind_contextvars(**about)
    with tracer.start_as_current_span("place order", attributes=about) as span:
        try:
            outcome = await payments.charge(
                basket.order_id, basket.total, basket.currency, basket.card
            )
        except PaymentError as error:
            outcome = error.outcome
            span.record_exception(error)  # its cause is recorded on the CLIENT span below
            span.set_status(Status(StatusCode.ERROR, OUTCOMES[outcome][1]))
            span.set_attribute("error.type", outcome)
            structlog.contextvars.bind_contextvars(**{"error.type": outcome})
            log.error(f"order not placed: {error}")
        span.set_attribute("order.outcome", outcome)
    return outcome
