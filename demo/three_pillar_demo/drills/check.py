"""Checks a drill by running it without a person.

The symptom must appear, each evidence condition must be met, no decoy may be met, and the shop must
work normally afterwards.
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
"""Seconds in which each evidence condition must be met.

This includes the 2 s that a trace takes to become complete.
"""
ALERTS_TIMEOUT_S = 60.0
"""Seconds within which the firing alerts must become exactly the expected ones.

The time begins when the conditions have been checked.
"""
MIN_ALERTS_WAIT_S = 20.0
"""Seconds that the fault must have lasted before the check of the alerts can pass.

This gives an unexpected alert time to fire.
"""

ExtraCheck = Callable[[runner.ActiveDrill], Awaitable[list[str]]]
"""A function that is called while the fault lasts; it returns problems, one line each."""


@dataclass
class Verdict:
    """The result of the check of a drill; it has passed if ``problems`` is empty.

    Attributes:
        name: The name of the drill.
        symptom_after_s: Seconds from the start of the fault to the symptom; if the symptom did not
            appear, the seconds that the check waited for it.
        duration_s: Seconds that the whole check took.
        problems: What went wrong, one line each.
        figures: Each condition with its value and limit, one line each.
    """

    name: str
    symptom_after_s: float = 0.0
    duration_s: float = 0.0
    problems: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


async def check(drill: Drill, backends: Backends, extra: ExtraCheck | None = None) -> Verdict:
    """Run ``drill``, and compare what happens with what its file expects.

    ``extra`` is a further check, which is called while the fault lasts.

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
    """Check the symptom, the conditions and the alerts, and add the results to ``verdict``."""
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
    """Check that each evidence condition is met in time, and that afterwards no decoy is met."""
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
    """Wait until the firing alerts are exactly those that the drill's file names.

    Returns:
        A list with one line that describes the difference, if there still is one after
        ``ALERTS_TIMEOUT_S`` seconds; otherwise an empty list.
    """
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
    """Return one line: the meaning of ``condition``, the measured ``value``, and the limit."""
    if condition.over is not None:
        limit = f"over {condition.over:g}"
    else:
        limit = f"under {condition.under:g}"
    value_text = "unknown" if value is None else f"{value:.3g}"
    return f"{condition.says} ({value_text}; {limit})"
