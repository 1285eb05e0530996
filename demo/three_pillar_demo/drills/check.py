"""Plays a drill without a person: the symptom comes, the evidence is found, the decoys are not, and all is put back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from three_pillar_demo.drills import alerts, runner
from three_pillar_demo.drills.catalogue import Drill
from three_pillar_demo.drills.conditions import Question
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends

EVIDENCE_SECONDS = 30.0
"""How long after the symptom the evidence may take: a trace is whole two seconds after its request."""

ALERT_SECONDS = 60.0
"""How long after the evidence the alerts may take."""
SILENCE_SECONDS = 20.0
"""How long it must have gone on before it is believed that nobody else rings."""
Look = Callable[[runner.Play], Awaitable[list[str]]]
"""Returns problems."""


@dataclass
class Verdict:
    """How a drill went; ``problems`` are empty when all is well."""

    name: str
    symptom: float = 0.0
    took: float = 0.0
    problems: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


async def check(drill: Drill, backends: Backends, also: Look | None = None) -> Verdict:
    """Play ``drill`` and say what did not go as its file says; ``also`` looks while the fault lasts.

    Raises:
        DrillError: It cannot be played here.
        ShopError, BackendError: The stack does not answer.
    """
    began, verdict = time.monotonic(), Verdict(drill.name)
    with runner.alone():
        await _play(drill, backends, verdict, also)
        verdict.problems += await runner.as_it_was(backends)
    verdict.took = time.monotonic() - began
    return verdict


async def _play(drill: Drill, backends: Backends, verdict: Verdict, also: Look | None) -> None:
    async with runner.playing(drill, backends) as played:
        started = time.monotonic()
        found, number = await played.until(drill.symptom, drill.within)
        verdict.symptom = time.monotonic() - started
        _note(verdict, "symptom", drill.symptom, number)
        if not found:
            verdict.problems.append(
                f"the symptom did not come within {drill.within:g} s: {_said(drill.symptom, number)}"
            )
        else:
            for each in drill.evidence:
                found, number = await played.until(each, EVIDENCE_SECONDS)
                _note(verdict, "evidence", each, number)
                if not found:
                    verdict.problems.append(f"evidence is not there: {_said(each, number)}")
            for each in drill.decoys:
                found, number = await played.sees(each)
                _note(verdict, "decoy", each, number)
                if found:
                    verdict.problems.append(f"a decoy is found: {_said(each, number)}")
            if isinstance(backends, LgtmBackends):
                verdict.problems += await _alerts(played, backends, verdict)
            if also:
                verdict.problems += await also(played)


async def _alerts(played: runner.Play, backends: LgtmBackends, verdict: Verdict) -> list[str]:
    """Whether exactly those alerts fire that the file names; they need some time in which it goes on."""
    deadline, wanted = time.monotonic() + ALERT_SECONDS, set(played.drill.alerts.fire)
    while True:
        rung = await alerts.fired(backends, played.since.began, time.time(), played.drill.alerts)
        if (
            rung == wanted and played.since.seconds > SILENCE_SECONDS
        ) or time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    verdict.figures.append(f"alerts: {', '.join(sorted(rung)) or 'none'}")
    return (
        [f"alerts that rang: {sorted(rung)}; those that must: {sorted(wanted)}"]
        if rung != wanted
        else []
    )


def _note(verdict: Verdict, kind: str, asked: Question, number: float | None) -> None:
    verdict.figures.append(f"{kind}: {_said(asked, number)}")


def _said(asked: Question, number: float | None) -> str:
    limit = f"over {asked.over:g}" if asked.over is not None else f"under {asked.under:g}"
    return f"{asked.says} ({'unknown' if number is None else f'{number:.3g}'}; {limit})"
