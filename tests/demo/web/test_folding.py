"""Tests for collapsing and expanding parts of the tree of a trace."""

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, line, slow, span
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.folding import MAX_SPANS, Below, Folding, rows_below
from three_pillar_demo.web.trace_page import TracePage, trace_page
from three_pillar_demo.web.view_state import ViewState
from three_pillar_demo.web.waterfall_row import Limits


def texts(page: TracePage) -> list[str]:
    """Return the texts of the rows that are drawn."""
    return [row.text for row in page.rows]


def folded(view: TraceView, fold: str, limits: Limits | None = None) -> TracePage:
    """Return the page of a trace with the folding that an address names."""
    return trace_page(view, [], limits, Folding.parse(fold))


@pytest.mark.parametrize("text", ["", "all", "a", "all.a.b", "b.a"])
def test_a_folding_is_a_text_and_back(text: str) -> None:
    """What an address says is what the page writes into its next address."""
    assert str(Folding.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("..a..a.", "a"), ("a.all", "all.a"), (".", ""), ("all.all", "all")],
)
def test_an_odd_folding_is_read(text: str, expected: str) -> None:
    """Empty and repeated words of an address change nothing."""
    assert str(Folding.parse(text)) == expected


def test_toggling_twice_changes_nothing() -> None:
    """A button collapses, and the same button expands, whatever else is collapsed."""
    folding = Folding.parse("all.a")
    assert str(folding.toggled("b")) == "all.a.b"
    assert folding.toggled("b").toggled("b") == folding
    assert str(folding.toggled("a")) == "all"
    assert folding.toggled("") == folding


def test_an_address_stays_short() -> None:
    """After very many changes the oldest ones are forgotten, and the address is still valid."""
    folding = Folding()
    for number in range(3 * MAX_SPANS):
        folding = folding.toggled(f"{number:016x}")
    assert len(folding.span_ids) == MAX_SPANS
    assert folding.span_ids[-1] == f"{3 * MAX_SPANS - 1:016x}"
    assert Folding.parse(ViewState.parse({"fold": str(folding)}).fold) == folding


def test_a_button_adds_its_span_to_the_address() -> None:
    """The parameter of a button changes the folding, and is no parameter of the next address."""
    state = ViewState.parse({"fold": "a", "toggle": "b", "minutes": "15"})
    assert state.query() == "?minutes=15&fold=a.b"
    assert ViewState.parse({"fold": "a.b", "toggle": "a"}).fold == "b"
    assert ViewState.parse({"toggle": "a"}).fold == "a"


def test_what_is_below_each_row_is_counted() -> None:
    """Each row knows the rows below it, at any depth, and how many of them have failed."""
    rows = list(tree_rows(slow()))
    assert rows_below(rows) == [
        Below(6, 4),
        Below(4, 2),
        Below(2, 0),
        Below(1, 0),
        Below(),
        Below(),
        Below(),
    ]
    assert rows_below([]) == []


def test_a_collapsed_row_hides_what_is_below_it() -> None:
    """The rows below are gone, the others stay with their keys, and the row says how many."""
    keys = {row.key for row in trace_page(slow(), []).rows}
    page = folded(slow(), ORDER)
    assert texts(page) == ["POST /checkout", "place order", "POST /checkout 504 payment_slow"]
    assert {row.key for row in page.rows} < keys
    order = page.rows[1]
    assert (order.is_collapsed, order.below) == (True, Below(4, 2))
    assert [row.left_out for row in page.rows] == [0, 0, 0]
    assert (page.left_out, page.left_out_at_end) == ("", 0)


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("all", ["POST /checkout", "place order", "POST /checkout 504 payment_slow"]),
        (f"all.{ROOT}", ["POST /checkout"]),
        (f"{ROOT}.{CALL}", ["POST /checkout"]),
        ("unknown", [row.text for row in trace_page(slow(), []).rows]),
        # A row with nothing below it has nothing to collapse.
        (CHARGE, [row.text for row in trace_page(slow(), []).rows if "authorised" not in row.text]),
    ],
)
def test_all_can_be_collapsed(fold: str, expected: list[str]) -> None:
    """Everything below the roots collapses at once, and single spans are exceptions."""
    assert texts(folded(slow(), fold)) == expected


def test_collapsing_all_and_expanding_goes_level_by_level() -> None:
    """With everything collapsed, an expanded row shows its children, which are collapsed."""
    page = folded(slow(), f"all.{ORDER}")
    assert texts(page)[1:4] == [
        "place order",
        "POST",
        "order not placed: payment: no answer within 2 s",
    ]
    assert [row.is_collapsed for row in page.rows] == [False, False, True, False, False]


def test_broken_trees_are_collapsed() -> None:
    """Repeated span ids, cycles and orphans collapse without losing count of any row."""
    spans = [
        span("a", "b"),
        span("b", "a"),
        span("orphan", "gone"),
        span(ROOT, ""),
        span(ROOT, ""),
        span(CALL, ROOT),
        span("self", "self"),
    ]
    view = TraceView(TRACE, spans, [line("a", "x"), line("nobody", "y")], [])
    for fold in ("", "all", "all.a.b.self", f"a.b.self.orphan.{ROOT}"):
        page = folded(view, fold)
        hidden = sum(row.below.rows for row in page.rows if row.is_collapsed)
        assert len(page.rows) + hidden == len(spans) + 2


