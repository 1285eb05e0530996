"""Requests with unusual bytes are served and recorded, or refused with a clear message."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.field.raw_http import (
    NOT_UTF8,
    PARSERS,
    RawResponse,
    assert_recorded,
    exchange,
    exchange_with_each_parser,
    raw_request,
)
from tests.in_memory_shop import InMemoryShop, attributes_of
from three_pillar_demo.verify.outcomes import CHECKOUT

CHECKOUT_TARGET = b"POST /checkout"
HEADERS = [
    "User-Agent",
    "Baggage",
    "Tracestate",
    "Traceparent",
    "Accept",
    "Accept-Encoding",
    "Cookie",
    "Authorization",
    "Origin",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "Forwarded",
    "Referer",
    "Upgrade",
    "Expect",
    "X-Unknown",
    "Content-Encoding",
    "If-None-Match",
]
ODD_HEADERS = {name: name.encode() + b": " + NOT_UTF8 for name in HEADERS}
PURCHASES = {
    **{name: raw_request(CHECKOUT_TARGET, header) for name, header in ODD_HEADERS.items()},
    "Host": raw_request(host=NOT_UTF8),
    "all of them": raw_request(CHECKOUT_TARGET, *ODD_HEADERS.values(), host=NOT_UTF8),
    "one byte of Latin-1": raw_request(CHECKOUT_TARGET, b"User-Agent: caf\xe9"),
    "lone surrogate": raw_request(
        CHECKOUT_TARGET, b"User-Agent: \xed\xa0\x80", b"Baggage: k=\xed\xa0\x80"
    ),
    "overlong slash": raw_request(CHECKOUT_TARGET, b"User-Agent: \xc0\xaf"),
    "UTF-8": raw_request(CHECKOUT_TARGET, "User-Agent: ☃".encode(), "Baggage: ☃=☃".encode()),
    "incomplete escapes": raw_request(
        CHECKOUT_TARGET, b"User-Agent: \\x \\u \\N{} \\", b"Baggage: a=\\x"
    ),
    "Content-Type": raw_request(
        CHECKOUT_TARGET, b"Content-Type: application/json; charset=" + NOT_UTF8
    ),
    "escaped query": raw_request(b"POST /checkout?%ff=%00&%zz"),
    "open bracket in the query": raw_request(b"POST /checkout?["),
    "empty Host": raw_request(host=b""),
    "incomplete address as Host": raw_request(host=b"[::1"),
    "Host with too high a port": raw_request(host=b"shop:99999999"),
    "Host with a path": raw_request(host=b"user:word@shop/healthz?x#y"),
    "unknown scheme": raw_request(CHECKOUT_TARGET, b"X-Forwarded-Proto: gopher"),
    "scheme of websockets": raw_request(CHECKOUT_TARGET, b"X-Forwarded-Proto: wss"),
    "invalid client address": raw_request(CHECKOUT_TARGET, b"X-Forwarded-For: , [::1, \xff,"),
}
"""Checkout requests with unusual bytes only in parts that checkout does not read."""


@pytest.mark.parametrize("sent", list(PURCHASES.values()), ids=list(PURCHASES))
def test_unusual_bytes_do_not_disturb_a_purchase(shop: InMemoryShop, sent: bytes) -> None:
    """A purchase with unusual bytes succeeds, and has one span, one log line and one count."""
    responses = exchange_with_each_parser(shop, sent)
    results = [(response.status, response.json["outcome"]) for response in responses]
    assert results == [(200, "success"), (200, "success")]
    assert_recorded(shop, *responses)


UNKNOWN_TARGETS = {
    "bytes": b"GET /check%ffout",
    "zero": b"POST /checkout%00",
    "lone surrogate": b"GET /%ed%a0%80",
    "open bracket": b"GET //[/checkout",
    "line break": b"GET /checkout%0d%0aX-Sold:%20yes",
    "two slashes": b"POST //checkout",
    "30,000 characters": b"GET /" + b"%ff" * 10_000,
    "no path": b"OPTIONS *",
}


@pytest.mark.parametrize("target", list(UNKNOWN_TARGETS.values()), ids=list(UNKNOWN_TARGETS))
def test_an_unusual_path_is_not_found(shop: InMemoryShop, target: bytes) -> None:
    """A request with an unusual path that matches no route gets 404 and is recorded."""
    responses = exchange_with_each_parser(shop, raw_request(target))
    results = [(response.status, response.json["detail"]) for response in responses]
    assert results == [(404, "Not Found"), (404, "Not Found")]
    assert_recorded(shop, *responses)


INVALID_REQUESTS = {
    "byte in the path": raw_request(b"POST /check\xffout"),
    "byte in the query": raw_request(b"POST /checkout?\xff"),
    "byte in the method": raw_request(b"P\xffST /checkout"),
    "byte in a header name": raw_request(CHECKOUT_TARGET, b"X-\xff: a"),
    "bytes in Transfer-Encoding": raw_request(CHECKOUT_TARGET, b"Transfer-Encoding: " + NOT_UTF8),
    "not HTTP": NOT_UTF8 * 10 + b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", list(INVALID_REQUESTS.values()), ids=list(INVALID_REQUESTS))
def test_uvicorn_refuses_what_is_not_http(shop: InMemoryShop, sent: bytes) -> None:
    """Bytes that uvicorn cannot parse get 400 and no record, and the next request is served."""
    for parser in PARSERS:
        (response,) = exchange(shop, parser, sent)
        assert (response.status, response.body) == (400, b"Invalid HTTP request received.")
    assert_recorded(shop)
    assert_recorded(shop, *exchange(shop, "httptools", raw_request()))


async def echo(request: Request) -> JSONResponse:
    """Return the headers and the query of ``request`` as JSON, with each byte as one character."""
    headers = {
        name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]
    }
    query = request.scope["query_string"].decode("latin-1")
    return JSONResponse({"headers": headers, "query": query})


@pytest.mark.parametrize("parser", PARSERS)
def test_the_application_receives_the_original_bytes(shop: InMemoryShop, parser: str) -> None:
    """The application receives headers and query unchanged, and telemetry has an escaped copy."""
    shop.checkout.add_route("/echo", echo)
    sent = raw_request(
        b"GET /echo?a=%ff", b"User-Agent: " + NOT_UTF8, b"X-Utf-8: \xe2\x98\x83", host=NOT_UTF8
    )
    (response,) = exchange(shop, parser, sent)
    headers = response.json["headers"]
    received = [headers[name].encode("latin-1") for name in ("user-agent", "host", "x-utf-8")]
    assert received == [NOT_UTF8, NOT_UTF8, b"\xe2\x98\x83"]
    assert response.json["query"] == "a=%ff"
    span = shop.spans_by_role[CHECKOUT]
    assert attributes_of(span)["user_agent.original"] == r"\xff\x\x80"
    assert_recorded(shop, response)


def test_any_asgi_server_may_send_unusual_values(shop: InMemoryShop) -> None:
    """A request that only another ASGI server than uvicorn could pass on is recorded as well."""
    scope = {
        "type": "http",
        "http_version": "2",
        "method": "GET",
        "path": "/\udcff\x00",
        "query_string": NOT_UTF8,
        "scheme": "\udcff",
        "headers": [(b"x-" + NOT_UTF8, NOT_UTF8), (b"host", NOT_UTF8)],
    }
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:  # noqa: ANN401  (ASGI)
        messages.append(message)

    asyncio.run(shop.checkout(scope, receive, send))
    start, body = messages[:2]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    response = RawResponse(start["status"], headers, body["body"])
    assert response.status == 404
    assert_recorded(shop, response)
