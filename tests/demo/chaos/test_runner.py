"""The end of a rehearsal, on a real store: who settles the books asks for every trace before it says what is lost."""

import asyncio
import time
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.demo.local_store.conftest import Process
from three_pillar_demo.chaos import drops
from three_pillar_demo.chaos.audit import Found, StoreAudit
from three_pillar_demo.chaos.judge import Expectation
from three_pillar_demo.chaos.plan import EVERYWHERE, Context, Rehearsal
from three_pillar_demo.chaos.runner import Play
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.local import LocalBackends


@pytest.mark.parametrize(
    "promise", [Expectation(lost="counted"), Expectation(drain=0.0)], ids=["counted", "late"]
)
def test_one_trace_that_never_comes_is_one(
    store: Process, monkeypatch: pytest.MonkeyPatch, promise: Expectation
) -> None:
    """Of 500 traces one is gone: 4 spans lost, not 2,000, by the first look if losses are counted, else by the last."""
    bought = [
        Purchase("ordinary", None, f"{number:032x}", 200, "success", "", 0.0, 0.0)
        for number in range(1, 501)
    ]

    async def trace(trace_id: str) -> list[object]:
        return (
            [SimpleNamespace(span_id=str(each)) for each in range(4)]
            if int(trace_id, 16) < len(bought)
            else []
        )

    async def counted(*_: object) -> Counter[str]:
        looks.append(1)
        return Counter(spans=4)

    async def settle() -> tuple[Found, float | None]:
        async with LocalBackends(store.path, store.url) as backends:
            monkeypatch.setattr(backends, "trace", trace)
            play = Play(
                Rehearsal("any", "", 0, 0, promise), 0, Context(EVERYWHERE[0], backends), print
            )
            play.books = StoreAudit(backends, "run", time.time())
            return await play.settle(bought, time.monotonic(), ["spans"])

    looks: list[int] = []
    monkeypatch.setattr(drops, "counted", counted)
    found, drained = asyncio.run(settle())
    assert (found.lost["spans"], len(looks)) == (4, 1)
    assert (drained is not None) == (promise.lost == "counted")
