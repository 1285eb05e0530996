"""Check that each route and HTTP status has an exemplar, and that the exemplars have traces."""

import asyncio
import time
from collections.abc import Sequence

from three_pillar_demo.query.interface import Backends
from three_pillar_demo.verify.check import MAX_CONCURRENT_QUERIES, Check, poll_until
from three_pillar_demo.verify.ledger import Ledger, exemplar_series

Series = tuple[str, str]
"""A route and an HTTP status, such as ``("/checkout", "200")``."""


async def check_exemplars(backends: Backends, ledger: Ledger) -> Check:
    """Check the exemplars of the request duration metric since the start of the run.

    Each pair of route and HTTP status in the ledger must have an exemplar, and the trace of each
    exemplar must be stored. Under tail sampling, a pair needs one only if a trace is kept.
    """
    expected = exemplar_series(ledger)
    series_by_trace: dict[str, set[Series]] = {}

    def without_exemplar() -> list[Series]:
        return sorted(expected.difference(*series_by_trace.values()))

    async def every_series_has_exemplar() -> bool:
        series_by_trace.clear()
        for exemplar in await backends.exemplars(ledger.started, time.time()):
            route = exemplar.labels.get("http_route", "")
            status = exemplar.labels.get("http_response_status_code", "")
            series_by_trace.setdefault(exemplar.trace_id, set()).add((route, status))
        return not without_exemplar()

    await poll_until(every_series_has_exemplar)
    unresolved_ids = list(series_by_trace)

    async def all_traces_are_stored() -> bool:
        # Traces are exported in batches of their own, so the trace of a purchase that somebody
        # else made may arrive after its exemplar.
        nonlocal unresolved_ids
        unresolved_ids = await without_trace(backends, unresolved_ids)
        return not unresolved_ids

    await poll_until(all_traces_are_stored)
    resolved_count = len(series_by_trace) - len(unresolved_ids)
    figures = (
        f"{len(series_by_trace)} exemplars, {resolved_count} lead to their trace,"
        f" {len(expected)} (route, status) pairs"
    )
    store = backends.names["traces"]
    problems = [f"no exemplar for {route} {status}" for route, status in without_exemplar()]
    problems += [f"{trace_id}: an exemplar, but no trace in {store}" for trace_id in unresolved_ids]
    return Check("exemplars", not problems, figures, problems)


async def without_trace(backends: Backends, trace_ids: Sequence[str]) -> list[str]:
    """Return those of ``trace_ids`` whose traces are not in the trace store."""
    limit = asyncio.Semaphore(MAX_CONCURRENT_QUERIES)

    async def is_stored(trace_id: str) -> bool:
        async with limit:
            return bool(trace_id and await backends.trace(trace_id))

    stored = await asyncio.gather(*(is_stored(trace_id) for trace_id in trace_ids))
    return [
        trace_id
        for trace_id, trace_is_stored in zip(trace_ids, stored, strict=True)
        if not trace_is_stored
    ]
