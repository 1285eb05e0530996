"""Everything that is simulated, in one visible place: latency, failure rate, and cards that always misbehave.

The draw is seeded with the order id, so a run repeats with any number of workers.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

DECLINED, GATEWAY_TIMEOUT, SLOW, CRASH = "declined", "gateway-timeout", "slow", "crash"
"""The magic cards. Any other name is an ordinary card."""


class GatewayTimeoutError(Exception):
    """The bank's gateway did not answer."""


@dataclass(frozen=True)
class Faults:
    """How payment misbehaves: latency in seconds, and the share of ordinary cards whose gateway times out."""

    latency_min: float = 0.1
    latency_max: float = 0.5
    failure_rate: float = 0.2
    slow_seconds: float = 3.0
    seed: int = 0

    async def gateway(self, order_id: str, card: str) -> None:
        """Be the gateway: take the time it takes, then answer, fail or crash.

        Raises:
            GatewayTimeoutError: By chance, or for the card ``gateway-timeout``.
            RuntimeError: For the card ``crash``.
        """
        draw = random.Random(f"{self.seed}:{order_id}")  # noqa: S311  (a simulation, not a secret)
        await asyncio.sleep(self.slow_seconds if card == SLOW else draw.uniform(self.latency_min, self.latency_max))
        if card == CRASH:
            message = "simulated crash: the gateway's answer could not be read"
            raise RuntimeError(message)
        by_chance = card not in {DECLINED, SLOW} and draw.random() < self.failure_rate
        if card == GATEWAY_TIMEOUT or by_chance:
            raise GatewayTimeoutError
