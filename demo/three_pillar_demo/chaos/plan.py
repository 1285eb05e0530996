"""The rehearsals: what each breaks, for how long, and what is promised of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from three_pillar_demo.chaos.faults import away, full, misbehaving
from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver
from three_pillar_demo.chaos.judge import Expectation
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import health

COLLECTOR = "otel-collector"
RECEIVER = {"local": "store", "full": COLLECTOR}
"""Who takes the services' telemetry, by mode."""
BACKENDS = ("tempo", "loki", "prometheus")
EVERYWHERE = ("local", "full")


@dataclass
class Context:
    """Where a rehearsal plays: the stack's mode and stores, and what is put in front of its receiver or under it."""

    mode: str
    backends: Backends
    front: FaultyReceiver | None = None
    disk: Path | None = None

    @property
    def receiver(self) -> str:
        """The component that takes the services' telemetry."""
        return RECEIVER[self.mode]


Break = Callable[[Context], AbstractAsyncContextManager[None]]


async def _nothing(_scene: Context) -> None:
    """Do nothing in between."""


@dataclass(frozen=True)
class Rehearsal:
    """One rehearsal.

    Attributes:
        name: What a person types.
        what: What is broken, in some words.
        short: Seconds that it stays broken, or how many stops, in the short form; 0 where there is only the long one.
        long: The same in the long form.
        broken: What is broken as long as its block lasts; None where the services are stopped again and again instead.
        between: What happens besides, half-way.
        front, disk: Whether a receiver of ours stands in front of the real one, and a small disk is under that.
        workers: Of each service.
        alone: Whether there is nobody to send to.
    """

    name: str
    what: str
    short: float
    long: float
    promise: Expectation
    broken: Break | None = None
    between: Callable[[Context], Awaitable[None]] = _nothing
    modes: tuple[str, ...] = EVERYWHERE
    front: bool = False
    disk: bool = False
    workers: int = 1
    alone: bool = False


def _away(verb: str, name: str = "") -> Break:
    return lambda scene: away(verb, name or scene.receiver)


def _manner(manner: str) -> Break:
    @asynccontextmanager
    async def broken(scene: Context) -> AsyncIterator[None]:
        if scene.front:
            async with misbehaving(scene.front, manner):
                yield

    return broken


@asynccontextmanager
async def _full_disk(scene: Context) -> AsyncIterator[None]:
    """No room is left; with the Collector, while a backend is away, else its queue is empty and wants none."""
    if scene.disk is None:
        return
    async with full(scene.disk):
        if scene.mode == "local":
            yield
            return
        async with away("stop", "tempo"):
            yield


async def _restart_collector(_scene: Context) -> None:
    async with away("stop", COLLECTOR):
        await asyncio.sleep(0)


async def states(scene: Context) -> list[str]:
    """What says at this moment that something is wrong, as the page, ``demo status`` and the alerts have it."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        said = (await health.problems(http, scene.mode)).get(scene.receiver, "")
    found = (
        [f"{scene.receiver} {said}"] if said.startswith("answers") else []
    )  # no answer at all is no clear state
    if scene.mode == "full":
        refused = (
            await scene.backends.counters("otelcol_receiver_refused_spans_total", (), within=30)
        ).get((), 0)
        by = ("alertname", "alertstate")
        alerts = await scene.backends.counters(
            "ALERTS", by, {"alertname": "CollectorRefusesData"}, within=30
        )
        found += [f"the Collector has refused {refused:.0f} spans so far"] * bool(refused)
        found += [f"alert {name} {state}" for name, state in alerts]
    return found


OUTAGES = tuple(
    Rehearsal(
        f"{name}-stopped",
        f"{name} is stopped",
        20,
        120,
        Expectation(),
        _away("stop", name),
        modes=("full",),
    )
    for name in BACKENDS
) + tuple(
    Rehearsal(
        f"{name}-and-collector",
        f"{name} is stopped, and meanwhile the Collector restarted",
        20,
        120,
        Expectation(),
        _away("stop", name),
        _restart_collector,
        modes=("full",),
    )
    for name in BACKENDS
)
STOPS = (
    Rehearsal(
        "services-stopped",
        "both services get SIGTERM in mid-load, again and again",
        10,
        50,
        Expectation(exits=5.0, unfelt=False),
    ),
    Rehearsal(
        "workers-stopped",
        "the same, with two workers each",
        10,
        50,
        Expectation(exits=5.0, unfelt=False),
        workers=2,
    ),
    Rehearsal(
        "stopped-alone",
        "the same, with nobody to send to",
        3,
        10,
        Expectation(exits=10.0, unfelt=False, stored=False, drain=None),
        alone=True,
    ),
)
REHEARSALS = (
    Rehearsal(
        "receiver-killed", "who takes the telemetry is killed", 20, 20, Expectation(), _away("kill")
    ),
    Rehearsal(
        "receiver-stopped",
        "who takes the telemetry is stopped for minutes",
        0,
        300,
        Expectation(
            lost="counted", drain=150.0
        ),  # most of it is asking for three thousand traces, one by one
        _away("stop"),
    ),
    *OUTAGES,
    *STOPS,
    Rehearsal(
        "disk-full",
        "no byte is free under it",
        20,
        120,
        Expectation(state=True),
        _full_disk,
        disk=True,
    ),
    *(
        Rehearsal(
            f"receiver-{manner}",
            what,
            seconds,
            3 * seconds,
            Expectation(lost=lost),
            _manner(manner),
            front=True,
        )
        for manner, what, seconds, lost in (
            ("mute", "it accepts and never answers", 20, "nothing"),
            ("429", "it answers 429 with Retry-After", 15, "nothing"),
            ("503", "it answers 503", 15, "nothing"),
            ("slow", "each of its answers takes 3 s", 15, "nothing"),
            ("400", "it answers 400: what it is sent, it will never take", 5, "counted"),
        )
    ),
)
BY_NAME = {each.name: each for each in REHEARSALS}
