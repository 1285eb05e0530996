"""Which quantiles a number of requests supports: those beyond which there is one of them."""

from collections.abc import Sequence
from dataclasses import replace

from three_pillar_demo.query.beginning import covered_seconds
from three_pillar_demo.query.instruments import Group, InstrumentSeries, Line
from three_pillar_demo.query.interface import RedSample


def requests_needed(quantile: float) -> int:
    """Return of how many requests one is beyond ``quantile``: 20 for 0.95, and 100 for 0.99."""
    return round(1 / (1 - quantile))


def supported_sample(sample: RedSample, quantiles: Sequence[float], window: float) -> RedSample:
    """Return ``sample`` without the quantiles for which its window has too few requests."""
    requests = round(sample.requests(window))
    supported = tuple(
        value if requests >= requests_needed(quantile) else None
        for quantile, value in zip(quantiles, sample.quantiles, strict=True)
    )
    return replace(sample, quantiles=supported)


def supported_group(group: Group, series: InstrumentSeries) -> Group:
    """Return a group of a histogram without the quantiles of too few measurements.

    ``series`` are the values of the instrument, of which the group is one.
    """
    rates = next((line.values for line in group.lines if line.statistic == "rate"), ())
    counts = [
        round((rate or 0.0) * covered_seconds(time, series.window, series.begin))
        for time, rate in zip(series.times, rates, strict=True)
    ]
    lines = [
        line if line.statistic == "rate" else _supported_line(line, counts) for line in group.lines
    ]
    return replace(group, lines=tuple(lines))


def _supported_line(line: Line, counts: Sequence[int]) -> Line:
    needed = requests_needed(float(line.statistic.removeprefix("p")) / 100)
    values = tuple(
        value if count >= needed else None for value, count in zip(line.values, counts, strict=True)
    )
    return replace(line, values=values)