def test_collapsing_makes_room_in_a_large_trace() -> None:
    """Of a trace with too many rows, collapsed rows count for nothing, so that others are drawn."""
    parents = [span(f"p{number}", ROOT, at=number) for number in range(4)]
    children = [
        span(f"c{number}", f"p{number % 4}", at=10 + number, name=f"child {number}")
        for number in range(40)
    ]
    view = TraceView(TRACE, [span(ROOT, ""), *parents, *children], [], [])
    limits = Limits(rows=20)
    before = folded(view, "", limits)
    assert before.left_out == "Only the first 20 of 45 spans and log lines are shown."
    after = folded(view, "p0.p1", limits)
    assert {f"child {number}" for number in (2, 6, 10)} <= set(texts(after))
    drawn = sum(1 + (row.below.rows if row.is_collapsed else 0) for row in after.rows)
    left_out = sum(row.left_out for row in after.rows) + after.left_out_at_end
    assert drawn + left_out == 45
    assert folded(view, "p0.p1.p2.p3", limits).left_out == ""


def test_the_first_failure_is_reached_when_it_is_collapsed() -> None:
    """The failure of the sentence keeps its link, which knows that it must be expanded first."""
    failure = folded(slow(), ROOT).first_failure
    assert failure
    assert (failure.span_id, failure.is_drawn) == (CALL, False)
    expanded = trace_page(slow(), []).first_failure
    assert expanded
    assert (expanded.key, expanded.is_drawn) == (failure.key, True)


def test_the_page_has_a_button_for_each_row_with_rows_below(
    busy: StoredData, page: TestClient
) -> None:
    """A button says what it collapses and whether that is collapsed, and needs no script."""
    assert busy.spans
    text = page.get(f"/trace/{TRACE}?minutes=15&fold={CALL}").text
    buttons = re.findall(r'<button class="fold"[^>]*>', text)
    assert len(buttons) == 3
    assert [re.findall(r'aria-expanded="(\w+)"', button)[0] for button in buttons] == [
        "true",
        "true",
        "false",
    ]
    assert 'aria-label="2 rows below POST"' in buttons[2]
    assert f'value="{CALL}"' in buttons[2]
    assert f'<form id="folding" action="/trace/{TRACE}">' in text
    assert '<input type="hidden" name="minutes" value="15">' in text
    assert f'<input type="hidden" name="fold" value="{CALL}">' in text
    assert "2 rows collapsed" in text
    assert f"/trace/{TRACE}?minutes=15&fold=all#waterfall" in unescape(text)
    assert 'href="/?minutes=15">Overview' in text, "the folding belongs to this trace alone"


def test_expanding_is_offered_only_where_something_is_collapsed(
    busy: StoredData, page: TestClient
) -> None:
    """The page offers to expand all only while something is collapsed."""
    assert busy.spans
    expanded = page.get(f"/trace/{TRACE}?minutes=15").text
    collapsed = page.get(f"/trace/{TRACE}?minutes=15&fold={CALL}").text
    for text in (expanded, collapsed):
        assert ">Collapse all</a>" in text
    assert "Expand all" not in expanded
    assert f'<a href="/trace/{TRACE}?minutes=15#waterfall">Expand all</a>' in collapsed


def test_the_link_to_a_collapsed_failure_expands(busy: StoredData, page: TestClient) -> None:
    """The address behind First failure has nothing collapsed, and the row of the failure."""
    assert busy.spans
    text = page.get(f"/trace/{TRACE}?fold={ROOT}").text
    assert "6 rows collapsed" in text
    assert '<b class="bad">4 failed</b>' in text
    link = re.search(r'First failure:\s*<a href="([^"]*)"', text)
    assert link
    path, _, key = link[1].partition("#")
    assert f'id="{key}"' not in text
    assert f'id="{key}"' in page.get(path).text


def test_the_file_has_no_buttons(busy: StoredData, page: TestClient) -> None:
    """A file has no server that collapses, and no script that copies, so it has no such button."""
    assert busy.spans
    file = page.get(f"/trace/{TRACE}/request.html").text
    assert "<button" not in file
    assert "<form" not in file
    assert "demo follow" not in file
    assert "<button" in page.get(f"/trace/{TRACE}").text


def test_hostile_span_ids_stay_texts(busy: StoredData, page: TestClient) -> None:
    """What an address names as collapsed is never markup."""
    assert busy.spans
    text = page.get(f"/trace/{TRACE}", params={"fold": '"><script>', "toggle": "'><b>"}).text
    assert "<script>" not in text.replace('<script src="/static/page.js" defer></script>', "")
    assert "&gt;&lt;script&gt;" in text


def test_the_id_and_the_command_can_be_copied(busy: StoredData, page: TestClient) -> None:
    """The trace id and the command have a button; a value that is cut is marked as such."""
    busy.spans = [span(ROOT, "", attributes={"short": "a", "long": "x" * 5000})]
    text = page.get(f"/trace/{TRACE}").text
    for label in ("the trace id", "the command"):
        assert text.count(f'aria-label="Copy {label}">copy</button>') == 1
    assert f"<code>demo follow {TRACE}</code><button" in text
    assert "<dd>a</dd>" in text
    assert "<dd data-cut>xxx" in text
