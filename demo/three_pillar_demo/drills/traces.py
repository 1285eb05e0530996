"""What can be read in the traces of a service's requests."""

import statistics
from collections.abc import Callable, Sequence

from three_pillar_demo.query.interface import NANO, Span

Trace = Sequence[Span]
OUTSIDE = 1.0
"""Seconds that a child may lie outside of its parent before somebody's clock is wrong."""


def calls(spans: Trace) -> float | None:
    """How often somebody else was called."""
    return float(sum(span.kind == "CLIENT" for span in spans))


def gap(spans: Trace) -> float | None:
    """Seconds between the start of the order and its first call."""
    orders = [span.start for span in spans if span.kind == "INTERNAL"]
    sent = [span.start for span in spans if span.kind == "CLIENT"]
    return (min(sent) - min(orders)) / NANO if orders and sent else None


def lead(spans: Trace) -> float | None:
    """Seconds of the first span before anything else began."""
    roots = [span for span in spans if not span.parent_id]
    rest = [span.start for span in spans if span.parent_id]
    return (min(rest) - roots[0].start) / NANO if roots and rest else None


def alone(spans: Trace) -> float | None:
    """Whether somebody was called, had an answer, and is not in the trace."""
    called = {span.parent_id for span in spans}
    sent = [
        span
        for span in spans
        if span.kind == "CLIENT" and "http.response.status_code" in span.attributes
    ]
    return float(any(span.span_id not in called for span in sent)) if sent else None


def outside(spans: Trace) -> float | None:
    """Whether a span begins before its parent, or after its parent's end, by more than a clock may be wrong."""
    known = {span.span_id: span for span in spans}
    far = OUTSIDE * NANO
    pairs = [(span, known[span.parent_id]) for span in spans if span.parent_id in known]
    wrong = [
        span.start < parent.start - far or span.start > parent.end + far for span, parent in pairs
    ]
    return float(any(wrong)) if wrong else None


READ: dict[str, Callable[[Trace], float | None]] = {
    "calls": calls,
    "gap": gap,
    "lead": lead,
    "alone": alone,
    "outside": outside,
}
"""Of many traces: the median of the first three, the share of the last two."""


def typical(found: Sequence[Trace], read: str) -> float | None:
    """What ``read`` says of most of them."""
    values = [value for each in found if (value := READ[read](each)) is not None]
    if not values:
        return None
    return statistics.fmean(values) if read in {"alone", "outside"} else statistics.median(values)


def share(
    found: Sequence[Trace], span: tuple[str, str], attribute: str, value: str
) -> float | None:
    """The share of them that have such a span with that ``value`` of the ``attribute``; of those that have the span at all."""
    spans = [[each for each in trace if (each.service, each.kind) == span] for trace in found]
    known = [
        any(str(each.attributes.get(attribute)) == value for each in those)
        for those in spans
        if those
    ]
    return statistics.fmean(known) if known else None
