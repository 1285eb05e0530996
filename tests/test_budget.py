"""The budget of one checkout: how many spans, log records, bytes and series it may cost.

A change that needs more must raise the budget here. Bytes are those of encoded OTLP. Spans and log
records are counted without their resource, which a whole batch shares. Metrics are counted as one
export of both services: it is sent every second, however many purchases there are.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Stack, wait_until
from tests.processes import NOTHING_BUT_THE_FLUSH, InMemoryCollector, running_shop
from three_pillar_demo.load import checkout_client
from three_pillar_demo.load.checkout_client import Purchase

BUDGET = {
    "spans": 4,
    "bytes of spans": 1379,  # 25 of them are card.network on payment's span
    "log records": 2,
    "bytes of log records": 644,
    # As Prometheus counts them: a histogram is one for each bucket, one for sum and one for count.
    "series": 89,
    "bytes of metrics": 3952,
}
"""What one successful purchase costs, by kind of item."""
RECORDS_OF_A_FAILURE = 4
"""The number of log records of a gateway timeout: from each service, the canonical record and
one with the reason."""
MARGIN = 0.01
"""The tolerated deviation of byte counts as a share: a port number in them has four or five
digits."""


@pytest.mark.stack
@pytest.mark.parametrize(
    ("card", "records"),
    [("declined", BUDGET["log records"]), ("gateway-timeout", RECORDS_OF_A_FAILURE)],
)
def test_a_checkout_stores_no_more_than_the_budget(stack: Stack, card: str, records: int) -> None:
    """A purchase leaves exactly the budgeted number of spans and log records in a running stack."""
    budget = {"spans": BUDGET["spans"], "log records": records}

    async def buy_twice() -> list[Purchase]:
        async with checkout_client.client() as http:
            return [await checkout_client.buy(http, card) for _ in range(2)]

    async def stored(purchase: Purchase) -> dict[str, int]:
        async with stack.backends() as backends:
            spans = await backends.trace(purchase.trace_id)
            logs = await backends.trace_logs(
                purchase.trace_id, purchase.started - 60, purchase.finished + 60
            )
            return {"spans": len(spans), "log records": len(logs)}

    first_purchase, last_purchase = asyncio.run(buy_twice())
    # The telemetry of the last purchase was sent later, so that of the first one is complete too.
    wait_until(
        lambda: all(
            count >= budget[item] for item, count in asyncio.run(stored(last_purchase)).items()
        ),
        f"{budget} of {last_purchase.trace_id}",
    )
    require_budget(asyncio.run(stored(first_purchase)), budget)


def test_a_checkout_sends_no_more_than_the_budget(
    tmp_path: Path, collector: InMemoryCollector
) -> None:
    """For one purchase, the services send exactly the budgeted spans, records, series and bytes."""
    basket = checkout_client.basket("ordinary", f"{7:032x}")
    with running_shop(tmp_path, collector.url, **NOTHING_BUT_THE_FLUSH) as (checkout, payment):
        assert checkout.post("/checkout", basket).status_code == 200
        checkout.stop(20)
        payment.stop(20)
    spans = [
        span
        for scope in scopes(collector, "traces", "resource_spans", "scope_spans")
        for span in scope.spans
    ]
    records = [
        record
        for scope in scopes(collector, "logs", "resource_logs", "scope_logs")
        for record in scope.log_records
    ]
    points = [
        point
        for scope in scopes(collector, "metrics", "resource_metrics", "scope_metrics")
        for metric in scope.metrics
        for point in getattr(metric, metric.WhichOneof("data")).data_points
    ]
    metric_messages = [message for path, message in collector.received if path == "/v1/metrics"]
    cost = {
        "spans": len(spans),
        "bytes of spans": sum(span.ByteSize() for span in spans),
        "log records": len(records),
        "bytes of log records": sum(record.ByteSize() for record in records),
        "series": sum(series_of(point) for point in points),
        "bytes of metrics": sum(message.ByteSize() for message in metric_messages),
    }
    require_budget(cost, BUDGET)


def series_of(point: Any) -> int:  # noqa: ANN401  (any kind of data point)
    """Return how many series Prometheus makes of one data point: a histogram has several."""
    return len(point.bucket_counts) + 2 if hasattr(point, "bucket_counts") else 1


def scopes(collector: InMemoryCollector, signal: str, parts: str, inner: str) -> list[Any]:
    """Return all scope messages of all requests of one signal, such as ``traces``.

    ``parts`` and ``inner`` are the OTLP fields that lead to them: ``resource_spans``,
    ``scope_spans``.
    """
    messages = [message for path, message in collector.received if path == f"/v1/{signal}"]
    return [
        scope
        for message in messages
        for part in getattr(message, parts)
        for scope in getattr(part, inner)
    ]


def require_budget(cost: dict[str, int], budget: dict[str, int]) -> None:
    """Fail if the cost of one checkout is over the budget, or under it.

    An unused part of the budget must be removed, or it would hide the next rise.
    """
    for item, count in cost.items():
        margin = MARGIN * budget[item] if item.startswith("bytes") else 0
        comparison = f"one checkout costs {count} {item}, and the budget is {budget[item]}"
        assert count <= budget[item] + margin, (
            f"{comparison}: if it must, raise it in tests/test_budget.py and say why in the commit"
        )
        assert count >= budget[item] - margin, (
            f"{comparison}: lower it in tests/test_budget.py, or the next rise goes unnoticed"
        )
