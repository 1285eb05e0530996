"""Odd bytes."""

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.field.raw_http import (
    ODD,
    PARSERS,
    Answer,
    converse,
    request,
    told,
)
from tests.in_memory_shop import InMemoryShop, attributes_of
from three_pillar_demo.verify.outcomes import CHECKOUT

HEADERS = [
    *(
        "User-Agent",
        "Baggage",
        "Tracestate",
        "Traceparent",
        "Accept",
        "Accept-Encoding",
        "Cookie",
        "Authorization",
        "Origin",
    ),
    *(
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "Forwarded",
        "Referer",
        "Upgrade",
        "Expect",
        "X-Unknown",
    ),
    *("Content-Encoding", "If-None-Match"),
]
SOLD = {
    **{name: request(b"POST /checkout", name.encode() + b": " + ODD) for name in HEADERS},
    "Host": request(host=ODD),
    "all of them": request(
        b"POST /checkout", *(name.encode() + b": " + ODD for name in HEADERS), host=ODD
    ),
    "one byte of Latin-1": request(b"POST /checkout", b"User-Agent: caf\xe9"),
    "half a surrogate pair": request(
        b"POST /checkout", b"User-Agent: \xed\xa0\x80", b"Baggage: k=\xed\xa0\x80"
    ),
    "an overlong slash": request(b"POST /checkout", b"User-Agent: \xc0\xaf"),
    "UTF-8": request(b"POST /checkout", "User-Agent: ☃".encode(), "Baggage: ☃=☃".encode()),
    "escapes without a meaning": request(
        b"POST /checkout", b"User-Agent: \\x \\u \\N{} \\", b"Baggage: a=\\x"
    ),
    "Content-Type": request(b"POST /checkout", b"Content-Type: application/json; charset=" + ODD),
    "an escaped query": request(b"POST /checkout?%ff=%00&%zz"),
    "half a bracket in the query": request(b"POST /checkout?["),
    "no Host": request(host=b""),
    "a Host that is half an address": request(host=b"[::1"),
    "a Host with too high a port": request(host=b"shop:99999999"),
    "a Host with a path": request(host=b"user:word@shop/healthz?x#y"),
    "a scheme that is none": request(b"POST /checkout", b"X-Forwarded-Proto: gopher"),
    "a scheme of websockets": request(b"POST /checkout", b"X-Forwarded-Proto: wss"),
    "no client": request(b"POST /checkout", b"X-Forwarded-For: , [::1, \xff,"),
}
"""Purchases that nothing is wrong with but what is not needed."""


@pytest.mark.parametrize("sent", list(SOLD.values()), ids=list(SOLD))
def test_odd_bytes_buy_as_ever(shop: InMemoryShop, sent: bytes) -> None:
    """Bytes that are no text, wherever nobody needs them, sell as ever with one span, one line and one count."""
    bought = [answer for parser in PARSERS for answer in converse(shop, parser, sent)]
    assert [(answer.status, answer.said["outcome"]) for answer in bought] == [(200, "success")] * 2
    told(shop, *bought)


NOWHERE = {
    "bytes": b"GET /check%ffout",
    "zero": b"POST /checkout%00",
    "half a surrogate pair": b"GET /%ed%a0%80",
    "half a bracket": b"GET //[/checkout",
    "a line break": b"GET /checkout%0d%0aX-Sold:%20yes",
    "two slashes": b"POST //checkout",
    "30,000 characters": b"GET /" + b"%ff" * 10_000,
    "no path": b"OPTIONS *",
}


@pytest.mark.parametrize("target", list(NOWHERE.values()), ids=list(NOWHERE))
def test_an_odd_path_is_nowhere(shop: InMemoryShop, target: bytes) -> None:
    """A path that nobody has is a 404 in words with a trace id, whatever it is made of, and told of once."""
    refused = [answer for parser in PARSERS for answer in converse(shop, parser, request(target))]
    assert [(answer.status, answer.said["detail"]) for answer in refused] == [
        (404, "Not Found")
    ] * 2
    told(shop, *refused)


UNREADABLE = {
    "a byte in the path": request(b"POST /check\xffout"),
    "a byte in the query": request(b"POST /checkout?\xff"),
    "a byte in the method": request(b"P\xffST /checkout"),
    "a byte in a header's name": request(b"POST /checkout", b"X-\xff: a"),
    "a byte in Transfer-Encoding": request(b"POST /checkout", b"Transfer-Encoding: " + ODD),
    "no HTTP at all": ODD * 10 + b"\r\n\r\n",
}


@pytest.mark.parametrize("sent", list(UNREADABLE.values()), ids=list(UNREADABLE))
def test_what_is_no_request_is_refused_in_words(shop: InMemoryShop, sent: bytes) -> None:
    """What uvicorn itself cannot read never reaches an app: a 400 in words, nothing counted, and the next one is served."""
    for parser in PARSERS:
        (refused,) = converse(shop, parser, sent)
        assert (refused.status, refused.body) == (400, b"Invalid HTTP request received.")
    told(shop)
    told(shop, *converse(shop, "httptools", request()))


@pytest.mark.parametrize("parser", PARSERS)
def test_the_app_sees_the_bytes_as_they_came(shop: InMemoryShop, parser: str) -> None:
    """Headers and query reach the app byte for byte; what telemetry writes of them is spelled out."""

    async def echo(request: Request) -> JSONResponse:
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.scope["headers"]
        }
        return JSONResponse(
            {"headers": headers, "query": request.scope["query_string"].decode("latin-1")}
        )

    shop.checkout.add_route("/echo", echo)
    (answer,) = converse(
        shop,
        parser,
        request(b"GET /echo?a=%ff", b"User-Agent: " + ODD, b"X-Utf-8: \xe2\x98\x83", host=ODD),
    )
    sent = answer.said["headers"]
    assert [sent[name].encode("latin-1") for name in ("user-agent", "host", "x-utf-8")] == [
        ODD,
        ODD,
        b"\xe2\x98\x83",
    ]
    assert answer.said["query"] == "a=%ff"
    assert attributes_of(shop.spans_by_role[CHECKOUT])["user_agent.original"] == r"\xff\x\x80"
    told(shop, answer)


def test_other_servers_may_hand_over_anything(shop: InMemoryShop) -> None:
    """A name, a query or a path that uvicorn would never pass is told of once all the same, and can be encoded."""

    async def ask() -> Answer:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:  # noqa: ANN401  (ASGI)
            sent.append(message)

        scope = {
            "type": "http",
            "http_version": "2",
            "method": "GET",
            "path": "/\udcff\x00",
            "query_string": ODD,
        }
        await shop.checkout(
            {**scope, "scheme": "\udcff", "headers": [(b"x-" + ODD, ODD), (b"host", ODD)]},
            receive,
            send,
        )
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, sent[1]["body"])

    answer = asyncio.run(ask())
    assert answer.status == 404
    told(shop, answer)
