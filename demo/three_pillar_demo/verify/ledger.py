"""The ledger of a run: checkout's answer to each purchase.

The checks compare the telemetry with the ledger.
"""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify.outcomes import EXPECTED, Expected
from three_pillar_demo.verify.sampling import Sampling

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
"""The cards of a run's purchases, in this order. After the last card, the list begins again.

The first six cards together give every outcome that needs no outage.
"""

PurchaseCallback = Callable[[Purchase], Coroutine[None, None, None]]
"""An asynchronous function that is called with each answered purchase."""


@dataclass
class Ledger:
    """The purchases of one run and their answers. Times are seconds since the epoch.

    Attributes:
        purchases: The answered purchases.
        unanswered: One line for each purchase without an answer, with its number and the error.
        started: A time just before the first purchase.
        sampling: Which traces the Collector keeps.
    """

    purchases: list[Purchase] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    sampling: Sampling = field(default_factory=Sampling)

    @property
    def trace_ids(self) -> set[str]:
        """The trace ids of the answered purchases."""
        return {purchase.trace_id for purchase in self.purchases}

    @property
    def outcomes(self) -> Counter[str]:
        """The number of answered purchases, by outcome."""
        return Counter(purchase.outcome for purchase in self.purchases)

    @property
    def kept(self) -> list[Purchase]:
        """The purchases whose traces are certain to be kept."""
        return [purchase for purchase in self.purchases if self.sampling.is_kept(purchase)]

    @property
    def dropped(self) -> list[Purchase]:
        """The purchases whose traces are certain to be dropped."""
        return [purchase for purchase in self.purchases if self.sampling.is_dropped(purchase)]

    def checkout_statuses(self) -> Counter[str]:
        """Return the number of answers of checkout, by HTTP status."""
        return Counter(str(purchase.status) for purchase in self.purchases)

    def payment_statuses(self) -> Counter[str]:
        """Return the number of answers that payment must have given, by HTTP status.

        The statuses are those of ``outcomes.EXPECTED``. Purchases for which payment received no
        request are left out.
        """
        statuses = (expect(purchase).payment_status for purchase in self.purchases)
        return Counter(str(status) for status in statuses if status)


def exemplar_series(ledger: Ledger) -> set[tuple[str, str]]:
    """Return the pairs of route and HTTP status of which a service must have offered an exemplar.

    Under tail sampling it offers only answers whose traces are certain to be kept.
    """
    series = set()
    for purchase in ledger.purchases:
        answers = (
            ("/checkout", purchase.status),
            ("/charges", expect(purchase).payment_status),
        )
        series |= {
            (route, str(status))
            for route, status in answers
            if status and ledger.sampling.is_exemplar(purchase.trace_id, status)
        }
    return series


def expect(purchase: Purchase) -> Expected:
    """Return the row of ``outcomes.EXPECTED`` for the outcome of ``purchase``.

    For an unknown outcome, return a row with status 0, which no telemetry matches.
    """
    return EXPECTED.get(purchase.outcome, Expected(status=0, severity=""))


async def fill(
    count: int, rate: float, on_answer: PurchaseCallback, sampling: Sampling | None = None
) -> Ledger:
    """Start ``count`` purchases, ``rate`` a second, and return the ledger when all have ended.

    A purchase ends with an answer or with an error. Slow answers do not delay the next purchase.
    ``on_answer`` runs as a task of its own for each answered purchase; ``fill`` also waits for the
    end of these tasks.
    """
    run_id = uuid.uuid4().hex[:8]
    ledger = Ledger(sampling=sampling or Sampling())
    started_at = time.monotonic()
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
            await asyncio.sleep(max(0.0, started_at + number / rate - time.monotonic()))
            tasks.create_task(buy(number))
    return ledger
