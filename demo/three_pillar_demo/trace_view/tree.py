"""The tree of a trace: spans below their parents, log records below the span that wrote them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.view import TraceView

Node = Span | LogRecord
MAX_INDENT = 12
"""The number of levels of the tree that are indented; deeper levels have the same indent."""


@dataclass(frozen=True)
class TreeRow:
    """A span or a log record at its place in the tree.

    Attributes:
        node: The span or the log record.
        parent: The parent of the node; None for a root.
        depth: The number of spans from the root down to the parent; 0 for a root.
        prefix: The characters that draw the branch in front of the row. From ``MAX_INDENT`` on,
            deeper rows have the same number of characters.
        child_prefix: The characters in front of each row below this row.
        is_leaf: Whether the node has no children.
        in_cycle: Whether the node is a span that is its own ancestor, which is drawn as a root.
    """

    node: Node
    parent: Span | None = None
    depth: int = 0
    prefix: str = ""
    child_prefix: str = ""
    is_leaf: bool = True
    in_cycle: bool = False


def tree_rows(view: TraceView) -> Iterator[TreeRow]:
    """Yield exactly one row for each span and log record, parents before their children.

    Siblings are in the order of their start. A span or log record whose parent is not in the trace
    is a root. So is one span of each cycle of parents.
    """
    children_by_parent = _children_by_parent(view)
    placed = set[int]()
    yield from _rows_from(children_by_parent.pop("", []), children_by_parent, placed)
    if not children_by_parent:
        return
    # No root leads to the other spans: they form a cycle, or are below one.
    spans = sorted(view.spans, key=_start_time)
    span_by_id = {span.span_id: span for span in reversed(spans)}
    for span in spans:
        if id(span) not in placed:
            member = _cycle_member(span, span_by_id)
            yield from _rows_from([member], children_by_parent, placed, in_cycle=True)


def _rows_from(
    roots: Sequence[Node],
    children_by_parent: dict[str, list[Node]],
    placed: set[int],
    *,
    in_cycle: bool = False,
) -> Iterator[TreeRow]:
    """Yield the rows of ``roots`` and of everything below them; add their nodes to ``placed``.

    ``placed`` has Python's ids of the nodes, because span ids may repeat.
    """
    placed.update(id(root) for root in roots)
    stack = [TreeRow(root, in_cycle=in_cycle) for root in reversed(roots)]
    while stack:
        row = stack.pop()
        # Children are removed, not looked up: span ids that repeat or form a cycle cannot make
        # this loop endless.
        children: list[Node] = []
        if isinstance(row.node, Span):
            below = children_by_parent.pop(row.node.span_id, [])
            children = [child for child in below if id(child) not in placed]
            placed.update(id(child) for child in children)
        yield replace(row, is_leaf=not children)
        stack.extend(reversed(_child_rows(row, children)))


def _cycle_member(span: Span, span_by_id: dict[str, Span]) -> Span:
    """Return a span of the cycle to which the parents of ``span`` lead."""
    seen = set[str]()
    while span.span_id not in seen:
        seen.add(span.span_id)
        span = span_by_id[span.parent_id]
    return span


def _children_by_parent(view: TraceView) -> dict[str, list[Node]]:
    """Return the spans and log records by the span id of their parent, in order of their start.

    Those without a parent in the trace have the key "".
    """
    span_ids = {span.span_id for span in view.spans}
    children: dict[str, list[Node]] = defaultdict(list)
    nodes: list[Node] = [*view.spans, *view.logs]
    for node in sorted(nodes, key=_start_time):
        parent_id = node.parent_id if isinstance(node, Span) else node.fields.get("span_id", "")
        if parent_id not in span_ids:
            parent_id = ""
        children[parent_id].append(node)
    return children


def _child_rows(row: TreeRow, children: list[Node]) -> list[TreeRow]:
    parent = row.node if isinstance(row.node, Span) else None
    child_rows = []
    for child in children:
        is_last = child is children[-1]
        branch = "└─ " if is_last else "├─ "
        continuation = "   " if is_last else "│  "
        if row.depth >= MAX_INDENT:
            continuation = ""
        child_rows.append(
            TreeRow(
                child,
                parent,
                row.depth + 1,
                prefix=row.child_prefix + branch,
                child_prefix=row.child_prefix + continuation,
            )
        )
    return child_rows


def _start_time(node: Node) -> int:
    return node.start if isinstance(node, Span) else node.time
