"""The command ``demo traffic``: sends purchases at a steady rate, however slow the answers are.

This is an open loop. A closed loop waits for one answer before it sends the next request, so a
slow service receives less load and looks faster than it is.
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
"""The weight of each card in the default mix.

In addition, a share of the ordinary cards fails: the setting ``failure_rate`` of payment.
"""
MAX_RATE = 200
"""The highest rate, in purchases a second."""
DAY_S = 24 * 3600.0
"""Seconds in a day: the longest duration of a run."""
MAX_IN_FLIGHT = 500
"""The number of purchases that may wait for their answer at the same time, by default.

Further purchases are skipped, so that a service that never answers cannot fill the memory.
"""
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
"""The seconds in each unit of a duration."""
TERMINAL_INTERVAL_S = 0.25
"""Seconds between two updates of the progress line on a terminal."""
LOG_INTERVAL_S = 10.0
"""Seconds between two progress lines when the output is not a terminal."""


@dataclass(frozen=True)
class LoadPlan:
    """The plan of one run; equal plans give the same purchases at the same times.

    Attributes:
        rate: Purchases a second.
        seconds: The duration of the run in seconds, without the wait for the last answers.
        mix: The weight of each card.
        seed: The seed of the random choice of cards. The order ids contain the seed.
        max_in_flight: A purchase is skipped while this many others wait for their answer.
    """

    rate: float
    seconds: float
    mix: dict[str, float] = field(default_factory=lambda: DEFAULT_MIX)
    seed: int = 0
    max_in_flight: int = MAX_IN_FLIGHT

    def arrivals(self) -> Iterator[tuple[float, str, str]]:
        """Yield each purchase: its time in seconds after the start, its card, and its order id."""
        draw = random.Random(self.seed)  # noqa: S311  (a simulation, not a secret)
        cards = list(self.mix)
        weights = list(self.mix.values())
        number = 0
        while number / self.rate < self.seconds:
            card = draw.choices(cards, weights)[0]
            yield number / self.rate, card, f"traffic-{self.seed}-{number}"
            number += 1


async def traffic(
    rate: float = 5.0, duration: str = "60s", card_mix: str = "default", seed: int = 0
) -> int:
    """Send purchases at a steady rate and print the statistics.

    After the first Ctrl-C, no more purchases start and the command waits for the missing answers.
    A second Ctrl-C cancels the purchases in flight.

    Args:
        rate: Purchases a second, over 0 and up to 200.
        duration: How long purchases arrive, like ``60s``, ``2m``, ``1h`` or ``500ms``; up to a day.
        card_mix: ``default``, or cards with weights, like ``ordinary=9,slow=1``.
        seed: The same seed gives the same cards and order ids.

    Returns:
        The exit code: 2 for an invalid argument; 1 if checkout cannot be reached, or if a purchase
        was skipped or not answered; 0 otherwise.
    """
    out = Console(highlight=False)
    try:
        plan = LoadPlan(parse_rate(rate), parse_duration(duration), parse_mix(card_mix), seed)
    except ValueError as error:
        return _fail(2, str(error))
    try:
        async with checkout_client.client(plan.max_in_flight) as http:
            await checkout_client.check_reachable(http)
            stats = LoadStats(plan.rate, plan.seconds)
            await _run_until_interrupted(http, plan, stats, out)
    except checkout_client.CheckoutError as error:
        return _fail(1, str(error))
    stats.report(out)
    return 0 if stats.all_answered else 1


def _fail(exit_code: int, reason: str) -> int:
    message = Text.assemble(("demo traffic: ", "red"), printable(reason, 600))
    Console(stderr=True, highlight=False).print(message, soft_wrap=True)
    return exit_code


async def drive(
    http: httpx2.AsyncClient, plan: LoadPlan, stats: LoadStats, stop: asyncio.Event
) -> None:
    """Start the purchases of ``plan``, each at its time, and count them in ``stats``.

    When the plan is done or ``stop`` is set, wait for all answers.
    """
    stats.began = time.monotonic()
    async with asyncio.TaskGroup() as purchases:
        for arrival, card, order_id in plan.arrivals():
            scheduled = stats.began + arrival
            await _sleep_until(scheduled, stop)
            if stop.is_set():
                break
            if stats.in_flight >= plan.max_in_flight:
                stats.not_sent += 1
                continue
            stats.sent += 1
            stats.in_flight += 1
            purchases.create_task(_purchase(http, stats, card, order_id, scheduled))
        await _sleep_until(stats.began + plan.seconds, stop)
        stats.ended = time.monotonic()


async def _purchase(
    http: httpx2.AsyncClient, stats: LoadStats, card: str, order_id: str, scheduled: float
) -> None:
    """Send one purchase and count its answer in ``stats``.

    The latency begins at ``scheduled``, the planned start on the monotonic clock, so it includes
    the delay of a late start. A real customer would wait during this delay too.
    """
    stats.latest = max(stats.latest, time.monotonic() - scheduled)
    try:
        purchase = await checkout_client.buy(http, card, order_id)
    except checkout_client.CheckoutError as error:
        stats.unanswered[str(error)] += 1
    except asyncio.CancelledError:
        stats.unanswered["cancelled by the second Ctrl-C"] += 1
        raise
    else:
        stats.answered(purchase, time.monotonic() - scheduled)
    finally:
        stats.in_flight -= 1


async def _sleep_until(deadline: float, stop: asyncio.Event) -> None:
    """Wait until the monotonic time ``deadline``, or until ``stop`` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline - time.monotonic()):
            await stop.wait()


