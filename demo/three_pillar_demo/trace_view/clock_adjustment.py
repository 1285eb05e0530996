"""Moves what services with a wrong clock have sent to the time at which it probably happened.

The clock of a called service is compared with that of its caller: a request lies within the call
that caused it. Each such pair of spans limits the difference of the two clocks from below, and,
if the call was answered, from above, much as in the Network Time Protocol. Times are in
nanoseconds.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from three_pillar_demo.query.interface import LogRecord, Span
from three_pillar_demo.trace_view.clocks import MIN_SKEW_NS, REQUEST_KIND, was_answered
from three_pillar_demo.trace_view.view import TraceView

UNLIMITED = 2**63


class Clock(NamedTuple):
    """What tells the clock of a record apart: the service, and its instance or host if known."""

    service: str
    instance: str


class _Limits(NamedTuple):
    """What a call and its request say of the time to be added to the clock of the request.

    Attributes:
        least: The request does not begin before the call.
        most: The request begins before the call is answered.
        probably_most: The request also ends before the call, if it took no longer.
    """

    least: int
    most: int
    probably_most: int


@dataclass(frozen=True)
class Adjusted:
    """A trace with adjusted times.

    Attributes:
        view: The trace; what was moved is a copy.
        shifts: By how much each moved span and log record was moved, by its Python id.
        by_service: By how much a service was moved, in the order of the names. Of several
            instances, it is the one that was moved most.
        offsets: By how much each clock was moved.
    """

    view: TraceView
    shifts: Mapping[int, int] = field(default_factory=dict)
    by_service: Mapping[str, int] = field(default_factory=dict)
    offsets: Mapping[Clock, int] = field(default_factory=dict)

    def moved(self, span: Span) -> Span:
        """Return ``span``, which is one of the trace as it was sent, with its adjusted times."""
        offset = self.offset(span)
        return _moved_span(span, offset) if offset else span

    def offset(self, span: Span) -> int:
        """Return what has been added to the times of ``span``."""
        return self.offsets.get(_clock(span), 0)


def adjusted(view: TraceView) -> Adjusted:
    """Return ``view`` with the times of services moved whose clocks disagree with their callers'.

    The clock of the first root counts as right.
    """
    offsets = _offsets(view)
    if not any(offsets.values()):
        return Adjusted(view)
    shifts: dict[int, int] = {}
    by_service: dict[str, int] = {}
    moved_spans: list[Span] = []
    offset_by_span = {span.span_id: offsets[_clock(span)] for span in view.spans}
    for span in view.spans:
        offset = offsets[_clock(span)]
        moved = _moved_span(span, offset) if offset else span
        moved_spans.append(moved)
        if offset:
            shifts[id(moved)] = offset
            by_service[span.service] = max(by_service.get(span.service, 0), offset, key=abs)
    moved_logs: list[LogRecord] = []
    for record in view.logs:
        offset = _offset_of_record(record, offsets, offset_by_span)
        moved_record = replace(record, time=record.time + offset) if offset else record
        moved_logs.append(moved_record)
        if offset:
            shifts[id(moved_record)] = offset
    moved_view = replace(
        view,
        spans=sorted(moved_spans, key=lambda span: span.start),
        logs=sorted(moved_logs, key=lambda record: record.time),
    )
    return Adjusted(moved_view, shifts, dict(sorted(by_service.items())), offsets)


def _clock(record: Span | LogRecord) -> Clock:
    resource = record.resource
    instance = resource.get("service.instance.id") or resource.get("host.name") or ""
    return Clock(record.service, str(instance))


def _offsets(view: TraceView) -> dict[Clock, int]:
    """Return what must be added to the times of each clock."""
    neighbours = defaultdict[Clock, dict[Clock, int]](dict)
    for (caller, callee), difference in _differences(view).items():
        neighbours[caller].setdefault(callee, difference)
        neighbours[callee].setdefault(caller, -difference)
    offsets: dict[Clock, int] = {}
    for span in _roots_first(view):
        if _clock(span) not in offsets:
            offsets[_clock(span)] = 0
            waiting = deque([_clock(span)])
            while waiting:
                clock = waiting.popleft()
                for neighbour, difference in neighbours[clock].items():
                    if neighbour not in offsets:
                        offsets[neighbour] = offsets[clock] + difference
                        waiting.append(neighbour)
    return offsets


def _roots_first(view: TraceView) -> Iterable[Span]:
    span_ids = {span.span_id for span in view.spans}
    return sorted(view.spans, key=lambda span: span.parent_id in span_ids)


def _differences(view: TraceView) -> dict[tuple[Clock, Clock], int]:
    """Return what must be added to the second clock of each pair of caller and called service."""
    limits = defaultdict[tuple[Clock, Clock], list[_Limits]](list)
    for call in view.spans:
        for request in view.children_by_parent.get(call.span_id, []):
            clocks = (_clock(call), _clock(request))
            is_pair = REQUEST_KIND.get(call.kind) == request.kind and clocks[0] != clocks[1]
            if is_pair and call.end >= call.start and request.end >= request.start:
                limits[clocks].append(_limits(call, request))
    return {clocks: _difference(pairs) for clocks, pairs in limits.items()}


def _limits(call: Span, request: Span) -> _Limits:
    least = call.start - request.start
    if not was_answered(call):
        return _Limits(least, UNLIMITED, UNLIMITED)
    most = call.end - request.start
    is_shorter = request.end - request.start <= call.end - call.start
    return _Limits(least, most, call.end - request.end if is_shorter else UNLIMITED)


def _difference(limits: Sequence[_Limits]) -> int:
    """Return the difference that is within all ``limits``, in the middle of the probable ones.

    It is 0 if that is possible, as precisely as clocks are. If the limits contradict each other,
    because a clock was set, the lower ones count: no request begins before its call.
    """
    least = max(pair.least for pair in limits)
    if least < MIN_SKEW_NS and min(pair.most for pair in limits) > -MIN_SKEW_NS:
        return 0
    most = min(pair.probably_most for pair in limits)
    if most == UNLIMITED or least > most:
        return least
    return (least + most) // 2


def _moved_span(span: Span, offset: int) -> Span:
    return replace(
        span,
        start=span.start + offset,
        end=span.end + offset,
        events=tuple(replace(event, time=event.time + offset) for event in span.events),
    )


def _offset_of_record(
    record: LogRecord, offsets: Mapping[Clock, int], offset_by_span: Mapping[str, int]
) -> int:
    """Return the offset of a log record: that of its clock, or else of its span."""
    known = offsets.get(_clock(record))
    return offset_by_span.get(record.fields.get("span_id", ""), 0) if known is None else known
