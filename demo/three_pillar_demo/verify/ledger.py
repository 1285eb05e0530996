"""The truth that everything else is compared with: the customer's own record of what was bought and what the shop said."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify.outcomes import EXPECTED, Expected

PLAN = (
    "ordinary",
    "declined",
    "gateway-timeout",
    "slow",
    "crash",
    "invalid",
    "ordinary",
    "ordinary",
    "ordinary",
    "ordinary",
)
"""Cards, over and over: the first six purchases already have every outcome that needs no outage."""

Bought = Callable[[Purchase], Coroutine[None, None, None]]


@dataclass
class Ledger:
    """Purchases, and what they must have left behind."""

    purchases: list[Purchase] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    finished: float = 0.0

    @property
    def trace_ids(self) -> set[str]:
        """The trace of each purchase."""
        return {purchase.trace_id for purchase in self.purchases}

    @property
    def outcomes(self) -> Counter[str]:
        """How often each outcome was answered."""
        return Counter(purchase.outcome for purchase in self.purchases)

    def checkout_statuses(self) -> Counter[str]:
        """Checkout's answers by HTTP status."""
        return Counter(str(purchase.status) for purchase in self.purchases)

    def payment_statuses(self) -> Counter[str]:
        """Payment's answers by HTTP status, as the outcome table has them."""
        expected = (expect(purchase) for purchase in self.purchases)
        return Counter(str(each.payment_status) for each in expected if each.payment_status)


def expect(purchase: Purchase) -> Expected:
    """What ``purchase`` must have left behind; an outcome that is not in the table matches nothing."""
    return EXPECTED.get(purchase.outcome, Expected(status=0, severity=""))


async def fill(count: int, rate: float, bought: Bought) -> Ledger:
    """Buy ``count`` times at ``rate`` a second, whatever the answers take; ``bought`` is called with each, as it comes."""
    run = uuid.uuid4().hex[:8]
    ledger = Ledger()
    began = time.monotonic()
    async with checkout_client.client(connections=count) as http, asyncio.TaskGroup() as tasks:

        async def one(number: int) -> None:
            try:
                purchase = await checkout_client.buy(
                    http, PLAN[number % len(PLAN)], f"verify-{run}-{number}"
                )
            except checkout_client.ShopError as error:
                ledger.unanswered.append(f"purchase {number}: {error}")
                return
            ledger.purchases.append(purchase)
            tasks.create_task(bought(purchase))

        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.create_task(one(number))
    ledger.finished = time.time()
    return ledger