async def _run_until_interrupted(
    http: httpx2.AsyncClient, plan: LoadPlan, stats: LoadStats, out: Console
) -> None:
    """Run ``drive`` and show its progress until it ends.

    After the first SIGINT or SIGTERM, no more purchases start. A second signal cancels the
    purchases in flight.
    """
    stop = asyncio.Event()
    driver = asyncio.create_task(drive(http, plan, stats, stop))

    def interrupt() -> None:
        if stop.is_set():
            driver.cancel()
        elif stats.in_flight:
            out.print(
                f"No more arrivals; {stats.in_flight} purchases are in flight."
                " Press Ctrl-C again to cancel them."
            )
        stop.set()

    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, interrupt)
    progress = asyncio.create_task(_show_progress(stats, out))
    await asyncio.wait([driver])
    progress.cancel()
    await asyncio.wait([progress])
    if not driver.cancelled():
        driver.result()  # raises the exception of the driver, if there was one


async def _show_progress(stats: LoadStats, out: Console) -> None:
    """Print or update the progress line at regular intervals until this task is cancelled."""
    if not out.is_terminal:
        while True:
            await asyncio.sleep(LOG_INTERVAL_S)
            out.print(stats.line(), soft_wrap=True)
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while True:
            live.update(stats.line(), refresh=True)
            await asyncio.sleep(TERMINAL_INTERVAL_S)


def parse_rate(rate: float) -> float:
    """Check a rate in purchases a second and return it unchanged.

    Raises:
        ValueError: The rate is 0, negative, NaN, or higher than ``MAX_RATE``.
    """
    if not 0 < rate <= MAX_RATE:  # false for NaN, so NaN is refused as well
        raise ValueError(
            f"a rate of {rate:g} is out of range: over 0 and up to {MAX_RATE} purchases a second"
        )
    return rate


def parse_duration(text: str) -> float:
    """Convert a duration such as ``60s``, ``2m``, ``1h`` or ``500ms`` to seconds.

    Raises:
        ValueError: The text has another form, or the duration is 0 or longer than a day.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", text)
    seconds = float(match[1]) * UNIT_SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= DAY_S:
        raise ValueError(
            f"{printable(text, 40)!r} is not a duration: a number and its unit,"
            " like 500ms, 60s, 2m or 1h, up to 24h"
        )
    return seconds


def parse_mix(text: str) -> dict[str, float]:
    """Return the weight of each card in a card mix.

    The text is ``default`` (``DEFAULT_MIX``), or cards with weights, like ``ordinary=9,slow=1``.

    Raises:
        ValueError: The text has another form, a card is not in ``DEFAULT_MIX``, or every weight
            is 0.
    """
    if text == "default":
        return DEFAULT_MIX
    mix = {}
    for part in text.split(","):
        match = re.fullmatch(r"([a-z-]+)=([0-9]{1,6}(?:\.[0-9]{1,6})?)", part)
        if not match or match[1] not in DEFAULT_MIX:
            raise _bad_mix(text)
        mix[match[1]] = float(match[2])
    if not sum(mix.values()):
        raise _bad_mix(text)
    return mix


def _bad_mix(text: str) -> ValueError:
    return ValueError(
        f"{printable(text, 40)!r} is not a card mix: default, or like ordinary=9,slow=1;"
        f" cards: {', '.join(DEFAULT_MIX)}"
    )
