"""Geometry of a chart: computes polylines, ticks, dots and readouts from values over time.

Positions in the plot are in thousandths of its width and height, from its upper left corner. All
functions are pure, and none produces HTML.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.query.red_sources import is_failed
from three_pillar_demo.web import formatting

AXIS_LENGTH = 1000.0
"""The length of both axes, in the unit of all positions."""
TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
"""The pattern of a valid trace id: 32 lower-case hex digits, not all of them 0."""
TIME_TICKS = ((5, 5), (10, 5), (20, 5), (30, 5), (60, 6), (180, 6), (600, 7))
"""The possible steps between two ticks of the time axis, smallest first.

Each entry has the step in seconds, and the largest number of such steps on the axis. The first
entry that covers the whole axis is used. For a longer axis, the last entry is used.
"""
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
"""The bounds of the duration histogram's buckets, in seconds.

The bounds are those of OpenTelemetry's semantic conventions for HTTP.
"""
DOT_SLOTS = 40
"""The largest number of slots that the time axis is divided into; it has at least half as many.

A slot shows at most two dots: the slowest failed request, and the slowest other request. The dots
of a highlighted request, and of the visitor's purchase, are shown in addition.
"""
MAX_VALUE = 1e300
"""The largest absolute value that an axis reaches; a curve beyond it runs along the edge."""
MIN_VALUE = 1e-300
"""Values closer to zero than this are zero."""
MIN_RATIO = 1e-9
"""An axis shows no differences that are smaller than this part of the values."""
FLAT_RATIO = 0.25
"""Curves whose values differ by less than this part of the largest one are flat from zero."""
MAX_READOUTS = 60
"""The largest number of points in time at which a visitor can read the values of a chart."""

Value = float | None
"""A value of a series; None when it is unknown."""
Formatter = Callable[[Value], str]
"""A function that formats a value with its unit."""


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    ``values`` has one value for each of ``ChartData.times``; None is a gap in the line.
    """

    name: str
    css_class: str
    values: Sequence[Value]


@dataclass(frozen=True)
class Ticks:
    """How the ticks of a value axis are made.

    ``formatter`` formats them. They are round multiples of the result of ``unit``, whose argument
    is the largest absolute value.
    """

    formatter: Formatter
    unit: Callable[[float], float]


@dataclass(frozen=True)
class Highlight:
    """The request that a chart highlights.

    ``time`` is its end, in seconds since the epoch, and ``duration`` is in seconds.
    """

    trace_id: str
    time: float
    duration: float

    @property
    def bucket(self) -> tuple[float, float]:
        """The bounds, in seconds, of the histogram bucket that counted the request."""
        for low, high in pairwise(BUCKET_BOUNDS_S):
            if self.duration <= high:
                return low, high
        return BUCKET_BOUNDS_S[-2], math.inf


@dataclass(frozen=True)
class ChartData:
    """The data of a chart.

    ``start`` and ``end`` are the ends of the time axis. ``times`` has the times of the values,
    which are the same for all series. All times are in seconds since the epoch. ``own_trace_id`` is
    the trace id of the visitor's purchase, if there is one; its dot is always drawn.
    """

    start: float
    end: float
    times: Sequence[float]
    series: Sequence[Series]
    exemplars: Sequence[Exemplar] = ()
    highlight: Highlight | None = None
    own_trace_id: str = ""


@dataclass(frozen=True)
class Plot:
    """The geometry of a chart, as the template draws it.

    Attributes:
        start: The left end of the time axis, in seconds since the epoch.
        end: The right end of the time axis, in seconds since the epoch.
        top: The value at the upper end of the value axis.
        bottom: The value at its lower end.
        polylines: The CSS class and the parts of each line. A new part begins after each gap.
            Each part is a value for the ``points`` attribute of an SVG polyline.
        x_ticks: The position and the text of each tick of the time axis.
        y_ticks: The position and the text of each tick of the value axis.
        dots: The exemplars that are drawn as dots.
        readouts: The values that a visitor can read: for each point in time its horizontal
            position, and a text with the time and the values.
        highlight: The highlighted request, if there is one.
        own_dot: The dot of the visitor's purchase, if it is drawn.
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
    own_dot: Exemplar | None = None
    bottom: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether the plot has neither a line nor a dot."""
        return not self.dots and not any(parts for _, parts in self.polylines)

    def x(self, time: float) -> float:
        """Return the horizontal position of a time in seconds since the epoch."""
        return AXIS_LENGTH * (time - self.start) / (self.end - self.start)

    def y(self, value: float) -> float:
        """Return the vertical position of a value; a value beyond the axis is at its edge."""
        fraction = min(max((value - self.bottom) / (self.top - self.bottom), 0.0), 1.0)
        return AXIS_LENGTH - AXIS_LENGTH * fraction


