"""Check that the trace of each purchase is stored with the spans that its outcome requires."""

import asyncio

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends, Span, distinct_spans
from three_pillar_demo.verify.check import MAX_CONCURRENT_QUERIES, Check, poll_until
from three_pillar_demo.verify.ledger import Ledger, expect
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, ORDER, PAYMENT, Expected
from three_pillar_demo.verify.seen_spans import SeenSpans

SERVICE_AND_KIND = {
    CHECKOUT: ("checkout", "SERVER"),
    ORDER: ("checkout", "INTERNAL"),
    CLIENT: ("checkout", "CLIENT"),
    PAYMENT: ("payment", "SERVER"),
}
"""The service and the span kind of each role of a span, from parent to child."""


async def check_traces(backends: Backends, ledger: Ledger, seen: SeenSpans | None = None) -> Check:
    """Check that the trace of each purchase is stored as its outcome requires.

    The spans, their parents and their error statuses must be those in ``outcomes.EXPECTED``. The
    HTTP status in checkout's SERVER span must be the status that the customer received. Under tail
    sampling a trace that the rule drops must not be stored, and one of which only the Collector
    knows whether it was slow enough may be missing, but not incomplete.

    ``seen`` has the spans that earlier queries returned. One that is there no more is named.
    """
    seen = seen or SeenSpans()
    dropped_ids = {purchase.trace_id for purchase in ledger.dropped}
    expected = [purchase for purchase in ledger.purchases if purchase.trace_id not in dropped_ids]
    kept_ids = {purchase.trace_id for purchase in ledger.kept}
    problem_by_trace = {purchase.trace_id: "not queried yet" for purchase in expected}
    store = backends.names["traces"]
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def fetch_and_compare(purchase: Purchase) -> None:
        async with limit:
            spans = await backends.trace(purchase.trace_id)
        may_be_missing = purchase.trace_id not in kept_ids
        problem = "" if may_be_missing and not spans else trace_mismatch(purchase, spans, store)
        gone = seen.gone(purchase.trace_id, spans)
        seen.add(spans)
        if problem and gone:
            names = ", ".join(f"{span.service} {span.kind}" for span in gone)
            problem += f"; an earlier query of {store} returned {names} too"
        problem_by_trace[purchase.trace_id] = problem

    async def all_traces_match() -> bool:
        incomplete = [purchase for purchase in expected if problem_by_trace[purchase.trace_id]]
        await asyncio.gather(*(fetch_and_compare(purchase) for purchase in incomplete))
        return not any(problem_by_trace.values())

    await poll_until(all_traces_match)
    problems = [
        f"{trace_id}: {problem}" for trace_id, problem in problem_by_trace.items() if problem
    ]
    span_count = sum(len(expect(purchase).spans) for purchase in expected)
    trace_count = len(problem_by_trace)
    correct_count = trace_count - len(problems)
    figures = f"{correct_count} of {trace_count} whole in {store}, {span_count} spans"
    if ledger.sampling.rule:
        figures += f"; {len(dropped_ids)} sampled out"
        problems += await _stored_although_dropped(backends, dropped_ids)
    return Check("traces", not problems, figures, problems)


async def _stored_although_dropped(backends: Backends, trace_ids: set[str]) -> list[str]:
    """Return a problem for each of ``trace_ids`` that the trace store has."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def problem(trace_id: str) -> str:
        async with limit:
            spans = await backends.trace(trace_id)
        if not spans:
            return ""
        return (
            f"{trace_id}: stored, though the rule drops it: do the gateways have other values of"
            " TAIL_SAMPLING_*, or are there none?"
        )

    problems = await asyncio.gather(*(problem(trace_id) for trace_id in sorted(trace_ids)))
    return [text for text in problems if text]


def trace_mismatch(purchase: Purchase, spans: list[Span], store: str) -> str:
    """Compare the trace of ``purchase`` with what the outcome of the purchase requires.

    ``store`` is the name of the trace store, for the returned text.

    Returns:
        A text that describes the first difference; "" when there is no difference. If spans are
        stored twice, that is the difference, unless the trace has another one.
    """
    if not spans:
        return f"not in {store}"
    distinct = distinct_spans(spans)
    repeated_count = len(spans) - len(distinct)
    repeated = f"whole, but {repeated_count} of its {len(spans)} spans are repetitions"
    return _span_mismatch(purchase, distinct) or (repeated if repeated_count else "")


def _span_mismatch(purchase: Purchase, spans: list[Span]) -> str:
    """Describe the first difference between ``spans`` and those that the outcome requires."""
    expected = expect(purchase)
    by_role = {
        role: [span for span in spans if (span.service, span.kind) == identity]
        for role, identity in SERVICE_AND_KIND.items()
    }
    present = tuple(role for role, role_spans in by_role.items() if role_spans)
    if present != expected.spans or len(spans) != len(expected.spans):
        return (
            f"{purchase.outcome} has {len(spans)} spans ({', '.join(present)}),"
            f" not {', '.join(expected.spans)}"
        )
    chain = [by_role[role][0] for role in expected.spans]
    return _chain_mismatch(purchase, expected, chain) or _status_mismatch(purchase, chain[0])


def _chain_mismatch(purchase: Purchase, expected: Expected, chain: list[Span]) -> str:
    """Describe the first span with a wrong parent or error status; return "" if there is none.

    ``chain`` has one span for each role in ``expected.spans``, from parent to child.
    """
    parent_id = ""
    for role, span in zip(expected.spans, chain, strict=True):
        if span.parent_id != parent_id:
            actual = span.parent_id or "nothing"
            return f"the parent of {role} is {actual}, not {parent_id or 'nothing'}"
        if span.error != (role in expected.errors):
            status = "has error status" if span.error else "has no error status"
            return f"{role} {status} in the outcome {purchase.outcome}"
        parent_id = span.span_id
    return ""


def _status_mismatch(purchase: Purchase, root: Span) -> str:
    status = root.attributes.get("http.response.status_code")
    if str(status) == str(purchase.status):
        return ""
    return f"checkout's span has status {status}, the customer received {purchase.status}"
