"""Evaluates the conditions of a drill, each to one number about the time since the fault began."""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from three_pillar_demo.drills import traces
from three_pillar_demo.drills.conditions import (
    Condition,
    CountersCondition,
    FreshnessCondition,
    HealthCondition,
    IngestedCondition,
    LogsCondition,
    RedCondition,
    RequestsCondition,
    ServiceGraphCondition,
)
from three_pillar_demo.query.interface import Backends, LogRecord

MIN_RATE_WINDOW_S = 2.5
"""The shortest window of a rate, in seconds; metrics arrive every second."""
TRACE_COMPLETE_S = 2.0
"""The age of a request, in seconds, from which its trace is complete.

Each service exports its spans every second.
"""
MAX_TRACES = 12
"""How many traces are queried for one condition at most, the newest first."""
MAX_LOG_RECORDS = 300
"""How many log records are queried for one condition at most, the newest first."""
MIN_SAMPLE = 6
"""The least number of traces or log records from which a share is computed."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

INGESTED = "ingested"
"""The key of ``Baseline.values`` for the totals of ingested spans, log records and metric points.

There is one total for each of these three kinds, read when the fault began.
"""


@dataclass
class Baseline:
    """The time at which the fault began, and the values of the counters at that time.

    Attributes:
        began: The time at which the fault began, in seconds since the epoch.
        values: The values of the counters at that time. A key names a counter and its grouping
            label (``_counter_key``); below it is one value for each value of the label. The key
            ``INGESTED`` has one total for each of ``spans``, ``lines`` and ``points``.
        window_s: The seconds before now over which the figures of routes are computed; None for
            the time since the fault began.
    """

    began: float
    values: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    window_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the fault began; at least 0.1, so that rates can be divided by it."""
        return max(0.1, time.time() - self.began)


def _counter_key(condition: CountersCondition) -> str:
    """Return the key of ``Baseline.values`` for the counter of ``condition``."""
    return f"{condition.name} {condition.by}"


async def take_baseline(backends: Backends, conditions: Sequence[Condition]) -> Baseline:
    """Return a baseline with the present time and values of all counters in ``conditions``."""
    baseline = Baseline(time.time())
    for condition in conditions:
        if isinstance(condition, CountersCondition):
            values = await backends.counters(condition.name, [condition.by])
            baseline.values[_counter_key(condition)] = values
        elif isinstance(condition, IngestedCondition):
            totals = await backends.ingested()
            baseline.values[INGESTED] = {(kind,): float(count) for kind, count in totals.items()}
    return baseline


async def evaluate(  # noqa: PLR0911  (one return for each kind of condition)
    backends: Backends, baseline: Baseline, condition: Condition
) -> float | None:
    """Query ``backends``, and return the number that ``condition`` compares; None if unknown.

    Raises:
        BackendError: A backend does not answer.
    """
    match condition:
        case RedCondition():
            return await _red(backends, baseline, condition)
        case CountersCondition():
            return await _counters(backends, baseline, condition)
        case LogsCondition():
            return await _logs(backends, baseline, condition)
        case RequestsCondition():
            return await _requests(backends, baseline, condition)
        case ServiceGraphCondition():
            return await _service_graph(backends, baseline, condition)
        case FreshnessCondition():
            return (await backends.freshness())[condition.pillar]
        case IngestedCondition():
            return await _ingested(backends, baseline, condition)
        case HealthCondition():
            problem = (await backends.health()).get(condition.component)
            return 1.0 if problem else 0.0
    assert_never(condition)


async def _red(backends: Backends, baseline: Baseline, condition: RedCondition) -> float | None:
    """Return the number that ``condition.read`` names, such as the request rate of the route.

    If ``condition.per`` names another route, the number is divided by that route's number.
    None if one of the numbers is unknown, or if the divisor is 0.
    """
    value = await _route_figure(
        backends, baseline, condition.service, condition.route, condition.read
    )
    if condition.per is None or value is None:
        return value
    divisor = await _route_figure(backends, baseline, *condition.per, condition.read)
    return value / divisor if divisor else None


