"""Computes the numbers that a drill condition reads from the traces of a service's requests."""

import statistics
from collections.abc import Callable, Sequence

from three_pillar_demo.query.interface import NANO, Span

Trace = Sequence[Span]
"""All spans of one trace."""
MAX_CLOCK_OFFSET_S = 1.0
"""How far, in seconds, a child span may start outside its parent span.

A child span that starts further outside shows that a clock is wrong.
"""


def outgoing_calls(spans: Trace) -> float | None:
    """Return the number of outgoing calls in a trace (its CLIENT spans)."""
    return float(sum(span.kind == "CLIENT" for span in spans))


def seconds_before_first_call(spans: Trace) -> float | None:
    """Return the seconds from the start of the order's span to that of the first outgoing call.

    The order's span is the first INTERNAL span, and an outgoing call is a CLIENT span. None when
    the trace has no INTERNAL span or no CLIENT span.
    """
    order_starts = [span.start for span in spans if span.kind == "INTERNAL"]
    call_starts = [span.start for span in spans if span.kind == "CLIENT"]
    if not order_starts or not call_starts:
        return None
    return (min(call_starts) - min(order_starts)) / NANO


def seconds_before_second_span(spans: Trace) -> float | None:
    """Return the seconds from the start of the root span to the start of the next span.

    None when the trace has no root span, or no other span.
    """
    root_starts = [span.start for span in spans if not span.parent_id]
    child_starts = [span.start for span in spans if span.parent_id]
    if not root_starts or not child_starts:
        return None
    return (min(child_starts) - root_starts[0]) / NANO


def has_call_without_child(spans: Trace) -> float | None:
    """Return 1 if an answered call has no span of the called service in the trace, else 0.

    An answered call is a CLIENT span with an HTTP status; the span of the called service would be
    a child of this span. None when the trace has no answered call.
    """
    parents = {span.parent_id for span in spans}
    answered = [
        span
        for span in spans
        if span.kind == "CLIENT" and "http.response.status_code" in span.attributes
    ]
    if not answered:
        return None
    return 1.0 if any(span.span_id not in parents for span in answered) else 0.0


def has_span_outside_parent(spans: Trace) -> float | None:
    """Return 1 if a span starts outside the time of its parent span, else 0.

    A span may start up to ``MAX_CLOCK_OFFSET_S`` before the start or after the end of the parent.
    None when no span has its parent in the trace.
    """
    by_id = {span.span_id: span for span in spans}
    tolerance_ns = MAX_CLOCK_OFFSET_S * NANO
    pairs = [(span, by_id[span.parent_id]) for span in spans if span.parent_id in by_id]
    if not pairs:
        return None
    for span, parent in pairs:
        if span.start < parent.start - tolerance_ns or span.start > parent.end + tolerance_ns:
            return 1.0
    return 0.0


FIGURES: dict[str, Callable[[Trace], float | None]] = {
    "calls": outgoing_calls,
    "gap": seconds_before_first_call,
    "lead": seconds_before_second_span,
    "alone": has_call_without_child,
    "outside": has_span_outside_parent,
}
"""The functions that a drill condition with ``ask = "requests"`` can name in ``read``."""

YES_OR_NO = {"alone", "outside"}
"""The names in ``FIGURES`` whose functions return 1 or 0.

For several traces, the mean of these numbers is used: the share of the traces with 1.
"""


def typical(sample: Sequence[Trace], figure: str) -> float | None:
    """Return the median of ``figure`` (a key of ``FIGURES``) over the traces of ``sample``.

    For a figure in ``YES_OR_NO``, return the mean instead. Traces for which the figure is None are
    left out. None when no trace is left.
    """
    values = []
    for trace in sample:
        value = FIGURES[figure](trace)
        if value is not None:
            values.append(value)
    if not values:
        return None
    return statistics.fmean(values) if figure in YES_OR_NO else statistics.median(values)


def share(
    sample: Sequence[Trace], service_and_kind: tuple[str, str], attribute: str, value: str
) -> float | None:
    """Return the share (0 to 1) of the traces in which a span has ``value`` as its ``attribute``.

    Only spans of the given service and kind count. Traces without a span of this service and kind
    are left out. None when no trace is left.
    """
    matches = []
    for trace in sample:
        spans = [span for span in trace if (span.service, span.kind) == service_and_kind]
        if spans:
            matches.append(any(str(span.attributes.get(attribute)) == value for span in spans))
    return statistics.fmean(matches) if matches else None
