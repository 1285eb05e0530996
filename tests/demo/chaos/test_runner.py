"""The end of a rehearsal, where all traces must be queried before a loss is reported."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.demo.local_store.stores import StoreProcess
from three_pillar_demo.chaos import drops
from three_pillar_demo.chaos.audit import AuditResult, StoreAudit
from three_pillar_demo.chaos.judge import Expectation
from three_pillar_demo.chaos.plan import ALL_MODES, Context, Rehearsal
from three_pillar_demo.chaos.runner import RehearsalRun
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.local import LocalBackends

SPANS_PER_PURCHASE = 4


@pytest.mark.parametrize(
    "expectation",
    [Expectation(loss="counted"), Expectation(drain_s=0.0)],
    ids=["losses are counted", "deadline has passed"],
)
def test_one_missing_trace_is_one_loss(
    store: StoreProcess, monkeypatch: pytest.MonkeyPatch, expectation: Expectation
) -> None:
    """If one of 500 traces is missing, exactly its four spans are reported as lost."""
    purchases = [
        Purchase("ordinary", None, f"{number:032x}", 200, "success", "", 0.0, 0.0)
        for number in range(1, 501)
    ]
    missing = len(purchases)
    comparisons: list[str] = []

    async def trace(trace_id: str) -> list[SimpleNamespace]:
        if int(trace_id, 16) == missing:
            return []
        return [SimpleNamespace(span_id=str(span)) for span in range(SPANS_PER_PURCHASE)]

    async def dropped_counts(*_: object) -> Counter[str]:
        comparisons.append("compared")
        return Counter(spans=SPANS_PER_PURCHASE)

    async def wait_until_stored() -> tuple[AuditResult, float | None]:
        async with LocalBackends(store.path, store.url) as backends:
            monkeypatch.setattr(backends, "trace", trace)
            rehearsal = Rehearsal("any", "", 0, 0, expectation)
            run = RehearsalRun(rehearsal, 0, Context(ALL_MODES[0], backends), print)
            run.audit = StoreAudit(backends, "run", time.time())
            return await run.wait_until_stored(purchases, time.monotonic(), ["spans"])

    monkeypatch.setattr(drops, "dropped_counts", dropped_counts)
    result, drained_s = asyncio.run(wait_until_stored())
    assert result.lost["spans"] == SPANS_PER_PURCHASE
    assert len(comparisons) == 1
    assert (drained_s is not None) == (expectation.loss == "counted")
