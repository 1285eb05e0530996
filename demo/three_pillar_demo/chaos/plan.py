"""The rehearsals: the fault of each, its duration, and what must hold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from three_pillar_demo.chaos.faults import component_down, disk_filled, misbehaving
from three_pillar_demo.chaos.faulty_receiver import Behaviour, FaultyReceiver
from three_pillar_demo.chaos.judge import Expectation
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import health

COLLECTOR = "otel-collector"
RECEIVER = {"local": "store", "full": COLLECTOR}
"""The component that receives the services' telemetry, by mode."""
BACKENDS = ("tempo", "loki", "prometheus")
ALL_MODES = ("local", "full")
RECENT_S = 30
"""How far back metrics are queried for a report of the fault."""


@dataclass
class Context:
    """Where a rehearsal runs: the mode and the backends of the stack.

    ``faulty_receiver`` stands in front of the real receiver, and ``disk`` is the small disk under
    it, in rehearsals that need them.
    """

    mode: str
    backends: Backends
    faulty_receiver: FaultyReceiver | None = None
    disk: Path | None = None

    @property
    def receiver(self) -> str:
        """The component that receives the services' telemetry."""
        return RECEIVER[self.mode]


Fault = Callable[[Context], AbstractAsyncContextManager[None]]
"""Returns a context manager that keeps the fault active for its block."""


async def _do_nothing(_context: Context) -> None:
    """Change nothing during the fault."""


@dataclass(frozen=True)
class Rehearsal:
    """One rehearsal.

    Attributes:
        name: The name that a user types.
        description: What is broken.
        short: Seconds of the fault, or number of stops, in the short form; 0 if it has none.
        long: The same in the long form.
        expectation: What must hold.
        fault: The fault; None where the services are stopped again and again instead.
        halfway: What happens besides in the middle of the fault.
        modes: The modes in which it can run.
        faulty_receiver: Whether a faulty receiver stands in front of the real one.
        small_disk: Whether the receiver gets a small disk.
        workers: Worker processes of each service.
        no_receiver: Whether the services export to a port on which nothing listens.
    """

    name: str
    description: str
    short: float
    long: float
    expectation: Expectation
    fault: Fault | None = None
    halfway: Callable[[Context], Awaitable[None]] = _do_nothing
    modes: tuple[str, ...] = ALL_MODES
    faulty_receiver: bool = False
    small_disk: bool = False
    workers: int = 1
    no_receiver: bool = False


def _down(verb: str, name: str = "") -> Fault:
    """Return the fault that kills or stops a component, by default the receiver."""
    return lambda context: component_down(verb, name or context.receiver)


def _receiver_fault(behaviour: Behaviour) -> Fault:
    """Return the fault that lets the receiver misbehave."""

    @asynccontextmanager
    async def fault(context: Context) -> AsyncIterator[None]:
        if context.faulty_receiver:
            async with misbehaving(context.faulty_receiver, behaviour):
                yield

    return fault


@asynccontextmanager
async def _full_disk(context: Context) -> AsyncIterator[None]:
    """Fill the small disk.

    In full mode Tempo is stopped meanwhile, because otherwise the Collector's queue is empty and
    needs no space.
    """
    if context.disk is None:
        return
    async with disk_filled(context.disk):
        if context.mode == "local":
            yield
            return
        async with component_down("stop", "tempo"):
            yield


async def _restart_collector(_context: Context) -> None:
    async with component_down("stop", COLLECTOR):
        await asyncio.sleep(0)


async def fault_reports(context: Context) -> list[str]:
    """Return what reports the fault now: health checks, the Collector's metrics, and alerts.

    A receiver that does not answer at all does not count as a clear report.
    """
    async with httpx2.AsyncClient(trust_env=False) as http:
        problems = await health.problems(http, context.mode)
    problem = problems.get(context.receiver, "")
    reports = []
    if problem.startswith("answers"):
        reports.append(f"{context.receiver} {problem}")
    if context.mode == "full":
        reports += await _collector_reports(context.backends)
    return reports


