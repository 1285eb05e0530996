"""What the payment service simulates: latency, failures, and cards with a fixed behaviour."""

import asyncio
import math
import random
from decimal import Decimal
from typing import Self

from pydantic import BaseModel, Field, model_validator

from services.common.active_faults import active_faults

# The magic cards. Any other name is an ordinary card.
DECLINED = "declined"
GATEWAY_TIMEOUT = "gateway-timeout"
SLOW = "slow"
CRASH = "crash"

CARD_NETWORKS = {"visa", "mastercard", "amex"}
"""The names of the card networks; a card such as ``visa-7`` belongs to the network ``visa``."""

SLOW_NETWORK_FACTOR = 10


class GatewayTimeoutError(Exception):
    """The simulated gateway of the bank did not respond."""


class Faults(BaseModel):
    """Settings of the simulated gateway: its latency and its failures.

    While a drill runs, values in the JSON file ``drills`` override the fields.
    """

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
        0, description="Seed of the random draws, a whole number; each draw adds the order id"
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

    async def call_gateway(self, order_id: str, card: str, amount: Decimal) -> None:
        """Simulate a call of the bank's gateway: sleep for its latency, then return or raise.

        The random numbers depend only on ``seed`` and the order id. So the results are the same
        for any number of worker processes.

        Raises:
            GatewayTimeoutError: For the card ``gateway-timeout``; for an ordinary card, with the
                probability ``failure_rate``.
            RuntimeError: For the card ``crash``.
            OverflowError: For an amount over ``crash_over``.
        """
        current = self.model_copy(update=active_faults(self.drills))
        draw = random.Random(f"{current.seed}:{order_id}")  # noqa: S311  (a simulation, not a secret)
        latency_s = draw.uniform(current.latency_min, current.latency_max)
        if card == SLOW:
            latency_s = current.slow_seconds
        elif current.slow_network and card.startswith(current.slow_network):
            latency_s *= SLOW_NETWORK_FACTOR
        await asyncio.sleep(latency_s)
        if amount > current.crash_over:
            raise OverflowError(f"{amount} does not fit into the ledger")
        if card == CRASH:
            raise RuntimeError("simulated crash: the gateway's answer could not be read")
        if card == GATEWAY_TIMEOUT:
            raise GatewayTimeoutError
        if card not in {DECLINED, SLOW} and draw.random() < current.failure_rate:
            raise GatewayTimeoutError
