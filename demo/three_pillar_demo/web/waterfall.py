"""Geometry of the waterfall of a trace: a row for each span and log record, placed in time.

Horizontal positions and widths are in thousandths of the width of the waterfall. All functions
are pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.query.severity import shown_level
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.clock_adjustment import adjusted
from three_pillar_demo.trace_view.explanation import failures
from three_pillar_demo.trace_view.log_body import attribute_value, log_body
from three_pillar_demo.trace_view.span_notes import span_notes
from three_pillar_demo.trace_view.timing import late_answers, own_time
from three_pillar_demo.trace_view.tree import MAX_INDENT, TreeRow, tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import chart, formatting
from three_pillar_demo.web.folding import Below, Folding, rows_below, visible_positions
from three_pillar_demo.web.log_row import record_key
from three_pillar_demo.web.row_selection import selected_rows
from three_pillar_demo.web.sections import SectionBuilder, without_stack_trace
from three_pillar_demo.web.service_classes import trace_service_classes
from three_pillar_demo.web.waterfall_row import Bar, Limits, Pairs, WaterfallRow

FULL_WIDTH = 1000.0
"""The width of the waterfall, in the unit of all positions."""
LEFT_OUT = "not shown"
"""The name of the last pair of attributes, which says how many others there are."""
MIN_BAR_WIDTH = 2.0
"""The width of the shortest bar, in the unit of all positions."""
MIN_EXTENT_NS = 500_000
"""The shortest time that a waterfall shows, in nanoseconds, however short the trace is."""


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


def waterfall_rows(
    view: TraceView,
    limits: Limits | None = None,
    folding: Folding | None = None,
    tree: Sequence[TreeRow] | None = None,
) -> Iterator[WaterfallRow]:
    """Yield a row for each span and log record that is drawn, parents before their children.

    The command ``demo follow`` prints spans and log records in the same order. Without ``limits``,
    the default ones apply; without ``folding``, nothing is collapsed. ``tree`` is what
    ``tree_rows`` yields, if that is known already.
    """
    limits = limits or Limits()
    folding = folding or Folding()
    layout = _Layout(view, limits)
    rows = tree or list(tree_rows(view))
    below = rows_below(rows)
    visible = list(visible_positions(rows, below, folding))
    next_position = 0
    for index in selected_rows([rows[position] for position in visible], limits.rows):
        position = visible[index]
        row = rows[position]
        is_collapsed = bool(below[position].rows) and folding.is_collapsed(row)
        place = _Place(position, position - next_position, below[position], is_collapsed)
        if isinstance(row.node, Span):
            yield layout.span_row(place, row, row.node)
        else:
            yield layout.log_row(place, row, row.node)
        next_position = position + 1
        if is_collapsed:
            next_position += below[position].rows


def row_key(position: int, row: TreeRow) -> str:
    """Return the text that identifies a row on the page; ``position`` is that among all rows."""
    if isinstance(row.node, Span):
        return f"s{position}-{row.node.span_id}"
    return f"l{row.node.time}-{position}"


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


class _Place(NamedTuple):
    """The position of a row among all rows, drawn or not, and what is not drawn around it."""

    position: int
    left_out: int
    below: Below
    is_collapsed: bool


class _Layout:
    """Computes the rows of the waterfall of one trace."""

    def __init__(self, view: TraceView, limits: Limits) -> None:
        self.view = view
        self.max_attributes = limits.attributes
        self.sections = SectionBuilder(self._pairs, limits)
        self.css_classes = trace_service_classes(view)
        self.start, self.end = extent(view)
        # What happened at the same time is told by one clock, whichever times are drawn.
        self.by_one_clock = adjusted(view)
        self.late_answers = late_answers(self.by_one_clock.view)

    def log_row(self, place: _Place, row: TreeRow, record: LogRecord) -> WaterfallRow:
        x, _ = self._bar(record.time, record.time)
        fields = _all_fields(record)
        body = log_body(record)
        return WaterfallRow(
            key=row_key(place.position, row),
            left_out=place.left_out,
            below=place.below,
            is_collapsed=place.is_collapsed,
            start=(record.time - self.start) / NANO,
            depth=row.depth,
            indent=min(row.depth, MAX_INDENT),
            service=record.service,
            css_class=self.css_classes[record.service],
            names_service=row.parent is None or row.parent.service != record.service,
            text=body.line,
            body=replace(body, text=self.sections.within_limits(body.text)),
            record_key=record_key(record),
            level=shown_level(record.severity, record.severity_number),
            error=record.failed,
            attributes=self._pairs(without_stack_trace(fields)),
            sections=list(self.sections.of_attributes(fields)),
            resource_key=resource_key(record),
            origin=list(_origin(record)),
            x=x,
        )

    def span_row(self, place: _Place, row: TreeRow, span: Span) -> WaterfallRow:
        bar = self._bar(span.start, span.end)
        late_bar: Bar | None = None
        late_duration = 0.0
        call = self.late_answers.get(span.span_id)
        if call and call.span_id == span.parent_id:
            moved = self.by_one_clock.moved(span)
            late = moved.end - max(moved.start, call.end)
            late_bar = self._bar(span.end - late, span.end)
            late_duration = late / NANO
        return WaterfallRow(
            key=row_key(place.position, row),
            left_out=place.left_out,
            below=place.below,
            is_collapsed=place.is_collapsed,
            start=(span.start - self.start) / NANO,
            depth=row.depth,
            indent=min(row.depth, MAX_INDENT),
            service=span.service,
            css_class=self.css_classes[span.service],
            text=span.name,
            level=span.kind.lower(),
            error=span.error,
            attributes=self._pairs(without_stack_trace(span.attributes)),
            sections=list(self.sections.of_span(span, self.start)),
            resource_key=resource_key(span),
            origin=list(_origin(span)),
            span_id=span.span_id,
            x=bar[0],
            bar=bar,
            own_bars=list(self._own_bars(span)),
            late_bar=late_bar,
            late_duration=late_duration,
            duration=(span.end - span.start) / NANO,
            status=status_of(span),
            failures=failures(span),
            notes=span_notes(row, span),
        )

    def _own_bars(self, span: Span) -> Iterator[Bar]:
        """Yield the parts of ``span`` in which, by one clock, none of its children runs."""
        children = self.by_one_clock.view.children_by_parent.get(span.span_id, [])
        offset = self.by_one_clock.offset(span)
        for start, end in own_time(self.by_one_clock.moved(span), children):
            yield self._bar(start - offset, end - offset)

    def _bar(self, start: int, end: int) -> Bar:
        """Return the bar between two times, in nanoseconds since the epoch.

        The bar is at least ``MIN_BAR_WIDTH`` wide and always inside the waterfall.
        """
        scale = FULL_WIDTH / (self.end - self.start)
        x = min(max((start - self.start) * scale, 0.0), FULL_WIDTH - MIN_BAR_WIDTH)
        width = max(min((end - start) * scale, FULL_WIDTH - x), MIN_BAR_WIDTH)
        return x, width

    def _pairs(self, attributes: Mapping[str, Any]) -> Pairs:
        pairs = sorted_pairs(attributes)
        more = len(pairs) - self.max_attributes
        if more <= 0:
            return pairs
        noun = "attribute" if more == 1 else "attributes"
        return [*pairs[: self.max_attributes], (LEFT_OUT, f"{more:,} more {noun}")]


def sorted_pairs(attributes: Mapping[str, Any]) -> Pairs:
    """Return the names and values of attributes as texts, in the order of the names."""
    return sorted((name, attribute_value(value)) for name, value in attributes.items())


def resource_key(record: Span | LogRecord) -> str:
    """Return what tells the resource of ``record`` apart from others."""
    return f"{record.service} {sorted_pairs(record.resource)}"


def _origin(record: Span | LogRecord) -> Iterator[tuple[str, str]]:
    """Yield where a record comes from: its ids, its scope, and what was dropped on the way."""
    if isinstance(record, Span):
        yield "span id", record.span_id
        if record.parent_id:
            yield "parent span id", record.parent_id
    scope = f"{record.scope.name} {record.scope.version}".strip()
    if scope:
        yield "scope", scope
    dropped = {"attributes": record.dropped_attributes}
    if isinstance(record, Span):
        dropped |= {"events": record.dropped_events, "links": record.dropped_links}
    counts = [f"{count:,} {noun}" for noun, count in dropped.items() if count]
    if counts:
        yield "dropped before they were stored", ", ".join(counts)


def _all_fields(record: LogRecord) -> Mapping[str, Any]:
    """Return the attributes of a record under their own names, or its fields if that is all."""
    if not record.attributes:
        return record.fields
    ids = {name: record.fields[name] for name in ("trace_id", "span_id") if name in record.fields}
    return ids | record.attributes
