"""Geometry of a chart: turns values in time into polylines, ticks, dots and readouts.

All functions are pure, and nothing here knows HTML. Positions in the plot are in thousandths of
its width and height, from its upper left corner.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.web import formatting

AXIS_LENGTH = 1000.0
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
TIME_TICKS = ((10, 4), (60, 6), (180, 6), (600, 7))
"""Seconds between two ticks of the time axis, and how many such ticks have enough space."""
BUCKET_BOUNDS_S = (
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
"""The bounds of the duration histogram's buckets, from OpenTelemetry's HTTP conventions."""
DOT_SLOTS = 40
"""The time axis is divided into this many slots.

A slot shows two dots at most: the slowest failed request, and the slowest of the others.
"""
MAX_READOUTS = 60
"""Times at which the values of a chart can be read."""

Value = float | None
Formatter = Callable[[Value], str]


@dataclass(frozen=True)
class Series:
    """A named line with its CSS class and a value for each of the chart's times; None is a gap."""

    name: str
    css_class: str
    values: Sequence[Value]


@dataclass(frozen=True)
class Highlight:
    """The request that a chart is about: when it ended and its duration, both in seconds."""

    trace_id: str
    time: float
    duration: float

    @property
    def bucket(self) -> tuple[float, float]:
        """The lower and upper bound of the histogram bucket that counted the request."""
        for low, high in pairwise(BUCKET_BOUNDS_S):
            if self.duration <= high:
                return low, high
        return BUCKET_BOUNDS_S[-2], math.inf


@dataclass(frozen=True)
class ChartData:
    """What a chart shows between ``start`` and ``end``, in seconds since the epoch."""

    start: float
    end: float
    times: Sequence[float]
    series: Sequence[Series]
    exemplars: Sequence[Exemplar] = ()
    highlight: Highlight | None = None


