"""Asks a drill's questions of the backends: each answer is one number, about the time since the fault began."""

import asyncio
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import assert_never

from three_pillar_demo.drills import conditions, traces
from three_pillar_demo.drills.conditions import Question
from three_pillar_demo.query.interface import Backends, LogRecord

SHORTEST = 2.5
"""Seconds that a rate is over, at least: metrics come every second. Before that nothing is known."""
SETTLED = 2.0
"""Seconds after which a request's trace is whole: each service sends its spans every second."""
TRACES, LINES = 12, 300
FEWEST = 6
"""A share of fewer is chance."""
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass
class Since:
    """When it began, and what counters said then."""

    began: float
    before: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long ago that was."""
        return max(0.1, time.time() - self.began)


async def begin(backends: Backends, asked: list[Question]) -> Since:
    """Note what the counters say now that the questions are about."""
    since = Since(time.time())
    for each in asked:
        if isinstance(each, conditions.Counters):
            since.before[f"{each.name} {each.by}"] = await backends.counters(each.name, [each.by])
        elif isinstance(each, conditions.Counted):
            since.before["counted"] = {
                (what,): float(count) for what, count in (await backends.ingested()).items()
            }
    return since


async def number(backends: Backends, since: Since, asked: Question) -> float | None:  # noqa: PLR0911  (one for each question)
    """The answer to one question; None when nothing is known.

    Raises:
        BackendError: A backend does not answer.
    """
    now = time.time()
    match asked:
        case conditions.Red():
            return await _red(backends, since, asked)
        case conditions.Counters():
            return await _counters(backends, since, asked)
        case conditions.Lines():
            found = await backends.logs(
                since.began,
                now,
                service=asked.service,
                severity=asked.severity,
                text=asked.text,
                canonical=asked.canonical,
                limit=LINES,
            )
            return _lines(found, since, asked)
        case conditions.Requests():
            return await _requests(backends, since, asked)
        case conditions.Edges():
            edges = await backends.service_graph(since.began, now)
            pair = [
                each for each in edges if (each.client, each.server) == (asked.client, asked.server)
            ]
            if asked.read == "calls":
                return sum(each.calls for each in pair) / since.seconds
            return pair[0].failed / pair[0].calls if pair and pair[0].calls else None
        case conditions.Ages():
            return (await backends.freshness())[asked.pillar]
        case conditions.Counted():
            before = since.before["counted"].get((asked.what,), 0.0)
            return ((await backends.ingested()).get(asked.what, 0) - before) / since.seconds
        case conditions.Up():
            return float(bool((await backends.health()).get(asked.component)))
    assert_never(asked)


async def _red(backends: Backends, since: Since, asked: conditions.Red) -> float | None:
    async def of(service: str, route: str) -> float | None:
        now = time.time()
        if since.seconds < SHORTEST:
            return None
        found = await backends.red(
            service, route, now, now, window=since.seconds, shares=tuple(SHARES.values())
        )
        if not found:
            return None
        if asked.read == "rate":
            return found[0].rate
        return (
            found[0].errors
            if asked.read == "errors"
            else found[0].quantiles[list(SHARES).index(asked.read)]
        )

    value = await of(asked.service, asked.route)
    if asked.per is None or value is None:
        return value
    other = await of(*asked.per)
    return value / other if other else None


async def _counters(backends: Backends, since: Since, asked: conditions.Counters) -> float | None:
    found = await backends.counters(asked.name, [asked.by], within=since.seconds)
    before = since.before.get(f"{asked.name} {asked.by}", {})
    if asked.read == "series":
        return float(len(found)) if found else None
    if asked.read == "sum":
        return sum(found.get((each,), 0.0) for each in asked.values)
    rise: dict[str, float] = defaultdict(float)
    for (label,), value in found.items():
        rise[label] += max(0.0, value - before.get((label,), 0.0))
    total = sum(rise.values())
    return sum(rise[each] for each in asked.values) / total if total else None


def _lines(found: list[LogRecord], since: Since, asked: conditions.Lines) -> float | None:
    if asked.read == "rate":
        return len(found) / since.seconds
    values = [line.fields[asked.field] for line in found if asked.field in line.fields]
    if asked.read == "share":
        return (
            sum(value == asked.value for value in values) / len(values)
            if len(values) >= FEWEST
            else None
        )
    return statistics.median(map(float, values)) if values else None


async def _requests(backends: Backends, since: Since, asked: conditions.Requests) -> float | None:
    ids = await backends.requests(
        asked.service,
        since.began,
        time.time() - SETTLED,
        failed=asked.failed,
        slower=asked.slower,
        limit=TRACES,
    )
    if asked.read == "rate":
        return len(ids) / since.seconds
    found = await asyncio.gather(*map(backends.trace, ids))
    if asked.read == "share":
        return (
            traces.share(found, asked.span, asked.attribute, asked.value)
            if len(found) >= FEWEST
            else None
        )
    return traces.typical(found, asked.read)
