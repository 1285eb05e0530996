"""Compares what a rehearsal observed with what the rehearsal expects.

The functions only compute: they query nothing and change nothing.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from three_pillar_demo.chaos.answer_watch import Answers
from three_pillar_demo.chaos.kinds import COUNTS, KINDS, SPANS, label

MAX_P99_RATIO = 1.15
"""The highest permitted p99 latency during the fault, divided by the p99 before the fault."""
MAX_GROWTH_MIB = 64.0
"""The most MiB by which the memory of checkout and payment together may grow.

The growth is ``Observation.peak_mib`` minus ``Observation.steady_mib``.
"""


@dataclass(frozen=True)
class Expectation:
    """What must hold for a rehearsal to pass.

    Attributes:
        loss: ``none``: no item may be lost. ``counted``: items may be lost if the services count
            each of them as dropped, and a log record reports drops.
        drain_s: Seconds after the end of the fault within which all spans and log records must be
            stored, except those that ``loss`` permits to be lost. None to skip the check.
        stop_s: Seconds that each stop of a service may take; None to skip the check.
        fault_reported: Whether a health check, metric or alert must report the fault.
        latency_unaffected: Whether to check the customers' p99 latency against ``MAX_P99_RATIO``.
        stored: Whether to check that no item is lost or duplicated. False if no telemetry can
            reach a store.
        duplicates: The most items of a kind, other than counts, that may be stored once more: those
            that were on their way when a process was killed, and are sent again.
        spans_in_memory: The most spans that may be lost because a process had acknowledged them,
            and had not written them to disk yet.
        complete_answers: Whether to check that no answer of a store lacks what an earlier one had.
        exemplars_resolve: Whether to check that the trace of each exemplar is stored.
    """

    loss: Literal["none", "counted"] = "none"
    drain_s: float | None = 60.0
    stop_s: float | None = None
    fault_reported: bool = False
    latency_unaffected: bool = True
    stored: bool = True
    duplicates: int = 0
    spans_in_memory: int = 0
    complete_answers: bool = False
    exemplars_resolve: bool = False


@dataclass
class Observation:
    """What a rehearsal observed; figures that it did not measure keep their defaults.

    Attributes:
        name: The name of the rehearsal.
        purchases: The number of purchases that were answered.
        complete: The number of purchases of which every span and log record is stored.
        lost: The number of items that are missing in the stores, by kind (``kinds.KINDS``).
        duplicated: The number of surplus copies of items in the stores, by kind.
        dropped: The number of items that the services report as dropped, by kind.
        drops_logged: Whether a log record reports drops.
        fault_s: Seconds that the fault lasted.
        drained_s: Seconds from the end of the fault until all expected spans and log records were
            stored. None if some were missing at the deadline, or if this was not checked.
        errors: The number of requests that got a server error. In a rehearsal with a fault, the
            requests that checkout did not begin to handle are added.
        outcomes: The number of requests by outcome. A request without an answer counts under the
            name of its error.
        refused: The number of requests that checkout did not begin to handle, in a rehearsal that
            stops the services.
        unanswered: The number of requests that checkout began to handle and did not answer.
        steady_p99_s: The customers' p99 latency before the fault, in seconds; NaN if unknown.
        fault_p99_s: The customers' p99 latency during the fault, in seconds; NaN if unknown.
        steady_mib: The highest resident memory of both services together before the fault, in MiB.
        peak_mib: The highest resident memory of both services together in the whole rehearsal, in
            MiB.
        stop_durations_s: Seconds that each stop of a service took.
        reports: What reported the fault while it lasted, one line each.
        answers: The answers of the stores while the rehearsal ran; None if it did not watch them.
        exemplars: The number of different traces to which exemplars lead.
        dead_exemplars: The trace ids of exemplars whose traces are not stored.
        otlp_violations: How the exporters violated the OTLP specification, one line each.
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
    answers: Answers | None = None
    exemplars: int = 0
    dead_exemplars: list[str] = field(default_factory=list)
    otlp_violations: list[str] = field(default_factory=list)
    skipped: str = ""
    aborted: str = ""


