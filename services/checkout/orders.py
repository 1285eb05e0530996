"""The rules: price a basket, place an order, name its outcome; and the span that tells of it."""

import uuid
from decimal import Decimal
from typing import Annotated, NamedTuple, Self

import structlog
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from checkout.payment_client import PaymentClient, PaymentError

log = structlog.get_logger()
tracer = trace.get_tracer("checkout.orders")

MAX_TOTAL = 1_000_000
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Outcome(NamedTuple):
    """What became of an order, and how checkout says so."""

    name: str
    status: int
    message: str


SUCCESS = Outcome("success", 200, "Checkout complete")
DECLINED = Outcome("declined", 402, "Card declined")
FAILURES = {
    outcome.name: outcome
    for outcome in (
        Outcome("gateway_timeout", 500, "Payment gateway timeout"),
        Outcome("payment_slow", 504, "Payment took too long"),
        Outcome("payment_crashed", 502, "Payment failed"),
        Outcome("payment_unreachable", 503, "Payment unreachable"),
    )
}


class Item(BaseModel):
    """One line of a basket; ``unit_price`` in units of the basket's currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sku: Name
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)]
    unit_price: Annotated[Decimal, Field(gt=0, le=100_000, decimal_places=2)]


class Basket(BaseModel):
    """What a customer buys and the card that pays. A basket without items is not one; no basket at all is the default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=50)] = (
        Item(sku="tea", quantity=2, unit_price=Decimal("4.50")),
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "EUR"
    card: Name = "ordinary"
    order_id: Name = Field(default_factory=lambda: uuid.uuid4().hex, description="Give one to make a run repeat")

    @property
    def total(self) -> Decimal:
        """The price of it all, in units of ``currency``."""
        return sum((item.quantity * item.unit_price for item in self.items), Decimal(0))

    @model_validator(mode="after")
    def _total_is_bounded(self) -> Self:
        if self.total > MAX_TOTAL:
            message = f"the basket's total must not be over {MAX_TOTAL}"
            raise ValueError(message)
        return self


async def place(basket: Basket, payments: PaymentClient) -> Outcome:
    """Have the basket paid and name the outcome; never raises for a failing payment.

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
            authorised = await payments.charge(basket.order_id, basket.total, basket.currency, basket.card)
        except PaymentError as error:
            outcome = FAILURES[error.outcome]
            # The exception itself; its cause is recorded on the CLIENT span below.
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, outcome.message))
            span.set_attribute("error.type", outcome.name)
            structlog.contextvars.bind_contextvars(**{"error.type": outcome.name})
            log.error(f"order not placed: {error}")
        else:
            outcome = SUCCESS if authorised else DECLINED
        span.set_attribute("order.outcome", outcome.name)
    return outcome
