"""Schemes and Accept."""

import asyncio
from collections import Counter
from typing import Any

import httpx2

from tests.field.raw_http import (
    DURATION,
    ODD,
    converse,
    request,
)
from tests.in_memory_shop import InMemoryShop

SCHEMES = {
    "http": "http",
    "https": "https",
    "ws": "http",
    "wss": "https",
    "gopher": "http",
    "": "http",
}


def test_a_scheme_is_one_of_two(shop: InMemoryShop) -> None:
    """A proxy may say that the client came by websocket, or anything: the label is http or https, as it was spoken."""
    for scheme in SCHEMES:
        converse(
            shop,
            "httptools",
            request(b"GET /" + scheme.encode(), b"X-Forwarded-Proto: " + scheme.encode()),
        )
    counted = {each.labels["url.scheme"]: each.count for each in shop.samples()[DURATION]}
    assert counted == Counter(SCHEMES.values())


EXPOSITIONS = ("text/plain", "application/openmetrics-text")
VERSIONS = ("abc", "", "1", "1.x", "-1.0.0", "9" * 400, "1.0.0.0", "1_0", "²", "1.²", "9" * 5000)
ACCEPTS = [
    *(f"{kind};version={version}" for kind in EXPOSITIONS for version in VERSIONS),
    *(
        f"{kind};{rest}"
        for kind in EXPOSITIONS
        for rest in ("version", "=", ";;;", "q=abc", "version=1.0.0;version=abc")
    ),
    *(
        f"{kind};version=1.0.0;escaping={how}"
        for kind in EXPOSITIONS
        for how in ("", "abc", "dots", "values", "allow-utf-8")
    ),
    *(
        f"{first},{second}"
        for first in EXPOSITIONS
        for second in ("*/*", "text/plain;version=abc", "text/plain;version=")
    ),
    *(
        "",
        ",",
        ";",
        "=",
        "*/*;q=x",
        "application/*",
        "\\",
        '"',
        "a" * 60_000,
        "," * 5000,
        "text/plain; version = abc",
    ),
]


def test_metrics_never_fail_on_accept(shop: InMemoryShop) -> None:
    """Whatever Accept says, the metrics are shown in one of the two formats, to GET and HEAD, in both services."""
    shop.request()

    async def ask(app: Any, method: str) -> list[httpx2.Response]:  # noqa: ANN401  (an ASGI app)
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://shop"
        ) as http:
            sent = [[(b"accept", each.encode("latin-1"))] for each in ACCEPTS] + [
                [(b"accept", ODD)],
                [(b"accept", b"*/*")] * 9,
            ]
            return [await http.request(method, "/metrics", headers=each) for each in sent]

    for app in (shop.checkout, shop.payment):
        shown, heads = asyncio.run(ask(app, "GET")), asyncio.run(ask(app, "HEAD"))
        assert {answer.status_code for answer in [*shown, *heads]} == {200}
        assert {answer.headers["content-type"].split(";")[0] for answer in [*shown, *heads]} == set(
            EXPOSITIONS
        )
        assert all("checkout" in answer.text for answer in shown), "whatever is escaped how"
