"""Which quantiles a number of requests supports: no more than one beyond the slowest of them."""

from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query.instruments import Group, Line
from three_pillar_demo.query.interface import RedSample


def requests_needed(quantile: float) -> int:
    """Return of how many requests one is beyond ``quantile``: 20 for 0.95, and 100 for 0.99."""
    return round(1 / (1 - quantile))


def is_supported(quantile: float, rate: float | None, window: float) -> bool:
    """Return whether ``rate``, per second over ``window`` seconds, stands for enough requests."""
    return rate is not None and round(rate * window) >= requests_needed(quantile)


def supported_sample(sample: RedSample, quantiles: Sequence[float], window: float) -> RedSample:
    """Return ``sample`` without the quantiles for which its window has too few requests."""
    supported = tuple(
        value if is_supported(quantile, sample.rate, window) else None
        for quantile, value in zip(quantiles, sample.quantiles, strict=True)
    )
    return replace(sample, quantiles=supported)


def supported_group(group: Group, window: float) -> Group:
    """Return the lines of a histogram without the quantiles that have too few measurements."""
    rates = next((line.values for line in group.lines if line.statistic == "rate"), ())
    lines = [
        line if line.statistic == "rate" else _supported_line(line, rates, window)
        for line in group.lines
    ]
    return replace(group, lines=tuple(lines))


def _supported_line(line: Line, rates: Sequence[float | None], window: float) -> Line:
    quantile = float(line.statistic.removeprefix("p")) / 100
    values = tuple(
        value if is_supported(quantile, rate, window) else None
        for value, rate in zip(line.values, rates, strict=True)
    )
    return replace(line, values=values)
