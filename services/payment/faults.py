"""Everything that is simulated, in one visible place: latency, failure rate, and cards that always misbehave."""

import asyncio
import math
import random
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, Field, model_validator

from services.common.active_faults import faults

DECLINED, GATEWAY_TIMEOUT, SLOW, CRASH = "declined", "gateway-timeout", "slow", "crash"
"""The magic cards. Any other name is an ordinary card."""
NETWORKS = {"visa", "mastercard", "amex"}
"""A card that is called after one, like ``visa-7``, is of that network, and its gateway is the network's."""


class GatewayTimeoutError(Exception):
    """The bank's gateway did not answer."""


class Faults(BaseModel):
    """How payment misbehaves."""

    latency_min: float = Field(
        0.1, ge=0, le=60, description="Seconds a charge takes at least, 0 to 60"
    )
    latency_max: float = Field(
        0.5, ge=0, le=60, description="Seconds a charge takes at most, 0 to 60"
    )
    failure_rate: float = Field(
        0.2, ge=0, le=1, description="Share of ordinary cards whose gateway times out, 0 to 1"
    )
    slow_seconds: float = Field(
        3.0, ge=0, le=60, description="Seconds the card `slow` takes, 0 to 60"
    )
    seed: int = Field(
        0, description="Seed of the draw, a whole number; the order id is the rest of it"
    )
    slow_network: str = Field(
        "", description="Card network whose gateway is ten times slower: visa, mastercard or amex"
    )
    crash_over: float = Field(
        math.inf, gt=0, description="Amount over which a charge crashes, over 0"
    )
    drills: str = ""

    @model_validator(mode="after")
    def _latency_is_a_range(self) -> Self:
        if self.latency_min > self.latency_max:
            raise ValueError("latency_min must not be over latency_max")
        return self

    async def gateway(self, order_id: str, card: str, amount: Decimal) -> None:
        """Take the time a gateway takes, then answer, fail or crash.

        The draw is seeded with the order id, so a run repeats with any number of workers.

        Raises:
            GatewayTimeoutError: By chance, or for the card ``gateway-timeout``.
            RuntimeError: For the card ``crash``.
            OverflowError: For an amount over ``crash_over``.
        """
        now = self.model_copy(update=faults(self.drills))
        draw = random.Random(f"{now.seed}:{order_id}")  # noqa: S311  (a simulation, not a secret)
        times = 10 if now.slow_network and card.startswith(now.slow_network) else 1
        await asyncio.sleep(
            now.slow_seconds
            if card == SLOW
            else times * draw.uniform(now.latency_min, now.latency_max)
        )
        if amount > now.crash_over:
            raise OverflowError(f"{amount} does not fit into the ledger")
        if card == CRASH:
            raise RuntimeError("simulated crash: the gateway's answer could not be read")
        by_chance = card not in {DECLINED, SLOW} and draw.random() < now.failure_rate
        if card == GATEWAY_TIMEOUT or by_chance:
            raise GatewayTimeoutError
