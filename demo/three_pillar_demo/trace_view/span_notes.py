"""Notes about a span, which the page and the terminal show below its row."""

from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.timing import outside_parent
from three_pillar_demo.trace_view.tree import TreeRow

CYCLE = "is shown without its parent, because it is its own ancestor: the parent span ids are wrong"


def span_notes(row: TreeRow, span: Span) -> list[str]:
    """Return what is wrong with the time of ``span`` or its parent, which is no failure of it."""
    notes = outside_parent(span, row.parent)
    if row.in_cycle:
        notes.append(CYCLE)
    return notes
