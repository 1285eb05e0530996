"""Looks at a stack from a process that has its state: ``python -m tests.drills.looking check NAME | calm | mended [NAME]``.

Prints problems, a line each. The tests run it, because where a stack has its state is settled when a module is imported.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any, cast

from three_pillar_demo.drills import catalogue, check, runner
from three_pillar_demo.drills.catalogue import Drill, Fault
from three_pillar_demo.drills.conditions import Question
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import Backends

NOTHING: dict[str, Any] = {
    "requests": [],
    "logs": [],
    "red": [],
    "counters": {},
    "service_graph": [],
    "ingested": {},
    "health": {},
}
NOTHING["freshness"] = {"traces": None, "logs": None, "metrics": None}
CALM_SECONDS = 8.0
"""How long customers come to a shop where nothing is broken."""
CALM = {
    "visa": 4.0,
    "mastercard": 4.0,
    "amex": 3.0,
    "amex@950.00": 2.0,
    "declined": 0.3,
    "invalid": 2.0,
}


class Without:
    """The backends, where one kind of question has no answer."""

    def __init__(self, backends: Backends, ask: str) -> None:
        """Forget what ``ask`` would have found."""
        self.backends, self.ask = backends, ask

    def __getattr__(self, name: str) -> object:
        """As it is, or with nothing in it."""
        if name != self.ask:
            return getattr(self.backends, name)

        async def nothing(*_: object, **__: object) -> object:
            return NOTHING[name]

        return nothing


async def found_without(played: runner.Play, asked: Sequence[Question]) -> list[str]:
    """Which evidence is found though what it is in is gone; that something is absent cannot be taken away."""
    found = []
    for each in asked:
        blind = runner.Play(
            played.drill, cast("Backends", Without(played.backends, each.ask)), played.since
        )
        if each.over is not None and (await blind.sees(each))[0]:
            found.append(f"without its evidence it is found all the same: {each.says}")
    return found


async def checked(drill: Drill, backends: Backends) -> list[str]:
    """The drill's own check, and that it would not pass without its evidence."""
    verdict = await check.check(
        drill, backends, lambda played: found_without(played, drill.evidence)
    )
    sys.stderr.writelines(f"{each}\n" for each in verdict.figures)
    return verdict.problems


async def unbroken(drills: Sequence[Drill], backends: Backends) -> list[str]:
    """Customers come to a shop where nothing is broken: which drills would pass there."""
    calm = drills[0].model_copy(
        update={"fault": Fault(), "customers": catalogue.Customers(rate=8, mix=CALM)}
    )
    asked = tuple(each for drill in drills for each in (drill.symptom, *drill.evidence))
    with runner.alone():
        async with runner.playing(calm.model_copy(update={"evidence": asked}), backends) as played:
            await asyncio.sleep(CALM_SECONDS)
            passed = []
            for drill in drills:
                seen = [(await played.sees(each))[0] for each in (drill.symptom, *drill.evidence)]
                if seen[0]:
                    passed.append(f"{drill.name}: its symptom is there without its fault")
                if all(seen[1:]):
                    passed.append(f"{drill.name}: its evidence is there without its fault")
    return passed


async def main(verb: str, names: list[str]) -> int:
    """Do it; returns how much is wrong."""
    async with connect.backends() as backends:
        drills = [catalogue.load(name) for name in names or catalogue.names()]
        if verb == "check":
            problems = [each for drill in drills for each in await checked(drill, backends)]
        elif verb == "calm":
            problems = await unbroken(drills, backends)
        else:
            problems = await runner.as_it_was(backends)
    sys.stdout.writelines(f"{each}\n" for each in problems)
    return len(problems)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
