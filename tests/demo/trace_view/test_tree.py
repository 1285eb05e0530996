"""Tests for the tree of a trace whose ids are broken or whose parents are missing."""

import re

import pytest
from rich.cells import cell_len

from tests.demo.trace_view.rendering import render
from tests.traces import CALL, CHARGE, TRACE, line, span
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView


def texts(*spans: Span) -> list[tuple[int, str]]:
    """Return the depth and the name of each row of a trace that has only ``spans``."""
    rows = tree_rows(TraceView(TRACE, list(spans), [], []))
    return [(row.depth, row.node.name) for row in rows if isinstance(row.node, Span)]


def named(span_id: str, parent_id: str, name: str = "", *, at: float = 0) -> Span:
    """Return a span that is called like its id, unless it has a ``name``."""
    return span(span_id, parent_id, at=at, name=name or span_id)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        # A span that is its own parent, with a child.
        (
            [named("r", ""), named("a", "a", at=1), named("b", "a", at=2)],
            [(0, "r"), (0, "a"), (1, "b")],
        ),
        # Two spans and three spans that form a cycle, and what is below them.
        ([named("a", "b"), named("b", "a", at=1)], [(0, "a"), (1, "b")]),
        (
            [named("t", "a"), named("a", "b", at=1), named("b", "c", at=2), named("c", "a", at=3)],
            [(0, "a"), (1, "t"), (1, "c"), (2, "b")],
        ),
        # Two cycles.
        (
            [named("a", "a"), named("b", "c", at=1), named("c", "b", at=2)],
            [(0, "a"), (0, "b"), (1, "c")],
        ),
        # Ids that repeat: at the root, below each other, and in a cycle.
        (
            [named("r", "", "r1"), named("r", "", "r2", at=1), named("c", "r", at=2)],
            [(0, "r1"), (1, "c"), (0, "r2")],
        ),
        (
            [named("r", ""), named("c", "r", at=1), named("r", "c", "again", at=2)],
            [(0, "r"), (1, "c"), (2, "again")],
        ),
        (
            [named("a", "a", "a1"), named("a", "a", "a2", at=1)],
            [(0, "a1"), (1, "a2")],
        ),
    ],
)
def test_every_span_has_exactly_one_row(spans: list[Span], expected: list[tuple[int, str]]) -> None:
    """Spans whose ids repeat or whose parents form a cycle are drawn, each of them once."""
    assert texts(*spans) == expected
    assert texts(*reversed(spans)) == expected


def test_log_records_of_a_cycle_are_drawn() -> None:
    """A log record of a span in a cycle is below its span."""
    view = TraceView(TRACE, [span(CALL, CALL)], [line(CALL, "hello")], [])
    assert [row.depth for row in tree_rows(view)] == [0, 1]
    assert "it is its own ancestor" in render(view, 200)


def test_a_deep_trace_fits_the_console() -> None:
    """Below the twelfth level rows keep their indent, and say how deep they are."""
    deep = [span(f"s{number}", f"s{number - 1}" if number else "") for number in range(300)]
    text = render(TraceView(TRACE, deep, [], []), 100)
    assert max(cell_len(line) for line in text.splitlines()) <= 100
    assert re.findall(r"depth (\d+)", text) == [str(depth) for depth in range(13, 300)]


def test_node_without_its_parent_is_a_root() -> None:
    """An orphaned span and a record of an unknown span are roots, the record with its service."""
    orphan = span(CHARGE, "elsewhere", service="payment")
    view = TraceView(TRACE, [orphan], [line("nobody", "lost", at=5)], [])
    assert [row.depth for row in tree_rows(view)] == [0, 0]
    assert "INFO  lost (checkout)" in render(view)