async def _route_figure(
    backends: Backends, baseline: Baseline, service: str, route: str, figure: str
) -> float | None:
    """Return a figure of one route over ``Baseline.window_s``; None if unknown.

    ``figure`` is ``rate`` (requests per second), ``errors`` (a share) or a key of ``QUANTILES``
    (seconds).
    """
    now = time.time()
    if baseline.elapsed_s < MIN_RATE_WINDOW_S:
        return None
    window_s = baseline.window_s or baseline.elapsed_s
    samples = await backends.red(
        service, route, now, now, window=window_s, quantiles=tuple(QUANTILES.values())
    )
    if not samples:
        return None
    sample = samples[0]
    if figure == "rate":
        return sample.rate
    if figure == "errors":
        return sample.errors
    return sample.quantiles[list(QUANTILES).index(figure)]


async def _counters(
    backends: Backends, baseline: Baseline, condition: CountersCondition
) -> float | None:
    """Return the number that ``condition.read`` names; ``CountersCondition`` explains the names.

    ``series`` is None if there is no series. ``share`` is None if no series has increased.
    """
    values = await backends.counters(condition.name, [condition.by], within=baseline.elapsed_s)
    if condition.read == "series":
        return float(len(values)) if values else None
    if condition.read == "sum":
        return sum(values.get((label,), 0.0) for label in condition.values)
    before = baseline.values.get(_counter_key(condition), {})
    increase: dict[str, float] = defaultdict(float)
    for (label,), value in values.items():
        increase[label] += max(0.0, value - before.get((label,), 0.0))
    total = sum(increase.values())
    return sum(increase[label] for label in condition.values) / total if total else None


async def _logs(backends: Backends, baseline: Baseline, condition: LogsCondition) -> float | None:
    """Return the rate of the log records since the fault began, or the share or median of a field.

    None if too few records have the field: fewer than ``MIN_SAMPLE`` for the share, or none for
    the median.
    """
    records = await backends.logs(
        baseline.began,
        time.time(),
        service=condition.service,
        severity=condition.severity,
        text=condition.text,
        canonical=condition.canonical,
        limit=MAX_LOG_RECORDS,
    )
    if condition.read == "rate":
        return len(records) / baseline.elapsed_s
    values = _field_values(records, condition.field)
    if condition.read == "share":
        if len(values) < MIN_SAMPLE:
            return None
        return sum(value == condition.value for value in values) / len(values)
    return statistics.median(map(float, values)) if values else None


def _field_values(records: Sequence[LogRecord], name: str) -> list[str]:
    """Return the values of the field ``name`` in those of ``records`` that have it."""
    return [record.fields[name] for record in records if name in record.fields]


async def _requests(
    backends: Backends, baseline: Baseline, condition: RequestsCondition
) -> float | None:
    """Return the rate of requests since the fault began, or a figure of the newest traces.

    None if there are too few traces for the figure.
    """
    trace_ids = await backends.requests(
        condition.service,
        baseline.began,
        time.time() - TRACE_COMPLETE_S,
        failed=condition.failed,
        slower_than=condition.slower,
        limit=MAX_TRACES,
    )
    if condition.read == "rate":
        return len(trace_ids) / baseline.elapsed_s
    sample = await asyncio.gather(*map(backends.trace, trace_ids))
    if condition.read == "share":
        if len(sample) < MIN_SAMPLE:
            return None
        return traces.share(sample, condition.span, condition.attribute, condition.value)
    return traces.typical(sample, condition.read)


async def _service_graph(
    backends: Backends, baseline: Baseline, condition: ServiceGraphCondition
) -> float | None:
    """Return what ``condition.read`` asks for, about the calls between two services.

    This is either the number of calls per second, or the share of the calls that failed. The share
    is None if there was no call.
    """
    edges = await backends.service_graph(baseline.began, time.time())
    matching = [
        edge
        for edge in edges
        if edge.client == condition.client and edge.server == condition.server
    ]
    if condition.read == "calls":
        return sum(edge.calls for edge in matching) / baseline.elapsed_s
    if not matching or not matching[0].calls:
        return None
    return matching[0].failed / matching[0].calls


async def _ingested(
    backends: Backends, baseline: Baseline, condition: IngestedCondition
) -> float | None:
    """Return how many items per second were ingested since the fault began."""
    before = baseline.values[INGESTED].get((condition.what,), 0.0)
    total = (await backends.ingested()).get(condition.what, 0)
    return (total - before) / baseline.elapsed_s
