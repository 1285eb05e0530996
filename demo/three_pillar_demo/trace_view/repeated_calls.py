"""Counts the calls that a span repeats, as a retry or a loop does, for the sentence of a trace."""

from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.calls import called_address, callee_name
from three_pillar_demo.trace_view.names import service_text, span_text
from three_pillar_demo.trace_view.view import TraceView

CALLED_KINDS = ("SERVER", "CONSUMER")


def callee(call: Span, view: TraceView) -> str:
    """Return the name of the called service, or what ``call`` names if that has no span."""
    served = _called_span(call, view)
    return service_text(served.service) if served else callee_name(call)


def repeated_calls_clause(span: Span, view: TraceView) -> str:
    """Return a clause with the number of calls like the one that led to ``span``.

    The call is the nearest CLIENT span, ``span`` itself or above it, that its parent repeats.
    Return "" if there is none.
    """
    by_id = {known.span_id: known for known in view.spans}
    seen = set[str]()
    current: Span | None = span
    while current is not None and current.span_id not in seen:
        seen.add(current.span_id)
        count = _count(current, view) if current.kind == "CLIENT" else 1
        parent = by_id.get(current.parent_id)
        if count > 1:
            place = f" in {span_text(parent.name)}" if parent else ""
            caller = service_text(current.service)
            return f"; {caller} made {count:,} calls to {callee(current, view)}{place}"
        current = parent
    return ""


def _count(call: Span, view: TraceView) -> int:
    """Return the number of calls by the parent of ``call`` to the same service or address."""
    if not call.parent_id:
        return 1
    siblings = view.children_by_parent.get(call.parent_id, [])
    return len({sibling.span_id for sibling in siblings if _is_like(sibling, call, view)})


def _is_like(sibling: Span, call: Span, view: TraceView) -> bool:
    if sibling.kind != call.kind or sibling.service != call.service:
        return False
    if callee(sibling, view) == callee(call, view):
        return True
    # A call that did not arrive has no span of the called service, so its address tells.
    address = called_address(sibling)
    is_unanswered = None in (_called_span(sibling, view), _called_span(call, view))
    return is_unanswered and address != "" and address == called_address(call)


def _called_span(call: Span, view: TraceView) -> Span | None:
    children = view.children_by_parent.get(call.span_id, [])
    return next((child for child in children if child.kind in CALLED_KINDS), None)
