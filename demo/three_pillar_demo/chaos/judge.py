"""What a rehearsal saw, and whether that is what was promised: a pure function of both."""

import math
from collections import Counter
from dataclasses import dataclass, field

P99_RATIO = 1.15
"""How much longer the slowest hundredth of customers may wait while something is broken."""
MEMORY_MIB = 64.0
"""How much the services may grow while they cannot send."""


@dataclass(frozen=True)
class Expectation:
    """What must hold. ``lost``: ``nothing``, or ``counted``: what is lost is counted to the last one, and said in a line."""

    lost: str = "nothing"
    drain: float | None = 60.0
    exits: float | None = None
    state: bool = False
    unfelt: bool = True
    stored: bool = True


@dataclass
class Observation:
    """What a rehearsal saw. Times are in seconds; what it did not look at is empty."""

    name: str
    made: int = 0
    whole: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    twice: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    dropped_told: bool = False
    away: float = 0.0
    drained: float | None = None
    errors: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    begun_unanswered: int = 0
    steady_p99: float = math.nan
    broken_p99: float = math.nan
    steady_mib: float = 0.0
    most_mib: float = 0.0
    exits: list[float] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    manners: list[str] = field(default_factory=list)
    skipped: str = ""
    ended: str = ""
    """Why it could not be played to its end."""


@dataclass(frozen=True)
class Verdict:
    """What is not as promised: ``wrong`` whatever the machine, ``slow`` perhaps only on a busy one. Both fail a rehearsal."""

    wrong: list[str]
    slow: list[str]

    @property
    def passed(self) -> bool:
        """Whether all is as promised."""
        return not self.wrong and not self.slow


def judge(seen: Observation, promise: Expectation) -> Verdict:
    """Compare what was seen with what was promised."""
    if seen.skipped:
        return Verdict([], [])
    if seen.ended:
        return Verdict([f"not played to its end: {seen.ended}"], [])
    late = promise.drain is not None and not _in_time(seen.drained, promise.drain)
    grown = seen.most_mib - seen.steady_mib
    wrong = {
        "nobody bought anything": not seen.made,
        f"not drained {promise.drain or 0:g} s after it was restored": late,
        f"customers: {seen.errors} errors": seen.errors > 0,
        f"customers: {seen.begun_unanswered} requests under way were not answered": seen.begun_unanswered
        > 0,
        f"services grew by {grown:.0f} MiB, over {MEMORY_MIB:g}": grown > MEMORY_MIB,
        "no clear state while it was broken": promise.state and not seen.states,
    }
    ratio, longest = seen.broken_p99 / seen.steady_p99, max(seen.exits, default=math.nan)
    slow = {  # NaN is not within any limit
        f"customers: p99 is {ratio:.2f} of steady, over {P99_RATIO:g}": promise.unfelt
        and not ratio <= P99_RATIO,
        f"a stop took {longest:.1f} s, over {promise.exits or 0:g}": promise.exits is not None
        and not longest <= promise.exits,
    }
    losses = _losses(seen, promise) if promise.stored else []
    return Verdict(
        [*seen.manners, *losses, *(what for what, so in wrong.items() if so)],
        [what for what, so in slow.items() if so],
    )


def _losses(seen: Observation, promise: Expectation) -> list[str]:
    wrong = [f"{count} {kind} twice" for kind, count in seen.twice.items() if count]
    lost = {kind: count for kind, count in seen.lost.items() if count}
    if promise.lost == "nothing":
        return wrong + [f"{count} {kind} lost" for kind, count in lost.items()]
    wrong += [
        f"{lost.get(kind, 0)} {kind} lost, {seen.dropped[kind]} counted as dropped"
        for kind in (
            "spans",
            "lines",
            "counts",
        )  # counts are sums: the next ones make up for what was dropped
        if lost.get(kind, 0) != seen.dropped[kind]
    ]
    if lost and not seen.dropped_told:
        wrong.append("no log line says that something was dropped")
    return wrong


def _in_time(seconds: float | None, limit: float) -> bool:
    return seconds is not None and seconds <= limit
