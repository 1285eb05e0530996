"""What the page of one request shows, computed from its trace without further queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from three_pillar_demo.query.interface import NANO, Span
from three_pillar_demo.trace_view import explanation
from three_pillar_demo.trace_view.clock_adjustment import Adjusted, adjusted
from three_pillar_demo.trace_view.clocks import clock_skews
from three_pillar_demo.trace_view.log_body import log_body
from three_pillar_demo.trace_view.tree import TreeRow, tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.context_panel import CONTEXT_S
from three_pillar_demo.web.folding import Folding
from three_pillar_demo.web.minimap import Minimap, minimap
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.row_selection import has_failed
from three_pillar_demo.web.service_classes import trace_service_classes
from three_pillar_demo.web.service_list import TraceService, trace_services
from three_pillar_demo.web.waterfall import row_key, waterfall_rows
from three_pillar_demo.web.waterfall_row import Limits, WaterfallRow

ARRIVING_S = 30.0
"""How long after the end of a request its missing telemetry may still arrive, in seconds.

Telemetry arrives later than that only if its backend was down.
"""
INCOMPLETE_S = 600.0
"""How long after the end of a request its page is refreshed while parts are missing, in seconds."""
MAX_ROWS_REFRESHED = 100
"""The number of rows up to which the page of a complete request is refreshed for its chart."""


@dataclass(frozen=True)
class FirstFailure:
    """The span or log record to which the page leads first.

    ``text`` is the name of the span, or the line that stands for the body of the log record.
    ``span_id`` is "" for a log record. ``key`` is that of its row; ``is_drawn`` is False if the row
    is below a collapsed one.
    """

    key: str
    service: str
    text: str
    span_id: str = ""
    is_drawn: bool = True


@dataclass(frozen=True)
class TracePage:
    """What the page of one trace shows.

    Attributes:
        view: The spans, log records and exemplars of the trace.
        missing: Descriptions of the parts that have not arrived.
        rows: The rows of the waterfall that are drawn.
        left_out_at_end: The number of rows after the last drawn one.
        explanation: The sentence that says why the request got its answer.
        first_failure: The failed span that the sentence is about, or the first failed one; None if
            nothing has failed.
        row_keys: The keys of the drawn rows of spans, by span id.
        clock_skews: Sentences about services whose clocks disagree.
        shifts: By how many seconds the times of a service are adjusted, by its name.
        minimap: The small picture of all rows; None if there are few.
        linked_traces: The ids of other traces to which spans have links, without repetition.
        services: The services of the trace, with their resources.
        resource_ids: The id on the page of each resource in ``services``, by its key.
        css_classes: The CSS class of each service, by its name.
        left_out: The sentence that says how many rows are left out; "" if none are.
    """

    view: TraceView
    missing: list[str] = field(default_factory=list)
    rows: list[WaterfallRow] = field(default_factory=list)
    left_out_at_end: int = 0
    explanation: str = ""
    first_failure: FirstFailure | None = None
    row_keys: dict[str, str] = field(default_factory=dict)
    clock_skews: list[str] = field(default_factory=list)
    shifts: dict[str, float] = field(default_factory=dict)
    minimap: Minimap | None = None
    linked_traces: list[str] = field(default_factory=list)
    services: list[TraceService] = field(default_factory=list)
    resource_ids: dict[str, str] = field(default_factory=dict)
    css_classes: dict[str, str] = field(default_factory=dict)
    left_out: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether a span of the trace has error status."""
        return any(span.error for span in self.view.spans)