async def _collector_reports(backends: Backends) -> list[str]:
    """Return the Collector's count of refused spans, and its alert if that is pending or firing."""
    totals = await backends.counters("otelcol_receiver_refused_spans_total", (), within=RECENT_S)
    alerts = await backends.counters(
        "ALERTS",
        ("alertname", "alertstate"),
        {"alertname": "CollectorRefusesData"},
        within=RECENT_S,
    )
    reports = []
    refused = totals.get((), 0)
    if refused:
        reports.append(f"the Collector has refused {refused:.0f} spans so far")
    for name, state in alerts:
        reports.append(f"alert {name} {state}")
    return reports


RECEIVER_OUTAGES = (
    Rehearsal(
        name="receiver-killed",
        description="the receiver of the telemetry is killed",
        short=20,
        long=20,
        expectation=Expectation(),
        fault=_down("kill"),
    ),
    Rehearsal(
        name="receiver-stopped",
        description="the receiver of the telemetry is stopped for minutes",
        short=0,
        long=300,
        # Most of this time is needed to query three thousand traces one by one.
        expectation=Expectation(loss="counted", drain_s=150.0),
        fault=_down("stop"),
    ),
)
BACKEND_OUTAGES = tuple(
    Rehearsal(
        name=f"{name}-stopped",
        description=f"{name} is stopped",
        short=20,
        long=120,
        expectation=Expectation(),
        fault=_down("stop", name),
        modes=("full",),
    )
    for name in BACKENDS
) + tuple(
    Rehearsal(
        name=f"{name}-and-collector",
        description=f"{name} is stopped, and meanwhile the Collector is restarted",
        short=20,
        long=120,
        expectation=Expectation(),
        fault=_down("stop", name),
        halfway=_restart_collector,
        modes=("full",),
    )
    for name in BACKENDS
)
SERVICE_STOPS = (
    Rehearsal(
        name="services-stopped",
        description="both services get SIGTERM under load, again and again",
        short=10,
        long=50,
        expectation=Expectation(stop_s=5.0, latency_unaffected=False),
    ),
    Rehearsal(
        name="workers-stopped",
        description="like services-stopped, with two workers each",
        short=10,
        long=50,
        expectation=Expectation(stop_s=5.0, latency_unaffected=False),
        workers=2,
    ),
    Rehearsal(
        name="stopped-alone",
        description="like services-stopped, without a receiver",
        short=3,
        long=10,
        expectation=Expectation(stop_s=10.0, latency_unaffected=False, stored=False, drain_s=None),
        no_receiver=True,
    ),
)
FULL_DISK = Rehearsal(
    name="disk-full",
    description="the receiver's disk is completely full",
    short=20,
    long=120,
    expectation=Expectation(fault_reported=True),
    fault=_full_disk,
    small_disk=True,
)


def _misbehaviour(
    behaviour: Behaviour, description: str, seconds: float, expectation: Expectation
) -> Rehearsal:
    """Return a rehearsal with a misbehaving receiver; its long form is three times as long."""
    return Rehearsal(
        name=f"receiver-{behaviour}",
        description=description,
        short=seconds,
        long=3 * seconds,
        expectation=expectation,
        fault=_receiver_fault(behaviour),
        faulty_receiver=True,
    )


RECEIVER_FAULTS = (
    _misbehaviour("mute", "the receiver accepts requests and never answers", 20, Expectation()),
    _misbehaviour("429", "the receiver answers 429 with Retry-After", 15, Expectation()),
    _misbehaviour("503", "the receiver answers 503", 15, Expectation()),
    _misbehaviour("slow", "the receiver takes 3 s for each answer", 15, Expectation()),
    _misbehaviour(
        "400", "the receiver answers 400, so no retry can help", 5, Expectation(loss="counted")
    ),
)
REHEARSALS = (
    *RECEIVER_OUTAGES,
    *BACKEND_OUTAGES,
    *SERVICE_STOPS,
    FULL_DISK,
    *RECEIVER_FAULTS,
)
BY_NAME = {rehearsal.name: rehearsal for rehearsal in REHEARSALS}
