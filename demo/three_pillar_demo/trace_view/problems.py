"""The problems of a span, as the page and the terminal show them below its row."""

from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.explanation import failures
from three_pillar_demo.trace_view.timing import outside_parent
from three_pillar_demo.trace_view.tree import TreeRow

CYCLE = "is shown without its parent, because it is its own ancestor: the parent span ids are wrong"


def span_problems(row: TreeRow, span: Span) -> list[str]:
    """Return the failures that ``span`` records, and what is wrong with its time and its parent."""
    problems = [*failures(span), *outside_parent(span, row.parent)]
    if row.in_cycle:
        problems.append(CYCLE)
    return problems
