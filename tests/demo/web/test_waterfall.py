"""A request's geometry: who took which part of its time, and what a broken trace does to it."""

from dataclasses import replace

import pytest

from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, line, slow, span
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.timing import own_time
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web import waterfall


def drawn(story: TraceView) -> dict[str, waterfall.Row]:
    """The rows by their text."""
    return {row.text: row for row in waterfall.rows(story)}


@pytest.mark.timeout(60)
def test_a_large_trace_is_told_by_its_length() -> None:
    """Fifty thousand spans and as many lines take time by their number, not by its square: that would be minutes."""
    ids = [f"{number:016x}" for number in range(50_000)]
    spans = [span(each, ids[number // 50] if number else "") for number, each in enumerate(ids)]
    told = TraceView(TRACE, spans, [line(each, "said") for each in ids], [])
    assert len(list(waterfall.rows(told))) == 100_000
    assert "checkout answered" in explain(told)


def test_every_span_and_line_has_its_row() -> None:
    """Rows come parents first, a line at its span, with the place and length that its times say."""
    rows = list(waterfall.rows(slow()))
    assert [(row.depth, row.text) for row in rows] == [
        (0, "POST /checkout"),
        (1, "place order"),
        (2, "POST"),
        (3, "POST /charges"),
        (4, "POST /charges 200 authorised"),
        (2, "order not placed: payment: no answer within 2 s"),
        (1, "POST /checkout 504 payment_slow"),
    ]
    whole = drawn(slow())["POST /checkout"].whole
    assert whole
    assert whole[1] == pytest.approx(1000 * 2004 / 3003)


def test_a_late_payment_is_seen_to_be_late() -> None:
    """The part of payment's span after checkout gave up is marked, to its end, and how long it was is told."""
    row = drawn(slow())["POST /charges"]
    assert row.late
    assert row.too_late == pytest.approx(1.001)
    assert row.late[0] + row.late[1] == pytest.approx(1000)
    assert drawn(slow())["POST /checkout"].late is None


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (3000, "begins 2.9 s after its caller had ended"),
        (-300, "ends 0.2 s before its caller began"),
        (95, ""),
    ],
)
def test_who_had_an_answer_did_not_give_up(at: int, said: str) -> None:
    """A span beside a call that had its answer is not late: where it lies is told, and a little over the edge is nothing."""
    call = span(CALL, ROOT, "CLIENT", attributes={"http.response.status_code": "200"})
    charge = span(CHARGE, CALL, at=at, took=100, name="POST /charges")
    row = drawn(TraceView(TRACE, [span(ROOT, "", took=120), call, charge], [], []))["POST /charges"]
    assert (row.late, row.told) == (None, [said] if said else [])


def test_own_time_is_what_no_child_takes() -> None:
    """Overlapping children count once, a child that outlives its parent takes no more than there is."""
    parent = span(ROOT, "", took=100)
    children = [
        span("a", ROOT, at=10, took=20),
        span("b", ROOT, at=20, took=30),
        span("c", ROOT, at=90, took=50),
    ]
    begin = parent.start
    found = [
        ((start - begin) / 1e6, (end - begin) / 1e6) for start, end in own_time(parent, children)
    ]
    assert found == [(0, 10), (50, 90)]


def test_a_span_that_calls_nobody_is_all_its_own() -> None:
    """Without children the whole span is own time, even one that took none."""
    alone = span(ROOT, "", took=0)
    assert list(own_time(alone, [])) == [(alone.start, alone.end)]


def test_even_the_shortest_can_be_seen() -> None:
    """A bar has a width and stays inside, wherever it lies."""
    story = TraceView(TRACE, [span(ROOT, ""), span(ORDER, ROOT, at=100, took=0)], [], [])
    for row in waterfall.rows(story):
        assert row.whole
        x, width = row.whole
        assert width >= waterfall.LEAST
        assert x + width <= 1000


def test_lines_before_and_after_stay_inside() -> None:
    """A line that was written after the last span, or before the first, is at the edge and not outside."""
    story = TraceView(
        TRACE, [span(ROOT, "")], [line(ROOT, "early", at=-50), line(ROOT, "late", at=500)], []
    )
    assert [row.x for row in waterfall.rows(story) if row.whole is None] == [0.0, 998.0]


def test_lines_alone_are_rows_too() -> None:
    """Where the spans are lost, the lines are still shown."""
    assert [
        row.text for row in waterfall.rows(TraceView(TRACE, [], [line(ROOT, "all there is")], []))
    ] == ["all there is"]
    assert list(waterfall.rows(TraceView(TRACE, [], [], []))) == []


def test_broken_trees_end() -> None:
    """Rings, orphans, ids that repeat and a thousand levels give each span at most one row, indented within limits."""
    ring = [span("a", "b"), span("b", "a"), span("orphan", "gone"), span(ROOT, ""), span(ROOT, "")]
    deep = [span(f"s{number}", f"s{number - 1}" if number else "") for number in range(1000)]
    rows = list(waterfall.rows(TraceView(TRACE, ring + deep, [], [])))
    assert len(rows) <= len(ring + deep)
    assert len({row.key for row in rows}) == len(rows)
    assert max(row.depth for row in rows) == waterfall.DEEPEST


def test_attributes_are_bounded() -> None:
    """Of a span with thousands of attributes, some are shown."""
    crowded = replace(
        slow().spans[0], attributes={f"key.{number}": number for number in range(5000)}
    )
    (row,) = waterfall.rows(TraceView(TRACE, [crowded], [], []))
    assert len(row.fields) == waterfall.FIELDS


@pytest.mark.parametrize("seconds", [0.0005, 0.0012, 0.004, 0.163, 2.004, 3600])
def test_the_axis_is_round(seconds: float) -> None:
    """A request's axis begins at 0 and has two to six ticks inside."""
    ticks = waterfall.ticks(seconds)
    assert ticks[0] == (0, "0")
    assert 2 <= len(ticks) <= 6
    assert all(0 <= x <= 950 + 1e-6 for x, _ in ticks)
    assert len({said for _, said in ticks}) == len(ticks)


def test_axis_and_bars_have_one_extent() -> None:
    """A log line after the last span is in the time that the axis has, so a bar of 1 ms ends where the axis says 1 ms."""
    story = TraceView(TRACE, [span(ROOT, "", took=1)], [line(ROOT, "late", at=1.5)], [])
    begin, end = waterfall.extent(story)
    (bar,) = [row.whole for row in waterfall.rows(story) if row.whole]
    (mark,) = [x for x, said in waterfall.ticks((end - begin) / 1e9) if said == "1 ms"]
    assert bar[0] + bar[1] == pytest.approx(mark)


def test_roles_are_told() -> None:
    """A row says who it is of, what kind, its status, and what went wrong."""
    row = drawn(slow())["POST"]
    assert (row.service, row.level, row.error, row.key.endswith(CALL)) == (
        "checkout",
        "client",
        True,
        True,
    )
    assert row.told == ["ReadTimeout: no answer within 2 s"]
    assert drawn(slow())["POST /charges"].status == "200"
    assert drawn(slow())["POST /charges"].key.endswith(CHARGE)
