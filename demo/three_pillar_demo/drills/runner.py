"""One play of a drill: customers, the fault, the wait for the symptom; afterwards the shop is as it was."""

import asyncio
import fcntl
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import httpx2

from three_pillar_demo.drills import evidence, faults
from three_pillar_demo.drills.catalogue import Drill, DrillError, Fault
from three_pillar_demo.drills.conditions import Question
from three_pillar_demo.drills.evidence import Since
from three_pillar_demo.drills.faults import DRILLS
from three_pillar_demo.load import checkout_client, traffic
from three_pillar_demo.load.stats import LoadStats
from three_pillar_demo.query.interface import NANO, BackendError, Backends, Span

POLL = 0.25
WHOLE_SECONDS = 20.0
"""How long the purchases after a drill may take to be in the backends."""
AFTER = 3
"""Purchases that are looked at after a drill."""
QUIET = {"success", "gateway_timeout"}
"""What an ordinary card may come to in a shop that nobody breaks: one in five times out, as it is set."""

Say = Callable[[str], None]


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of all drills of this house.

    Raises:
        DrillError: One is being played.
    """
    DRILLS.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (DRILLS / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DrillError("a drill is being played already: `demo drill stop` ends it") from None
        faults.clear()
        yield


@dataclass
class Play:
    """A drill that is being played on ``backends``."""

    drill: Drill
    backends: Backends
    since: Since

    async def sees(self, asked: Question) -> tuple[bool, float | None]:
        """Whether it is found now, and the number; a backend that does not answer says nothing."""
        try:
            number = await evidence.number(self.backends, self.since, asked)
        except BackendError:
            return False, None
        return asked.found(number), number

    async def until(self, asked: Question, seconds: float) -> tuple[bool, float | None]:
        """Ask until it is found, for so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            found, number = await self.sees(asked)
            if found or time.monotonic() > deadline:
                return found, number
            await asyncio.sleep(POLL)


@asynccontextmanager
async def playing(drill: Drill, backends: Backends, calm: float = 0.0) -> AsyncIterator[Play]:
    """Send the customers, after ``calm`` seconds break what is to be broken, and mend it at the end of the block.

    Raises:
        DrillError: It cannot be played here.
        ShopError: Nobody sells.
    """
    questions = [drill.symptom, *drill.evidence, *drill.decoys]
    async with checkout_client.client(traffic.CAP) as http:
        await checkout_client.check_reachable(http)
        if calm:
            async with (
                faults.broken(Fault()),
                _buying(http, drill.customers.rate, drill.customers.mix),
            ):
                await asyncio.sleep(calm)
        async with faults.broken(drill.fault):
            since = await evidence.begin(backends, questions)
            async with _buying(
                http, drill.customers.rate, drill.fault.customers or drill.customers.mix
            ):
                yield Play(drill, backends, since)


@asynccontextmanager
async def _buying(
    http: httpx2.AsyncClient, rate: float, mix: dict[str, float]
) -> AsyncIterator[None]:
    """Customers until the end of the block, who are not waited for when it ends by an error."""
    stop, plan = asyncio.Event(), traffic.Plan(rate, traffic.DAY, mix, secrets.randbelow(10**9))
    driving = asyncio.create_task(traffic.drive(http, plan, LoadStats(rate, traffic.DAY), stop))
    try:
        yield
        stop.set()
        await driving
    finally:
        driving.cancel()
        with suppress(asyncio.CancelledError):
            await driving


async def as_it_was(backends: Backends) -> list[str]:
    """Buy some times and look: what is not as in a shop that nobody breaks, in words; nothing when all is well."""
    try:
        async with checkout_client.client() as http:
            bought = [await checkout_client.buy(http, "visa") for _ in range(AFTER)]
    except checkout_client.ShopError as error:
        return [str(error)]
    wrong = [
        f"an ordinary purchase ended as {each.outcome}"
        for each in bought
        if each.outcome not in QUIET
    ]
    wrong += [f"{service} still has a fault: {fault}" for service, fault in faults.on().items()]
    for each in bought if not wrong else []:
        deadline = time.monotonic() + WHOLE_SECONDS
        while problem := odd(await backends.trace(each.trace_id)):
            if time.monotonic() > deadline:
                wrong.append(f"trace {each.trace_id}: {problem}")
                break
            await asyncio.sleep(POLL)
    return wrong


def odd(spans: list[Span]) -> str:
    """What is odd in the trace of an ordinary purchase; empty when nothing is."""
    kinds = sorted((span.service, span.kind) for span in spans)
    if kinds != [
        ("checkout", "CLIENT"),
        ("checkout", "INTERNAL"),
        ("checkout", "SERVER"),
        ("payment", "SERVER"),
    ]:
        return f"its spans are {kinds}"
    known = {span.span_id: span for span in spans}
    off = [span for span in spans if span.parent_id and not _inside(span, known[span.parent_id])]
    return f"{off[0].service}'s span lies outside of its parent" if off else ""


def _inside(span: Span, parent: Span) -> bool:
    slack = NANO // 10
    return parent.start - slack <= span.start <= span.end <= parent.end + slack
