"""What the page of one request shows, computed from its trace without further queries."""

from dataclasses import dataclass, field

from three_pillar_demo.trace_view import explanation
from three_pillar_demo.trace_view.clocks import clock_skews
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.context_panel import CONTEXT_S
from three_pillar_demo.web.panels import Panel
from three_pillar_demo.web.row_selection import has_failed
from three_pillar_demo.web.service_classes import trace_service_classes
from three_pillar_demo.web.service_list import TraceService, trace_services
from three_pillar_demo.web.waterfall import waterfall_rows
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
class TracePage:
    """What the page of one trace shows.

    Attributes:
        view: The spans, log records and exemplars of the trace.
        missing: Descriptions of the parts that have not arrived.
        rows: The rows of the waterfall that are drawn.
        left_out_at_end: The number of rows after the last drawn one.
        explanation: The sentence that says why the request got its answer.
        first_failure: The row of the failed span that the sentence is about, or of the first failed
            one; None if nothing has failed.
        row_keys: The keys of the drawn rows of spans, by span id.
        clock_skews: Sentences about services whose clocks disagree.
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
    first_failure: WaterfallRow | None = None
    row_keys: dict[str, str] = field(default_factory=dict)
    clock_skews: list[str] = field(default_factory=list)
    services: list[TraceService] = field(default_factory=list)
    resource_ids: dict[str, str] = field(default_factory=dict)
    css_classes: dict[str, str] = field(default_factory=dict)
    left_out: str = ""


def trace_page(view: TraceView, missing: list[str], limits: Limits | None = None) -> TracePage:
    """Return what the page of a trace shows, within ``limits``, or within the default ones."""
    rows = list(waterfall_rows(view, limits))
    services = trace_services(view)
    count = len(view.spans) + len(view.logs)
    return TracePage(
        view,
        missing,
        rows,
        left_out_at_end=count - len(rows) - sum(row.left_out for row in rows),
        explanation=explanation.explain(view),
        first_failure=_first_failure(view, rows),
        row_keys={row.span_id: row.key for row in reversed(rows) if row.span_id},
        clock_skews=clock_skews(view),
        services=services,
        resource_ids={
            service.key: f"resource-{number}" for number, service in enumerate(services, 1)
        },
        css_classes=trace_service_classes(view),
        left_out=_left_out_sentence(view, len(rows)),
    )


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


def _first_failure(view: TraceView, rows: list[WaterfallRow]) -> WaterfallRow | None:
    cause = explanation.failure_cause(view)
    cause_id = cause.span_id if cause else ""
    failed = [row for row in rows if row.error]
    of_cause = [row for row in rows if cause_id and row.span_id == cause_id]
    return next(iter([*of_cause, *failed]), None)


def _left_out_sentence(view: TraceView, drawn_count: int) -> str:
    count = len(view.spans) + len(view.logs)
    if drawn_count == count:
        return ""
    failed_count = sum(has_failed(row) for row in tree_rows(view))
    of_all = f"of {count:,} spans and log lines are shown"
    if not failed_count:
        return f"Only the first {drawn_count:,} {of_all}."
    return (
        f"Only {drawn_count:,} {of_all}: first of all the failed ones, with the spans above them."
    )
