"""The guided run's verdict: whoever scripts it learns whether everything was proven."""

import asyncio
import io
import time
from typing import Any

import pytest
from rich.console import Console

from tests.traces import TRACE, slow
from three_pillar_demo import tour
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.verify import verify
from three_pillar_demo.verify.checks import Check
from three_pillar_demo.verify.ledger import Ledger


def purchase(outcome: str) -> Purchase:
    """One that ended in ``outcome``."""
    return Purchase("slow", "order-1", TRACE, 504, outcome, "", time.time(), time.time())


def take(monkeypatch: pytest.MonkeyPatch, outcome: str, *, verdict: bool | None) -> bool:
    """Take the tour past a stack that sells, whose one proof came out as ``verdict``."""

    async def prove(*_: object) -> tuple[list[Check], Ledger]:
        return [Check("traces", verdict, "1 of 1")], Ledger([purchase(outcome)])

    async def gather(_backends: Backends, _trace_id: str, _say: Any) -> TraceView:  # noqa: ANN401  (a function)
        return slow()

    monkeypatch.setattr(tour, "_sells", lambda: True)
    monkeypatch.setattr(verify, "prove", prove)
    monkeypatch.setattr(tour, "gather", gather)
    quiet = Console(file=io.StringIO())
    return asyncio.run(tour.tour(quiet, quiet))


@pytest.mark.parametrize(
    ("verdict", "outcome", "proven"),
    [
        pytest.param(True, "payment_slow", True, id="proven and told"),
        pytest.param(None, "payment_slow", True, id="could not be judged"),
        pytest.param(False, "payment_slow", False, id="something is missing"),
        pytest.param(True, "success", False, id="no failure to tell of"),
    ],
)
def test_only_what_is_proven_ends_well(
    monkeypatch: pytest.MonkeyPatch, outcome: str, *, verdict: bool | None, proven: bool
) -> None:
    """The tour ends well only when no proof failed and a failed purchase's story was told."""
    assert take(monkeypatch, outcome, verdict=verdict) is proven
