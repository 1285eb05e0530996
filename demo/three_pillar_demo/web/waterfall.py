"""Geometry of a trace's waterfall: spans and log records as rows, each at its place in time.

All functions are pure. Horizontal positions and widths are in thousandths of the whole width.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.trace_view.explanation import failures
from three_pillar_demo.trace_view.timing import outside_parent, own_time, unanswered_calls
from three_pillar_demo.trace_view.tree import TreeRow, tree_rows
from three_pillar_demo.trace_view.view import STATUS_CODE, TraceView
from three_pillar_demo.web import chart, formatting

FULL_WIDTH = 1000.0
MIN_BAR_WIDTH = 2.0
"""The width of even the shortest bar."""
MIN_EXTENT_NS = 500_000
"""The time, in nanoseconds, that even the shortest trace is drawn over."""
MAX_INDENT = 12
"""Levels of the tree that are still indented."""
MAX_ATTRIBUTES = 40
"""Attributes of a span, or fields of a log record, that are shown."""

Bar = tuple[float, float]
"""Where a bar begins, and its width."""


@dataclass(frozen=True)
class WaterfallRow:
    """A span, or a log record when ``bar`` is None. Times are in seconds.

    Attributes:
        key: Identifies the row on the page.
        start: When it begins, after the trace's start.
        level: The kind of a span, or the severity of a log record.
        own_bars: The parts of the span in which none of its children runs.
        late_bar: The part of the span after its caller had given up.
        problems: What the span records as gone wrong.
    """

    key: str
    start: float
    depth: int
    service: str
    text: str
    level: str
    error: bool
    attributes: list[tuple[str, str]]
    x: float
    bar: Bar | None = None
    own_bars: list[Bar] = field(default_factory=list)
    late_bar: Bar | None = None
    late_duration: float = 0.0
    duration: float = 0.0
    status: str = ""
    problems: list[str] = field(default_factory=list)


def extent(view: TraceView) -> tuple[int, int]:
    """Return when a trace begins and when the last of it ends, in nanoseconds since the epoch.

    It begins with its first span, or with its first log record when it has no spans.
    """
    log_times = [record.time for record in view.logs]
    start_times = [span.start for span in view.spans] or log_times
    start = min(start_times, default=0)
    end_times = [span.end for span in view.spans]
    end = max([start + MIN_EXTENT_NS, *end_times, *log_times])
    return start, end


def waterfall_rows(view: TraceView) -> Iterator[WaterfallRow]:
    """Yield every span and log record in the order of ``demo follow``: parents first."""
    layout = _Layout(view)
    for number, row in enumerate(tree_rows(view)):
        if isinstance(row.node, Span):
            yield layout.span_row(number, row, row.node)
        else:
            yield layout.log_row(number, row, row.node)


def axis_ticks(seconds: float) -> list[tuple[float, str]]:
    """Return the positions and texts of round times of a trace that takes ``seconds``."""
    _, step = chart.axis_scale(seconds)
    ticks = []
    # A tick in the last twentieth of the axis would be cut.
    tick_count = int(seconds / step * 0.95) + 1
    for number in range(tick_count):
        time = number * step
        text = formatting.without_zeros(formatting.duration(time))
        ticks.append((FULL_WIDTH * time / seconds, text))
    return ticks


class _Layout:
    """Places the rows of one trace."""

    def __init__(self, view: TraceView) -> None:
        self.view = view
        self.start, self.end = extent(view)
        self.unanswered_calls = unanswered_calls(view)

    def log_row(self, number: int, row: TreeRow, record: LogRecord) -> WaterfallRow:
        x, _ = self._bar(record.time, record.time)
        return WaterfallRow(
            key=f"l{record.time}-{number}",
            start=(record.time - self.start) / NANO,
            depth=min(row.depth, MAX_INDENT),
            service=record.service,
            text=record.body,
            level=record.severity,
            error=record.severity in {"ERROR", "FATAL"},
            attributes=_shown_attributes(record.fields),
            x=x,
        )

    def span_row(self, number: int, row: TreeRow, span: Span) -> WaterfallRow:
        bar = self._bar(span.start, span.end)
        children = self.view.children_by_parent.get(span.span_id, [])
        late_bar: Bar | None = None
        late_duration = 0.0
        call = self.unanswered_calls.get(span.parent_id)
        if call and call.end < span.end:
            late_start = max(span.start, call.end)
            late_bar = self._bar(late_start, span.end)
            late_duration = (span.end - late_start) / NANO
        return WaterfallRow(
            key=f"s{number}-{span.span_id}",
            start=(span.start - self.start) / NANO,
            depth=min(row.depth, MAX_INDENT),
            service=span.service,
            text=span.name,
            level=span.kind.lower(),
            error=span.error,
            attributes=_shown_attributes(span.attributes),
            x=bar[0],
            bar=bar,
            own_bars=[self._bar(start, end) for start, end in own_time(span, children)],
            late_bar=late_bar,
            late_duration=late_duration,
            duration=(span.end - span.start) / NANO,
            status=str(span.attributes.get(STATUS_CODE, "")),
            problems=[*failures(span), *outside_parent(span, row.parent)],
        )

    def _bar(self, start: int, end: int) -> Bar:
        """Return the bar between two times; it is inside the full width, however short it is."""
        scale = FULL_WIDTH / (self.end - self.start)
        x = min(max((start - self.start) * scale, 0.0), FULL_WIDTH - MIN_BAR_WIDTH)
        width = max(min((end - start) * scale, FULL_WIDTH - x), MIN_BAR_WIDTH)
        return x, width


def _shown_attributes(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [(name, str(value)) for name, value in attributes.items()]
    return sorted(pairs)[:MAX_ATTRIBUTES]
