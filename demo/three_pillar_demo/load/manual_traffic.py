"""Purchases that a person starts in the web UI: single ones, and a stream at a steady rate.

Each purchase is listed at once, before checkout has answered. All of them end with the process.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import SERVER_ERROR
from three_pillar_demo.load.traffic import DAY_S, LoadPlan

MAX_LISTED = 200
"""Purchases that are remembered."""
MAX_UNDER_WAY = 200
"""Purchases without an answer; a purchase beyond it is skipped, so that a service that never
answers cannot fill the memory."""
MAX_RATE = 50
"""Purchases a second of a stream."""
CARDS = ("ordinary", "declined", "gateway-timeout", "slow", "crash", "invalid")
MAX_TIMES = 10
"""Purchases that one call of ``buy`` may start."""
NO_ANSWER = "no answer"
"""The outcome of a purchase that checkout did not answer."""
SEARCH_TIMEOUT_S = 30.0
"""The age at which a trace is assumed to be readable although no search has found it."""


@dataclass
class ManualPurchase:
    """One purchase in the list.

    Attributes:
        number: Its number, from 1.
        card: The card that pays.
        time: Its start, in seconds since the epoch.
        outcome: Empty until there is an answer.
        status: The HTTP status; 0 until there is an answer.
        seconds: The duration; None until there is an answer.
        trace_id: Empty until there is an answer.
        trace_found: Whether the trace can be read in the trace store.
    """

    number: int
    card: str
    time: float
    outcome: str = ""
    status: int = 0
    seconds: float | None = None
    trace_id: str = ""
    trace_found: bool = False

    @property
    def failed(self) -> bool:
        """Whether checkout answered with 500 or more, or not at all."""
        return self.status >= SERVER_ERROR or self.outcome == NO_ANSWER


class ManualTraffic:
    """Starts purchases through ``http``, a client of checkout, and lists them."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.purchases: deque[ManualPurchase] = deque(maxlen=MAX_LISTED)
        self.numbers = count(1)
        self.under_way = set[asyncio.Task[None]]()
        self.streaming: asyncio.Task[None] | None = None
        self.rate = 0.0
        self.sent = 0
        self.not_sent = 0

    def buy(self, card: str, times: int = 1, order_id: str | None = None) -> None:
        """Start ``times`` purchases; they are in the list at once.

        Raises:
            ValueError: The card is unknown, or ``times`` is not 1 to 10.
        """
        if card not in CARDS or not 1 <= times <= MAX_TIMES:
            raise ValueError(f"a card is one of: {', '.join(CARDS)}; 1 to {MAX_TIMES} times")
        for _ in range(times):
            if len(self.under_way) >= MAX_UNDER_WAY:
                self.not_sent += 1
                continue
            purchase = ManualPurchase(next(self.numbers), card, time.time())
            self.purchases.appendleft(purchase)
            task = asyncio.create_task(self._buy(purchase, order_id))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _buy(self, purchase: ManualPurchase, order_id: str | None) -> None:
        try:
            answer = await checkout_client.buy(self.http, purchase.card, order_id)
        except checkout_client.CheckoutError:
            purchase.outcome = NO_ANSWER
            purchase.seconds = time.time() - purchase.time
        else:
            purchase.outcome = answer.outcome
            purchase.status = answer.status
            purchase.trace_id = answer.trace_id
            purchase.seconds = answer.finished - answer.started

    def stream(self, rate: float) -> None:
        """Start ``rate`` purchases a second from now on; 0 ends the stream.

        Raises:
            ValueError: The rate is not 0 to ``MAX_RATE``.
        """
        if not 0 <= rate <= MAX_RATE:  # false for NaN, so NaN is refused as well
            raise ValueError(f"a rate is 0 to {MAX_RATE} a second")
        if self.streaming:
            self.streaming.cancel()
            self.streaming = None
        self.rate = rate
        if rate:
            self.sent = 0
            self.not_sent = 0
            plan = LoadPlan(rate, DAY_S, seed=secrets.randbelow(10**9))
            self.streaming = asyncio.create_task(self._stream(plan))

    async def _stream(self, plan: LoadPlan) -> None:
        began = time.monotonic()
        for arrival, card, order_id in plan.arrivals():
            await asyncio.sleep(began + arrival - time.monotonic())
            self.sent += 1
            self.buy(card, order_id=order_id)
        self.rate = 0.0

    def waiting(self) -> list[ManualPurchase]:
        """Return the answered purchases whose trace has not been found yet, newest first."""
        return [
            purchase
            for purchase in self.purchases
            if purchase.trace_id and not purchase.trace_found
        ]

    def seen(self, trace_ids: Iterable[str]) -> None:
        """Note that these traces can be read in the trace store."""
        known = set(trace_ids)
        now = time.time()
        for purchase in self.waiting():
            overdue = now - purchase.time > SEARCH_TIMEOUT_S
            purchase.trace_found = purchase.trace_id in known or overdue

    async def close(self) -> None:
        """End the stream, cancel the purchases under way and close the client."""
        tasks = list(self.under_way)
        if self.streaming:
            tasks.append(self.streaming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.aclose()
