"""Check that each answer has an exemplar, and that each exemplar leads to a stored trace."""

import asyncio
import time
from collections.abc import Sequence

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.check import MAX_CONCURRENT_QUERIES, Check, poll_until
from three_pillar_demo.verify.ledger import Ledger

Series = tuple[str, str]
"""A route and an HTTP status."""


async def check_exemplars(backends: Backends, ledger: Ledger) -> Check:
    """Check that each route and status of the run has an exemplar, and each exemplar a trace."""
    expected = {("/checkout", status) for status in ledger.checkout_statuses()}
    expected |= {("/charges", status) for status in ledger.payment_statuses()}
    series_by_trace: dict[str, set[Series]] = {}

    def without_exemplar() -> list[Series]:
        return sorted(expected.difference(*series_by_trace.values()))

    async def complete() -> bool:
        series_by_trace.clear()
        for exemplar in await backends.exemplars(ledger.started, time.time()):
            route = exemplar.labels.get("http_route", "")
            status = exemplar.labels.get("http_response_status_code", "")
            series_by_trace.setdefault(exemplar.trace_id, set()).add((route, status))
        return not without_exemplar()

    await poll_until(complete)
    dead = list(series_by_trace)

    async def all_resolve() -> bool:
        # Traces are exported in batches of their own, so the trace of a purchase that somebody
        # else made may arrive after its exemplar.
        nonlocal dead
        dead = await _without_trace(backends, dead)
        return not dead

    await poll_until(all_resolve)
    resolved = len(series_by_trace) - len(dead)
    figures = (
        f"{len(series_by_trace)} exemplars, {resolved} lead to their trace,"
        f" {len(expected)} (route, status) pairs"
    )
    store = backends.names["traces"]
    missing = [f"no exemplar for {route} {status}" for route, status in without_exemplar()]
    missing += [f"{trace_id}: an exemplar, but no trace in {store}" for trace_id in dead]
    return Check("exemplars", not missing, figures, missing)


async def _without_trace(backends: Backends, trace_ids: Sequence[str]) -> list[str]:
    """Return those trace ids that the trace store does not have."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def is_stored(trace_id: str) -> bool:
        async with limit:
            return bool(trace_id and await backends.trace(trace_id))

    stored = await asyncio.gather(*(is_stored(trace_id) for trace_id in trace_ids))
    return [trace_id for trace_id, found in zip(trace_ids, stored, strict=True) if not found]
