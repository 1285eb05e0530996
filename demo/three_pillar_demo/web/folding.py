"""Which parts of the tree of a trace are collapsed, as the address of its page says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.tree import TreeRow
from three_pillar_demo.web.row_selection import has_failed

ALL = "all"
"""The word that collapses everything below the roots; the ids after it are then exceptions."""
SEPARATOR = "."
MAX_SPANS = 100
"""The number of spans, those collapsed or expanded last, that an address can name."""


@dataclass(frozen=True)
class Below:
    """What is below one row: the number of all rows, and of the failed ones among them."""

    rows: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Folding:
    """The collapsed spans of a trace.

    Attributes:
        everything: Whether all spans below the roots are collapsed.
        span_ids: The spans of which the opposite is true.
    """

    everything: bool = False
    span_ids: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Folding":
        """Return the folding that ``text`` names: ``all.00f067aa0ba902b7``."""
        words = [word for word in text.split(SEPARATOR) if word]
        span_ids = dict.fromkeys(word for word in words if word != ALL)
        return cls(ALL in words, tuple(span_ids)[-MAX_SPANS:])

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        return SEPARATOR.join([*([ALL] if self.everything else []), *self.span_ids])

    def toggled(self, span_id: str) -> "Folding":
        """Return this folding with the opposite for one span; an empty id changes nothing."""
        others = tuple(other for other in self.span_ids if other != span_id)
        if not span_id or others != self.span_ids:
            return Folding(self.everything, others)
        return Folding(self.everything, (*self.span_ids, span_id)[-MAX_SPANS:])

    def is_collapsed(self, row: TreeRow) -> bool:
        """Return True if the rows below ``row`` are not drawn."""
        if not isinstance(row.node, Span):
            return False
        is_default = self.everything and row.depth > 0
        return is_default != (row.node.span_id in self.span_ids)


def rows_below(rows: Sequence[TreeRow]) -> list[Below]:
    """Return what is below each of ``rows``, which are all rows, parents before their children."""
    below = [Below() for _ in rows]
    # The positions of the rows after the current one whose parent is not reached yet.
    waiting: list[int] = []
    for position in reversed(range(len(rows))):
        count = 0
        failed = 0
        while waiting and rows[waiting[-1]].depth > rows[position].depth:
            child = waiting.pop()
            count += 1 + below[child].rows
            failed += has_failed(rows[child]) + below[child].failed
        below[position] = Below(count, failed)
        waiting.append(position)
    return below


def visible_positions(
    rows: Sequence[TreeRow], below: Sequence[Below], folding: Folding
) -> Iterator[int]:
    """Yield the positions of the rows that are not below a collapsed one, in ascending order."""
    position = 0
    while position < len(rows):
        yield position
        position += 1
        if folding.is_collapsed(rows[position - 1]):
            position += below[position - 1].rows
