"""The steady load of a rehearsal: customers at a fixed rate on the loopback, bounded in number, and what each of them felt."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.load.stats import FAULT, percentile
from three_pillar_demo.stack.components import LOOPBACK

MAX_RATE, MOST = 50.0, 10_000
"""Customers a second, and in all: enough for the longest rehearsal, and an end to every one."""


@dataclass(frozen=True)
class Visit:
    """One customer: when in the rehearsal they came, how long it took, what they got; ``problem`` where they got no answer."""

    phase: str
    order_id: str
    seconds: float
    purchase: Purchase | None = None
    problem: str = ""

    @property
    def turned_away(self) -> bool:
        """Whether the door was closed: nothing of this visit ever got in."""
        return self.problem == "refused"

    @property
    def error(self) -> bool:
        """Whether it failed by the shop's fault, after it had begun."""
        return not self.turned_away and (self.purchase is None or self.purchase.status >= FAULT)


@dataclass
class Load:
    """Customers of the shop at ``url``, ``rate`` a second; ``phase`` is what those who come from now on belong to."""

    url: str
    run: str
    rate: float = 10.0
    phase: str = "warming"
    visits: list[Visit] = field(default_factory=list)
    started: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        """Refuse what is not on this machine, or too much for it."""
        if urlsplit(self.url).hostname != LOOPBACK:
            raise ValueError(f"{self.url} is not on the loopback: a rehearsal loads nobody else")
        if not 0 < self.rate <= MAX_RATE:
            raise ValueError(f"a rate is over 0 and up to {MAX_RATE:g} a second")

    async def come(self, stop: asyncio.Event) -> None:
        """Send customers until ``stop`` is set, then wait for those under way."""
        # A connection for each: one that is kept may be closed by a stopping shop at the moment it is used again.
        limits = httpx2.Limits(max_connections=500, max_keepalive_connections=0)
        timeout = httpx2.Timeout(checkout_client.PATIENCE)
        began = time.monotonic()
        async with (
            httpx2.AsyncClient(
                base_url=self.url, timeout=timeout, trust_env=False, limits=limits
            ) as http,
            asyncio.TaskGroup() as customers,
        ):
            for number in range(MOST):
                due = began + number / self.rate
                with suppress(TimeoutError):
                    async with asyncio.timeout(due - time.monotonic()):
                        await stop.wait()
                if stop.is_set():
                    return
                customers.create_task(self._buy(http, f"{self.run}-{number}", due))

    async def _buy(self, http: httpx2.AsyncClient, order_id: str, due: float) -> None:
        phase, purchase, problem = self.phase, None, ""
        try:
            purchase = await checkout_client.buy(http, order_id=order_id)
        except checkout_client.ShopError as error:
            problem = (
                "refused"
                if isinstance(error.__cause__, httpx2.ConnectError)
                else type(error.__cause__).__name__
            )
        self.visits.append(Visit(phase, order_id, time.monotonic() - due, purchase, problem))

    @property
    def purchases(self) -> list[Purchase]:
        """Every purchase that was answered: the truth that all pillars are compared with."""
        return [each.purchase for each in self.visits if each.purchase]

    def p99(self, phase: str) -> float:
        """Seconds that 99 of 100 customers of a phase did not exceed; NaN when none was answered."""
        return percentile(
            sorted(each.seconds for each in self.visits if each.phase == phase and each.purchase),
            0.99,
        )
