"""Pipelined requests, which are sent at once on one connection, are recorded separately."""

import pytest
from opentelemetry.trace import SpanKind, format_trace_id

from tests.conftest import ShopFactory
from tests.field.raw_http import (
    NOT_UTF8,
    PARENT_SPAN_ID,
    PARENT_TRACE_ID,
    PARSERS,
    TRACEPARENT,
    assert_recorded,
    exchange,
    raw_request,
)
from tests.in_memory_shop import InMemoryShop, attributes_of

CHECKOUT_TARGET = b"POST /checkout"
NO_JSON = raw_request(close=False).replace(
    b"Content-Length: 0\r\n\r\n", b"Content-Length: 1\r\n\r\n{"
)
UNSAMPLED = f"Traceparent: 00-{1:032x}-{1:016x}-00".encode()
FIRST_REQUESTS: dict[str, tuple[bytes, int]] = {
    "success": (raw_request(close=False), 200),
    "402": (raw_request(body={"card": "declined"}, close=False), 402),
    "500": (raw_request(body={"card": "gateway-timeout"}, close=False), 500),
    "502": (raw_request(body={"card": "crash"}, close=False), 502),
    "422": (raw_request(body={"card": 1}, close=False), 422),
    "400": (NO_JSON, 400),
    "404": (raw_request(b"GET /nowhere", close=False), 404),
    "405": (raw_request(b"DELETE /checkout", close=False), 405),
    "not UTF-8": (raw_request(CHECKOUT_TARGET, b"User-Agent: " + NOT_UTF8, close=False), 200),
    "unsampled": (raw_request(CHECKOUT_TARGET, UNSAMPLED, close=False), 200),
}
"""Pairs of the bytes of the first request on a connection and the status of its response."""


@pytest.mark.parametrize(
    ("first_request", "status"), list(FIRST_REQUESTS.values()), ids=list(FIRST_REQUESTS)
)
@pytest.mark.parametrize("parser", PARSERS)
def test_pipelined_purchases_have_separate_traces(
    build_shop: ShopFactory, parser: str, first_request: bytes, status: int
) -> None:
    """Each of several pipelined purchases has its own SERVER span, trace and parent."""
    shop = build_shop(trusted_networks="*")
    with_parent = raw_request(CHECKOUT_TARGET, f"Traceparent: {TRACEPARENT}".encode(), close=False)
    responses = exchange(shop, parser, first_request + with_parent + raw_request())
    assert [response.status for response in responses] == [status, 200, 200]
    trace_ids = [response.trace_id for response in responses]
    assert len(set(trace_ids)) == 3
    assert trace_ids[1] == PARENT_TRACE_ID
    parents = {
        format_trace_id(span.context.trace_id): span.parent and f"{span.parent.span_id:016x}"
        for span in shop.spans
        if span.kind is SpanKind.SERVER
        and attributes_of(span).get("url.path", "/charges") != "/charges"
    }
    assert [parents[trace_id] for trace_id in trace_ids[1:]] == [PARENT_SPAN_ID, None]
    trace_of_order = {
        line["order.id"]: line["trace_id"] for line in shop.lines() if "order.id" in line
    }
    for response in responses[1:]:
        assert trace_of_order[response.json["order_id"]] == response.trace_id


@pytest.mark.parametrize("parser", PARSERS)
def test_pipelined_requests_are_recorded_once(shop: InMemoryShop, parser: str) -> None:
    """Of pipelined purchases and health checks, each purchase is recorded once and no check."""
    purchase_and_probe = raw_request(close=False) + raw_request(b"GET /healthz", close=False)
    responses = exchange(shop, parser, purchase_and_probe * 10 + raw_request())
    assert [response.status for response in responses] == [200 for _ in range(21)]
    purchases = [response for response in responses if response.json != {"status": "ok"}]
    assert_recorded(shop, *purchases)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_crash_ends_the_connection(
    shop: InMemoryShop, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception closes the connection: a request behind it gets no response and no record."""

    async def crash(*_: object) -> None:
        raise ValueError

    with monkeypatch.context() as patch:
        patch.setattr("services.checkout.app.place_order", crash)
        responses = exchange(shop, parser, raw_request(close=False) + raw_request())
    results = [(response.status, response.json["outcome"]) for response in responses]
    assert results == [(500, "crashed")]
    assert_recorded(shop, *responses, *exchange(shop, parser, raw_request()))
