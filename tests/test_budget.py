"""What one checkout may cost: spans, lines, bytes, series. A change that needs more says so here.

Bytes are those of OTLP, encoded. Spans and lines are counted without the resource around them, which a whole batch shares;
metrics as one export of both services, which leaves every second, however many customers there are.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Stack, poll_until
from tests.processes import NOTHING_BUT_THE_FLUSH, Sink, shop
from three_pillar_demo.load import checkout_client as customers
from three_pillar_demo.load.checkout_client import Purchase

BUDGET = {
    "spans": 4,
    "bytes of spans": 1379,  # card.network is on payment's span: 25
    "lines": 2,
    "bytes of lines": 644,
    "series": 89,  # as Prometheus counts them: of a histogram one for each bucket, one for the sum, one for the count
    "bytes of metrics": 3952,
}
"""Of one purchase that goes well."""
LINES_OF_A_FAILURE = 4
"""Of one whose gateway times out: two canonical lines, and why, in the words of each service."""
MARGIN = 0.01
"""Of bytes: a port has four digits or five."""


@pytest.mark.stack
@pytest.mark.parametrize(
    ("card", "lines"), [("declined", BUDGET["lines"]), ("gateway-timeout", LINES_OF_A_FAILURE)]
)
def test_what_a_checkout_leaves_in_the_stores(stack: Stack, card: str, lines: int) -> None:
    """In the running stack a purchase leaves the spans and lines of the budget, and no more."""
    budget = {"spans": BUDGET["spans"], "lines": lines}

    async def buy_two() -> list[Purchase]:
        async with customers.client() as http:
            return [await customers.buy(http, card) for _ in range(2)]

    async def left(of: Purchase) -> dict[str, int]:
        async with stack.backends() as backends:
            found = await backends.trace_logs(of.trace_id, of.started - 60, of.finished + 60)
            return {"spans": len(await backends.trace(of.trace_id)), "lines": len(found)}

    first, last = asyncio.run(buy_two())
    # What is sent in its turn, and later, is there: so is all of the first one.
    poll_until(
        lambda: all(count >= budget[what] for what, count in asyncio.run(left(last)).items()),
        f"{budget} of {last.trace_id}",
    )
    within(asyncio.run(left(first)), budget)


def test_what_a_checkout_sends(tmp_path: Path, sink: Sink) -> None:
    """From the two services a purchase that goes well sends the budget's spans, lines, series and bytes, and no more."""
    with shop(tmp_path, sink.url, **NOTHING_BUT_THE_FLUSH) as (checkout, payment):
        assert (
            checkout.post("/checkout", customers.basket("ordinary", f"{7:032x}")).status_code == 200
        )
        checkout.stop(20)
        payment.stop(20)
    spans = [
        each
        for scope in scopes(sink, "traces", "resource_spans", "scope_spans")
        for each in scope.spans
    ]
    lines = [
        each
        for scope in scopes(sink, "logs", "resource_logs", "scope_logs")
        for each in scope.log_records
    ]
    metrics = [
        each
        for scope in scopes(sink, "metrics", "resource_metrics", "scope_metrics")
        for each in scope.metrics
    ]
    points = [
        point for each in metrics for point in getattr(each, each.WhichOneof("data")).data_points
    ]
    within(
        {
            "spans": len(spans),
            "bytes of spans": sum(each.ByteSize() for each in spans),
            "lines": len(lines),
            "bytes of lines": sum(each.ByteSize() for each in lines),
            "series": sum(
                len(each.bucket_counts) + 2 if hasattr(each, "bucket_counts") else 1
                for each in points
            ),
            "bytes of metrics": sum(
                message.ByteSize() for path, message in sink.received if path == "/v1/metrics"
            ),
        },
        BUDGET,
    )


def scopes(sink: Sink, signal: str, parts: str, inner: str) -> list[Any]:
    """All scopes of all messages of ``signal``."""
    messages = [message for path, message in sink.received if path == f"/v1/{signal}"]
    return [
        scope
        for message in messages
        for part in getattr(message, parts)
        for scope in getattr(part, inner)
    ]


def within(found: dict[str, int], budget: dict[str, int]) -> None:
    """Compare with ``budget``, both ways: one that is not used up would not notice the next rise."""
    for what, count in found.items():
        slack = MARGIN * budget[what] if what.startswith("bytes") else 0
        asked = f"one checkout costs {count} {what}, and the budget is {budget[what]}"
        assert count <= budget[what] + slack, (
            f"{asked}: if it must, say so in tests/test_budget.py, and why in the commit"
        )
        assert count >= budget[what] - slack, (
            f"{asked}: lower it in tests/test_budget.py, or the next rise goes unnoticed"
        )
