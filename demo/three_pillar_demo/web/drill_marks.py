"""Marks where drills began and ended, for the charts and the lists.

What is older than the running drill belongs to another incident, or to none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from three_pillar_demo.drills import session
from three_pillar_demo.web.alert_inbox.drill_start import DRILL_MODES
from three_pillar_demo.web.chart import AXIS_LENGTH, Plot

MIN_FIGURES_S = 5.0
"""The number of seconds that figures cover at least, also while a drill begins."""
LABEL_WIDTH = 120.0
"""The room that a label on a chart takes beside its mark, in thousandths of the chart's width."""


class Row(Protocol):
    """A row of a list, with its time in seconds since the epoch."""

    @property
    def time(self) -> float:
        """The time by which the list is ordered."""


@dataclass(frozen=True)
class DrillMark:
    """The moment at which a drill began or ended, in seconds since the epoch."""

    time: float
    is_start: bool

    @property
    def label(self) -> str:
        """The word on a chart."""
        return "drill" if self.is_start else "end"

    @property
    def sentence(self) -> str:
        """What a list says, before the time."""
        return "A drill began at" if self.is_start else "The drill ended at"


@dataclass(frozen=True)
class PlacedMark:
    """A mark on a chart.

    Attributes:
        mark: The mark.
        x: The horizontal position, in thousandths of the width.
        anchor: The end of the label that is at the position: ``start`` or ``end``.
        has_label: Whether there is room for the label.
    """

    mark: DrillMark
    x: float
    anchor: str
    has_label: bool


def drill_marks(mode: str) -> list[DrillMark]:
    """Return the marks of the drills of the stack, the newest first; none where no drill can run.

    A drill that begins when another one ends has one mark, that of its beginning.
    """
    if mode not in DRILL_MODES:
        return []
    by_time: dict[float, DrillMark] = {}
    for started_at, ended_at in reversed(session.times()):
        if ended_at is not None:
            by_time.setdefault(ended_at, DrillMark(ended_at, is_start=False))
        by_time.setdefault(started_at, DrillMark(started_at, is_start=True))
    return sorted(by_time.values(), key=lambda mark: mark.time, reverse=True)


def newest_start(marks: Sequence[DrillMark], since: float) -> float:
    """Return when the newest drill began, if it was after ``since``; else 0."""
    starts = [mark.time for mark in marks if mark.is_start]
    return starts[0] if starts and starts[0] > since else 0.0


def figures_start(marks: Sequence[DrillMark], now: float, seconds: float) -> float:
    """Return when figures of the last ``seconds`` begin, in seconds since the epoch.

    They begin with the newest drill, if it began in this time: what was before belongs to another
    incident. They cover ``MIN_FIGURES_S`` at least.
    """
    start = now - seconds
    return max(start, min(newest_start(marks, start), now - MIN_FIGURES_S))


def marks_on(marks: Sequence[DrillMark], plot: Plot) -> list[PlacedMark]:
    """Return the marks in the time range of a chart, the newest first.

    A label is to the right of its mark, or to the left of it if another label is on the right.
    """
    placed: list[PlacedMark] = []
    occupied_from = AXIS_LENGTH
    for mark in marks:
        if not plot.start < mark.time < plot.end:
            continue
        x = plot.x(mark.time)
        is_on_right = x + LABEL_WIDTH <= occupied_from
        label_start = x if is_on_right else x - LABEL_WIDTH
        has_label = is_on_right or (x <= occupied_from and label_start >= 0)
        occupied_from = label_start if has_label else occupied_from
        placed.append(PlacedMark(mark, x, "start" if is_on_right else "end", has_label))
    return placed


def with_marks(
    rows: Sequence[Row], marks: Sequence[DrillMark], before: float = 0.0
) -> Iterator[tuple[Row | None, DrillMark | None]]:
    """Yield the rows of a list, newest first, each mark above the first row that is older than it.

    Each pair has a row or a mark. ``before`` is the time at which a list of older rows ends, in
    seconds since the epoch, or 0; marks after it belong to the list of newer rows.
    """
    waiting = [mark for mark in marks if not before or mark.time <= before]
    for row in rows:
        while waiting and waiting[0].time > row.time:
            yield None, waiting.pop(0)
        yield row, None
