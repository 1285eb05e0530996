"""Defines the rehearsals: the fault of each, how long it lasts, and what must hold to pass."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from three_pillar_demo.chaos.faults import component_down, disk_filled, misbehaving
from three_pillar_demo.chaos.faulty_receiver import Behaviour, FaultyReceiver
from three_pillar_demo.chaos.judge import Expectation
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import health, state
from three_pillar_demo.stack.cluster.collectors import AGENT_OF_SERVICE, AGENTS
from three_pillar_demo.stack.plain_http import NO_CERTIFICATES

COLLECTOR = "otel-collector"
RECEIVER = {
    state.LOCAL_MODE: "store",
    state.FULL_MODE: COLLECTOR,
    **dict.fromkeys(state.CLUSTER_MODES, AGENTS[0].name),
}
"""The component that receives the services' telemetry, by the mode of the stack."""
BACKENDS = ("tempo", "loki", "prometheus")
"""The components to which the Collector sends telemetry; rehearsals stop each of them."""
ALL_MODES = ("local", "full")
"""The modes of the stack in which a rehearsal can run."""
RECENT_S = 30
"""The highest age, in seconds, of a metric sample that counts as a report of the fault."""


@dataclass
class Context:
    """The environment in which a rehearsal runs.

    Attributes:
        mode: The mode of the stack, a key of ``RECEIVER``.
        backends: The backends of the stack, to query what is stored.
        faulty_receiver: The ``FaultyReceiver`` in front of the real receiver; None if the rehearsal
            does not use one.
        disk: The folder of the small disk on which the receiver stores its data; None if the
            rehearsal does not use a small disk.
    """

    mode: str
    backends: Backends
    faulty_receiver: FaultyReceiver | None = None
    disk: Path | None = None

    @property
    def receiver(self) -> str:
        """The name of the component that receives the services' telemetry in this mode."""
        return RECEIVER[self.mode]


def service_variables() -> dict[str, dict[str, str]]:
    """Return the variables that the services of a rehearsal need on the running stack, by service.

    In a cluster each service sends to the agent of its machine, and knows what is sampled.
    """
    run = state.running()
    if run is None or run.mode not in state.CLUSTER_MODES:
        return {}
    return {
        name: {"OTEL_EXPORTER_OTLP_ENDPOINT": agent.address, **run.tail_sampling}
        for name, agent in AGENT_OF_SERVICE.items()
    }


Fault = Callable[[Context], AbstractAsyncContextManager[None]]
"""A function that returns a context manager; the fault is active in its ``with`` block."""


async def _do_nothing(_context: Context) -> None:
    """Change nothing in the middle of the fault; the default of ``Rehearsal.halfway``."""


@dataclass(frozen=True)
class Rehearsal:
    """The definition of one rehearsal.

    Attributes:
        name: The name that a user types.
        description: What is broken.
        short: The length of the short form: the seconds that the fault lasts, or the number of
            stops if ``fault`` is None. 0 if the rehearsal has no short form.
        long: The length of the long form, in the same unit as ``short``.
        expectation: What must hold for the rehearsal to pass.
        fault: The fault; None if the services are stopped repeatedly instead.
        halfway: A function that is called in the middle of the fault.
        modes: The modes of the stack in which the rehearsal can run.
        faulty_receiver: Whether the services export to a ``FaultyReceiver`` in front of the real
            receiver.
        small_disk: Whether the receiver stores its data on a small disk (``faults.small_disk``).
        workers: The number of worker processes of each service.
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
    """Return a fault that kills or stops the component ``name``.

    ``verb`` is ``kill`` or ``stop``. Without a name, the component is the receiver.
    """
    return lambda context: component_down(verb, name or context.receiver)


def _receiver_fault(behaviour: Behaviour) -> Fault:
    """Return a fault that lets the ``FaultyReceiver`` misbehave as ``behaviour`` says."""

    @asynccontextmanager
    async def fault(context: Context) -> AsyncIterator[None]:
        if context.faulty_receiver:
            async with misbehaving(context.faulty_receiver, behaviour):
                yield

    return fault


@asynccontextmanager
async def _full_disk(context: Context) -> AsyncIterator[None]:
    """Fill the small disk until the end of the block.

    In full mode, the small disk holds the Collector's queue. Tempo is stopped as well, so that the
    queue grows and needs space on the disk.
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
    """Stop the Collector, and start it again at once."""
    async with component_down("stop", COLLECTOR):
        await asyncio.sleep(0)


async def fault_reports(context: Context) -> list[str]:
    """Return what reports the fault now, one line for each report.

    An error as the answer to the receiver's health check is a report. In full mode, a metric of the
    Collector and an alert can be reports too.
    """
    async with httpx2.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as http:
        problems = await health.problems(http, context.mode)
    problem = problems.get(context.receiver, "")
    reports = []
    # A receiver that does not answer at all reports nothing.
    if problem.startswith("answers"):
        reports.append(f"{context.receiver} {problem}")
    if context.mode == "full":
        reports += await _collector_reports(context.backends)
    return reports


async def _collector_reports(backends: Backends) -> list[str]:
    """Return one line for each report that the Collector has refused data.

    The Collector's metric of refused spans is a report if it is over 0. The alert
    ``CollectorRefusesData`` is a report if it is pending or firing.
    """
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
    for name, alert_state in alerts:
        reports.append(f"alert {name} {alert_state}")
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
IN_CLUSTER = Expectation(
    drain_s=120.0, duplicates=200, complete_answers=True, exemplars_resolve=True
)
"""What holds when one process of several is killed."""
KILLED_GATEWAY = replace(IN_CLUSTER, spans_in_memory=60)
"""What holds when a gateway is killed.

Its tail sampling acknowledges a request before the spans are in the queue on disk: at most one
request for each core, which is what a service sends in a second.
"""
CLUSTER_OUTAGES = tuple(
    Rehearsal(
        name=f"{name}-killed",
        description=f"{component} of the cluster is killed",
        short=10,
        long=60,
        expectation=KILLED_GATEWAY if name == "gateway" else IN_CLUSTER,
        fault=_down("kill", component),
        modes=modes,
    )
    for name, component, modes in (
        ("agent", "otel-agent-0", state.CLUSTER_MODES),
        ("gateway", "otel-gateway-0", state.CLUSTER_MODES),
        ("thanos-receive", "thanos-receive-0", state.CLUSTER_MODES),
        ("object-store", "object-store", state.CLUSTER_MODES),
        ("store", "store", (state.CLUSTER_LOCAL_STORE_MODE,)),
        ("loki", "loki-1", (state.CLUSTER_MODE,)),
        ("live-store", "tempo-live-store-a-0", (state.CLUSTER_MODE,)),
        ("block-builder", "tempo-block-builder-0", (state.CLUSTER_MODE,)),
        ("kafka", "kafka", (state.CLUSTER_MODE,)),
    )
)
SERVICE_STOPS = (
    Rehearsal(
        name="services-stopped",
        description="both services get SIGTERM under load, again and again",
        short=5,
        long=50,
        expectation=Expectation(stop_s=5.0, latency_unaffected=False),
    ),
    Rehearsal(
        name="workers-stopped",
        description="like services-stopped, with two workers each",
        short=5,
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
    """Return a rehearsal in which the receiver misbehaves as ``behaviour`` says.

    The fault lasts ``seconds`` in the short form, and three times as long in the long form.
    """
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
    *CLUSTER_OUTAGES,
    *SERVICE_STOPS,
    FULL_DISK,
    *RECEIVER_FAULTS,
)
BY_NAME = {rehearsal.name: rehearsal for rehearsal in REHEARSALS}
