"""Runs a drill without a person.

The symptom must appear, the evidence must be found, no decoy may be found, and everything must be
restored afterwards.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from three_pillar_demo.drills import alerts, runner
from three_pillar_demo.drills.catalogue import Drill
from three_pillar_demo.drills.conditions import Condition
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.query.lgtm import LgtmBackends

EVIDENCE_TIMEOUT_S = 30.0
"""How long evidence may take after the symptom: a trace is complete 2 s after its request."""
ALERTS_TIMEOUT_S = 60.0
"""How long the alerts may take after the evidence."""
MIN_ALERTS_WAIT_S = 20.0
"""How long the fault must have lasted before no further alert is expected to fire."""

ExtraCheck = Callable[[runner.ActiveDrill], Awaitable[list[str]]]
"""A check that runs while the fault lasts and returns problems."""


@dataclass
class Verdict:
    """The result of a check; without ``problems`` it passed. Times are in seconds."""

    name: str
    symptom_after_s: float = 0.0
    duration_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


async def check(drill: Drill, backends: Backends, extra: ExtraCheck | None = None) -> Verdict:
    """Run ``drill`` and compare what happens with its file; ``extra`` runs while the fault lasts.

    Raises:
        DrillError: The drill cannot run here.
        CheckoutError: Checkout does not answer.
        BackendError: A backend does not answer.
    """
    began = time.monotonic()
    verdict = Verdict(drill.name)
    with runner.exclusive():
        async with runner.running(drill, backends) as active:
            await _check_while_active(active, verdict, extra)
        verdict.problems += await runner.check_restored(backends)
    verdict.duration_s = time.monotonic() - began
    return verdict


async def _check_while_active(
    active: runner.ActiveDrill, verdict: Verdict, extra: ExtraCheck | None
) -> None:
    """Add to ``verdict`` what does not go as the drill's file says."""
    drill = active.drill
    started = time.monotonic()
    met, value = await active.wait_for(drill.symptom, drill.within)
    verdict.symptom_after_s = time.monotonic() - started
    verdict.figures.append(f"symptom: {_describe(drill.symptom, value)}")
    if not met:
        verdict.problems.append(
            f"the symptom did not appear within {drill.within:g} s: "
            f"{_describe(drill.symptom, value)}"
        )
        return
    await _check_conditions(active, verdict)
    if isinstance(active.backends, LgtmBackends):
        verdict.problems += await _check_alerts(active, active.backends, verdict)
    if extra:
        verdict.problems += await extra(active)


async def _check_conditions(active: runner.ActiveDrill, verdict: Verdict) -> None:
    """Check that all evidence is found in time, and that no decoy is found after it."""
    for condition in active.drill.evidence:
        met, value = await active.wait_for(condition, EVIDENCE_TIMEOUT_S)
        verdict.figures.append(f"evidence: {_describe(condition, value)}")
        if not met:
            verdict.problems.append(f"evidence was not found: {_describe(condition, value)}")
    for condition in active.drill.decoys:
        met, value = await active.evaluate(condition)
        verdict.figures.append(f"decoy: {_describe(condition, value)}")
        if met:
            verdict.problems.append(f"a decoy was found: {_describe(condition, value)}")


async def _check_alerts(
    active: runner.ActiveDrill, backends: LgtmBackends, verdict: Verdict
) -> list[str]:
    """Check that exactly the alerts fire that the file names; they may need some time."""
    deadline = time.monotonic() + ALERTS_TIMEOUT_S
    expected = set(active.drill.alerts.fire)
    baseline = active.baseline
    while True:
        fired = await alerts.fired_alerts(
            backends, baseline.began, time.time(), active.drill.alerts
        )
        if fired == expected and baseline.elapsed_s > MIN_ALERTS_WAIT_S:
            break
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(1)
    verdict.figures.append(f"alerts: {', '.join(sorted(fired)) or 'none'}")
    if fired == expected:
        return []
    return [f"alerts that fired: {sorted(fired)}; expected: {sorted(expected)}"]


def _describe(condition: Condition, value: float | None) -> str:
    """Return what ``condition`` means, the value, and the limit."""
    if condition.over is not None:
        limit = f"over {condition.over:g}"
    else:
        limit = f"under {condition.under:g}"
    shown = "unknown" if value is None else f"{value:.3g}"
    return f"{condition.says} ({shown}; {limit})"
