"""Geometry of a chart: values in time to polylines, ticks and dots. Pure; nothing here knows of HTML.

Places in the plot are in thousandths of its width and height, from its upper left corner.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.web import formatting

FULL, TRACE_ID = 1000.0, re.compile(r"(?!0{32})[0-9a-f]{32}")
CLOCK = ((10, 4), (60, 6), (180, 6), (600, 7))
"""Seconds between two ticks of time, and how many of them have room."""
BOUNDS = (
    0.0,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    math.inf,
)
"""Of the buckets, in seconds, that durations are counted in by OpenTelemetry's convention."""
LANES = 40
"""In each so many-th of the time two dots are shown: the slowest that failed, and the slowest that did not."""
READS = 60
"""Moments that can be read off, at most."""

Value = float | None
Say = Callable[[Value], str]


@dataclass(frozen=True)
class Line:
    """One line: who it is about, its CSS ``style``, and its values at the chart's times; None is a gap."""

    name: str
    style: str
    values: Sequence[Value]


@dataclass(frozen=True)
class Mine:
    """The request that a chart is about: when it ended, and how long it took."""

    trace_id: str
    time: float
    value: float

    @property
    def bucket(self) -> tuple[float, float]:
        """The bounds that it was counted between."""
        return next(each for each in pairwise(BOUNDS) if self.value <= each[1])


@dataclass(frozen=True)
class Plot:
    """Everything that is drawn. ``polylines`` are the parts of each line between its gaps, as SVG's ``points``."""

    start: float
    end: float
    top: float
    polylines: list[tuple[str, list[str]]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    dots: list[Exemplar] = field(default_factory=list)
    reads: list[tuple[float, str]] = field(default_factory=list)
    mine: Mine | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not any(parts for _, parts in self.polylines) and not self.dots

    def x(self, at: float) -> float:
        """Where a moment is."""
        return FULL * (at - self.start) / (self.end - self.start)

    def y(self, value: float) -> float:
        """Where a value is; above the top is at the top."""
        return FULL - FULL * min(max(value / self.top, 0.0), 1.0)


def ceiling(value: float, parts: int = 4) -> tuple[float, float]:
    """The round top of an axis that ``value`` fits under, and its round step: ``parts`` of them at most, and two or more."""
    rough = value / parts
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(
        (each * power for each in (1, 2, 5) if each * power >= rough * (1 - 1e-9)), 10 * power
    )
    return max(2, math.ceil(value / step - 1e-9)) * step, step


def time_ticks(start: float, end: float) -> Iterator[tuple[float, str]]:
    """Round moments between two times, six at most, not so near an edge that their words would be cut."""
    step = next((each for each, room in CLOCK if (end - start) / each <= room), CLOCK[-1][0])
    at = math.ceil(start / step) * step
    while at < end:
        x = FULL * (at - start) / (end - start)
        if FULL * 0.05 < x < FULL * 0.95:
            yield x, formatting.clock(at)[: 8 if step % 60 else 5]
        at += step


def polylines(times: Sequence[float], values: Sequence[Value], plot: Plot) -> Iterator[str]:
    """The parts between gaps; a point that stands alone gets a length that can be seen."""
    part: list[str] = []
    for at, value in [*zip(times, values, strict=True), (math.inf, None)]:
        if value is not None and math.isfinite(value):
            part.append(f"{plot.x(at):.1f},{plot.y(value):.1f}")
        elif part:
            x, _, y = part[0].partition(",")
            yield " ".join(part if len(part) > 1 else [*part, f"{float(x) + 1:.1f},{y}"])
            part = []


def thin(
    exemplars: Sequence[Exemplar], start: float, end: float, mine: Mine | None = None
) -> Iterator[Exemplar]:
    """Of many dots those worth drawing, ``mine`` among them; the choice stays the same while time goes by."""
    wide = (end - start) / LANES
    best: dict[tuple[int, bool, bool], Exemplar] = {}
    for each in exemplars:
        if (
            start <= each.time <= end
            and TRACE_ID.fullmatch(each.trace_id)
            and math.isfinite(each.value)
        ):
            lane = (
                int(each.time // wide),
                failed(each),
                mine is not None and each.trace_id == mine.trace_id,
            )
            if lane not in best or each.value > best[lane].value:
                best[lane] = each
    yield from sorted(best.values(), key=lambda each: each.time)


def failed(exemplar: Exemplar) -> bool:
    """Whether the request that it was measured in was the service's own fault."""
    return exemplar.labels.get("http_response_status_code", "").startswith("5")


def draw(  # noqa: PLR0913  (a chart)
    start: float,
    end: float,
    times: Sequence[float],
    lines: Sequence[Line],
    say: Say,
    *,
    least: float,
    exemplars: Sequence[Exemplar] = (),
    mine: Mine | None = None,
) -> Plot:
    """Place ``lines`` and dots between two times, on an axis from 0 up to ``least`` or whatever the highest value needs."""
    kept = [at for at, time in enumerate(times) if start <= time <= end]
    times = [times[at] for at in kept]
    lines = [Line(line.name, line.style, [line.values[at] for at in kept]) for line in lines]
    shown = list(thin(exemplars, start, end, mine))
    known = [
        value
        for line in lines
        for value in line.values
        if value is not None and math.isfinite(value)
    ]
    top, step = ceiling(max([least, *known, *(each.value for each in shown)]))
    plot = Plot(start, end, top, x_ticks=list(time_ticks(start, end)), dots=shown, mine=mine)
    plot.polylines.extend((line.style, list(polylines(times, line.values, plot))) for line in lines)
    plot.y_ticks.extend(
        (plot.y(step * each), formatting.round_one(say(step * each)))
        for each in range(round(top / step) + 1)
    )
    every = max(1, math.ceil(len(times) / READS))
    for at in range((len(times) - 1) % every, len(times), every):
        if any(line.values[at] is not None for line in lines):
            said = "  ".join(f"{line.name} {say(line.values[at])}" for line in lines)
            plot.reads.append((plot.x(times[at]), f"{formatting.clock(times[at])}  {said}"))
    return plot
