"""GET and HEAD of ``/healthz`` and ``/metrics`` are not recorded; all other requests are."""

import asyncio

import httpx2
import pytest
from opentelemetry.trace import SpanKind

from tests.field.raw_http import (
    NOT_UTF8,
    PARSERS,
    REQUEST_COUNT,
    TRACEPARENT,
    assert_recorded,
    exchange,
    exchange_with_each_parser,
    raw_request,
    total,
)
from tests.in_memory_shop import InMemoryShop, attributes_of

GET_PATHS = ("/healthz", "/metrics", "/openapi.json")


@pytest.mark.parametrize("path", GET_PATHS)
def test_checkout_answers_head_like_get(shop: InMemoryShop, path: str) -> None:
    """Checkout responds to HEAD with the status and headers of GET, and without a body."""
    same_headers = ["content-type", "content-length"]
    if path == "/metrics":
        same_headers.remove("content-length")  # it may grow between the two requests
    for parser in PARSERS:
        (get,) = exchange(shop, parser, raw_request(b"GET " + path.encode()))
        (head,) = exchange(shop, parser, raw_request(b"HEAD " + path.encode()), heads=1)
        assert (head.status, head.body) == (get.status, b"") == (200, b"")
        for name in same_headers:
            assert head.headers[name] == get.headers[name]


def test_payment_answers_head(shop: InMemoryShop) -> None:
    """Payment responds with 200 to HEAD of ``/healthz``, ``/metrics`` and ``/openapi.json``."""

    async def head_statuses() -> list[int]:
        transport = httpx2.ASGITransport(shop.payment)
        async with httpx2.AsyncClient(transport=transport, base_url="http://payment") as http:
            return [(await http.head(path)).status_code for path in GET_PATHS]

    assert asyncio.run(head_statuses()) == [200, 200, 200]


EXCLUDED = {
    "GET /healthz": raw_request(b"GET /healthz"),
    "GET /metrics": raw_request(b"GET /metrics"),
    "HEAD /healthz": raw_request(b"HEAD /healthz"),
    "HEAD /metrics": raw_request(b"HEAD /metrics"),
    "query": raw_request(b"GET /healthz?a=b&%ff"),
    "open bracket in the query": raw_request(b"GET /metrics?["),
    "escaped letter": raw_request(b"GET /%68ealthz"),
    "empty Host": raw_request(b"GET /healthz", host=b""),
    "Host that is not UTF-8": raw_request(b"GET /healthz", host=NOT_UTF8),
    "incomplete address as Host": raw_request(b"GET /metrics", host=b"[::1"),
    "Host with a path": raw_request(b"GET /healthz", host=b"shop/checkout?"),
    "Host with a fragment": raw_request(b"GET /metrics", host=b"shop/x#"),
    "https": raw_request(b"GET /healthz", b"X-Forwarded-Proto: https"),
    "wss": raw_request(b"GET /healthz", b"X-Forwarded-Proto: wss"),
    "scheme that is not UTF-8": raw_request(b"GET /metrics", b"X-Forwarded-Proto: " + NOT_UTF8),
    "traceparent": raw_request(b"GET /healthz", f"Traceparent: {TRACEPARENT}".encode()),
    "headers that are not UTF-8": raw_request(
        b"GET /metrics",
        b"User-Agent: " + NOT_UTF8,
        b"Baggage: " + NOT_UTF8,
        b"Accept: " + NOT_UTF8,
    ),
    "body": raw_request(b"GET /healthz", body={"card": "slow"}),
    "body over the limit": raw_request(b"GET /metrics", body="x" * 70_000),
}


@pytest.mark.parametrize("sent", list(EXCLUDED.values()), ids=list(EXCLUDED))
def test_a_probe_is_recorded_in_no_pillar(shop: InMemoryShop, sent: bytes) -> None:
    """GET or HEAD of an excluded path gets 200 and is not recorded, whatever else it contains."""
    heads = 1 if sent.startswith(b"HEAD") else 0
    for parser in PARSERS:
        (response,) = exchange(shop, parser, sent, heads)
        assert response.status == 200
        assert "traceresponse" not in response.headers
    assert_recorded(shop)
    assert (shop.spans, shop.lines(), shop.records) == ((), [], [])


