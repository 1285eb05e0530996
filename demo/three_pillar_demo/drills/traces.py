"""Figures that a drill reads from the traces of a service's requests."""

import statistics
from collections.abc import Callable, Sequence

from three_pillar_demo.query.interface import NANO, Span

Trace = Sequence[Span]
MAX_CLOCK_OFFSET_S = 1.0
"""A child span further than this outside its parent means that a clock is wrong."""


def calls(spans: Trace) -> float | None:
    """Return the number of outgoing calls (CLIENT spans)."""
    return float(sum(span.kind == "CLIENT" for span in spans))


def gap(spans: Trace) -> float | None:
    """Return the seconds between the start of the order and its first outgoing call."""
    order_starts = [span.start for span in spans if span.kind == "INTERNAL"]
    call_starts = [span.start for span in spans if span.kind == "CLIENT"]
    if not order_starts or not call_starts:
        return None
    return (min(call_starts) - min(order_starts)) / NANO


def lead(spans: Trace) -> float | None:
    """Return the seconds between the start of the root span and that of the next span."""
    roots = [span.start for span in spans if not span.parent_id]
    children = [span.start for span in spans if span.parent_id]
    if not roots or not children:
        return None
    return (min(children) - roots[0]) / NANO


def alone(spans: Trace) -> float | None:
    """Return 1 if an answered call has no span of the called service in the trace, else 0.

    None when the trace has no answered call.
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


def outside(spans: Trace) -> float | None:
    """Return 1 if a span starts well before its parent starts or well after it ends, else 0.

    The tolerance is ``MAX_CLOCK_OFFSET_S``. None when no span has its parent in the trace.
    """
    by_id = {span.span_id: span for span in spans}
    tolerance = MAX_CLOCK_OFFSET_S * NANO
    pairs = [(span, by_id[span.parent_id]) for span in spans if span.parent_id in by_id]
    if not pairs:
        return None
    for span, parent in pairs:
        if span.start < parent.start - tolerance or span.start > parent.end + tolerance:
            return 1.0
    return 0.0


FIGURES: dict[str, Callable[[Trace], float | None]] = {
    "calls": calls,
    "gap": gap,
    "lead": lead,
    "alone": alone,
    "outside": outside,
}
"""The figures that a requests condition can read from a trace, by name."""

YES_OR_NO = {"alone", "outside"}
"""The figures that are 1 or 0: several traces are summarised as the share of those with 1."""


def typical(sample: Sequence[Trace], figure: str) -> float | None:
    """Return the median of ``figure`` over the traces, or its mean if it is 1 or 0."""
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
    """Return the share of the traces in which such a span has ``value`` as its ``attribute``.

    Traces without such a span are left out; None when no trace has one.
    """
    matches = []
    for trace in sample:
        spans = [span for span in trace if (span.service, span.kind) == service_and_kind]
        if spans:
            matches.append(any(str(span.attributes.get(attribute)) == value for span in spans))
    return statistics.fmean(matches) if matches else None
