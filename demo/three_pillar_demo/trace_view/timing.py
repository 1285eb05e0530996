"""Timing of spans: own time, answers that came too late, and spans outside their parent's time."""

from collections.abc import Iterator, Sequence

from three_pillar_demo.query.interface import NANO, Span
from three_pillar_demo.trace_view.calls import is_http_call, status_of, timed_out
from three_pillar_demo.trace_view.view import TraceView

MIN_LATE_NS = NANO // 1000
"""How long an answer came after the end of its call, in nanoseconds, so that it counts as late."""
MIN_LATE_WITHOUT_TIMEOUT_NS = NANO // 20
"""The same for a call that failed without naming a time-out.

A connection that breaks ends the call and the called span at almost the same time.
"""
MIN_OF_LONG_UNITS = 100
"""The number of seconds that are written as minutes, and of minutes that are written as hours."""


def own_time(span: Span, children: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield the parts of ``span`` during which none of its children runs.

    The times of all must be by one clock. A span that is its own child counts as without it.
    Each part is a start and an end, in nanoseconds since the epoch. A span without children is
    one part, even if its duration is 0.
    """
    position = span.start
    others = [child for child in children if child.span_id != span.span_id]
    child_times = sorted((child.start, child.end) for child in others)
    for start, end in child_times:
        if position < start:
            yield position, min(start, span.end)
        position = max(position, end)
        if position >= span.end:
            return
    if position < span.end or not others:
        yield position, span.end


def late_answers(view: TraceView) -> dict[str, Span]:
    """Return the calls that were given up before their answer, by the id of the answering span.

    A call was given up if its CLIENT span has error status, and either names a time-out or is a
    call by HTTP without the status of an answer. The SERVER span below it went on after it.
    """
    late = {}
    for call in view.spans:
        if call.kind != "CLIENT" or not call.error:
            continue
        for child in view.children_by_parent.get(call.span_id, []):
            if child.kind == "SERVER" and _went_on_after(call, child):
                late[child.span_id] = call
    return late


def _went_on_after(call: Span, child: Span) -> bool:
    lateness = child.end - call.end
    if timed_out(call):
        return lateness >= MIN_LATE_NS
    if status_of(call) or not is_http_call(call):
        return False
    return child.start <= call.end and lateness >= MIN_LATE_WITHOUT_TIMEOUT_NS


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
        descriptions.append(f"begins {seconds_text(seconds_after)} after its caller had ended")
    seconds_before = (parent.start - span.end) / NANO
    if seconds_before > 0:
        descriptions.append(f"ends {seconds_text(seconds_before)} before its caller began")
    return descriptions


def seconds_text(seconds: float) -> str:
    """Return a duration in a suitable unit: ``12 ms``, ``2.9 s``, ``60 min`` or ``23.5 h``.

    A tenth of a second and more is in seconds, from a hundred seconds on it is in minutes, and
    from a hundred minutes on in hours.
    """
    for unit, name in ((60 * 60, "h"), (60, "min")):
        if seconds >= MIN_OF_LONG_UNITS * unit / 60:
            return f"{seconds / unit:.{1 if name == 'h' else 0}f} {name}"
    if seconds < 0.1:  # noqa: PLR2004  (the resolution of the text in seconds)
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.1f} s"
