"""Purchases that a person starts in the web UI: single ones, and a stream at a steady rate.

A purchase is in the list of purchases from its start, before checkout has answered. The list is
kept in memory only.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import SERVER_ERROR
from three_pillar_demo.load.traffic import DAY_S, LoadPlan

MAX_LISTED = 200
"""The number of purchases in the list; older ones are dropped."""
MAX_IN_FLIGHT = 200
"""The number of purchases that may wait for their answer at the same time.

Further purchases are skipped, so that a service that never answers cannot fill the memory.
"""
MAX_RATE = 50
"""The highest rate of a stream, in purchases a second."""
CARDS = ("ordinary", "declined", "gateway-timeout", "slow", "crash", "invalid")
"""The cards that a person can choose in the web UI."""
MAX_PURCHASES_PER_CALL = 10
"""The number of purchases that one call of ``ManualTraffic.buy`` may start."""
NO_ANSWER = "no answer"
"""The outcome of a purchase that checkout did not answer."""
METRICS_DELAY_S = 15.0
"""How long after its answer the metrics of a purchase are waited for, in seconds."""
SEARCH_TIMEOUT_S = 30.0
"""How long the trace of a purchase is searched for after the purchase started, in seconds.

After this time, ``trace_found`` becomes True in any case, so that the search ends.
"""


@dataclass
class ManualPurchase:
    """One purchase that a person has started.

    Attributes:
        card: The card that pays.
        time: When it was started, in seconds since the epoch.
        key: A random name of the purchase, 16 hex digits; an address may contain it.
        outcome: The outcome in the answer, or ``NO_ANSWER``; empty while it is in flight.
        status: The HTTP status of the answer; 0 without an answer.
        seconds: The time until the answer or the error; None while it is in flight.
        trace_id: The trace id in the answer; empty without an answer.
        trace_found: Whether the search for the trace is over: the trace store has the trace, or
            ``SEARCH_TIMEOUT_S`` has passed.
    """

    card: str
    time: float
    key: str = field(default_factory=lambda: secrets.token_hex(8))
    outcome: str = ""
    status: int = 0
    seconds: float | None = None
    trace_id: str = ""
    trace_found: bool = False

    @property
    def is_recent(self) -> bool:
        """Whether the metrics of the purchase may still be on their way to the store."""
        return time.time() - self.time - (self.seconds or 0.0) < METRICS_DELAY_S

    @property
    def failed(self) -> bool:
        """Whether checkout answered with an HTTP status of 500 or above, or not at all."""
        return self.status >= SERVER_ERROR or self.outcome == NO_ANSWER


class ManualTraffic:
    """Starts purchases in the background and keeps the list of them, newest first.

    ``http`` is a client of checkout; ``close`` closes it.
    """

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self.purchases: deque[ManualPurchase] = deque(maxlen=MAX_LISTED)
        self.in_flight = set[asyncio.Task[None]]()
        self.streaming: asyncio.Task[None] | None = None
        self.rate = 0.0
        self.sent = 0
        self.not_sent = 0

    def buy(self, card: str, times: int = 1, order_id: str | None = None) -> list[ManualPurchase]:
        """Start ``times`` purchases, and return those that were started, before their answers.

        Raises:
            ValueError: ``card`` is not in ``CARDS``, or ``times`` is not 1 to 10.
        """
        if card not in CARDS or not 1 <= times <= MAX_PURCHASES_PER_CALL:
            raise ValueError(
                f"a card is one of: {', '.join(CARDS)}; 1 to {MAX_PURCHASES_PER_CALL} times"
            )
        started = []
        for _ in range(times):
            if len(self.in_flight) >= MAX_IN_FLIGHT:
                self.not_sent += 1
                continue
            purchase = ManualPurchase(card, time.time())
            started.append(purchase)
            self.purchases.appendleft(purchase)
            task = asyncio.create_task(self._buy(purchase, order_id))
            self.in_flight.add(task)
            task.add_done_callback(self.in_flight.discard)
        return started

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
        """Start a stream of ``rate`` purchases a second, which replaces the earlier stream, if any.

        A rate of 0 only ends the earlier stream.

        Raises:
            ValueError: The rate is not in the range from 0 to ``MAX_RATE``.
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
        started_at = time.monotonic()
        for arrival, card, order_id in plan.arrivals():
            await asyncio.sleep(started_at + arrival - time.monotonic())
            self.sent += 1
            self.buy(card, order_id=order_id)
        self.rate = 0.0

    def find(self, key: str) -> ManualPurchase | None:
        """Return the purchase with this key; None if it is unknown or no longer in the list."""
        return next((purchase for purchase in self.purchases if purchase.key == key), None)

    def purchases_without_trace(self) -> list[ManualPurchase]:
        """Return the answered purchases whose trace has not been found yet, newest first."""
        return [
            purchase
            for purchase in self.purchases
            if purchase.trace_id and not purchase.trace_found
        ]

    def mark_traces_found(self, trace_ids: Iterable[str]) -> None:
        """Set ``trace_found`` for the purchases whose trace ids are in ``trace_ids``.

        ``trace_found`` is also set for answered purchases older than ``SEARCH_TIMEOUT_S``.
        """
        found_trace_ids = set(trace_ids)
        now = time.time()
        for purchase in self.purchases_without_trace():
            overdue = now - purchase.time > SEARCH_TIMEOUT_S
            purchase.trace_found = purchase.trace_id in found_trace_ids or overdue

    async def close(self) -> None:
        """Stop the stream of purchases, cancel those that wait for an answer, close the client."""
        tasks = list(self.in_flight)
        if self.streaming:
            tasks.append(self.streaming)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.aclose()
