"""Customers who are sent by hand: each purchase is a row at once, and a stream of them ends with the process that sends it."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.traffic import DAY, Plan

ROWS = 200
"""Purchases that are remembered."""
CAP = 200
"""Purchases under way; beyond it customers are turned away, so a shop that answers nothing does not eat this machine."""
MAX_RATE = 50
CARDS = ("ordinary", "declined", "gateway-timeout", "slow", "crash", "invalid")
MOST = 10
"""Purchases that one click may make."""
FAULT = 500
"""From this status on, it was the shop's own fault."""
LATE = 30.0
"""Seconds after which a trace is taken to be there, though no search has found it."""


@dataclass
class Row:
    """One purchase. ``trace_id`` is empty until the shop has answered; ``there`` once its trace can be read."""

    number: int
    card: str
    time: float
    outcome: str = ""
    status: int = 0
    seconds: float | None = None
    trace_id: str = ""
    there: bool = False

    @property
    def failed(self) -> bool:
        """Whether that was the shop's fault, or nobody answered."""
        return self.status >= FAULT or self.outcome == "no answer"


class ManualTraffic:
    """Sells through ``http``, a client of the shop."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        """Nobody has bought yet."""
        self.http = http
        self.rows: deque[Row] = deque(maxlen=ROWS)
        self.numbers = count(1)
        self.under_way = set[asyncio.Task[None]]()
        self.streaming: asyncio.Task[None] | None = None
        self.rate = 0.0
        self.sent = self.turned_away = 0

    def buy(self, card: str, times: int = 1, order_id: str | None = None) -> None:
        """Send customers; their rows are there at once.

        Raises:
            ValueError: There is no such card, or that is too many.
        """
        if card not in CARDS or not 1 <= times <= MOST:
            raise ValueError(f"a card is one of: {', '.join(CARDS)}; 1 to {MOST} times")
        for _ in range(times):
            if len(self.under_way) >= CAP:
                self.turned_away += 1
                continue
            row = Row(next(self.numbers), card, time.time())
            self.rows.appendleft(row)
            task = asyncio.create_task(self._buy(row, order_id))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _buy(self, row: Row, order_id: str | None) -> None:
        try:
            bought = await checkout_client.buy(self.http, row.card, order_id)
        except checkout_client.ShopError:
            row.outcome, row.seconds = "no answer", time.time() - row.time
        else:
            row.outcome, row.status, row.trace_id = bought.outcome, bought.status, bought.trace_id
            row.seconds = bought.finished - bought.started

    def stream(self, rate: float) -> None:
        """Send ``rate`` customers a second from now on; 0 ends it.

        Raises:
            ValueError: The rate is not 0 to ``MAX_RATE``.
        """
        if not 0 <= rate <= MAX_RATE:  # NaN is refused too
            raise ValueError(f"a rate is 0 to {MAX_RATE} a second")
        if self.streaming:
            self.streaming.cancel()
            self.streaming = None
        self.rate = rate
        if rate:
            self.sent = self.turned_away = 0
            self.streaming = asyncio.create_task(
                self._stream(Plan(rate, DAY, seed=secrets.randbelow(10**9)))
            )

    async def _stream(self, plan: Plan) -> None:
        began = time.monotonic()
        for arrival, card, order_id in plan.customers():
            await asyncio.sleep(began + arrival - time.monotonic())
            self.sent += 1
            self.buy(card, order_id=order_id)
        self.rate = 0.0

    def waiting(self) -> list[Row]:
        """Answered purchases whose trace has not been seen yet, newest first."""
        return [row for row in self.rows if row.trace_id and not row.there]

    def seen(self, trace_ids: Iterable[str]) -> None:
        """These traces can be read."""
        known = set(trace_ids)
        for row in self.waiting():
            row.there = row.trace_id in known or time.time() - row.time > LATE

    async def close(self) -> None:
        """Send nobody any more, and leave those who are under way."""
        tasks = [*self.under_way, *([self.streaming] if self.streaming else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.aclose()
