"""The rules: authorise or decline a charge."""

from decimal import Decimal
from typing import Annotated, Literal

from opentelemetry import trace
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.payment.faults import DECLINED, NETWORKS, Faults

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class Charge(BaseModel):
    """What to take, from which card, for which order. ``amount`` is in units of ``currency``, not in cents."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_id: Name
    amount: Annotated[Decimal, Field(gt=0, le=10_000_000, decimal_places=2)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    card: Name


async def charge(request: Charge, faults: Faults) -> Literal["authorised", "declined"]:
    """Ask the gateway and name the outcome; a failing gateway's exceptions pass through."""
    network = request.card.partition("-")[0]  # never the card itself
    trace.get_current_span().set_attribute(
        "card.network", network if network in NETWORKS else "other"
    )
    await faults.gateway(request.order_id, request.card, request.amount)
    return "declined" if request.card == DECLINED else "authorised"
