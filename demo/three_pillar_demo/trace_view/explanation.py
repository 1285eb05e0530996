"""Writes the sentence that explains why a request got its answer."""

from three_pillar_demo.query.interface import NANO, LogRecord, Span
from three_pillar_demo.query.severity import is_failure
from three_pillar_demo.terminal import printable
from three_pillar_demo.trace_view.completeness import callee_name
from three_pillar_demo.trace_view.timing import own_time, unanswered_calls
from three_pillar_demo.trace_view.tree import tree_rows
from three_pillar_demo.trace_view.view import TraceView, is_canonical, status_of

MIN_ERROR_STATUS = 400
"""The lowest HTTP status that counts as an error: 400 to 499 are also errors to the customer."""
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
    3. The answer to the last call, as its CLIENT span records it.
    4. That the service called no other service.
    """
    spans_with_depth = [
        (row.node, row.depth) for row in tree_rows(view) if isinstance(row.node, Span)
    ]
    if not spans_with_depth:
        return "The reason is unknown: the trace has no spans."
    spans = [span for span, _ in spans_with_depth]
    root = spans[0]
    failed = [
        (span, depth) for span, depth in spans_with_depth if span.error or _error_logs(span, view)
    ]
    if failed:
        return _explain_failure(_deepest(failed, view), root, view)
    other_servers = [span for span in spans if span.kind == "SERVER" and span is not root]
    if other_servers:
        return _explain_answer(other_servers[-1], root, view)
    calls = [span for span in spans if span.kind == "CLIENT"]
    if calls:
        return _explain_call(calls[-1], root, view)
    return _explain_root_alone(root, view)


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
    failed = [pair for pair in below if pair[0].error or _error_logs(pair[0], view)]
    if not failed:
        return ""
    clause = _failure_clause(_deepest(failed, view), below[0][0], view)
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

    An exception is written as ``Type: message``, and the type without its module:
    ``httpx2.ReadTimeout`` becomes ``ReadTimeout``. Equal texts are returned once, and so is a
    status message that an exception ends with.
    """
    texts = []
    for exception in span.exceptions:
        exception_type, colon, message = exception.partition(":")
        texts.append(f"{exception_type.rpartition('.')[2]}{colon}{message}")
    # Instrumentations repeat the text of the exception as the description of the status.
    if not any(text.endswith(span.message) for text in texts):
        texts.append(span.message)
    unique = dict.fromkeys(printable(text) for text in texts if text)
    return list(unique)


def _explain_failure(cause: Span, root: Span, view: TraceView) -> str:
    conjunction = "because" if _is_unwanted(root, view) else "although"
    reason = _failure_clause(cause, root, view)
    return f"{_answer_clause(root, view)} {conjunction} {reason}{_late_answer_clause(view)}."


def _explain_answer(server: Span, root: Span, view: TraceView) -> str:
    conjunction = " because" if _is_unwanted(root, view) else ";"
    answer = _answer_clause(server, view)
    return f"{_answer_clause(root, view)}{conjunction} {answer}{_slowest_part_clause(root, view)}."


def _explain_call(call: Span, root: Span, view: TraceView) -> str:
    status = printable(status_of(call) or "nothing")
    return (
        f"{_answer_clause(root, view)}; its call to {_callee(call, view)} was answered {status}, "
        "and who answered it is not on record."
    )


def _explain_root_alone(root: Span, view: TraceView) -> str:
    sentence = f"{_answer_clause(root, view)}, without calling anybody else"
    for record in view.logs:
        if "reason" in record.fields:
            return f'{sentence}: "{printable(record.fields["reason"])}".'
    return f"{sentence}."


def _failure_clause(span: Span, root: Span, view: TraceView) -> str:
    """Return a clause like ``payment logged "the gateway did not answer"``."""
    if span.kind == "CLIENT":
        return _failed_call_clause(span, root, view)
    subject = "it" if span is root else printable(span.service)
    error_logs = _error_logs(span, view)
    logged_exceptions = [text for record in error_logs if (text := _logged_exception(record))]
    if logged_exceptions:
        return f"{subject} raised {printable(logged_exceptions[0])}"
    if error_logs:
        return f'{subject} logged "{printable(error_logs[0].body)}"'
    recorded = failures(span)
    if recorded:
        verb = "raised" if span.exceptions else "said"
        return f"{subject} {verb} {recorded[0]}"
    if span is root:
        return UNRECORDED
    return _answer_clause(span, view)


