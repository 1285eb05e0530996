"""Writes the sentence that explains why a request got its answer."""

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.query.otlp_json import class_name
from three_pillar_demo.terminal import printable, without_ansi
from three_pillar_demo.trace_view.answers import answer_clause, is_unwanted, recorded_answer
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.clock_adjustment import adjusted
from three_pillar_demo.trace_view.log_body import log_body
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.repeated_calls import callee, repeated_calls_clause
from three_pillar_demo.trace_view.timing import late_answers, own_time, seconds_text
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView, is_canonical

CALL_KINDS = ("CLIENT", "PRODUCER")
"""The kinds of the spans of a caller: of a call that waits for its answer, and of a message."""
UNRECORDED = "of something it did not record"
"""The clause about a failure of which nothing but the status is known."""
SLOW_REQUEST_S = 0.6
"""The duration, in seconds, from which a request counts as slow.

For a slow request, the sentence may name the slowest span. An ordinary purchase takes less.
"""


def explain(view: TraceView) -> str:
    """Return one sentence about what the service of the root span answered and why.

    The reason is the first of these that the trace has:

    1. The deepest failed span. A span has failed if its status is ERROR, or if it has an ERROR or
       FATAL log record other than the canonical one. An INTERNAL span that records no reason is
       passed over where another span failed: some instrumentations mark the sending of an error
       response as failed.
    2. The answer of the last called service that has a SERVER span.
    3. The last call or sent message, as its CLIENT or PRODUCER span records it.
    4. That the service called no other service.

    With the first two it says how often a span repeated the call that led there.
    """
    spans_with_depth = _spans_with_depth(view)
    if not spans_with_depth:
        return "The reason is unknown: the trace has no spans."
    spans = [span for span, _ in spans_with_depth]
    root = spans[0]
    cause = _cause(spans_with_depth, view)
    if cause:
        return _explain_failure(cause, root, view)
    other_servers = [span for span in spans if span.kind == "SERVER" and span is not root]
    if other_servers:
        return _explain_answer(other_servers[-1], root, view)
    calls = [span for span in spans if span.kind in CALL_KINDS and span is not root]
    if calls:
        return _explain_calls(calls, root, view)
    return _explain_root_alone(root, view)


def failure_cause(view: TraceView) -> Span | None:
    """Return the failed span that ``explain`` gives as the reason; None if no span has failed."""
    return _cause(_spans_with_depth(view), view)


def _spans_with_depth(view: TraceView) -> list[tuple[Span, int]]:
    return [(row.node, row.depth) for row in tree_rows(view) if isinstance(row.node, Span)]


def _cause(spans_with_depth: list[tuple[Span, int]], view: TraceView) -> Span | None:
    failed = [pair for pair in spans_with_depth if pair[0].error or _error_logs(pair[0], view)]
    return _deepest(failed, view) if failed else None


def failure_reason(view: TraceView, request: Span) -> str:
    """Return a clause that says why ``request``, a span of the trace, failed; "" if unknown.

    The reason is the deepest failed span among ``request`` and the spans below it.
    """
    below: list[tuple[Span, int]] = []
    for row in tree_rows(view):
        if below and row.depth <= below[0][1]:
            break
        if isinstance(row.node, Span) and (below or row.node.span_id == request.span_id):
            below.append((row.node, row.depth))
    cause = _cause(below, view)
    if cause is None:
        return ""
    clause = _failure_clause(cause, below[0][0], view)
    return "" if clause == UNRECORDED else clause


def _deepest(failed: list[tuple[Span, int]], view: TraceView) -> Span:
    """Return the deepest of some failed spans, each with its depth; see ``explain``."""
    with_reason = [
        (span, depth)
        for span, depth in failed
        if span.kind != "INTERNAL" or failures(span) or _error_logs(span, view)
    ]
    deepest, _ = max(with_reason or failed, key=lambda pair: pair[1])
    return deepest


def failures(span: Span) -> list[str]:
    """Return the failures that ``span`` records: its exceptions, then its status message.

    An exception is written as ``Type: message``. Equal texts are returned once, and so is a status
    message that an exception ends with.
    """
    texts = list(span.exceptions)
    # Instrumentations repeat the text of the exception as the description of the status.
    if not any(text.endswith(span.message) for text in texts):
        texts.append(span.message)
    unique = dict.fromkeys(printable(without_ansi(text)) for text in texts if text)
    return list(unique)


def _explain_failure(cause: Span, root: Span, view: TraceView) -> str:
    conjunction = "because" if is_unwanted(root, view) else "although"
    reason = _failure_clause(cause, root, view)
    details = f"{repeated_calls_clause(cause, view)}{_late_answer_clause(view)}"
    return f"{answer_clause(root, view)} {conjunction} {reason}{details}."


def _explain_answer(server: Span, root: Span, view: TraceView) -> str:
    # Another service's success is the reason for an unwanted answer only if its outcome says so.
    _, outcome = recorded_answer(server, view)
    is_reason = is_unwanted(root, view) and (outcome or is_unwanted(server, view))
    conjunction = " because" if is_reason else ";"
    answer = answer_clause(server, view)
    details = f"{repeated_calls_clause(server, view)}{_slowest_part_clause(root, view)}"
    return f"{answer_clause(root, view)}{conjunction} {answer}{details}."


