"""Probes."""

import asyncio

import httpx2
import pytest
from opentelemetry.trace import SpanKind

from tests.field.raw_http import (
    COUNT,
    ODD,
    PARSERS,
    TRACEPARENT,
    converse,
    request,
    told,
)
from tests.in_memory_shop import InMemoryShop, attributes_of

GETS = ("/healthz", "/metrics", "/openapi.json")


@pytest.mark.parametrize("path", GETS)
def test_head_works_on_what_get_works_on(shop: InMemoryShop, path: str) -> None:
    """HEAD is answered like GET, with the same headers and no body."""
    for parser in PARSERS:
        (got,) = converse(shop, parser, request(b"GET " + path.encode()))
        (head,) = converse(shop, parser, request(b"HEAD " + path.encode()), heads=1)
        assert (head.status, head.body) == (got.status, b"") == (200, b"")
        kept = (
            ("content-type", "content-length") if path != "/metrics" else ("content-type",)
        )  # its length may grow in between
        assert [head.headers[name] for name in kept] == [got.headers[name] for name in kept]


def test_head_works_on_payment_too(shop: InMemoryShop) -> None:
    """Payment answers HEAD as checkout does."""

    async def ask() -> list[int]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(shop.payment), base_url="http://payment"
        ) as http:
            return [(await http.head(path)).status_code for path in GETS]

    assert asyncio.run(ask()) == [200] * 3


QUIET = {
    "GET /healthz": request(b"GET /healthz"),
    "GET /metrics": request(b"GET /metrics"),
    "HEAD /healthz": request(b"HEAD /healthz"),
    "HEAD /metrics": request(b"HEAD /metrics"),
    "a query": request(b"GET /healthz?a=b&%ff"),
    "half a bracket in the query": request(b"GET /metrics?["),
    "another spelling": request(b"GET /%68ealthz"),
    "no Host": request(b"GET /healthz", host=b""),
    "an odd Host": request(b"GET /healthz", host=ODD),
    "half an address": request(b"GET /metrics", host=b"[::1"),
    "a Host with a path": request(b"GET /healthz", host=b"shop/checkout?"),
    "a Host like another URL": request(b"GET /metrics", host=b"shop/x#"),
    "https": request(b"GET /healthz", b"X-Forwarded-Proto: https"),
    "wss": request(b"GET /healthz", b"X-Forwarded-Proto: wss"),
    "an odd scheme": request(b"GET /metrics", b"X-Forwarded-Proto: " + ODD),
    "a trace of its own": request(b"GET /healthz", f"Traceparent: {TRACEPARENT}".encode()),
    "odd bytes": request(
        b"GET /metrics", b"User-Agent: " + ODD, b"Baggage: " + ODD, b"Accept: " + ODD
    ),
    "a body": request(b"GET /healthz", body={"card": "slow"}),
    "a body over the limit": request(b"GET /metrics", body="x" * 70_000),
}


@pytest.mark.parametrize("sent", list(QUIET.values()), ids=list(QUIET))
def test_a_probe_is_quiet_in_all_pillars(shop: InMemoryShop, sent: bytes) -> None:
    """GET or HEAD on exactly the two paths is answered 200 and told of nowhere, whatever else the request says."""
    for parser in PARSERS:
        (answer,) = converse(shop, parser, sent, heads=sent.startswith(b"HEAD"))
        assert answer.status == 200
        assert "traceresponse" not in answer.headers
    told(shop)
    assert (shop.spans, shop.lines(), shop.records) == ((), [], [])


LOUD = {
    "POST": (request(b"POST /healthz"), 405),
    "POST to metrics": (request(b"POST /metrics"), 405),
    "OPTIONS": (request(b"OPTIONS /healthz"), 405),
    "PUT over wss": (request(b"PUT /healthz", b"X-Forwarded-Proto: wss"), 405),
    "DELETE without a Host": (request(b"DELETE /metrics", host=b""), 405),
    "a query with POST": (request(b"POST /healthz?x"), 405),
    "a line break in front": (request(b"GET /%0Ahealthz"), 404),
    "a zero": (request(b"GET /healthz%00"), 404),
    "a space": (request(b"GET /healthz%20"), 404),
    "a slash": (request(b"GET /healthz/"), 404),
    "two slashes": (request(b"GET //healthz"), 404),
    "a way round": (request(b"GET /x/../healthz"), 404),
    "capitals": (request(b"GET /HEALTHZ"), 404),
    "a parameter": (request(b"GET /healthz;x=1"), 404),
    "an escaped query": (request(b"GET /healthz%3Fx"), 404),
    "a Host that ends like one": (request(b"GET /nowhere", host=b"shop/healthz?"), 404),
    "a query that ends like one": (request(b"GET /nowhere?/healthz"), 404),
    "an escaped slash": (request(b"GET /x%2Fhealthz"), 404),
}


@pytest.mark.parametrize(("sent", "status"), list(LOUD.values()), ids=list(LOUD))
def test_what_only_looks_like_a_probe_is_told_of(
    shop: InMemoryShop, sent: bytes, status: int
) -> None:
    """Another method, or a path that is not exactly one of the two, is an error like others, with a trace id to find it by."""
    refused = [answer for parser in PARSERS for answer in converse(shop, parser, sent)]
    assert [(answer.status, answer.said["outcome"]) for answer in refused] == [
        (status, "invalid")
    ] * 2
    assert all(answer.said["trace_id"] == answer.trace_id for answer in refused)
    told(shop, *refused)


@pytest.mark.parametrize(
    "target", [b"GET /healthz%0A", b"HEAD /metrics%0a", b"GET /metrics%0A", b"POST /checkout%0A"]
)
def test_a_line_break_behind_a_path_is_no_probe(shop: InMemoryShop, target: bytes) -> None:
    """For Starlette a line break ends a path, so such a request is served; it is no probe, and told of in all pillars."""
    for parser in PARSERS:
        (answer,) = converse(shop, parser, request(target), heads=target.startswith(b"HEAD"))
        assert answer.status == 200
    spans = [
        each
        for each in shop.spans
        if each.kind is SpanKind.SERVER and attributes_of(each)["http.route"] != "/charges"
    ]
    lines = [each for each in shop.lines() if each["http.route"] != "/charges"]
    assert len({line["trace_id"] for line in lines}) == len(spans) == len(lines) == 2
    assert sum(each.count for each in shop.samples()[COUNT]) == 2


def test_a_root_path_changes_nobody_quiet(shop: InMemoryShop) -> None:
    """Behind a prefix that a proxy takes away the same two paths are quiet, and no others."""

    async def ask(*paths: str) -> list[int]:
        transport = httpx2.ASGITransport(shop.checkout, root_path="/shop")
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            return [(await http.get(path)).status_code for path in paths]

    assert asyncio.run(ask("/shop/healthz", "/shop/metrics", "/healthz")) == [200] * 3
    told(shop)
    assert asyncio.run(ask("/shop/shop/healthz", "/shop/nowhere")) == [404] * 2
    assert (len(shop.spans), len(shop.lines()), len(shop.records)) == (2, 2, 2)
