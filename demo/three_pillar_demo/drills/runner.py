"""Runs a drill: sends load, injects the fault, evaluates conditions, checks the shop afterwards.

Two modules use this one: ``runner_process`` runs a drill for a person, and ``check`` runs a drill
without a person.
"""

import asyncio
import fcntl
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import httpx2

from three_pillar_demo.drills import evidence, fault_files, faults
from three_pillar_demo.drills.catalogue import Drill, DrillError, Fault
from three_pillar_demo.drills.conditions import Condition
from three_pillar_demo.drills.evidence import Baseline
from three_pillar_demo.load import checkout_client, traffic
from three_pillar_demo.load.stats import LoadStats
from three_pillar_demo.query.interface import NANO, BackendError, Backends, Span

POLL_INTERVAL_S = 0.25
"""Seconds between two evaluations of a condition that is not met yet."""
TRACE_TIMEOUT_S = 20.0
"""How long to wait, in seconds, for the complete trace of a purchase made after a drill."""
PURCHASES_AFTER = 3
"""The number of purchases that are made after a drill to check that the shop works normally."""
NORMAL_OUTCOMES = {"success", "gateway_timeout"}
"""The outcomes that a purchase with an ordinary card may have when no drill runs.

By default, payment lets one purchase in five time out.
"""
MAX_OVERLAP_NS = NANO // 10
"""How far a child span may reach outside its parent: 0.1 s, in nanoseconds."""
MAX_SEED = 10**9
"""The upper limit of the random seed from which the load draws its cards."""


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the lock that lets only one drill run at a time, and remove old fault files.

    Raises:
        DrillError: Another drill is running.
    """
    with (fault_files.ensure_folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DrillError("a drill is already running: `demo drill stop` ends it") from None
        fault_files.clear()
        yield


@dataclass
class ActiveDrill:
    """A drill whose fault is active.

    Attributes:
        drill: The drill.
        backends: The backends that the conditions of the drill query.
        baseline: The time at which the fault began, and the counters at that time.
    """

    drill: Drill
    backends: Backends
    baseline: Baseline

    async def evaluate(self, condition: Condition) -> tuple[bool, float | None]:
        """Return whether ``condition`` is met now, and the number that it compares.

        If a backend does not answer, the condition is not met and the number is None.
        """
        try:
            value = await evidence.evaluate(self.backends, self.baseline, condition)
        except BackendError:
            return False, None
        return condition.is_met(value), value

    async def wait_for(self, condition: Condition, timeout_s: float) -> tuple[bool, float | None]:
        """Evaluate ``condition`` until it is met, for at most ``timeout_s`` seconds.

        Returns:
            The result of the last ``evaluate``.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            met, value = await self.evaluate(condition)
            if met or time.monotonic() > deadline:
                return met, value
            await asyncio.sleep(POLL_INTERVAL_S)


@asynccontextmanager
async def running(
    drill: Drill, backends: Backends, normal_operation_s: float = 0.0
) -> AsyncIterator[ActiveDrill]:
    """Send load, and keep the drill's fault active until the end of the block.

    Before the fault begins, load is sent for ``normal_operation_s`` seconds.

    Raises:
        DrillError: The drill cannot run here.
        CheckoutError: Checkout does not answer.
    """
    customers = drill.customers
    async with checkout_client.client(traffic.MAX_IN_FLIGHT) as http:
        await checkout_client.check_reachable(http)
        if normal_operation_s:
            async with faults.injected(Fault()), _load(http, customers.rate, customers.mix):
                await asyncio.sleep(normal_operation_s)
        async with faults.injected(drill.fault):
            baseline = await evidence.take_baseline(backends, drill.conditions)
            async with _load(http, customers.rate, drill.fault.customers or customers.mix):
                yield ActiveDrill(drill, backends, baseline)


@asynccontextmanager
async def _load(
    http: httpx2.AsyncClient, rate: float, mix: dict[str, float]
) -> AsyncIterator[None]:
    """Send ``rate`` requests per second to checkout until the end of the block.

    ``mix`` maps each card to its weight in the random choice. At the end, requests in flight are
    awaited; if the block raises, they are cancelled.
    """
    stop = asyncio.Event()
    plan = traffic.LoadPlan(rate, traffic.DAY_S, mix, secrets.randbelow(MAX_SEED))
    stats = LoadStats(rate, traffic.DAY_S)
    driving = asyncio.create_task(traffic.drive(http, plan, stats, stop))
    try:
        yield
        stop.set()
        await driving
    finally:
        driving.cancel()
        with suppress(asyncio.CancelledError):
            await driving


async def check_restored(backends: Backends) -> list[str]:
    """Make ``PURCHASES_AFTER`` purchases, and return what is not normal, one line for each problem.

    Outcomes, active faults and traces are checked.
    """
    try:
        async with checkout_client.client() as http:
            purchases = [await checkout_client.buy(http, "visa") for _ in range(PURCHASES_AFTER)]
    except checkout_client.CheckoutError as error:
        return [str(error)]
    problems = [
        f"an ordinary purchase ended as {purchase.outcome}"
        for purchase in purchases
        if purchase.outcome not in NORMAL_OUTCOMES
    ]
    for service, fault in fault_files.active_faults().items():
        problems.append(f"{service} still has a fault: {fault}")
    if problems:
        return problems
    for purchase in purchases:
        problem = await _wait_for_normal_trace(backends, purchase.trace_id)
        if problem:
            problems.append(f"trace {purchase.trace_id}: {problem}")
    return problems


async def _wait_for_normal_trace(backends: Backends, trace_id: str) -> str:
    """Wait until the trace is complete and normal, for at most ``TRACE_TIMEOUT_S`` seconds.

    Returns:
        What ``trace_problem`` still finds wrong with the trace; empty if nothing.
    """
    deadline = time.monotonic() + TRACE_TIMEOUT_S
    while True:
        problem = trace_problem(await backends.trace(trace_id))
        if not problem or time.monotonic() > deadline:
            return problem
        await asyncio.sleep(POLL_INTERVAL_S)


def trace_problem(spans: list[Span]) -> str:
    """Return what is wrong with ``spans``, the trace of an ordinary purchase; empty if nothing is.

    The trace must have three spans of checkout and one span of payment. Each span that has a parent
    must lie inside the parent.
    """
    kinds = sorted((span.service, span.kind) for span in spans)
    if kinds != [
        ("checkout", "CLIENT"),
        ("checkout", "INTERNAL"),
        ("checkout", "SERVER"),
        ("payment", "SERVER"),
    ]:
        return f"its spans are {kinds}"
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        if span.parent_id and not _is_inside(span, by_id[span.parent_id]):
            return f"a span of {span.service} lies outside its parent"
    return ""


def _is_inside(span: Span, parent: Span) -> bool:
    """Return whether ``span`` lies inside ``parent``, with a tolerance of ``MAX_OVERLAP_NS``."""
    earliest = parent.start - MAX_OVERLAP_NS
    latest = parent.end + MAX_OVERLAP_NS
    return earliest <= span.start <= span.end <= latest
