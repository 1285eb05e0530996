"""Gentle customers who arrive at a steady rate, whether or not the shop keeps up: an open loop.

A closed loop waits for one answer before it asks again, so a slow shop gets fewer customers and looks better than it is.
"""

import asyncio
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2
from rich.console import Console
from rich.live import Live
from rich.text import Text

from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.stats import LoadStats
from three_pillar_demo.terminal import printable

DEFAULT_MIX = {
    "ordinary": 88.0,
    "declined": 6.0,
    "invalid": 2.0,
    "gateway-timeout": 2.0,
    "slow": 1.0,
    "crash": 1.0,
}
"""How often each card comes. Payment fails ordinary cards too, at a rate of its own."""
MAX_RATE = 200
DAY = 24 * 3600.0
CAP = 500
"""How many purchases may be under way; a shop that answers nothing would otherwise eat this machine."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LIVE, PLAIN = 0.25, 10.0
"""Seconds between two lines: on a terminal, where each replaces the last, and elsewhere."""


@dataclass(frozen=True)
class Plan:
    """Who comes when: ``rate`` customers a second for ``seconds``; the same plan always is the same customers."""

    rate: float
    seconds: float
    mix: dict[str, float] = field(default_factory=lambda: DEFAULT_MIX)
    seed: int = 0
    cap: int = CAP

    def customers(self) -> Iterator[tuple[float, str, str]]:
        """Each customer's arrival in seconds from the start, card and order id."""
        draw = random.Random(self.seed)  # noqa: S311  (a simulation, not a secret)
        names, weights = list(self.mix), list(self.mix.values())
        number = 0
        while number / self.rate < self.seconds:
            yield (
                number / self.rate,
                draw.choices(names, weights)[0],
                f"traffic-{self.seed}-{number}",
            )
            number += 1


async def traffic(
    rate: float = 5.0, duration: str = "60s", card_mix: str = "default", seed: int = 0
) -> int:
    """Send customers and report; Ctrl-C sends no more and waits for those under way, a second one leaves them.

    Args:
        rate: Customers a second, over 0 and up to 200.
        duration: How long they come, like ``60s``, ``2m``, ``1h`` or ``500ms``; up to a day.
        card_mix: ``default``, or cards with weights, like ``ordinary=9,slow=1``.
        seed: The same seed makes the same cards and order ids again.

    Returns:
        The exit code: 0 when every purchase was answered, 1 otherwise, 2 when asked wrongly.
    """
    out = Console(highlight=False)
    try:
        plan = Plan(parse_rate(rate), parse_duration(duration), parse_mix(card_mix), seed)
    except ValueError as error:
        return _refuse(2, str(error))
    try:
        async with checkout_client.client(plan.cap) as http:
            await checkout_client.check_reachable(http)
            tally = LoadStats(plan.rate, plan.seconds)
            await _until_interrupted(http, plan, tally, out)
    except checkout_client.ShopError as error:
        return _refuse(1, str(error))
    tally.report(out)
    return 0 if tally.all_answered else 1


def _refuse(code: int, reason: str) -> int:
    said = Text.assemble(("demo traffic: ", "red"), printable(reason, 600))
    Console(stderr=True, highlight=False).print(said, soft_wrap=True)
    return code


async def drive(
    http: httpx2.AsyncClient, plan: Plan, tally: LoadStats, stop: asyncio.Event
) -> None:
    """Start each purchase at its time, until ``stop`` is set, then wait for all that are under way; count in ``tally``."""
    tally.began = time.monotonic()
    async with asyncio.TaskGroup() as customers:
        for arrival, card, order_id in plan.customers():
            due = tally.began + arrival
            await _sleep_until(due, stop)
            if stop.is_set():
                break
            if tally.under_way >= plan.cap:
                tally.not_sent += 1
                continue
            tally.sent += 1
            tally.under_way += 1
            customers.create_task(_customer(http, tally, card, order_id, due))
        await _sleep_until(tally.began + plan.seconds, stop)
        tally.ended = time.monotonic()


async def _customer(
    http: httpx2.AsyncClient, tally: LoadStats, card: str, order_id: str, due: float
) -> None:
    """Buy once. The clock runs from ``due``: a customer who had to wait for the start has waited too."""
    tally.latest = max(tally.latest, time.monotonic() - due)
    try:
        purchase = await checkout_client.buy(http, card, order_id)
    except checkout_client.ShopError as error:
        tally.unanswered[str(error)] += 1
    except asyncio.CancelledError:
        tally.unanswered["left behind"] += 1
        raise
    else:
        tally.answered(purchase, time.monotonic() - due)
    finally:
        tally.under_way -= 1


async def _sleep_until(when: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(when - time.monotonic()):
            await stop.wait()


async def _until_interrupted(
    http: httpx2.AsyncClient, plan: Plan, tally: LoadStats, out: Console
) -> None:
    """Drive and show; the first Ctrl-C stops the arrivals, the second one the waiting."""
    stop = asyncio.Event()
    driving = asyncio.create_task(drive(http, plan, tally, stop))

    def interrupt() -> None:
        if stop.is_set():
            driving.cancel()
        elif tally.under_way:
            out.print(
                f"No more customers; {tally.under_way} are under way. Ctrl-C again leaves them."
            )
        stop.set()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, interrupt)
    showing = asyncio.create_task(_show(tally, out))
    await asyncio.wait([driving])
    showing.cancel()
    await asyncio.wait([showing])
    if not driving.cancelled():
        driving.result()  # raises what went wrong, if anything did


async def _show(tally: LoadStats, out: Console) -> None:
    """Keep saying where we are, until cancelled: in one line on a terminal, else in a line now and then."""
    if not out.is_terminal:
        while True:
            await asyncio.sleep(PLAIN)
            out.print(tally.line(), soft_wrap=True)
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while True:
            live.update(tally.line(), refresh=True)
            await asyncio.sleep(LIVE)


def parse_rate(rate: float) -> float:
    """Return ``rate``; ValueError unless it is over 0 and up to 200."""
    if not 0 < rate <= MAX_RATE:  # NaN is refused too
        raise ValueError(
            f"a rate of {rate:g} is out of range: over 0 and up to {MAX_RATE} customers a second"
        )
    return rate


def parse_duration(text: str) -> float:
    """Return seconds; ValueError unless ``text`` is like ``60s``, ``2m``, ``1h`` or ``500ms``, over 0 and up to a day."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text)
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= DAY:
        raise ValueError(
            f"{printable(text, 40)!r} is no duration: a number and its unit, like 500ms, 60s, 2m or 1h, up to 24h"
        )
    return seconds


def parse_mix(text: str) -> dict[str, float]:
    """Return weights by card; ValueError unless ``text`` is ``default`` or like ``ordinary=9,slow=1``, with known cards."""
    if text == "default":
        return DEFAULT_MIX
    found = [
        re.fullmatch(r"([a-z-]+)=([0-9]{1,6}(?:\.[0-9]{1,6})?)", part) for part in text.split(",")
    ]
    mix = {each[1]: float(each[2]) for each in found if each}
    if not all(found) or not mix.keys() <= DEFAULT_MIX.keys() or not sum(mix.values()):
        raise ValueError(
            f"{printable(text, 40)!r} is no card mix: default, or like ordinary=9,slow=1; cards: {', '.join(DEFAULT_MIX)}"
        )
    return mix
