"""Check that every purchase has its trace, with the spans that the outcome table lists."""

import asyncio

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends, Span
from three_pillar_demo.verify.check import MAX_CONCURRENT_QUERIES, Check, poll_until
from three_pillar_demo.verify.ledger import Ledger, expect
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, ORDER, PAYMENT, Expected

SERVICE_AND_KIND = {
    CHECKOUT: ("checkout", "SERVER"),
    ORDER: ("checkout", "INTERNAL"),
    CLIENT: ("checkout", "CLIENT"),
    PAYMENT: ("payment", "SERVER"),
}
"""The service and the span kind of each role in a purchase, from parent to child."""


async def check_traces(backends: Backends, ledger: Ledger) -> Check:
    """Check that each trace is stored, its spans joined parent to child, with their statuses."""
    problems = {purchase.trace_id: "not queried yet" for purchase in ledger.purchases}
    store = backends.names["traces"]
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def query(purchase: Purchase) -> None:
        async with limit:
            spans = await backends.trace(purchase.trace_id)
        problems[purchase.trace_id] = trace_mismatch(purchase, spans, store)

    async def complete() -> bool:
        incomplete = [each for each in ledger.purchases if problems[each.trace_id]]
        await asyncio.gather(*(query(purchase) for purchase in incomplete))
        return not any(problems.values())

    passed = await poll_until(complete)
    missing = [f"{trace_id}: {problem}" for trace_id, problem in problems.items() if problem]
    spans = sum(len(expect(purchase).spans) for purchase in ledger.purchases)
    whole = len(problems) - len(missing)
    figures = f"{whole} of {len(problems)} whole in {store}, {spans} spans"
    return Check("traces", passed, figures, missing)


def trace_mismatch(purchase: Purchase, spans: list[Span], store: str) -> str:
    """Compare one trace with the outcome table.

    Returns:
        What is wrong, or an empty string. ``store`` is the name of the backend in that text.
    """
    expected = expect(purchase)
    if not spans:
        return f"not in {store}"
    by_role = {
        role: [span for span in spans if (span.service, span.kind) == identity]
        for role, identity in SERVICE_AND_KIND.items()
    }
    present = tuple(role for role, found in by_role.items() if found)
    if present != expected.spans or len(spans) != len(expected.spans):
        return (
            f"{purchase.outcome} has {len(spans)} spans ({', '.join(present)}),"
            f" not {', '.join(expected.spans)}"
        )
    chain = [by_role[role][0] for role in expected.spans]
    return _chain_mismatch(purchase, expected, chain) or _status_mismatch(purchase, chain[0])


def _chain_mismatch(purchase: Purchase, expected: Expected, chain: list[Span]) -> str:
    """Compare the parents and the error status of the spans, which are ordered parent to child."""
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
