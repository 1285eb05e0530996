"""The ticks of an axis of rates, in the unit in which the rates are written."""

from collections.abc import Iterable

from three_pillar_demo.web import chart, formatting, units


def rate_ticks(rates: Iterable[float | None]) -> chart.Ticks:
    """Return how the ticks of ``rates``, which are per second, are made.

    They are per minute if ``formatting.rate`` writes all of the rates per minute.
    """
    highest = max((rate for rate in rates if rate is not None), default=0.0)
    if 0 < highest < formatting.MIN_PER_SECOND:
        return chart.Ticks(_per_minute, lambda _: 1 / 60)
    return chart.Ticks(_per_second, lambda _: 1.0)


def _per_minute(rate: chart.Value) -> str:
    return f"{units.number((rate or 0.0) * 60)}/min"


def _per_second(rate: chart.Value) -> str:
    return f"{units.number(rate or 0.0)}/s"
