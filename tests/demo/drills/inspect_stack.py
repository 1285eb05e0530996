"""Inspects a running stack: ``python -m tests.demo.drills.inspect_stack COMMAND [NAME...]``.

``check`` runs the drills by name, ``calm`` looks for their conditions in a shop without a fault,
``restored`` checks that no fault is left. Each problem is printed as one line, and the exit code is
their number. The tests run it as a process, because the state folder of a stack is read from the
environment when a module is imported.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, cast

from three_pillar_demo.drills import catalogue, check, runner
from three_pillar_demo.drills.catalogue import Drill, Fault
from three_pillar_demo.drills.conditions import Condition
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Backends

EMPTY_RESULTS: dict[str, Any] = {
    "requests": [],
    "logs": [],
    "red": [],
    "counters": {},
    "service_graph": [],
    "ingested": {},
    "health": {},
    "freshness": {"traces": None, "logs": None, "metrics": None},
}
"""By query, the answer of a backend that knows nothing."""
CALM_SECONDS = 8.0
"""How long load is sent to a shop in which nothing is broken."""
CALM_RATE = 8
CALM_MIX = {
    "visa": 4.0,
    "mastercard": 4.0,
    "amex": 3.0,
    "amex@950.00": 2.0,
    "declined": 0.3,
    "invalid": 2.0,
}


class BackendsWithout:
    """Backends in which one query finds nothing."""

    def __init__(self, backends: Backends, query: str) -> None:
        """Answer ``query`` with an empty result, and pass all others to ``backends``."""
        self.backends = backends
        self.query = query

    def __getattr__(self, name: str) -> object:
        """Return the backends' own attribute, or a query that finds nothing."""
        if name != self.query:
            return getattr(self.backends, name)

        async def find_nothing(*_: object, **__: object) -> object:
            return EMPTY_RESULTS[name]

        return find_nothing


async def met_without_data(
    active: runner.ActiveDrill, conditions: Sequence[Condition]
) -> list[str]:
    """Return the conditions that are met although their query finds nothing.

    A condition with ``under`` is about something absent, so its data cannot be taken away.
    """
    problems = []
    for condition in conditions:
        backends = cast("Backends", BackendsWithout(active.backends, condition.ask))
        without = runner.ActiveDrill(active.drill, backends, active.baseline)
        met, _ = await without.evaluate(condition)
        if condition.over is not None and met:
            problems.append(f"evidence is met without its data: {condition.says}")
    return problems


async def check_drill(drill: Drill, backends: Backends) -> list[str]:
    """Run the drill's own check, and check that it would fail without its evidence."""

    async def extra(active: runner.ActiveDrill) -> list[str]:
        return await met_without_data(active, drill.evidence)

    verdict = await check.check(drill, backends, extra)
    sys.stderr.writelines(f"{figure}\n" for figure in verdict.figures)
    return verdict.problems


async def check_calm_shop(drills: Sequence[Drill], backends: Backends) -> list[str]:
    """Send load to a shop without a fault, and return the drills that would pass there."""
    calm = drills[0].model_copy(
        update={
            "fault": Fault(),
            "customers": catalogue.Customers(rate=CALM_RATE, mix=CALM_MIX),
            "evidence": tuple(
                condition for drill in drills for condition in (drill.symptom, *drill.evidence)
            ),
        }
    )
    problems = []
    with runner.exclusive():
        async with runner.running(calm, backends) as active:
            await asyncio.sleep(CALM_SECONDS)
            for drill in drills:
                symptom_met, _ = await active.evaluate(drill.symptom)
                evidence_met = [
                    (await active.evaluate(condition))[0] for condition in drill.evidence
                ]
                if symptom_met:
                    problems.append(f"{drill.name}: its symptom appears without its fault")
                if all(evidence_met):
                    problems.append(f"{drill.name}: its evidence is found without its fault")
    return problems


async def main(command: str, names: list[str]) -> int:
    """Run the command, print its problems, and return their number."""
    async with connect.create_backends() as backends:
        drills = [catalogue.load(name) for name in names or catalogue.names()]
        if command == "check":
            problems = []
            for drill in drills:
                problems += await check_drill(drill, backends)
        elif command == "calm":
            problems = await check_calm_shop(drills, backends)
        else:
            problems = await runner.check_restored(backends)
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return len(problems)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
