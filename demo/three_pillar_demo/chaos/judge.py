"""Compares what a rehearsal observed with what it expects: a pure function of both."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from three_pillar_demo.chaos.kinds import KINDS, label

MAX_P99_RATIO = 1.15
"""The highest p99 latency during the fault, relative to the steady state."""
MAX_GROWTH_MIB = 64.0
"""How much the memory of both services may grow while they cannot export."""


@dataclass(frozen=True)
class Expectation:
    """What must hold.

    Attributes:
        loss: ``none``, or ``counted``: every lost item is counted as dropped, and a log record
            reports drops.
        drain_s: How long after the recovery the stores may be incomplete; None to skip the check.
        stop_s: How long each stop of a service may take; None to skip the check.
        fault_reported: Whether something must report the fault while it lasts.
        latency_unaffected: Whether customers must not notice the fault in their latency.
        stored: Whether there is a store to audit.
    """

    loss: Literal["none", "counted"] = "none"
    drain_s: float | None = 60.0
    stop_s: float | None = None
    fault_reported: bool = False
    latency_unaffected: bool = True
    stored: bool = True


@dataclass
class Observation:
    """What a rehearsal observed; figures that it did not measure keep their defaults.

    Attributes:
        name: The rehearsal.
        purchases: How many purchases were answered.
        complete: How many of them are complete in traces and logs.
        lost, duplicated, dropped: Items by kind; ``dropped`` is what the services report.
        drops_logged: Whether a log record reports drops.
        fault_s: How long the fault lasted.
        drained_s: How long after the recovery everything was stored; None if it never was.
        errors: Requests that failed, apart from those that are refused or unanswered.
        outcomes: The answers by outcome, and failed requests by error.
        refused: Requests that came while the services were stopped.
        unanswered: Requests in flight at a stop that got no answer.
        steady_p99_s, fault_p99_s: The customers' p99 latency before and during the fault.
        steady_mib, peak_mib: The resident memory of both services.
        stop_durations_s: How long each stop of a service took.
        reports: What reported the fault while it lasted.
        otlp_violations: What the exporters did against the OTLP specification.
        skipped: Why this machine cannot run the rehearsal; empty if it can.
        aborted: Why the rehearsal ended early; empty if it did not.
    """

    name: str
    purchases: int = 0
    complete: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    duplicated: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    drops_logged: bool = False
    fault_s: float = 0.0
    drained_s: float | None = None
    errors: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    unanswered: int = 0
    steady_p99_s: float = math.nan
    fault_p99_s: float = math.nan
    steady_mib: float = 0.0
    peak_mib: float = 0.0
    stop_durations_s: list[float] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    otlp_violations: list[str] = field(default_factory=list)
    skipped: str = ""
    aborted: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is not as expected; both lists fail a rehearsal.

    ``slow`` holds what may only be due to a busy machine, ``problems`` everything else.
    """

    problems: list[str]
    slow: list[str]

    @property
    def passed(self) -> bool:
        """Whether everything is as expected."""
        return not self.problems and not self.slow


def judge(observed: Observation, expected: Expectation) -> Verdict:
    """Return what is not as expected."""
    if observed.skipped:
        return Verdict([], [])
    if observed.aborted:
        return Verdict([f"ended early: {observed.aborted}"], [])
    problems = [*observed.otlp_violations]
    if expected.stored:
        problems += _loss_problems(observed, expected)
    problems += _service_problems(observed, expected)
    return Verdict(problems, _slow(observed, expected))


def _loss_problems(observed: Observation, expected: Expectation) -> list[str]:
    """Return one line for each kind that is duplicated, or lost without being allowed to."""
    problems = [
        f"{count} {label(kind)} duplicated" for kind, count in observed.duplicated.items() if count
    ]
    lost = {kind: count for kind, count in observed.lost.items() if count}
    if expected.loss == "none":
        return problems + [f"{count} {label(kind)} lost" for kind, count in lost.items()]
    # Counts are never dropped: the next export has the same sums.
    for kind in KINDS:
        lost_count = lost.get(kind, 0)
        dropped_count = observed.dropped[kind]
        if lost_count != dropped_count:
            problems.append(f"{lost_count} {label(kind)} lost, {dropped_count} counted as dropped")
    if lost and not observed.drops_logged:
        problems.append("no log record reports the drops")
    return problems


def _service_problems(observed: Observation, expected: Expectation) -> list[str]:
    problems = []
    if not observed.purchases:
        problems.append("no purchase was answered")
    if expected.drain_s is not None and not _is_within(observed.drained_s, expected.drain_s):
        problems.append(f"not drained {expected.drain_s:g} s after the recovery")
    if observed.errors:
        problems.append(f"customers: {observed.errors} errors")
    if observed.unanswered:
        problems.append(f"customers: {observed.unanswered} requests in flight were not answered")
    growth = observed.peak_mib - observed.steady_mib
    if growth > MAX_GROWTH_MIB:
        problems.append(f"services grew by {growth:.0f} MiB, limit {MAX_GROWTH_MIB:g}")
    if expected.fault_reported and not observed.reports:
        problems.append("nothing reported the fault while it lasted")
    return problems


def _slow(observed: Observation, expected: Expectation) -> list[str]:
    """Return the limits of time that were exceeded; an unknown time (NaN) exceeds every limit."""
    slow = []
    ratio = observed.fault_p99_s / observed.steady_p99_s
    if expected.latency_unaffected and not ratio <= MAX_P99_RATIO:
        slow.append(f"customers: p99 is {ratio:.2f} of the steady state, limit {MAX_P99_RATIO:g}")
    if expected.stop_s is not None:
        longest = max(observed.stop_durations_s, default=math.nan)
        if not longest <= expected.stop_s:
            slow.append(f"a stop took {longest:.1f} s, limit {expected.stop_s:g}")
    return slow


def _is_within(seconds: float | None, limit: float) -> bool:
    return seconds is not None and seconds <= limit
