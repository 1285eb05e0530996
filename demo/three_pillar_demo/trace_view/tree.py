"""The tree of a trace: spans below their parents, log records below the span that wrote them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.view import TraceView

Node = Span | LogRecord


@dataclass(frozen=True)
class TreeRow:
    """A span or a log record at its place in the tree.

    Attributes:
        node: The span or the log record.
        parent: The parent of the node; None for a root.
        depth: The number of spans from the root down to the parent; 0 for a root.
        prefix: The characters that draw the branch in front of the row.
        child_prefix: The characters in front of each row below this row.
        is_leaf: Whether the node has no children.
    """

    node: Node
    parent: Span | None = None
    depth: int = 0
    prefix: str = ""
    child_prefix: str = ""
    is_leaf: bool = True


def tree_rows(view: TraceView) -> Iterator[TreeRow]:
    """Yield a row for each span and log record, parents before their children.

    Siblings are in the order of their start. A span or log record whose parent is not in the trace
    is a root.
    """
    children_by_parent = _children_by_parent(view)
    roots = children_by_parent.pop("", [])
    stack = [TreeRow(root) for root in reversed(roots)]
    while stack:
        row = stack.pop()
        # Children are removed, not looked up: span ids that repeat or form a cycle cannot make
        # this loop endless.
        children: list[Node] = []
        if isinstance(row.node, Span):
            children = children_by_parent.pop(row.node.span_id, [])
        yield TreeRow(
            row.node,
            row.parent,
            row.depth,
            row.prefix,
            row.child_prefix,
            is_leaf=not children,
        )
        stack.extend(reversed(_child_rows(row, children)))


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
