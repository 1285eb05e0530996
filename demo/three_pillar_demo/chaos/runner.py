"""Runs one rehearsal: a steady load, the fault, the recovery, and the audit of all purchases."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from three_pillar_demo.chaos import drops, plan
from three_pillar_demo.chaos.answer_watch import AnswerWatch
from three_pillar_demo.chaos.audit import AuditResult, StoreAudit
from three_pillar_demo.chaos.faults import UnsupportedError, run_shielded, small_disk
from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver, otlp_violations
from three_pillar_demo.chaos.judge import Observation
from three_pillar_demo.chaos.kinds import KINDS, LOG_RECORDS, SPANS
from three_pillar_demo.chaos.load import Load
from three_pillar_demo.chaos.services import ServiceError, Services
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.paths import STATE
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack.components import BY_NAME
from three_pillar_demo.stack.ports import LOOPBACK
from three_pillar_demo.stack.preflight import LaunchError
from three_pillar_demo.verify.exemplar_check import without_trace
from three_pillar_demo.verify.sampling import load_sampling

WARM_UP_S = 2.0
"""Seconds of load on freshly started services before the steady state is measured."""
STEADY_S = 10.0
"""Seconds for which the steady state is measured before the fault."""
RECOVERY_S = 3.0
"""Seconds of load after the fault has been removed."""
UPTIME_S = 0.6
"""Seconds that the services run between two stops."""
POLL_INTERVAL_S = 0.5
"""Seconds between two comparisons with the stores."""
MEMORY_INTERVAL_S = 1.0
"""Seconds between two measurements of the services' memory."""
MARGIN_S = 120.0
"""Counters are queried this many seconds further back than the rehearsal has lasted."""
CLOSED_PORT = 9
"""A TCP port on which nothing listens: that of the discard protocol."""
CHECKOUT_LOG = STATE / "logs" / "rehearsal-checkout.log"
"""The log file of the rehearsal's own checkout."""