NOT_EXCLUDED = {
    "POST": (raw_request(b"POST /healthz"), 405),
    "POST to metrics": (raw_request(b"POST /metrics"), 405),
    "OPTIONS": (raw_request(b"OPTIONS /healthz"), 405),
    "PUT over wss": (raw_request(b"PUT /healthz", b"X-Forwarded-Proto: wss"), 405),
    "DELETE without a Host": (raw_request(b"DELETE /metrics", host=b""), 405),
    "POST with a query": (raw_request(b"POST /healthz?x"), 405),
    "leading line break": (raw_request(b"GET /%0Ahealthz"), 404),
    "trailing zero": (raw_request(b"GET /healthz%00"), 404),
    "trailing space": (raw_request(b"GET /healthz%20"), 404),
    "trailing slash": (raw_request(b"GET /healthz/"), 404),
    "two slashes": (raw_request(b"GET //healthz"), 404),
    "dot segments": (raw_request(b"GET /x/../healthz"), 404),
    "capitals": (raw_request(b"GET /HEALTHZ"), 404),
    "path parameter": (raw_request(b"GET /healthz;x=1"), 404),
    "escaped query": (raw_request(b"GET /healthz%3Fx"), 404),
    "Host that ends in an excluded path": (
        raw_request(b"GET /nowhere", host=b"shop/healthz?"),
        404,
    ),
    "query that ends in an excluded path": (raw_request(b"GET /nowhere?/healthz"), 404),
    "escaped slash": (raw_request(b"GET /x%2Fhealthz"), 404),
}


@pytest.mark.parametrize(("sent", "status"), list(NOT_EXCLUDED.values()), ids=list(NOT_EXCLUDED))
def test_what_only_resembles_a_probe_is_recorded(
    shop: InMemoryShop, sent: bytes, status: int
) -> None:
    """A request with another method, or a path that only resembles an excluded one, is recorded."""
    responses = exchange_with_each_parser(shop, sent)
    results = [(response.status, response.json["outcome"]) for response in responses]
    assert results == [(status, "invalid"), (status, "invalid")]
    for response in responses:
        assert response.json["trace_id"] == response.trace_id
    assert_recorded(shop, *responses)


@pytest.mark.parametrize(
    "target", [b"GET /healthz%0A", b"HEAD /metrics%0a", b"GET /metrics%0A", b"POST /checkout%0A"]
)
def test_a_path_with_a_trailing_line_break_is_recorded(shop: InMemoryShop, target: bytes) -> None:
    """Starlette serves a path with a trailing line break, so it is recorded in all pillars."""
    heads = 1 if target.startswith(b"HEAD") else 0
    for parser in PARSERS:
        (response,) = exchange(shop, parser, raw_request(target), heads)
        assert response.status == 200
    spans = [
        span
        for span in shop.spans
        if span.kind is SpanKind.SERVER and attributes_of(span)["http.route"] != "/charges"
    ]
    lines = [line for line in shop.lines() if line["http.route"] != "/charges"]
    assert len({line["trace_id"] for line in lines}) == len(spans) == len(lines) == 2
    assert total(shop.samples()[REQUEST_COUNT]) == 2


def test_a_root_path_is_no_part_of_an_excluded_path(shop: InMemoryShop) -> None:
    """With a root path, ``/healthz`` and ``/metrics`` behind it are excluded, and no others."""

    async def get_statuses(*paths: str) -> list[int]:
        transport = httpx2.ASGITransport(shop.checkout, root_path="/shop")
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            return [(await http.get(path)).status_code for path in paths]

    probes = asyncio.run(get_statuses("/shop/healthz", "/shop/metrics", "/healthz"))
    assert probes == [200, 200, 200]
    assert_recorded(shop)
    assert asyncio.run(get_statuses("/shop/shop/healthz", "/shop/nowhere")) == [404, 404]
    assert (len(shop.spans), len(shop.lines()), len(shop.records)) == (2, 2, 2)
