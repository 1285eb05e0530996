"""Timing of spans: own time, calls without an answer, and spans outside their parent's time."""

from collections.abc import Iterator, Sequence

from three_pillar_demo.query.interface import NANO, Span
from three_pillar_demo.trace_view.view import TraceView, status_of


def own_time(span: Span, children: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield the parts of ``span`` during which none of its children runs.

    Each part is a start and an end, in nanoseconds since the epoch. A span without children is
    one part, even if its duration is 0.
    """
    position = span.start
    child_times = sorted((child.start, child.end) for child in children if child is not span)
    for start, end in child_times:
        if position < start:
            yield position, min(start, span.end)
        position = max(position, end)
        if position >= span.end:
            return
    if position < span.end or not children:
        yield position, span.end


def unanswered_calls(view: TraceView) -> dict[str, Span]:
    """Return the failed CLIENT spans without the status of an answer, by span id.

    The callers of these calls received no answer. For example, they gave up waiting. Many calls
    that succeed have no status either, such as those of databases, so the error status is needed.
    """
    return {
        span.span_id: span
        for span in view.spans
        if span.kind == "CLIENT" and span.error and not status_of(span)
    }


def outside_parent(span: Span, parent: Span | None) -> list[str]:
    """Return a description if ``span`` ran entirely before or entirely after its parent.

    Otherwise the list is empty. Only a parent of kind CLIENT is compared, because the work of a
    child may go on after a parent of another kind has ended.
    """
    if parent is None or parent.kind != "CLIENT":
        return []
    descriptions = []
    seconds_after = (span.start - parent.end) / NANO
    if seconds_after > 0:
        descriptions.append(f"begins {seconds_after:.1f} s after its caller had ended")
    seconds_before = (parent.start - span.end) / NANO
    if seconds_before > 0:
        descriptions.append(f"ends {seconds_before:.1f} s before its caller began")
    return descriptions