class RehearsalRun:
    """Runs one rehearsal once, and collects what is observed."""

    def __init__(
        self,
        rehearsal: plan.Rehearsal,
        amount: float,
        context: plan.Context,
        report_progress: Callable[[str], None],
    ) -> None:
        """Keep the arguments; nothing starts before ``run`` is called.

        ``amount`` is the duration of the fault in seconds, or the number of stops of the services.
        ``report_progress`` is called with a line of text at each step.
        """
        self.rehearsal = rehearsal
        self.expectation = rehearsal.expectation
        self.amount = amount
        self.context = context
        self.report_progress = report_progress
        self.observed = Observation(rehearsal.name)
        self.began = time.monotonic()

    async def run(self) -> Observation:
        """Run the rehearsal and return what it observed.

        The fault has been removed when this method returns or raises.
        """
        try:
            async with AsyncExitStack() as stack:
                endpoint = await self._prepare_receiver(stack)
                services = stack.enter_context(
                    Services(endpoint, self.rehearsal.workers, variables=plan.service_variables())
                )
                self._progress("starting its own services")
                await run_shielded(services.start)
                await self._run_with(services)
        except* UnsupportedError as group:
            self.observed.skipped = _first_message(group)
        except* (BackendError, ServiceError, LaunchError) as group:
            self.observed.aborted = _first_message(group)
        return self.observed

    async def _prepare_receiver(self, stack: AsyncExitStack) -> str:
        """Set up the small disk or the faulty receiver if the rehearsal needs one.

        Returns:
            The OTLP endpoint to which the services must export.
        """
        receiver = self.context.receiver
        endpoint = BY_NAME[receiver].address
        if self.rehearsal.small_disk:
            self.context.disk = await stack.enter_async_context(small_disk(receiver))
        if self.rehearsal.faulty_receiver:
            self.context.faulty_receiver = stack.enter_context(FaultyReceiver(endpoint))
            endpoint = self.context.faulty_receiver.url
        if self.rehearsal.no_receiver:
            endpoint = f"http://{LOOPBACK}:{CLOSED_PORT}"
        return endpoint

    async def _run_with(self, services: Services) -> None:
        """Send the load to ``services`` through all phases, and collect all observations."""
        log_offset = CHECKOUT_LOG.stat().st_size
        load = Load(services.url, services.run)
        self.audit = StoreAudit(self.context.backends, services.run, load.started, load_sampling())
        recovered_at = await self._run_phases(services, load)
        self.observed.purchases = len(load.purchases)
        log = CHECKOUT_LOG.read_text(errors="replace")[log_offset:]
        self._count_requests(load, logged_words=set(log.split('"')))
        if self.expectation.stored:
            await self._audit(load, recovered_at)
        if self.expectation.exemplars_resolve:
            await self._resolve_exemplars(load, recovered_at)
        if self.context.faulty_receiver:
            answers = self.context.faulty_receiver.answers
            self.observed.otlp_violations = otlp_violations(answers)

    async def _run_phases(self, services: Services, load: Load) -> float:
        """Send the load, inject the fault, and wait until all spans and log records are stored.

        The wait ends ``expectation.drain_s`` seconds after the fault at the latest.

        Returns:
            The time at which the fault was over, in seconds of the monotonic clock.
        """
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(load.send(stop))
            measuring = tasks.create_task(self._measure_memory(services, load))
            self._progress(f"steady state, {load.rate:g} requests a second")
            await asyncio.sleep(WARM_UP_S)
            load.phase = "steady"
            watch = AnswerWatch(self.audit, lambda: load.purchases)
            if self.expectation.complete_answers:
                self.observed.answers = watch.answers
                watching = tasks.create_task(watch.watch(MARGIN_S + self.amount))
            await asyncio.sleep(STEADY_S if self.expectation.latency_unaffected else 0.0)
            load.phase = "fault"
            if self.rehearsal.fault:
                await self._inject(self.rehearsal.fault)
            else:
                await self._stop_services(services)
            load.phase = "recovery"
            recovered_at = time.monotonic()
            draining = tasks.create_task(
                self.wait_until_stored(list(load.purchases), recovered_at, (SPANS, LOG_RECORDS))
            )
            await asyncio.sleep(RECOVERY_S)
            stop.set()
            await sending
            measuring.cancel()
            self._progress(f"looking up {len(load.purchases)} purchases in the stores")
            _, self.observed.drained_s = await draining
            if self.expectation.complete_answers:
                watching.cancel()
        return recovered_at

    async def _inject(self, fault: plan.Fault) -> None:
        """Keep ``fault`` active for ``amount`` seconds, and call ``halfway`` in the middle."""
        began = time.monotonic()
        self._progress(f"{self.rehearsal.description}, for {self.amount:g} s")
        async with fault(self.context):
            await asyncio.sleep(self.amount / 2)
            await self.rehearsal.halfway(self.context)
            await asyncio.sleep(self.amount / 2)
            if self.expectation.fault_reported:
                self.observed.reports = await plan.fault_reports(self.context)
        self.observed.fault_s = time.monotonic() - began

    async def _stop_services(self, services: Services) -> None:
        """Stop the services ``amount`` times, and start them again each time."""
        for number in range(round(self.amount)):
            self._progress(f"stop {number + 1} of {self.amount:g}")
            await asyncio.sleep(UPTIME_S)
            self.observed.stop_durations_s += await run_shielded(services.stop)
            await run_shielded(services.start)

    async def _measure_memory(self, services: Services, load: Load) -> None:
        """Record the highest memory of the services until this task is cancelled."""
        observed = self.observed
        while True:
            mib = await asyncio.to_thread(services.memory_mib)
            if load.phase in {"warm-up", "steady"}:
                observed.steady_mib = max(observed.steady_mib, mib)
            observed.peak_mib = max(observed.peak_mib, mib)
            await asyncio.sleep(MEMORY_INTERVAL_S)

    def _count_requests(self, load: Load, logged_words: set[str]) -> None:
        """Record the outcomes and the latencies of all requests.

        ``logged_words`` is the set of all quoted strings in checkout's log. If the set contains the
        order id of a request, checkout began to handle that request.

        A request without an answer counts as ``unanswered`` if checkout began to handle it.
        Otherwise it counts as ``refused`` in a rehearsal that stops the services, and as an error
        in a rehearsal with a fault.
        """
        observed = self.observed
        without_answer = [request for request in load.requests if request.purchase is None]
        begun = [request for request in without_answer if request.order_id in logged_words]
        not_begun = len(without_answer) - len(begun)
        server_errors = [
            request for request in load.requests if request.purchase and request.failed
        ]
        observed.outcomes = Counter(
            request.purchase.outcome if request.purchase else request.problem
            for request in load.requests
        )
        observed.unanswered = len(begun)
        observed.errors = len(server_errors)
        # Between a stop of the services and the next start, nothing listens on the port.
        if self.rehearsal.fault is None:
            observed.refused = not_begun
        else:
            observed.errors += not_begun
        observed.steady_p99_s = load.p99("steady")
        observed.fault_p99_s = load.p99("fault")

    async def _audit(self, load: Load, recovered_at: float) -> None:
        """Compare all purchases with the stores, and record the result."""
        observed = self.observed
        result, _ = await self.wait_until_stored(load.purchases, recovered_at, KINDS)
        observed.complete = result.complete
        observed.lost = result.lost
        observed.duplicated = result.duplicated
        observed.drops_logged = await drops.drop_was_logged(
            self.context.backends, load.started - 1, time.time()
        )

    async def _resolve_exemplars(self, load: Load, recovered_at: float) -> None:
        """Record to how many traces of this load exemplars lead, and which of these are not there.

        The traces have until ``expectation.drain_s`` seconds after ``recovered_at``.
        """
        backends = self.context.backends
        own = {purchase.trace_id for purchase in load.purchases}
        exemplars = await backends.exemplars(load.started, time.time())
        trace_ids = sorted({item.trace_id for item in exemplars} & own)
        self.observed.exemplars = len(trace_ids)
        deadline = recovered_at + (self.expectation.drain_s or 0.0)
        self.observed.dead_exemplars = await without_trace(backends, trace_ids)
        while self.observed.dead_exemplars and time.monotonic() < deadline:
            await asyncio.sleep(POLL_INTERVAL_S)
            self.observed.dead_exemplars = await without_trace(
                backends, self.observed.dead_exemplars
            )

    async def wait_until_stored(
        self, purchases: Sequence[Purchase], recovered_at: float, kinds: Sequence[str]
    ) -> tuple[AuditResult, float | None]:
        """Compare ``purchases`` with the stores until no item of ``kinds`` is missing.

        ``recovered_at`` is when the fault was over, in seconds of the monotonic clock. The deadline
        is ``expectation.drain_s`` seconds after that; with None, nothing is compared. If
        ``expectation.loss`` is ``counted``, items that the services count as dropped may be
        missing.

        Returns:
            The last comparison, and the seconds from ``recovered_at`` until that comparison. The
            seconds are None if an item was still missing at the deadline, or nothing was compared.

        Raises:
            BackendError: A store does not answer at the deadline.
        """
        within_s = time.monotonic() - self.began + MARGIN_S
        drops_allowed = self.expectation.loss == "counted"
        if self.expectation.drain_s is None:
            return AuditResult(), None
        while True:
            is_last = time.monotonic() - recovered_at > self.expectation.drain_s
            try:
                self.observed.dropped = await drops.dropped_counts(
                    self.context.backends, self.audit.run, within_s
                )
                result = await self.audit.compare(
                    purchases, within_s, thorough=is_last or drops_allowed
                )
            except BackendError:
                if is_last:
                    raise
            else:
                allowed = self.observed.dropped if drops_allowed else Counter[str]()
                if all(result.lost[kind] <= allowed[kind] for kind in kinds):
                    return result, time.monotonic() - recovered_at
                if is_last:
                    return result, None
            await asyncio.sleep(POLL_INTERVAL_S)

    def _progress(self, step: str) -> None:
        """Report a step of the rehearsal, after the name of the rehearsal."""
        self.report_progress(f"{self.rehearsal.name}: {step}")


def _first_message(group: BaseExceptionGroup[Exception]) -> str:
    """Return the message of the first exception in ``group``, which may be in a nested group."""
    first_error: BaseException = group
    while isinstance(first_error, BaseExceptionGroup):
        first_error = first_error.exceptions[0]
    return str(first_error)