@dataclass(frozen=True)
class Plot:
    """Everything that is drawn.

    ``polylines`` has a CSS class and the parts between gaps of each series, each part as the
    ``points`` attribute of SVG. Ticks and readouts are positions with their texts.
    """

    start: float
    end: float
    top: float
    polylines: list[tuple[str, list[str]]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    dots: list[Exemplar] = field(default_factory=list)
    readouts: list[tuple[float, str]] = field(default_factory=list)
    highlight: Highlight | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no line and no dot."""
        return not self.dots and not any(parts for _, parts in self.polylines)

    def x(self, time: float) -> float:
        """Return the horizontal position of a time."""
        return AXIS_LENGTH * (time - self.start) / (self.end - self.start)

    def y(self, value: float) -> float:
        """Return the vertical position of a value; values above the top are at the top."""
        fraction = min(max(value / self.top, 0.0), 1.0)
        return AXIS_LENGTH - AXIS_LENGTH * fraction


def draw_chart(data: ChartData, formatter: Formatter, *, min_top: float) -> Plot:
    """Compute the plot of ``data``.

    The value axis begins at 0 and reaches ``min_top``, or the highest value if that is more.
    """
    times, series = _within_range(data)
    dots = list(select_dots(data))
    top, step = axis_scale(max([min_top, *_finite_values(series), *(dot.value for dot in dots)]))
    plot = Plot(
        data.start,
        data.end,
        top,
        x_ticks=list(time_ticks(data.start, data.end)),
        dots=dots,
        highlight=data.highlight,
    )
    for line in series:
        plot.polylines.append((line.css_class, list(polylines(times, line.values, plot))))
    for number in range(round(top / step) + 1):
        value = step * number
        plot.y_ticks.append((plot.y(value), formatting.without_zeros(formatter(value))))
    plot.readouts.extend(_readouts(times, series, plot, formatter))
    return plot


def axis_scale(value: float, max_steps: int = 4) -> tuple[float, float]:
    """Return the round top of an axis that has room for ``value``, and its round step.

    A step is 1, 2 or 5 times a power of ten. The axis has at least 2 and about ``max_steps``.
    """
    tolerance = 1e-9  # for floating-point errors at round values
    min_step = value / max_steps
    power = 10.0 ** math.floor(math.log10(min_step))
    step = 10 * power
    for factor in (1, 2, 5):
        if factor * power >= min_step * (1 - tolerance):
            step = factor * power
            break
    step_count = max(2, math.ceil(value / step - tolerance))
    return step_count * step, step


def time_ticks(start: float, end: float) -> Iterator[tuple[float, str]]:
    """Yield the round times between two times, with their positions.

    Times so close to an edge that their text would be cut are left out.
    """
    step = TIME_TICKS[-1][0]
    for candidate, max_ticks in TIME_TICKS:
        if (end - start) / candidate <= max_ticks:
            step = candidate
            break
    time = math.ceil(start / step) * step
    while time < end:
        x = AXIS_LENGTH * (time - start) / (end - start)
        if AXIS_LENGTH * 0.05 < x < AXIS_LENGTH * 0.95:
            text = formatting.clock(time)
            yield x, text if step % 60 else text[: len("HH:MM")]
        time += step


def polylines(times: Sequence[float], values: Sequence[Value], plot: Plot) -> Iterator[str]:
    """Yield the parts of a line between its gaps, as the ``points`` of SVG polylines.

    A part with a single point is made long enough to be visible.
    """
    part: list[tuple[float, float]] = []
    for time, value in zip(times, values, strict=True):
        if value is not None and math.isfinite(value):
            part.append((plot.x(time), plot.y(value)))
        elif part:
            yield _svg_points(part)
            part = []
    if part:
        yield _svg_points(part)


def _svg_points(part: list[tuple[float, float]]) -> str:
    points = part
    if len(part) == 1:
        x, y = part[0]
        points = [(x, y), (x + 1, y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def select_dots(data: ChartData) -> Iterator[Exemplar]:
    """Yield the exemplars to draw, oldest first; the highlighted request is always among them.

    Slots begin at fixed times, so the choice stays the same while time goes on.
    """
    slot_width = (data.end - data.start) / DOT_SLOTS
    slowest: dict[tuple[int, bool, bool], Exemplar] = {}
    for exemplar in data.exemplars:
        if not _can_be_drawn(exemplar, data):
            continue
        slot = int(exemplar.time // slot_width)
        highlighted = data.highlight is not None and exemplar.trace_id == data.highlight.trace_id
        key = (slot, failed(exemplar), highlighted)
        if key not in slowest or exemplar.value > slowest[key].value:
            slowest[key] = exemplar
    yield from sorted(slowest.values(), key=lambda exemplar: exemplar.time)


def failed(exemplar: Exemplar) -> bool:
    """Return whether the service answered the measured request with a status from 500 on."""
    return exemplar.labels.get("http_response_status_code", "").startswith("5")


def _can_be_drawn(exemplar: Exemplar, data: ChartData) -> bool:
    return (
        data.start <= exemplar.time <= data.end
        and TRACE_ID.fullmatch(exemplar.trace_id) is not None
        and math.isfinite(exemplar.value)
    )


def _within_range(data: ChartData) -> tuple[list[float], list[Series]]:
    """Return the times between start and end, and each series at these times only."""
    kept = [index for index, time in enumerate(data.times) if data.start <= time <= data.end]
    times = [data.times[index] for index in kept]
    series = [
        Series(line.name, line.css_class, [line.values[index] for index in kept])
        for line in data.series
    ]
    return times, series


def _finite_values(series: Sequence[Series]) -> Iterator[float]:
    for line in series:
        for value in line.values:
            if value is not None and math.isfinite(value):
                yield value


def _readouts(
    times: Sequence[float], series: Sequence[Series], plot: Plot, formatter: Formatter
) -> Iterator[tuple[float, str]]:
    """Yield the position and text of each time whose values can be read, the newest included."""
    step = max(1, math.ceil(len(times) / MAX_READOUTS))
    first = (len(times) - 1) % step
    for index in range(first, len(times), step):
        if all(line.values[index] is None for line in series):
            continue
        values = "  ".join(f"{line.name} {formatter(line.values[index])}" for line in series)
        time = times[index]
        yield plot.x(time), f"{formatting.clock(time)}  {values}"
