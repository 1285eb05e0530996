"""The rows of a list of services or routes: their figures as text, and a small chart of the rate.

A row makes no statement that its number of requests does not support: a percentile needs enough
requests to be more than the slowest of them, and a share of a few requests is given as a count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from three_pillar_demo.query.red_sources import ROOT_SPANS
from three_pillar_demo.query.service_figures import QUANTILES, Figures
from three_pillar_demo.web import formatting
from three_pillar_demo.web.clock_ahead import MIN_AHEAD_S
from three_pillar_demo.web.quantile_support import requests_needed

MIN_REQUESTS_FOR_SHARE = 20
"""With fewer requests, the failed ones are given as ``1 of 3`` instead of a percentage."""
WIDTH = 100
HEIGHT = 20
"""The size of the small chart, in its own unit."""
MARGIN = 1.5
"""The space above and below the line of the small chart, so that none of it is cut off."""


@dataclass(frozen=True)
class FigureRow:
    """One row.

    Attributes:
        name: The name of the service or route.
        address: Where the row leads; empty if there is no page.
        rate: The requests a second, as text.
        requests: The number of requests, as text; empty if it is not known.
        errors: The share of failed requests, or ``1 of 3``, as text; empty if none has failed.
        durations: A text for each of ``QUANTILES``; a dash if there are too few requests.
        only_duration: The duration of the only request; empty if there are more.
        note: What is particular: ``job``, ``no requests``, or how far all that is known of a
            service is dated ahead; else empty.
        has_requests: Whether any request is known.
        lines: The parts of the line of the rate, as points of SVG polylines.
    """

    name: str
    address: str
    rate: str
    requests: str
    errors: str
    durations: tuple[str, ...]
    only_duration: str
    note: str
    has_requests: bool
    lines: tuple[str, ...]


def figure_row(figures: Figures, address: str) -> FigureRow:
    """Return the row of a service or route."""
    requests = round(figures.requests)
    has_requests = bool(figures.source and requests)
    note = ""
    if figures.ahead > MIN_AHEAD_S:
        note = f"dated {formatting.duration(figures.ahead)} ahead"
    elif not has_requests:
        note = "no requests"
    elif figures.source == ROOT_SPANS:
        note = "job"
    return FigureRow(
        name=figures.name,
        address=address,
        rate=formatting.rate(figures.rate) if requests else formatting.NO_VALUE,
        requests=f"{requests:,}" if figures.source else "",
        errors=_errors(figures),
        durations=_durations(figures, requests),
        only_duration=formatting.duration(figures.mean) if requests == 1 else "",
        note=note,
        has_requests=has_requests,
        lines=tuple(sparkline(figures.rates)),
    )


def count_of_requests(requests: float) -> str:
    """Return ``1 request`` or ``1,234 requests``; a number that is not whole is rounded."""
    whole = round(requests)
    return f"{whole:,} request{'' if whole == 1 else 's'}"


def _errors(figures: Figures) -> str:
    if figures.failed <= 0:
        return ""
    if figures.requests < MIN_REQUESTS_FOR_SHARE:
        return f"{max(1, round(figures.failed))} of {max(1, round(figures.requests))}"
    return formatting.percentage(figures.error_ratio)


def _durations(figures: Figures, requests: int) -> tuple[str, ...]:
    """Return the text of each quantile; p95 needs twenty requests, p99 a hundred."""
    return tuple(
        formatting.duration(value if requests >= requests_needed(quantile) else None)
        for quantile, value in zip(QUANTILES, figures.quantiles, strict=True)
    )


def sparkline(rates: Sequence[float | None]) -> list[str]:
    """Return the points of the polylines that show ``rates``, one for each part without a gap.

    The highest rate is at the top, and zero at the bottom.
    """
    known = [rate for rate in rates if rate is not None]
    top = max(known, default=0.0) or 1.0
    step = WIDTH / max(1, len(rates) - 1)
    lines: list[list[tuple[float, float]]] = [[]]
    for number, rate in enumerate(rates):
        if rate is None:
            lines.append([])
            continue
        y = HEIGHT - MARGIN - rate / top * (HEIGHT - 2 * MARGIN)
        lines[-1].append((number * step, y))
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in _visible(line)) for line in lines if line]


def _visible(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of a line; a single point gets a second one beside it."""
    x, y = line[0]
    return line if len(line) > 1 else [(x - 1, y), (x + 1, y)]
