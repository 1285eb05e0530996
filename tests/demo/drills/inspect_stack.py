"""Inspects a running stack: ``python -m tests.demo.drills.inspect_stack COMMAND [NAME...]``.

The command ``check`` runs the named drills without a person, ``calm`` evaluates their conditions
while nothing is broken, and ``restored`` checks that no fault is left. Each problem is printed as
one line, and the exit code is their number. The tests run it as a process, because the state folder
of a stack is read from the environment when a module is imported.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, cast

from three_pillars.pauses import no_collections

with no_collections():
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
"""The result of each query in a backend that has no data."""
NORMAL_OPERATION_S = 8.0
"""Seconds for which load is sent to the shop while nothing is broken."""
NORMAL_RATE = 8
"""Purchases per second while nothing is broken."""
NORMAL_MIX = {
    "visa": 4.0,
    "mastercard": 4.0,
    "amex": 3.0,
    "amex@950.00": 2.0,
    "declined": 0.3,
    "invalid": 2.0,
}
"""The weight of each card while nothing is broken."""


class BackendsWithout:
    """Wraps backends so that one query has an empty result."""

    def __init__(self, backends: Backends, query: str) -> None:
        """Replace the method ``query``; all other queries go to ``backends``."""
        self.backends = backends
        self.query = query

    def __getattr__(self, name: str) -> object:
        """Return the attribute of the backends, or for ``query`` one with an empty result."""
        if name != self.query:
            return getattr(self.backends, name)

        async def find_nothing(*_: object, **__: object) -> object:
            return EMPTY_RESULTS[name]

        return find_nothing


async def met_without_data(
    active: runner.ActiveDrill, conditions: Sequence[Condition]
) -> list[str]:
    """Return one line for each condition that is met although its query has an empty result.

    Conditions with ``under`` are left out: they are about something absent, so an empty result may
    meet them.
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
    """Run the drill's own check, and check that no evidence is found without its data.

    Returns:
        The problems, one line each.
    """

    async def extra(active: runner.ActiveDrill) -> list[str]:
        return await met_without_data(active, drill.evidence)

    verdict = await check.check(drill, backends, extra)
    sys.stderr.writelines(f"{figure}\n" for figure in verdict.figures)
    return verdict.problems


async def check_without_fault(drills: Sequence[Drill], backends: Backends) -> list[str]:
    """Send load while nothing is broken, and evaluate the symptom and evidence of each drill.

    Returns:
        One line for each drill whose symptom appears or whose evidence is all found.
    """
    drill_without_fault = drills[0].model_copy(
        update={
            "fault": Fault(),
            "customers": catalogue.Customers(rate=NORMAL_RATE, mix=NORMAL_MIX),
            "evidence": tuple(
                condition for drill in drills for condition in (drill.symptom, *drill.evidence)
            ),
        }
    )
    problems = []
    with runner.exclusive():
        async with runner.running(drill_without_fault, backends) as active:
            await asyncio.sleep(NORMAL_OPERATION_S)
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
    """Run the command, print the problems that it finds, and return their number."""
    async with connect.create_backends() as backends:
        drills = [catalogue.load(name) for name in names or catalogue.names()]
        if command == "check":
            problems = []
            for drill in drills:
                problems += await check_drill(drill, backends)
        elif command == "calm":
            problems = await check_without_fault(drills, backends)
        else:
            problems = await runner.check_restored(backends)
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return len(problems)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
