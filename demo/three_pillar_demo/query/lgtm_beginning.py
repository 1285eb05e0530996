"""Finds when series in Prometheus begin."""

from collections.abc import Mapping
from typing import Protocol


class Prometheus(Protocol):
    """The query of Prometheus that this module needs."""

    async def promql(
        self, query: str, at: float | None = None
    ) -> list[tuple[dict[str, str], float]] | list[tuple[Mapping[str, str], float]]:
        """Return the labels and value of each series of a PromQL query."""


async def begin_of(
    prometheus: Prometheus, selector: str, start: float, end: float, step: float
) -> float | None:
    """Return when the first of the selected series begins; None if that was before ``start``.

    The time is that of its first point, in seconds since the epoch. Points are looked for every
    ``step`` seconds; a series is known for five minutes after its newest point.
    """
    over_range = f"[{(end - start) * 1000:.0f}ms:{step * 1000:.0f}ms]"
    vector = await prometheus.promql(f"min(min_over_time(timestamp({selector}){over_range}))", end)
    first = vector[0][1] if vector else 0.0
    return first if first > start + step else None
