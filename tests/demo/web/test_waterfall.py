"""Tests for the geometry of the waterfall: bars, own time, late parts and broken traces."""

import time
from dataclasses import replace

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, line, slow, span
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.timing import own_time
from three_pillar_demo.trace_view.tree import MAX_INDENT
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import waterfall
from three_pillar_demo.web.waterfall import waterfall_rows
from three_pillar_demo.web.waterfall_row import Limits, WaterfallRow


def view_of(*spans: Span) -> TraceView:
    """Return a trace that has only spans."""
    return TraceView(TRACE, list(spans), [], [])


MAX_CPU_S_PER_SPAN = 60 / 50_000
"""Several times what a span of a large trace takes on a busy machine, in seconds of CPU."""


def rows_by_text(view: TraceView) -> dict[str, WaterfallRow]:
    """Return the rows of a trace by their text."""
    return {row.text: row for row in waterfall_rows(view)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [5_000, pytest.param(50_000, marks=pytest.mark.long)])
def test_large_trace_takes_linear_time(count: int) -> None:
    """A large trace takes seconds of CPU; in proportion to the square of its rows it is minutes."""
    started = time.process_time()
    ids = [f"{number:016x}" for number in range(count)]
    spans = [
        span(span_id, ids[number // 50] if number else "") for number, span_id in enumerate(ids)
    ]
    view = TraceView(TRACE, spans, [line(span_id, "text") for span_id in ids], [])
    assert len(list(waterfall_rows(view, Limits(rows=2 * count)))) == 2 * count
    assert len(list(waterfall_rows(view))) == Limits().rows
    assert "checkout completed" in explain(view)
    assert time.process_time() - started < MAX_CPU_S_PER_SPAN * count


def test_every_span_and_log_record_has_a_row() -> None:
    """Rows come parents first, log records at their span, with positions from their times."""
    rows = list(waterfall_rows(slow()))
    assert [(row.depth, row.text) for row in rows] == [
        (0, "POST /checkout"),
        (1, "place order"),
        (2, "POST"),
        (3, "POST /charges"),
        (4, "POST /charges 200 authorised"),
        (2, "order not placed: payment: no answer within 2 s"),
        (1, "POST /checkout 504 payment_slow"),
    ]
    bar = rows_by_text(slow())["POST /checkout"].bar
    assert bar
    assert bar[1] == pytest.approx(1000 * 2004 / 3003)


def test_late_part_is_marked() -> None:
    """The part of payment's span after checkout gave up is marked to its end, with its duration."""
    row = rows_by_text(slow())["POST /charges"]
    assert row.late_bar
    assert row.late_duration == pytest.approx(1.001)
    assert row.late_bar[0] + row.late_bar[1] == pytest.approx(1000)
    assert rows_by_text(slow())["POST /checkout"].late_bar is None


@pytest.mark.parametrize(
    ("at", "description"),
    [
        (3000, "begins 2.9 s after its caller had ended"),
        (-300, "ends 0.2 s before its caller began"),
        (95, ""),
    ],
)
def test_answered_call_has_no_late_part(at: int, description: str) -> None:
    """A span outside an answered call is described but not late, and a small overlap is neither."""
    call = span(CALL, ROOT, "CLIENT", attributes={"http.response.status_code": "200"})
    charge = span(CHARGE, CALL, at=at, took=100, name="POST /charges")
    row = rows_by_text(view_of(span(ROOT, "", took=120), call, charge))["POST /charges"]
    expected = [description] if description else []
    assert (row.late_bar, row.failures, row.notes) == (None, [], expected)


def test_own_time_is_without_children() -> None:
    """Overlapping children count once, and a child's time after its parent's end does not count."""
    parent = span(ROOT, "", took=100)
    children = [
        span("a", ROOT, at=10, took=20),
        span("b", ROOT, at=20, took=30),
        span("c", ROOT, at=90, took=50),
    ]
    parts = [
        ((start - parent.start) / 1e6, (end - parent.start) / 1e6)
        for start, end in own_time(parent, children)
    ]
    assert parts == [(0, 10), (50, 90)]


def test_span_without_children_is_all_own_time() -> None:
    """Without children the whole span is own time, even if it took no time."""
    alone = span(ROOT, "", took=0)
    assert list(own_time(alone, [])) == [(alone.start, alone.end)]


def test_own_time_is_drawn_by_one_clock() -> None:
    """A call whose callee's clock is wrong is drawn faint where the callee worked."""
    answered = {"http.response.status_code": "200"}

    def own_widths(skew_ms: float) -> list[float]:
        call = span(CALL, "", "CLIENT", took=1000, attributes=answered)
        charge = span(CHARGE, CALL, at=100 + skew_ms, took=800, service="payment", name="charge")
        rows = rows_by_text(view_of(call, charge))
        bar = rows["POST /checkout"].bar
        assert bar
        return [width / bar[1] for _, width in rows["POST /checkout"].own_bars]

    assert own_widths(0) == pytest.approx([0.1, 0.1])
    assert own_widths(-2000) == pytest.approx([0.1, 0.1])


def test_shortest_bar_is_visible() -> None:
    """A bar has a minimum width and is inside the full width, wherever it begins."""
    view = view_of(span(ROOT, ""), span(ORDER, ROOT, at=100, took=0))
    for row in waterfall_rows(view):
        assert row.bar
        x, width = row.bar
        assert width >= waterfall.MIN_BAR_WIDTH
        assert x + width <= 1000


def test_log_records_outside_the_spans_are_at_the_edge() -> None:
    """Log records before the first and after the last span are drawn at the edges."""
    logs = [line(ROOT, "early", at=-50), line(ROOT, "late", at=500)]
    view = TraceView(TRACE, [span(ROOT, "")], logs, [])
    assert [row.x for row in waterfall_rows(view) if row.bar is None] == [0.0, 998.0]


def test_log_records_without_spans_are_rows() -> None:
    """A trace without spans still shows its log records."""
    view = TraceView(TRACE, [], [line(ROOT, "all there is")], [])
    assert [row.text for row in waterfall_rows(view)] == ["all there is"]
    assert list(waterfall_rows(TraceView(TRACE, [], [], []))) == []


def test_broken_trees_end() -> None:
    """Cycles, orphans, repeated ids and a thousand levels give each span exactly one row."""
    cycle = [span("a", "b"), span("b", "a"), span("orphan", "gone"), span(ROOT, ""), span(ROOT, "")]
    deep = [span(f"s{number}", f"s{number - 1}" if number else "") for number in range(1000)]
    rows = list(waterfall_rows(view_of(*cycle, *deep), Limits(rows=2000)))
    assert len(rows) == len(cycle + deep)
    assert len({row.key for row in rows}) == len(rows)
    assert max(row.indent for row in rows) == MAX_INDENT
    assert max(row.depth for row in rows) == 999


def test_attributes_are_limited() -> None:
    """A span with thousands of attributes shows a limited number, and how many are left out."""
    attributes = {f"key.{number}": number for number in range(5000)}
    (row,) = waterfall_rows(view_of(replace(slow().spans[0], attributes=attributes)))
    assert len(row.attributes) == Limits().attributes + 1
    assert row.attributes[-1] == ("not shown", "4,960 more attributes")


@pytest.mark.parametrize("seconds", [0.0005, 0.0012, 0.004, 0.163, 2.004, 3600])
def test_axis_has_round_ticks(seconds: float) -> None:
    """The axis of a trace begins at 0 and has two to six different ticks inside."""
    ticks = waterfall.axis_ticks(seconds)
    assert ticks[0] == (0, "0")
    assert 2 <= len(ticks) <= 6
    assert all(0 <= x <= 950 + 1e-6 for x, _ in ticks)
    assert len({text for _, text in ticks}) == len(ticks)


def test_axis_and_bars_have_the_same_scale() -> None:
    """A bar of 1 ms ends at the tick of 1 ms, although a log record comes after the last span."""
    view = TraceView(TRACE, [span(ROOT, "", took=1)], [line(ROOT, "late", at=1.5)], [])
    start, end = waterfall.extent(view)
    (bar,) = [row.bar for row in waterfall_rows(view) if row.bar]
    (tick,) = [x for x, text in waterfall.axis_ticks((end - start) / 1e9) if text == "1 ms"]
    assert bar[0] + bar[1] == pytest.approx(tick)


def test_row_describes_its_span() -> None:
    """A row has the service, kind, status and problems of its span."""
    row = rows_by_text(slow())["POST"]
    assert row.service == "checkout"
    assert row.level == "client"
    assert row.error is True
    assert row.key.endswith(CALL)
    assert row.failures == ["ReadTimeout: no answer within 2 s"]
    assert rows_by_text(slow())["POST /charges"].status == "200"
    assert rows_by_text(slow())["POST /charges"].key.endswith(CHARGE)