def trace_page(
    view: TraceView,
    missing: list[str],
    limits: Limits | None = None,
    folding: Folding | None = None,
    *,
    is_adjusted: bool = False,
) -> TracePage:
    """Return what the page of a trace shows, within ``limits``, or within the default ones.

    Without ``folding``, no part of the tree is collapsed. With ``is_adjusted``, the rows have the
    times that they probably had by one clock; the sentences are about the times that were sent.
    """
    adjustment = adjusted(view) if is_adjusted else Adjusted(view)
    drawn_view = adjustment.view
    tree = list(tree_rows(drawn_view))
    rows = list(waterfall_rows(drawn_view, limits, folding, tree))
    if adjustment.shifts:
        rows = _with_shifts(rows, tree, adjustment.shifts)
    services = trace_services(view)
    collapsed_count = sum(row.below.rows for row in rows if row.is_collapsed)
    left_out_count = len(tree) - collapsed_count - len(rows)
    return TracePage(
        drawn_view,
        missing,
        rows,
        left_out_at_end=left_out_count - sum(row.left_out for row in rows),
        explanation=explanation.explain(view),
        first_failure=_first_failure(drawn_view, tree, rows),
        row_keys={row.span_id: row.key for row in reversed(rows) if row.span_id},
        clock_skews=clock_skews(view),
        shifts={name: ns / NANO for name, ns in adjustment.by_service.items()},
        minimap=minimap(rows),
        linked_traces=linked_traces(view),
        services=services,
        resource_ids={
            service.key: f"resource-{number}" for number, service in enumerate(services, 1)
        },
        css_classes=trace_service_classes(view),
        left_out=_left_out_sentence(tree, len(rows)) if left_out_count else "",
    )


def linked_traces(view: TraceView) -> list[str]:
    """Return the ids of the other traces to which spans of ``view`` have links, the first first."""
    links = (link for span in view.spans for link in span.links)
    return list(dict.fromkeys(link.trace_id for link in links if link.trace_id != view.trace_id))


def is_finished(page: TracePage, age_s: float, panel: Panel | None) -> bool:
    """Return True if the page of a request that ended ``age_s`` ago will not change any more.

    ``panel`` is the chart around the request, if it has one. It goes on for ``CONTEXT_S`` after the
    request, for which a large trace is not fetched again and again.
    """
    if not page.view.spans or age_s < ARRIVING_S:
        return False
    if page.missing:
        return age_s > INCOMPLETE_S
    return panel is None or age_s > CONTEXT_S or len(page.rows) > MAX_ROWS_REFRESHED


def _with_shifts(
    rows: Sequence[WaterfallRow], tree: Sequence[TreeRow], shifts: Mapping[int, int]
) -> list[WaterfallRow]:
    """Return ``rows``, each with the number of seconds by which it was moved."""
    shift_by_key = {
        row_key(position, row): shifts.get(id(row.node), 0) for position, row in enumerate(tree)
    }
    return [replace(row, shift=shift_by_key[row.key] / NANO) for row in rows]


def _first_failure(
    view: TraceView, tree: Sequence[TreeRow], rows: Sequence[WaterfallRow]
) -> FirstFailure | None:
    """Return where the page leads first: the row of the cause, or else the first failed one.

    A row that is not drawn comes first only if it can be drawn, which is if it is collapsed.
    """
    cause = explanation.failure_cause(view)
    drawn_keys = {row.key for row in rows}
    is_folded = any(row.is_collapsed for row in rows)
    of_cause: list[FirstFailure] = []
    failed: list[FirstFailure] = []
    for position, row in enumerate(tree):
        is_cause = isinstance(row.node, Span) and row.node is cause
        if is_cause or has_failed(row):
            key = row_key(position, row)
            is_drawn = key in drawn_keys
            if is_drawn or is_folded:
                candidates = of_cause if is_cause else failed
                candidates.append(_failure(row, key, is_drawn=is_drawn))
    return next(iter([*of_cause, *failed]), None)


def _failure(row: TreeRow, key: str, *, is_drawn: bool) -> FirstFailure:
    if isinstance(row.node, Span):
        return FirstFailure(key, row.node.service, row.node.name, row.node.span_id, is_drawn)
    return FirstFailure(key, row.node.service, log_body(row.node).line, is_drawn=is_drawn)


def _left_out_sentence(tree: Sequence[TreeRow], drawn_count: int) -> str:
    failed_count = sum(map(has_failed, tree))
    of_all = f"of {len(tree):,} spans and log lines are shown"
    if not failed_count:
        return f"Only the first {drawn_count:,} {of_all}."
    return (
        f"Only {drawn_count:,} {of_all}: first of all the failed ones, with the spans above them."
    )