def draw_chart(
    data: ChartData,
    formatter: Formatter,
    *,
    min_top: float,
    from_zero: bool = True,
    ticks: Ticks | None = None,
) -> Plot:
    """Compute the geometry of ``data``; ``formatter`` turns values into texts.

    The value axis begins at 0, or below the lowest value if that is negative. Its top is at least
    ``min_top``, and at least the highest value. Without ``from_zero``, the axis leaves out the zero
    if the values are so close together that their curves would be one flat line. ``ticks`` says how
    the ticks of the value axis are made, if not by ``formatter`` and as round numbers.
    """
    times, series = _within_range(data)
    dots = list(select_dots(data))
    values = [*_finite_values(series), *(dot.value for dot in dots)]
    low = max(min(values, default=0.0), -MAX_VALUE)
    high = min(max(values, default=0.0), MAX_VALUE)
    if from_zero or high - low > FLAT_RATIO * max(abs(low), abs(high)):
        low = min(low, 0.0)
        high = max(high, min_top, 0.0)
    unit = ticks.unit(max(abs(low), abs(high))) if ticks else 1.0
    first_step, last_step, step = _axis_steps(low / unit, high / unit)
    step *= unit
    format_tick = ticks.formatter if ticks else formatter
    plot = Plot(
        data.start,
        data.end,
        step * last_step,
        x_ticks=list(time_ticks(data.start, data.end)),
        dots=dots,
        highlight=data.highlight,
        own_dot=next((dot for dot in dots if dot.trace_id == data.own_trace_id), None),
        bottom=step * first_step,
    )
    for line in series:
        plot.polylines.append((line.css_class, list(polylines(times, line.values, plot))))
    for number in range(first_step, last_step + 1):
        value = step * number
        plot.y_ticks.append((plot.y(value), formatting.without_zeros(format_tick(value))))
    plot.readouts.extend(_readouts(times, series, plot, formatter))
    return plot


def axis_scale(value: float, max_steps: int = 4) -> tuple[float, float]:
    """Return the top of an axis that includes ``value``, and the step between two of its ticks.

    ``value`` must be above 0, and ``max_steps`` at least 2. The step is 1, 2 or 5 times a power of
    ten. The axis has 2 to ``max_steps`` steps.
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


def _axis_steps(low: float, high: float) -> tuple[int, int, float]:
    """Return the first and the last step of an axis that includes ``low`` and ``high``.

    The third value is the length of a step.
    """
    if high - low < MIN_RATIO * max(abs(low), abs(high)):  # all values are the same
        low = min(low, 0.0)
        high = max(high, 0.0)
    if high - low < MIN_VALUE:
        low = 0.0
        high = 1.0
    top, step = axis_scale(high - low)
    if not low:
        return 0, round(top / step), step
    tolerance = 1e-9  # for floating-point errors at round values
    return math.floor(low / step + tolerance), math.ceil(high / step - tolerance), step


def time_ticks(start: float, end: float) -> Iterator[tuple[float, str]]:
    """Yield the position and the text of each tick of a time axis, at round times.

    ``start`` and ``end`` are in seconds since the epoch. A tick so close to an edge that its text
    would be cut is left out.
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
    """Yield each part of a line between two gaps, as the ``points`` attribute of an SVG polyline.

    A part with a single point gets a second point beside it, so that it is visible.
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
    """Yield the exemplars that are drawn as dots, oldest first.

    ``DOT_SLOTS`` says which exemplars of each slot are drawn. Slots begin at fixed times, and their
    width is a power of two, so no dot changes only because the chart moves on or grows a little.
    """
    slot_width = 2.0 ** math.ceil(math.log2((data.end - data.start) / DOT_SLOTS))
    slowest: dict[tuple[int, bool, bool], Exemplar] = {}
    always_drawn = {data.own_trace_id, data.highlight.trace_id if data.highlight else ""}
    for exemplar in data.exemplars:
        if not _can_be_drawn(exemplar, data):
            continue
        slot = int(exemplar.time // slot_width)
        key = (slot, failed(exemplar), exemplar.trace_id in always_drawn)
        if key not in slowest or exemplar.value > slowest[key].value:
            slowest[key] = exemplar
    yield from sorted(slowest.values(), key=lambda exemplar: exemplar.time)


def failed(exemplar: Exemplar) -> bool:
    """Return True if the exemplar's request is one that the server failed."""
    return is_failed(exemplar.labels)


def _can_be_drawn(exemplar: Exemplar, data: ChartData) -> bool:
    return (
        data.start <= exemplar.time <= data.end
        and TRACE_ID.fullmatch(exemplar.trace_id) is not None
        and math.isfinite(exemplar.value)
    )


def _within_range(data: ChartData) -> tuple[list[float], list[Series]]:
    """Return the times and the series of ``data``, cut to the time from ``start`` to ``end``."""
    kept_indexes = [
        index for index, time in enumerate(data.times) if data.start <= time <= data.end
    ]
    times = [data.times[index] for index in kept_indexes]
    series = [
        Series(line.name, line.css_class, [line.values[index] for index in kept_indexes])
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
    """Yield the position and the text of each readout, at most ``MAX_READOUTS``.

    Times at which no series has a value are left out.
    """
    step = max(1, math.ceil(len(times) / MAX_READOUTS))
    first_index = (len(times) - 1) % step  # so that the newest time is included
    for index in range(first_index, len(times), step):
        if all(line.values[index] is None for line in series):
            continue
        values = "  ".join(f"{line.name} {formatter(line.values[index])}" for line in series)
        time = times[index]
        yield plot.x(time), f"{formatting.clock(time)}  {values}"
