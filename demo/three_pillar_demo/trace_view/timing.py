"""Where the time of a trace went: a span's own time, calls without an answer, late children."""

from collections.abc import Iterator, Sequence

from three_pillar_demo.query.interface import NANO, Span
from three_pillar_demo.trace_view.view import STATUS_CODE, TraceView


def own_time(span: Span, children: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a span's time in which none of its children runs.

    Each part is a start and an end in nanoseconds since the epoch. A span without children is
    one part, even if it took no time.
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
    """Return the CLIENT spans that got no HTTP answer, by span id: their callers gave up."""
    return {
        span.span_id: span
        for span in view.spans
        if span.kind == "CLIENT" and STATUS_CODE not in span.attributes
    }


def outside_parent(span: Span, parent: Span | None) -> list[str]:
    """Describe how ``span`` lies outside the CLIENT span that called it.

    The list is empty when the span lies inside, or when its parent is no CLIENT span: work may
    well go on after an INTERNAL or SERVER span has ended.
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
