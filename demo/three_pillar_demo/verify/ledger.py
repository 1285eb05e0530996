"""The ledger: the purchases of one run as the customer saw them, to compare telemetry with."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify.outcomes import EXPECTED, Expected

CARDS = (
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
"""The cards of the purchases, repeated. The first six give every outcome that needs no outage."""

PurchaseCallback = Callable[[Purchase], Coroutine[None, None, None]]


@dataclass
class Ledger:
    """The purchases of one run. Times are seconds since the epoch.

    Attributes:
        purchases: The answered purchases.
        unanswered: One line for each purchase without an answer.
        started: The time before the first purchase.
        finished: The time after the last answer.
    """

    purchases: list[Purchase] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    finished: float = 0.0

    @property
    def trace_ids(self) -> set[str]:
        """The trace ids of the answered purchases."""
        return {purchase.trace_id for purchase in self.purchases}

    @property
    def outcomes(self) -> Counter[str]:
        """The number of purchases by outcome."""
        return Counter(purchase.outcome for purchase in self.purchases)

    def checkout_statuses(self) -> Counter[str]:
        """Return the number of checkout's answers by HTTP status."""
        return Counter(str(purchase.status) for purchase in self.purchases)

    def payment_statuses(self) -> Counter[str]:
        """Return the number of payment's answers by HTTP status, from the outcome table."""
        statuses = (expect(purchase).payment_status for purchase in self.purchases)
        return Counter(str(status) for status in statuses if status)


def expect(purchase: Purchase) -> Expected:
    """Return the row of the outcome table; an unknown outcome gets a row that nothing matches."""
    return EXPECTED.get(purchase.outcome, Expected(status=0, severity=""))


async def fill(count: int, rate: float, on_answer: PurchaseCallback) -> Ledger:
    """Buy ``count`` times at ``rate`` a second, however long the answers take.

    ``on_answer`` is started as a task for each answered purchase; the function returns when all
    of these tasks have ended.
    """
    run_id = uuid.uuid4().hex[:8]
    ledger = Ledger()
    began = time.monotonic()
    async with checkout_client.client(connections=count) as http, asyncio.TaskGroup() as tasks:

        async def buy(number: int) -> None:
            card = CARDS[number % len(CARDS)]
            try:
                purchase = await checkout_client.buy(http, card, f"verify-{run_id}-{number}")
            except checkout_client.CheckoutError as error:
                ledger.unanswered.append(f"purchase {number}: {error}")
                return
            ledger.purchases.append(purchase)
            tasks.create_task(on_answer(purchase))

        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            tasks.create_task(buy(number))
    ledger.finished = time.time()
    return ledger
