"""Geometry of the waterfall of a trace: a row for each span and log record, placed in time.

Horizontal positions and widths are in thousandths of the width of the waterfall. All functions
are pure.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.query.severity import is_failure
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.explanation import failures
from three_pillar_demo.trace_view.timing import late_answers, outside_parent, own_time
from three_pillar_demo.trace_view.tree import TreeRow, tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import chart, formatting
from three_pillar_demo.web.service_classes import trace_service_classes

FULL_WIDTH = 1000.0
"""The width of the waterfall, in the unit of all positions."""
MIN_BAR_WIDTH = 2.0
"""The width of the shortest bar, in the unit of all positions."""
MIN_EXTENT_NS = 500_000
"""The shortest time that a waterfall shows, in nanoseconds, however short the trace is."""
MAX_INDENT = 12
"""The number of levels of the tree that are indented; deeper levels have the same indent."""
MAX_ATTRIBUTES = 40
"""The number of attributes of a span, or fields of a log record, that the page shows."""
MAX_SECTIONS = 20
"""The number of events and links of a span, of each, that are shown."""

Bar = tuple[float, float]
"""The horizontal position of a bar, and its width."""
Pairs = list[tuple[str, str]]
"""Names and values of attributes."""


@dataclass(frozen=True)
class WaterfallRow:
    """A row of the waterfall, for a span or a log record. All times are in seconds.

    Attributes:
        key: A text that identifies the row on the page.
        start: The time from the start of the trace to the start of the span, or to the log record.
        depth: The number of levels that the row is indented.
        text: The name of a span, or the body of a log record.
        level: The kind of a span, or the severity of a log record.
        error: Whether a span has error status, or the severity of a log record is that of
            an error.
        css_class: The CSS class of the service.
        names_service: Whether the row of a log record names its service, because its span is of
            another service or is missing.
        attributes: The names and values of a span's attributes or a log record's fields.
        sections: The events and links of a span, each with a heading and its attributes.
        x: The horizontal position of the row's start.
        bar: The bar of a span; None for a log record.
        own_bars: The parts of the span in which none of its children runs.
        late_bar: The part of the span after its caller stopped waiting; None if there is no such
            part.
        late_duration: The duration of the part that ``late_bar`` shows; 0 if there is no such part.
        duration: The duration of a span; 0 for a log record.
        status: The HTTP status of a span; "" if unknown, and for a log record.
        problems: Descriptions of a span's failures, and of how the span is outside the time of its
            parent. The list is empty for a log record.
    """

    key: str
    start: float
    depth: int
    service: str
    css_class: str
    text: str
    level: str
    error: bool
    attributes: Pairs
    x: float
    names_service: bool = False
    sections: list[tuple[str, Pairs]] = field(default_factory=list)
    bar: Bar | None = None
    own_bars: list[Bar] = field(default_factory=list)
    late_bar: Bar | None = None
    late_duration: float = 0.0
    duration: float = 0.0
    status: str = ""
    problems: list[str] = field(default_factory=list)


def extent(view: TraceView) -> tuple[int, int]:
    """Return the start and the end of a trace, in nanoseconds since the epoch.

    The trace starts with the first span, or with the first log record if there are no spans. The
    trace ends with the last span or log record, and at least ``MIN_EXTENT_NS`` after its start.
    """
    log_times = [record.time for record in view.logs]
    start_times = [span.start for span in view.spans] or log_times
    start = min(start_times, default=0)
    end_times = [span.end for span in view.spans]
    end = max([start + MIN_EXTENT_NS, *end_times, *log_times])
    return start, end


def waterfall_rows(view: TraceView, max_attributes: int = MAX_ATTRIBUTES) -> Iterator[WaterfallRow]:
    """Yield a row for each span and log record, parents before their children.

    The command ``demo follow`` prints spans and log records in the same order. A row has at most
    ``max_attributes`` attributes.
    """
    layout = _Layout(view, max_attributes)
    for number, row in enumerate(tree_rows(view)):
        if isinstance(row.node, Span):
            yield layout.span_row(number, row, row.node)
        else:
            yield layout.log_row(number, row, row.node)


def axis_ticks(seconds: float) -> list[tuple[float, str]]:
    """Return the position and the text of each tick of a time axis that is ``seconds`` long."""
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
    """Computes the rows of the waterfall of one trace."""

    def __init__(self, view: TraceView, max_attributes: int) -> None:
        self.view = view
        self.max_attributes = max_attributes
        self.css_classes = trace_service_classes(view)
        self.start, self.end = extent(view)
        self.late_answers = late_answers(view)

    def log_row(self, number: int, row: TreeRow, record: LogRecord) -> WaterfallRow:
        x, _ = self._bar(record.time, record.time)
        return WaterfallRow(
            key=f"l{record.time}-{number}",
            start=(record.time - self.start) / NANO,
            depth=min(row.depth, MAX_INDENT),
            service=record.service,
            css_class=self.css_classes[record.service],
            names_service=row.parent is None or row.parent.service != record.service,
            text=record.body,
            level=record.severity,
            error=is_failure(record.severity),
            attributes=self._pairs(_all_fields(record)),
            x=x,
        )

    def span_row(self, number: int, row: TreeRow, span: Span) -> WaterfallRow:
        bar = self._bar(span.start, span.end)
        children = self.view.children_by_parent.get(span.span_id, [])
        late_bar: Bar | None = None
        late_duration = 0.0
        call = self.late_answers.get(span.span_id)
        if call and call.span_id == span.parent_id:
            late_start = max(span.start, call.end)
            late_bar = self._bar(late_start, span.end)
            late_duration = (span.end - late_start) / NANO
        return WaterfallRow(
            key=f"s{number}-{span.span_id}",
            start=(span.start - self.start) / NANO,
            depth=min(row.depth, MAX_INDENT),
            service=span.service,
            css_class=self.css_classes[span.service],
            text=span.name,
            level=span.kind.lower(),
            error=span.error,
            attributes=self._pairs(span.attributes),
            sections=list(self._sections(span)),
            x=bar[0],
            bar=bar,
            own_bars=[self._bar(start, end) for start, end in own_time(span, children)],
            late_bar=late_bar,
            late_duration=late_duration,
            duration=(span.end - span.start) / NANO,
            status=status_of(span),
            problems=[*failures(span), *outside_parent(span, row.parent)],
        )

    def _bar(self, start: int, end: int) -> Bar:
        """Return the bar between two times, in nanoseconds since the epoch.

        The bar is at least ``MIN_BAR_WIDTH`` wide and always inside the waterfall.
        """
        scale = FULL_WIDTH / (self.end - self.start)
        x = min(max((start - self.start) * scale, 0.0), FULL_WIDTH - MIN_BAR_WIDTH)
        width = max(min((end - start) * scale, FULL_WIDTH - x), MIN_BAR_WIDTH)
        return x, width

    def _sections(self, span: Span) -> Iterator[tuple[str, Pairs]]:
        """Yield the events of ``span``, then its links, each with a heading and its attributes."""
        for event in span.events[:MAX_SECTIONS]:
            offset = formatting.duration((event.time - self.start) / NANO)
            yield f"Event {event.name} at {offset}", self._pairs(event.attributes)
        for link in span.links[:MAX_SECTIONS]:
            ids = {"trace id": link.trace_id, "span id": link.span_id}
            yield "Link", self._pairs(ids | link.attributes)

    def _pairs(self, attributes: Mapping[str, Any]) -> Pairs:
        return sorted_pairs(attributes)[: self.max_attributes]


def sorted_pairs(attributes: Mapping[str, Any]) -> Pairs:
    """Return the names and values of attributes as texts, in the order of the names."""
    return sorted((name, str(value)) for name, value in attributes.items())


def _all_fields(record: LogRecord) -> Mapping[str, Any]:
    """Return the attributes of a record under their own names, or its fields if that is all."""
    if not record.attributes:
        return record.fields
    ids = {name: record.fields[name] for name in ("trace_id", "span_id") if name in record.fields}
    return ids | record.attributes
