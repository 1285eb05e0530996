"""The business rules of payment: authorise or decline a charge."""

from decimal import Decimal
from typing import Annotated, Literal

from opentelemetry import trace
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.payment.faults import CARD_NETWORKS, DECLINED, Faults

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Charge(BaseModel):
    """The body of a request to charge a card; ``amount`` is in units of ``currency``, not cents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_id: Name
    amount: Annotated[Decimal, Field(gt=0, le=10_000_000, decimal_places=2)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    card: Name


async def charge(request: Charge, faults: Faults) -> Literal["authorised", "declined"]:
    """Charge the card of ``request`` by the simulated gateway, and return the outcome.

    The exceptions of ``Faults.call_gateway`` are not caught.
    """
    # Telemetry gets the card's network, never the card itself.
    network = request.card.partition("-")[0]
    if network not in CARD_NETWORKS:
        network = "other"
    trace.get_current_span().set_attribute("card.network", network)
    await faults.call_gateway(request.order_id, request.card, request.amount)
    return "declined" if request.card == DECLINED else "authorised"
