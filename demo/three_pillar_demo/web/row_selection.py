"""Chooses the rows of a large trace that are drawn: the failed ones can always be reached."""

from collections.abc import Sequence

from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.tree import TreeRow


def has_failed(row: TreeRow) -> bool:
    """Return True for a span with error status and for a log record with an error severity."""
    if isinstance(row.node, Span):
        return row.node.error
    return row.node.failed


def selected_rows(rows: Sequence[TreeRow], max_rows: int) -> list[int]:
    """Return the positions of at most ``max_rows`` of ``rows``, in ascending order.

    The failed rows come first, each with the spans above it, and then the rows from the first one
    on. ``rows`` are all rows of a tree, parents before their children.
    """
    if len(rows) <= max_rows:
        return list(range(len(rows)))
    parents = _parent_positions(rows)
    selected = set[int]()
    for position, row in enumerate(rows):
        if len(selected) >= max_rows:
            break
        if has_failed(row):
            path = _unselected_path(position, parents, selected)
            # Of a path that is too long, the part next to the failure is drawn.
            selected.update(path[: max_rows - len(selected)])
    for position in range(len(rows)):
        if len(selected) >= max_rows:
            break
        selected.add(position)
    return sorted(selected)


def _parent_positions(rows: Sequence[TreeRow]) -> list[int]:
    """Return the position of the parent of each row; -1 for a root."""
    parents = []
    path: list[int] = []
    for position, row in enumerate(rows):
        del path[row.depth :]
        parents.append(path[-1] if path else -1)
        path.append(position)
    return parents


def _unselected_path(position: int, parents: Sequence[int], selected: set[int]) -> list[int]:
    """Return ``position`` and the positions above it, up to the first that is selected."""
    path = []
    while position >= 0 and position not in selected:
        path.append(position)
        position = parents[position]
    return path