def _explain_calls(calls: list[Span], root: Span, view: TraceView) -> str:
    call = calls[-1]
    called = callee(call, view)
    noun = _call_noun(call)
    subject = f"{_possessive(call, root)} {noun} to {called}"
    if len(calls) > 1:
        subject = f"{_possessive(call, root)} last {noun}, to {called},"
    status = status_of(call)
    ending = f"was answered {printable(status)}" if status else "succeeded"
    if call.kind == "PRODUCER":
        ending = "was sent"
    clause = f"{subject} {ending}{_slowest_part_clause(root, view)}"
    return f"{answer_clause(root, view)}; {clause}."


def _explain_root_alone(root: Span, view: TraceView) -> str:
    sentence = answer_clause(root, view)
    if root.kind not in CALL_KINDS:
        sentence += ", without calling anybody else"
    for record in view.logs:
        if "reason" in record.fields:
            return f'{sentence}: "{printable(without_ansi(record.fields["reason"]))}".'
    return f"{sentence}."


def _failure_clause(span: Span, root: Span, view: TraceView) -> str:
    """Return a clause like ``payment logged "the gateway did not answer"``."""
    if span.kind == "CLIENT" or (span.kind == "PRODUCER" and span is not root):
        return _failed_call_clause(span, root, view)
    subject = "it" if span is root else service_text(span.service)
    error_logs = _error_logs(span, view)
    recorded = failures(span)
    logged_exceptions = [text for record in error_logs if (text := _logged_exception(record))]
    if logged_exceptions:
        # A log record may have the type alone, and the span the message as well.
        with_message = [text for text in recorded if text.startswith(f"{logged_exceptions[0]}: ")]
        return (
            f"{subject} raised {[*with_message, printable(without_ansi(logged_exceptions[0]))][0]}"
        )
    texts = [body.line for record in error_logs if not (body := log_body(record)).is_empty]
    if texts:
        return f'{subject} logged "{printable(texts[0])}"'
    if recorded:
        verb = "raised" if span.exceptions else "said"
        return f"{subject} {verb} {recorded[0]}"
    if span is root:
        return UNRECORDED
    return answer_clause(span, view)


def _failed_call_clause(call: Span, root: Span, view: TraceView) -> str:
    clause = f"{_possessive(call, root)} {_call_noun(call)} to {callee(call, view)} failed"
    recorded = failures(call)
    if recorded:
        return f"{clause}: {recorded[0]}"
    status = status_of(call)
    return f"{clause} with {printable(status)}" if status else clause


def _call_noun(call: Span) -> str:
    return "message" if call.kind == "PRODUCER" else "call"


def _possessive(call: Span, root: Span) -> str:
    """Return whose call it is: ``its`` if the service of ``root`` made it."""
    return "its" if call.service == root.service else f"{service_text(call.service)}'s"


def _late_answer_clause(view: TraceView) -> str:
    """Return a clause about a service that answered after its caller gave up, by one clock.

    Return "" if no service did.
    """
    view = adjusted(view).view
    calls = late_answers(view)
    for span in view.spans:
        call = calls.get(span.span_id)
        if call and call.span_id == span.parent_id:
            lateness = seconds_text((span.end - call.end) / NANO)
            answer = answer_clause(span, view)
            return f"; {answer} {lateness} after {service_text(call.service)} had given up"
    return ""


def _slowest_part_clause(root: Span, view: TraceView) -> str:
    """Return a clause that names the span which made a request slow, or "".

    The own time of a span is the time during which none of its children ran, by one clock. The
    span is named if the request took at least ``SLOW_REQUEST_S`` and the span's own time is at
    least half of that.
    """
    view = adjusted(view).view
    root_duration = root.end - root.start
    slowest = max(view.spans, key=lambda span: _own_duration(span, view))
    own_duration = _own_duration(slowest, view)
    if root_duration < SLOW_REQUEST_S * NANO or own_duration < root_duration / 2:
        return ""
    return (
        f"; {own_duration / NANO:.1f} of {root_duration / NANO:.1f} s were "
        f"{service_text(slowest.service)}'s own, in {span_text(slowest.name)}"
    )


def _own_duration(span: Span, view: TraceView) -> int:
    """Return the nanoseconds of ``span`` during which none of its children ran."""
    children = view.children_by_parent.get(span.span_id, [])
    return sum(end - start for start, end in own_time(span, children))


def _error_logs(span: Span, view: TraceView) -> list[LogRecord]:
    """Return the log records of ``span`` whose severity is that of an error.

    The canonical log record is left out, because it only repeats the status.
    """
    return [
        record
        for record in view.logs_by_span.get(span.span_id, [])
        if record.failed and not is_canonical(record)
    ]


def _logged_exception(record: LogRecord) -> str:
    """Return the exception that a log record reports, as ``Type: message``; "" if there is none.

    The body of such a record often says only that an exception was caught.
    """
    exception_type = class_name(record.fields.get("exception_type", ""))
    parts = (exception_type, record.fields.get("exception_message", ""))
    return ": ".join(part for part in parts if part)
