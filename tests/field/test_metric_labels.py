"""The metrics with any scheme that a proxy reports, and with any format that a scrape asks for."""

import asyncio
from collections import Counter
from typing import Any

import httpx2

from tests.field.raw_http import DURATION, NOT_UTF8, exchange, raw_request
from tests.in_memory_shop import InMemoryShop

SCHEMES = {
    "http": "http",
    "https": "https",
    "ws": "http",
    "wss": "https",
    "gopher": "http",
    "": "http",
}
"""The value of the label ``url.scheme`` for each scheme that a proxy reports."""


def test_the_scheme_label_is_http_or_https(shop: InMemoryShop) -> None:
    """The label ``url.scheme`` is http or https, whatever scheme a proxy reports."""
    for scheme in SCHEMES:
        forwarded = b"X-Forwarded-Proto: " + scheme.encode()
        exchange(shop, "httptools", raw_request(b"GET /" + scheme.encode(), forwarded))
    counted = {sample.labels["url.scheme"]: sample.count for sample in shop.samples()[DURATION]}
    assert counted == Counter(SCHEMES.values())


FORMATS = ("text/plain", "application/openmetrics-text")
VERSIONS = ("abc", "", "1", "1.x", "-1.0.0", "9" * 400, "1.0.0.0", "1_0", "²", "1.²", "9" * 5000)
PARAMETERS = ("version", "=", ";;;", "q=abc", "version=1.0.0;version=abc")
ESCAPINGS = ("", "abc", "dots", "values", "allow-utf-8")
ALTERNATIVES = ("*/*", "text/plain;version=abc", "text/plain;version=")
ACCEPT_VALUES = [
    *(f"{name};version={version}" for name in FORMATS for version in VERSIONS),
    *(f"{name};{parameter}" for name in FORMATS for parameter in PARAMETERS),
    *(f"{name};version=1.0.0;escaping={escaping}" for name in FORMATS for escaping in ESCAPINGS),
    *(f"{name},{alternative}" for name in FORMATS for alternative in ALTERNATIVES),
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
]
ACCEPT_HEADERS = [
    *([(b"accept", value.encode("latin-1"))] for value in ACCEPT_VALUES),
    [(b"accept", NOT_UTF8)],
    [(b"accept", b"*/*") for _ in range(9)],
]


def test_metrics_are_shown_for_any_accept_header(shop: InMemoryShop) -> None:
    """Both services show their metrics in one of two formats, with any header ``Accept``."""
    shop.request()

    async def scrape(app: Any, method: str) -> list[httpx2.Response]:  # noqa: ANN401  (ASGI)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            return [
                await http.request(method, "/metrics", headers=headers)
                for headers in ACCEPT_HEADERS
            ]

    for app in (shop.checkout, shop.payment):
        get_responses = asyncio.run(scrape(app, "GET"))
        responses = get_responses + asyncio.run(scrape(app, "HEAD"))
        assert {response.status_code for response in responses} == {200}
        types = {response.headers["content-type"].split(";")[0] for response in responses}
        assert types == set(FORMATS)
        # However names are escaped.
        assert all("checkout" in response.text for response in get_responses)
