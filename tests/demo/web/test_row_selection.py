"""Tests for the rows of a large trace that are drawn."""

import pytest

from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.row_selection import has_failed, selected_rows
from three_pillar_demo.web.trace_page import trace_page
from three_pillar_demo.web.waterfall_row import Limits


def wide_trace(
    count: int, failing: set[int], logs: list[LogRecord] | None = None, *, fanout: int = 50
) -> TraceView:
    """Return a trace of ``count`` spans, with ``fanout`` children each; some have failed."""
    spans: list[Span] = []
    for number in range(count):
        parent_id = f"{(number - 1) // fanout:016x}" if number else ""
        error = number in failing
        spans.append(span(f"{number:016x}", parent_id, at=number / 1000, error=error))
    return TraceView(TRACE, spans, logs or [], [])


def drawn_ids(view: TraceView, max_rows: int) -> list[str]:
    """Return the span ids of the drawn rows of a trace."""
    rows = list(tree_rows(view))
    nodes = [rows[position].node for position in selected_rows(rows, max_rows)]
    return [node.span_id for node in nodes if isinstance(node, Span)]


def test_the_last_of_five_thousand_spans_is_reached() -> None:
    """The only failed span, the last of a large trace, is drawn with the spans above it."""
    view = wide_trace(5000, {4999})
    page = trace_page(view, [])
    assert len(page.rows) == Limits().rows
    assert page.first_failure
    assert page.first_failure.span_id == f"{4999:016x}"
    drawn = {row.span_id for row in page.rows}
    parents = {item.span_id: item.parent_id for item in view.spans}
    assert all(parents[span_id] in {"", *drawn} for span_id in drawn)
    assert page.left_out == (
        "Only 1,000 of 5,000 spans and log lines are shown: first of all the failed ones, with the "
        "spans above them."
    )
    assert sum(row.left_out for row in page.rows) + page.left_out_at_end == 4000
    assert sum(bool(row.left_out) for row in page.rows) >= 1


def test_a_small_trace_is_drawn_whole() -> None:
    """Nothing is left out of a trace that fits, and nothing is said about it."""
    page = trace_page(wide_trace(1000, {3}), [])
    assert [row.left_out for row in page.rows] == [0] * 1000
    assert (page.left_out, page.left_out_at_end) == ("", 0)


def test_rows_are_drawn_in_the_order_of_the_tree() -> None:
    """Without failures, the first rows of the tree are drawn."""
    view = wide_trace(200, set())
    in_order = [row.node.span_id for row in tree_rows(view) if isinstance(row.node, Span)]
    assert drawn_ids(view, 60) == in_order[:60]
    assert trace_page(view, [], Limits(rows=60)).left_out == (
        "Only the first 60 of 200 spans and log lines are shown."
    )


def test_more_failures_than_rows_end_at_the_limit() -> None:
    """Where everything has failed, the first rows are drawn, and no more than the limit."""
    view = wide_trace(3000, set(range(3000)))
    assert len(drawn_ids(view, 100)) == 100


def test_a_failure_deeper_than_the_limit_is_drawn() -> None:
    """Of a path that is longer than the limit, the end with the failure is drawn."""
    view = wide_trace(500, {499}, fanout=1)
    ids = drawn_ids(view, 100)
    assert len(ids) == 100
    assert ids[-1] == f"{499:016x}"


def test_error_records_of_late_spans_are_drawn() -> None:
    """A log record with an error severity is drawn with its span, although no span has failed."""
    view = wide_trace(3000, set(), [line(f"{2999:016x}", "gone", severity="ERROR")])
    page = trace_page(view, [])
    assert "gone" in [row.text for row in page.rows]
    assert page.first_failure
    assert page.first_failure.span_id == f"{2999:016x}"


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (TraceView(TRACE, [], [line(ROOT, "x", severity="fatal")], []), "x"),
        (TraceView(TRACE, [span(ROOT, "", error=True)], [], []), "POST /checkout"),
        (TraceView(TRACE, [span(ROOT, "")], [line(ROOT, "x")], []), ""),
        (TraceView(TRACE, [], [], []), ""),
    ],
)
def test_the_first_failure_is_a_row(view: TraceView, expected: str) -> None:
    """The first failure is that of the sentence, or a log record where there are no spans."""
    page = trace_page(view, [])
    assert (page.first_failure.text if page.first_failure else "") == expected
    assert any(has_failed(row) for row in tree_rows(view)) == bool(expected)
