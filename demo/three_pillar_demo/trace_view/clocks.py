"""Finds services whose clocks disagree.

A request cannot begin before the call that caused it, nor after that call was answered. That a
request ends after its call proves nothing: a server ends its span when it has sent the response,
which the caller may have read by then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from three_pillar_demo.query.interface import NANO, Span
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.timing import seconds_text
from three_pillar_demo.trace_view.view import TraceView

MIN_SKEW_NS = NANO // 200
"""The difference of two clocks that is reported, in nanoseconds.

It is above the resolution of the clocks of browsers and the usual difference within a data centre.
"""
MAX_SENTENCES = 5
"""The number of pairs of services that are reported, those that differ most first."""
REQUEST_KIND = {"CLIENT": "SERVER", "PRODUCER": "CONSUMER"}
"""The kind of the span that a call or a message causes, by the kind of the caller's span."""


@dataclass(frozen=True)
class _Skew:
    """How far, in nanoseconds, the clock of ``request`` is behind that of ``call``, or ahead."""

    nanoseconds: int
    call: Span
    request: Span
    is_behind: bool


def clock_skews(view: TraceView) -> list[str]:
    """Return a sentence for each pair of services whose clocks seem to disagree."""
    largest: dict[tuple[str, str], _Skew] = {}
    for skew in _skews(view):
        services = (skew.call.service, skew.request.service)
        known = largest.get(services)
        if known is None or skew.nanoseconds > known.nanoseconds:
            largest[services] = skew
    skews = sorted(largest.values(), key=lambda skew: -skew.nanoseconds)
    return [_sentence(skew) for skew in skews[:MAX_SENTENCES]]


def _skews(view: TraceView) -> Iterator[_Skew]:
    for call in view.spans:
        for child in view.children_by_parent.get(call.span_id, []):
            if REQUEST_KIND.get(call.kind) == child.kind:
                yield from _skew(call, child)


def _skew(call: Span, request: Span) -> Iterator[_Skew]:
    """Yield the skew between the clocks of two spans, if they show one."""
    if call.end < call.start or request.end < request.start:
        return
    behind = call.start - request.start
    if behind >= MIN_SKEW_NS:
        yield _Skew(behind, call, request, is_behind=True)
        return
    ahead = request.start - call.end
    if was_answered(call) and ahead >= MIN_SKEW_NS:
        yield _Skew(ahead, call, request, is_behind=False)


def was_answered(call: Span) -> bool:
    """Return True if ``call`` ended with an answer, so that its request had begun before."""
    return call.kind == "CLIENT" and (not call.error or bool(status_of(call)))


def _sentence(skew: _Skew) -> str:
    caller = service_text(skew.call.service)
    callee = service_text(skew.request.service)
    name = span_text(skew.request.name)
    difference = seconds_text(skew.nanoseconds / NANO)
    of_caller = f"{caller}'s" if caller != callee else "another instance's"
    if skew.is_behind:
        return (
            f"the clock of {callee} is {difference} or more behind {of_caller}: {name} begins "
            "that long before the call that caused it"
        )
    return (
        f"the clock of {callee} is {difference} or more ahead of {of_caller}: {name} begins that "
        "long after the call that caused it was answered"
    )