def _failed_call_clause(call: Span, root: Span, view: TraceView) -> str:
    caller = "its" if call.service == root.service else f"{printable(call.service)}'s"
    clause = f"{caller} call to {_callee(call, view)} failed"
    recorded = failures(call)
    if recorded:
        return f"{clause}: {recorded[0]}"
    status = status_of(call)
    return f"{clause} with {printable(status)}" if status else clause


def _late_answer_clause(view: TraceView) -> str:
    """Return a clause about a service that answered after its caller gave up.

    Return "" if no service did.
    """
    calls = unanswered_calls(view)
    for span in view.spans:
        call = calls.get(span.parent_id)
        if call and span.end > call.end:
            seconds = (span.end - call.end) / NANO
            answer = _answer_clause(span, view)
            return f"; {answer} {seconds:.1f} s after {printable(call.service)} had given up"
    return ""


def _slowest_part_clause(root: Span, view: TraceView) -> str:
    """Return a clause that names the span which made a request slow, or "".

    The own time of a span is the time during which none of its children ran. The span is named if
    the request took at least ``SLOW_REQUEST_S`` and the span's own time is at least half of that.
    """
    root_duration = root.end - root.start
    slowest = max(view.spans, key=lambda span: _own_duration(span, view))
    own_duration = _own_duration(slowest, view)
    if root_duration < SLOW_REQUEST_S * NANO or own_duration < root_duration / 2:
        return ""
    return (
        f"; {own_duration / NANO:.1f} of {root_duration / NANO:.1f} s were "
        f"{printable(slowest.service)}'s own, in {printable(slowest.name)}"
    )


def _own_duration(span: Span, view: TraceView) -> int:
    """Return the nanoseconds of ``span`` during which none of its children ran."""
    children = view.children_by_parent.get(span.span_id, [])
    return sum(end - start for start, end in own_time(span, children))


def _answer_clause(span: Span, view: TraceView) -> str:
    """Return a clause like ``checkout answered 500 gateway_timeout``.

    A span that answers nobody, such as that of a job or a consumed message, gives a clause like
    ``billing failed in send invoices``.
    """
    status, outcome = _recorded_answer(span, view)
    answer = printable(f"{status} {outcome}".strip())
    if not answer and span.kind != "SERVER":
        verb = "failed in" if span.error else "completed"
        return f"{printable(span.service)} {verb} {printable(span.name)}"
    return f"{printable(span.service)} answered {answer or 'nothing on record'}"


def _is_unwanted(root: Span, view: TraceView) -> bool:
    """Return True if ``root`` has error status, or an HTTP status of 400 or above."""
    status, _ = _recorded_answer(root, view)
    return root.error or (status.isdecimal() and int(status) >= MIN_ERROR_STATUS)


def _recorded_answer(span: Span, view: TraceView) -> tuple[str, str]:
    """Return the HTTP status and the outcome of ``span``, each "" when it is unknown.

    The outcome comes from the canonical log record of the span. The status comes from the span, or
    from the canonical log record when the span has no status.
    """
    fields: dict[str, str] = {}
    for record in view.logs_by_span.get(span.span_id, []):
        if is_canonical(record):
            fields = record.fields
            break
    status = status_of(span) or fields.get("http_response_status_code", "")
    return status, fields.get("outcome", "")


def _error_logs(span: Span, view: TraceView) -> list[LogRecord]:
    """Return the log records of ``span`` whose severity is that of an error.

    The canonical log record is left out, because it only repeats the status.
    """
    return [
        record
        for record in view.logs_by_span.get(span.span_id, [])
        if is_failure(record.severity) and not is_canonical(record)
    ]


def _logged_exception(record: LogRecord) -> str:
    """Return the exception that a log record reports, as ``Type: message``; "" if there is none.

    The body of such a record often says only that an exception was caught.
    """
    exception_type = record.fields.get("exception_type", "").rpartition(".")[2]
    parts = (exception_type, record.fields.get("exception_message", ""))
    return ": ".join(part for part in parts if part)


def _callee(call: Span, view: TraceView) -> str:
    """Return the name of the called service, or the called URL when that service has no span."""
    server_spans = view.children_by_parent.get(call.span_id, [])
    if server_spans:
        return printable(server_spans[0].service)
    return callee_name(call)
