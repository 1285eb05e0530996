"""Plays one rehearsal: steady load, something broken, restored; then everything that was bought is looked up in the stores."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from three_pillar_demo.chaos import drops, plan
from three_pillar_demo.chaos.audit import Found, StoreAudit
from three_pillar_demo.chaos.faults import ImpossibleError, small_disk, surely
from three_pillar_demo.chaos.faulty_receiver import FaultyReceiver, behaviours
from three_pillar_demo.chaos.judge import Observation
from three_pillar_demo.chaos.load import Load
from three_pillar_demo.chaos.services import ServiceError, Services
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import BackendError
from three_pillar_demo.stack.components import BY_NAME, LOOPBACK, STATE
from three_pillar_demo.stack.preflight import LaunchError

WARM_SECONDS, STEADY_SECONDS, AFTER_SECONDS = 2.0, 10.0, 3.0
"""How long customers come to services that have just been started, before something is broken, and after it is restored."""
SERVED_SECONDS = 0.6
"""How long customers are served between two stops of the services."""
POLL_SECONDS = 0.5
MARGIN_SECONDS = 120.0
"""Beyond the rehearsal, how far back counters are asked for."""

Say = Callable[[str], None]


class Play:
    """One rehearsal being played; ``amount`` is the seconds that something stays broken, or the number of stops."""

    def __init__(
        self, rehearsal: plan.Rehearsal, amount: float, scene: plan.Context, say: Say
    ) -> None:
        self.rehearsal, self.amount, self.scene, self.say = rehearsal, amount, scene, say
        self.seen = Observation(rehearsal.name)
        self.began = time.monotonic()

    async def run(self) -> Observation:
        """Play it; what was broken is restored when this returns, however it ends."""
        rehearsal, endpoint = (
            self.rehearsal,
            f"http://{LOOPBACK}:{BY_NAME[self.scene.receiver].ports[0]}",
        )
        try:
            async with AsyncExitStack() as stack:
                if rehearsal.disk:
                    self.scene.disk = await stack.enter_async_context(
                        small_disk(self.scene.receiver)
                    )
                if rehearsal.front:
                    self.scene.front = stack.enter_context(FaultyReceiver(endpoint))
                    endpoint = self.scene.front.url
                endpoint = f"http://{LOOPBACK}:9" if rehearsal.alone else endpoint
                services = stack.enter_context(Services(endpoint, rehearsal.workers))
                self.say(f"{rehearsal.name}: starting services of its own")
                await surely(services.start)
                await self._play(services)
        except* ImpossibleError as group:
            self.seen.skipped = _first(group)
        except* (BackendError, ServiceError, LaunchError) as group:
            self.seen.ended = _first(group)
        return self.seen

    async def _play(self, services: Services) -> None:
        log = STATE / "logs" / "rehearsal-checkout.log"
        offset = log.stat().st_size
        load, stop = Load(services.url, services.run), asyncio.Event()
        self.books = StoreAudit(self.scene.backends, services.run, load.started)
        async with asyncio.TaskGroup() as tasks:
            coming = tasks.create_task(load.come(stop))
            weighing = tasks.create_task(self._weigh(services, load))
            self.say(f"{self.rehearsal.name}: {load.rate:g} customers a second, all is well")
            await asyncio.sleep(WARM_SECONDS)
            load.phase = "steady"
            await asyncio.sleep(STEADY_SECONDS if self.rehearsal.promise.unfelt else 0.0)
            load.phase = "broken"
            await (self._break() if self.rehearsal.broken else self._stop_services(services))
            load.phase, restored = "restored", time.monotonic()
            draining = tasks.create_task(
                self.settle(list(load.purchases), restored, ("spans", "lines"))
            )
            await asyncio.sleep(AFTER_SECONDS)
            stop.set()
            await coming
            weighing.cancel()
            self.say(
                f"{self.rehearsal.name}: looking for {len(load.purchases)} purchases in the stores"
            )
            _, self.seen.drained = await draining
        self.seen.made = len(load.purchases)
        self._customers(load, set(log.read_text(errors="replace")[offset:].split('"')))
        if self.rehearsal.promise.stored:
            await self._compare(load, restored)
        if self.scene.front:
            self.seen.manners = behaviours(self.scene.front.answers)

    async def _break(self) -> None:
        assert self.rehearsal.broken  # noqa: S101  (the caller has looked)
        began = time.monotonic()
        self.say(f"{self.rehearsal.name}: {self.rehearsal.what}, for {self.amount:g} s")
        async with self.rehearsal.broken(self.scene):
            await asyncio.sleep(self.amount / 2)
            await self.rehearsal.between(self.scene)
            await asyncio.sleep(self.amount / 2)
            if self.rehearsal.promise.state:
                self.seen.states = await plan.states(self.scene)
        self.seen.away = time.monotonic() - began

    async def _stop_services(self, services: Services) -> None:
        for number in range(round(self.amount)):
            self.say(f"{self.rehearsal.name}: stop {number + 1} of {self.amount:g}")
            await asyncio.sleep(SERVED_SECONDS)
            self.seen.exits += await surely(services.stop)
            await surely(services.start)

    async def _weigh(self, services: Services, load: Load) -> None:
        while True:
            weight = await asyncio.to_thread(services.memory)
            if load.phase in {"warming", "steady"}:
                self.seen.steady_mib = max(self.seen.steady_mib, weight)
            self.seen.most_mib = max(self.seen.most_mib, weight)
            await asyncio.sleep(1.0)

    def _customers(self, load: Load, words: set[str]) -> None:
        """What customers felt; ``words`` are in checkout's own log, which has the order of each request that it began."""
        seen, again_and_again = self.seen, self.rehearsal.broken is None
        unanswered = [each for each in load.visits if each.purchase is None]
        faults = [each for each in load.visits if each.purchase and each.error]
        begun = [each for each in unanswered if each.order_id in words]
        seen.answers = Counter(
            each.purchase.outcome if each.purchase else each.problem for each in load.visits
        )
        seen.begun_unanswered = len(begun)
        seen.turned_away = len(unanswered) - len(begun) if again_and_again else 0
        seen.errors = len(faults) + (0 if again_and_again else len(unanswered) - len(begun))
        seen.steady_p99, seen.broken_p99 = load.p99("steady"), load.p99("broken")

    async def _compare(self, load: Load, restored: float) -> None:
        seen = self.seen
        found, _ = await self.settle(load.purchases, restored, ("spans", "lines", "counts"))
        seen.whole, seen.lost, seen.twice = found.whole, found.lost, found.twice
        seen.dropped_told = await drops.told(self.scene.backends, load.started - 1, time.time())

    async def settle(
        self, purchases: Sequence[Purchase], restored: float, kinds: Sequence[str]
    ) -> tuple[Found, float | None]:
        """Compare until nothing of these ``kinds`` is missing, or what is missing is counted where that was promised.

        Returns:
            What was found last, and how long after ``restored`` that was; None when the deadline came first.
        """
        promise, within = self.rehearsal.promise, time.monotonic() - self.began + MARGIN_SECONDS
        if promise.drain is None:
            return Found(), None
        while True:
            late = time.monotonic() - restored > promise.drain
            try:
                self.seen.dropped = await drops.counted(self.scene.backends, self.books.run, within)
                found = await self.books.compare(
                    purchases, within, thorough=late or promise.lost == "counted"
                )
            except BackendError:
                if late:
                    raise
            else:
                allowed = self.seen.dropped if promise.lost == "counted" else {}
                if all(found.lost[kind] <= allowed.get(kind, 0) for kind in kinds):
                    return found, time.monotonic() - restored
                if late:
                    return found, None
            await asyncio.sleep(POLL_SECONDS)


def _first(group: BaseExceptionGroup[Exception]) -> str:
    """The words of the first of several errors, which may be in groups of their own."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first)
