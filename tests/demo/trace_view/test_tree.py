"""Tests for the tree of a trace whose ids are broken or whose parents are missing."""

from tests.demo.trace_view.rendering import render
from tests.traces import CALL, CHARGE, ROOT, TRACE, line, span
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView


def test_repeated_ids_and_cycles_end() -> None:
    """A trace with repeated or cyclic span ids yields each span at most once."""
    cycle = [span(CALL, CHARGE), span(CHARGE, CALL)]
    with_cycle = TraceView(TRACE, [span(ROOT, ""), *cycle], [], [])
    assert [row.node for row in tree_rows(with_cycle)] == [span(ROOT, "")]
    with_twins = TraceView(TRACE, [span(ROOT, ""), span(CALL, ROOT), span(ROOT, CALL)], [], [])
    assert [row.depth for row in tree_rows(with_twins)] == [0, 1, 2]
    assert render(with_twins)


def test_node_without_its_parent_is_a_root() -> None:
    """An orphaned span and a record of an unknown span are roots, the record with its service."""
    orphan = span(CHARGE, "elsewhere", service="payment")
    view = TraceView(TRACE, [orphan], [line("nobody", "lost", at=5)], [])
    assert [row.depth for row in tree_rows(view)] == [0, 0]
    assert "INFO  lost (checkout)" in render(view)