@dataclass(frozen=True)
class Verdict:
    """The differences between an observation and the expectation, one line each.

    ``slow`` holds the exceeded limits for latency and stops: a busy machine can be the only cause.
    ``problems`` holds all other differences. A rehearsal passes if both lists are empty.
    """

    problems: list[str]
    slow: list[str]

    @property
    def passed(self) -> bool:
        """Whether the rehearsal passed: ``problems`` and ``slow`` are both empty."""
        return not self.problems and not self.slow


def judge(observed: Observation, expected: Expectation) -> Verdict:
    """Compare ``observed`` with ``expected``, and return the differences.

    A skipped rehearsal has no differences. A rehearsal that ended early has one: the reason.
    """
    if observed.skipped:
        return Verdict([], [])
    if observed.aborted:
        return Verdict([f"ended early: {observed.aborted}"], [])
    problems = [*observed.otlp_violations]
    if expected.stored:
        problems += _loss_problems(observed, expected)
    problems += _answer_problems(observed, expected)
    problems += _service_problems(observed, expected)
    return Verdict(problems, _slow(observed, expected))


def _answer_problems(observed: Observation, expected: Expectation) -> list[str]:
    """Return what is wrong with the answers of the stores, and with exemplars."""
    problems = []
    if expected.complete_answers:
        answers = observed.answers or Answers()
        problems += answers.descriptions
        if not answers.whole:
            problems.append("no store has answered a question completely")
    if expected.exemplars_resolve:
        # An exemplar of a span that was lost has no trace.
        if len(observed.dead_exemplars) > min(observed.lost[SPANS], expected.spans_in_memory):
            problems += [
                f"{trace_id}: an exemplar, but no trace" for trace_id in observed.dead_exemplars
            ]
        if not observed.exemplars:
            problems.append("no exemplar is stored")
    return problems


def _loss_problems(observed: Observation, expected: Expectation) -> list[str]:
    """Return what is wrong with the stored items, one line for each problem.

    At most ``expected.duplicates`` items may be stored twice. With ``expected.loss == "none"`` no
    item may be lost. With ``"counted"`` items may be lost. The number of lost items of each kind
    must then equal the number that the services counted as dropped, and a log record must report
    the drops.
    """
    problems = [
        f"{count} {label(kind)} duplicated"
        for kind, count in observed.duplicated.items()
        # A counter is a sum, which a repetition does not change.
        if count > (0 if kind == COUNTS else expected.duplicates)
    ]
    lost = {kind: count for kind, count in observed.lost.items() if count}
    if lost.get(SPANS, 0) <= expected.spans_in_memory:
        lost.pop(SPANS, None)
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
    """Return the problems of the services and their customers, one line for each problem.

    The checks are: a purchase was answered, telemetry was stored in time, customers got their
    answers, memory grew within its limit, and the fault was reported.
    """
    problems = []
    if not observed.purchases:
        problems.append("no purchase was answered")
    is_drained = _is_within(observed.drained_s, expected.drain_s or 0.0)
    has_allowed_loss = 0 < observed.lost[SPANS] <= expected.spans_in_memory
    if expected.drain_s is not None and not is_drained and not has_allowed_loss:
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
    """Return one line for each limit of time that was exceeded.

    A time that is unknown (NaN) exceeds every limit.
    """
    slow = []
    ratio = observed.fault_p99_s / observed.steady_p99_s
    if expected.latency_unaffected and not ratio <= MAX_P99_RATIO:
        slow.append(f"customers: p99 is {ratio:.2f} of the steady state, limit {MAX_P99_RATIO:g}")
    if expected.stop_s is not None:
        longest = max(observed.stop_durations_s, default=math.nan)
        if not longest <= expected.stop_s:
            slow.append(f"a stop took {longest:.1f} s, limit {expected.stop_s:g}")
    return slow


def _is_within(seconds: float | None, limit_s: float) -> bool:
    """Return whether ``seconds`` is known and at most ``limit_s``."""
    return seconds is not None and seconds <= limit_s
