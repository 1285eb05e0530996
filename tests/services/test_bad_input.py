"""Invalid requests, invalid responses of payment and invalid settings each give a clear error."""

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from opentelemetry.trace import StatusCode

import services.checkout.service as checkout
import services.payment.service as payment
from tests.conftest import ShopFactory
from tests.in_memory_shop import InMemoryShop
from three_pillar_demo.verify.outcomes import CHECKOUT
from three_pillars import ConfigurationError

JSON = {"content-type": "application/json"}
SECRET = "31337"  # noqa: S105  (it stands for what a customer mistyped)
"""Digits that occur in every invalid value, and that no response and no telemetry may repeat."""
JARGON = ("tuple", "dictionary", "Decimal object", "validation", "Traceback", "pydantic")
MAX_BYTES = 64 * 1024


def one_item(**changes: object) -> dict[str, Any]:
    """Return the body of a checkout request with one item, in which ``changes`` replace fields."""
    return {"items": [{"sku": "tea", "quantity": 2, "unit_price": "4.50"} | changes]}


FIELDS: dict[str, tuple[object, str]] = {
    "items are a string": ({"items": "31337"}, "items: "),
    "items are null": ({"items": None}, "items: "),
    "no items": ({"items": []}, "items: "),
    "too many items": ({"items": one_item()["items"] * 51}, "items: "),
    "an item is a number": ({"items": [31337]}, "items[0]: "),
    "the second item is wrong": (
        {"items": [*one_item()["items"], *one_item(quantity=0)["items"]]},
        "items[1].quantity: ",
    ),
    "no price": ({"items": [{"sku": "tea", "quantity": 1}]}, "items[0].unit_price: "),
    "negative quantity": (one_item(quantity=-31337), "items[0].quantity: "),
    "no quantity at all": (one_item(quantity=0), "items[0].quantity: "),
    "huge quantity": (one_item(quantity=31337), "items[0].quantity: "),
    "quantity of 40 digits": (one_item(quantity=31337 * 10**36), "items[0].quantity: "),
    "quantity is a string": (one_item(quantity="31337"), "items[0].quantity: "),
    "quantity is a fraction": (one_item(quantity=1.31337), "items[0].quantity: "),
    "quantity is a boolean": (one_item(quantity=True), "items[0].quantity: "),
    "negative price": (one_item(unit_price=-31337), "items[0].unit_price: "),
    "no price at all": (one_item(unit_price="0.00"), "items[0].unit_price: "),
    "huge price": (one_item(unit_price="3133700000"), "items[0].unit_price: "),
    "a price with a huge exponent": (one_item(unit_price="31337e999999"), "items[0].unit_price: "),
    "too many decimals": (one_item(unit_price="1.31337"), "items[0].unit_price: "),
    "decimals of a float": (one_item(unit_price=0.1 + 0.2), "items[0].unit_price: "),
    "price is a word": (one_item(unit_price="free31337"), "items[0].unit_price: "),
    "price is a list": (one_item(unit_price=[31337]), "items[0].unit_price: "),
    "price is a boolean": (one_item(unit_price=True), "items[0].unit_price: "),
    "price is NaN": (one_item(unit_price=float("nan")), "items[0].unit_price: "),
    "price is Infinity": (one_item(unit_price=float("inf")), "items[0].unit_price: "),
    "price is the string NaN": (one_item(unit_price="NaN"), "items[0].unit_price: "),
    "a total over the limit": (one_item(quantity=1000, unit_price="3133.70"), "total"),
    "long sku": (one_item(sku="31337" * 13), "items[0].sku: "),
    "card is a number": ({"card": 31337}, "card: "),
    "card is null": ({"card": None}, "card: "),
    "card is empty": ({"card": ""}, "card: "),
    "long card": ({"card": "31337" * 13}, "card: "),
    "card has a line break": ({"card": "31337\n"}, "card: "),
    "card has half a character": ({"card": "31337\ud800"}, "card: "),
    "long currency": ({"currency": "EUR31337"}, "currency: "),
    "small currency": ({"currency": "eur"}, "currency: "),
    "order id is a path": ({"order_id": "../31337"}, "order_id: "),
    "unknown field": ({"coupon": "31337"}, "coupon: "),
    "unknown field of an item": (one_item(colour="31337"), "items[0].colour: "),
    "unknown field with a huge name": ({"a\r\nb" * 5000: "31337"}, "a"),
    "a list": ([31337], "JSON object"),
    "a string": ("31337", "JSON object"),
    "a number": (31337, "JSON object"),
    "not a number": (float("nan"), "JSON object"),
}
BODIES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "a word": (b"hello 31337", JSON, 400, "not JSON"),
    "half an object": (b'{"card": "31337"', JSON, 400, "not JSON"),
    "two objects": (b"{}{}", JSON, 400, "not JSON"),
    "only a space": (b" ", JSON, 400, "not JSON"),
    "bytes that are not UTF-8": (b'{"card": "31337\xff"}', JSON, 400, "body"),
    "deep nesting": (b"[" * 30_000 + b"]" * 30_000, JSON, 400, "body"),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, JSON, 400, "body"),
    "an integer of 5000 digits": (b'{"card": ' + b"31337" * 1000 + b"}", JSON, 400, "body"),
    "no content type": (b'{"card": "31337"}', {}, 422, "application/json"),
    "a form": (
        b'{"card": "31337"}',
        {"content-type": "application/x-www-form-urlencoded"},
        422,
        "application/json",
    ),
    "plain text": (b'{"card": "31337"}', {"content-type": "text/plain"}, 422, "application/json"),
    "an invalid content type": (
        b'{"card": "31337"}',
        {"content-type": "///"},
        422,
        "application/json",
    ),
    "one byte too many": (b" " * (MAX_BYTES - 1) + b"{}", JSON, 413, f"over {MAX_BYTES} bytes"),
}
BODIES |= {
    name: (json.dumps(body).encode(), JSON, 422, expected)
    for name, (body, expected) in FIELDS.items()
}


def assert_refused(
    shop: InMemoryShop, response: httpx2.Response, status: int, expected: str
) -> None:
    """Assert that checkout refused a request clearly and did not call payment.

    The response has ``status``, and a detail of one line that contains ``expected``. Neither the
    response nor the telemetry repeats ``SECRET``.
    """
    detail = response.json()["detail"]
    assert (response.status_code, response.json()["outcome"]) == (status, "invalid")
    assert expected in detail
    assert len(detail) < 300, "a sentence, not a page"
    assert detail.isprintable(), "one line"
    assert not [word for word in JARGON if word in detail], detail
    assert " more)" not in detail, "one mistake is reported as one"
    assert list(shop.spans_by_role) == [CHECKOUT], "payment was called"
    span = shop.spans_by_role[CHECKOUT]
    assert span.status.status_code is StatusCode.UNSET
    (line,) = shop.lines()
    assert (line["level"], line["outcome"]) == ("warning", "invalid")
    everything = f"{response.text} {line} {span.to_json()}"
    # Ids, times and durations have digits of their own, which may happen to be the secret's.
    digits_by_chance = (
        line["trace_id"],
        line["span_id"],
        str(line["http.server.request.duration"]),
    )
    for digits in digits_by_chance:
        everything = everything.replace(digits, "")
    everything = re.sub(r":\d\d\.\d+Z", "", everything)
    assert SECRET not in everything, "the value is repeated"


@pytest.mark.parametrize(
    ("body", "headers", "status", "expected"), list(BODIES.values()), ids=list(BODIES)
)
def test_invalid_body_is_refused_with_a_reason(
    shop: InMemoryShop, body: bytes, headers: dict[str, str], status: int, expected: str
) -> None:
    """An invalid body gets a 4xx response that names the field and the rule, but not the value."""
    assert_refused(shop, shop.request(content=body, headers=headers), status, expected)
    assert shop.request().status_code == 200, "the next customer is served"


def test_several_mistakes_are_counted(shop: InMemoryShop) -> None:
    """The response to several mistakes names the first, and the number of the others."""
    response = shop.request(json={"card": "", "currency": "", "coupon": 1})
    assert response.json()["detail"].endswith("(and 2 more)")


def test_declared_length_over_the_limit_is_refused_unread(shop: InMemoryShop) -> None:
    """A request whose Content-Length is over the limit gets 413 before its body is read."""

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    headers = JSON | {"content-length": str(MAX_BYTES + 1)}
    response = shop.request(content=body(), headers=headers)
    assert_refused(shop, response, 413, f"over {MAX_BYTES} bytes")
    assert response.headers["connection"] == "close"


def test_a_body_in_chunks_is_refused_at_the_limit(shop: InMemoryShop) -> None:
    """A body without a Content-Length gets 413 as soon as it exceeds the limit of 64 KiB."""
    bytes_read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal bytes_read
        for _ in range(1000):
            bytes_read += 1000
            yield b" " * 1000

    response = shop.request(content=body(), headers=JSON)
    assert_refused(shop, response, 413, f"over {MAX_BYTES} bytes")
    assert bytes_read <= MAX_BYTES + 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b" " * (MAX_BYTES - 2) + b"{}",
        json.dumps(
            {"items": one_item()["items"] * 50, "card": "x" * 64, "order_id": "y" * 64}
        ).encode(),
        json.dumps(one_item(quantity=1000, unit_price=1000)).encode(),
        json.dumps(one_item(quantity=1, unit_price=0.01, sku="A.b_c-9")).encode(),
    ],
)
def test_values_at_their_limits_are_accepted(shop: InMemoryShop, body: bytes) -> None:
    """Both services accept values exactly at their limits, and a request without a basket."""
    response = shop.request(content=body, headers=JSON)
    assert (response.status_code, response.json()["outcome"]) == (200, "success"), response.text


@pytest.mark.parametrize(
    ("price", "total"),
    [("4.5", "9.00"), (4, "8.00"), ("1" + "." + "0" * 40, "2.00"), ("1e2", "200.00")],
)
def test_an_amount_has_two_decimals(shop: InMemoryShop, price: object, total: str) -> None:
    """The amount in the response has two decimals, whatever the notation of the price."""
    assert shop.request(json=one_item(unit_price=price)).json()["amount"] == total


CHARGE = {"order_id": "a", "amount": "9.00", "currency": "EUR", "card": "ordinary"}


@pytest.mark.parametrize(
    "changes", [{"amount": "-1"}, {"amount": "NaN"}, {"card": ""}, {"order_id": None}, {"tip": 1}]
)
def test_payment_refuses_invalid_charges(shop: InMemoryShop, changes: dict[str, object]) -> None:
    """Payment refuses an invalid charge with 422, and names the invalid field."""
    response = shop.request(path="/charges", json=CHARGE | changes)
    assert (response.status_code, response.json()["outcome"]) == (422, "invalid")
    assert response.json()["detail"].startswith(next(iter(changes)))


def raising(error: type[httpx2.HTTPError]) -> Callable[[httpx2.Request], httpx2.Response]:
    """Return a handler for ``MockTransport`` that raises ``error`` for every request."""

    def handler(_request: httpx2.Request) -> httpx2.Response:
        raise error("broken off")

    return handler


ANSWERS: dict[str, Callable[[httpx2.Request], httpx2.Response]] = {
    "not JSON": lambda _: httpx2.Response(200, text="<html>"),
    "bytes that are not UTF-8": lambda _: httpx2.Response(200, content=b"\xff\xfe\xff"),
    "a list": lambda _: httpx2.Response(200, json=[]),
    "no outcome": lambda _: httpx2.Response(200, json={}),
    "an unknown outcome": lambda _: httpx2.Response(200, json={"outcome": "perhaps"}),
    "an outcome of the wrong type": lambda _: httpx2.Response(
        200, json={"outcome": ["authorised"]}
    ),
    "deep nesting": lambda _: httpx2.Response(200, content=b"[" * 100_000),
    "an outcome with the wrong status": lambda _: httpx2.Response(
        201, json={"outcome": "authorised"}
    ),
    "a redirect": lambda _: httpx2.Response(307, headers={"location": "http://elsewhere/"}),
    "not found": lambda _: httpx2.Response(404),
    "broken compression": lambda _: httpx2.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"not gzip")
    ),
    "the connection lost while reading": raising(httpx2.ReadError),
    "half an answer": raising(httpx2.RemoteProtocolError),
}


@pytest.mark.parametrize("answers", list(ANSWERS.values()), ids=list(ANSWERS))
def test_unusable_answer_of_payment_is_an_outcome(
    build_shop: ShopFactory, answers: Callable[[httpx2.Request], httpx2.Response]
) -> None:
    """An unusable response of payment gives the outcome ``payment_crashed`` with status 502."""
    response = build_shop(transport=httpx2.MockTransport(answers)).request()
    assert (response.status_code, response.json()["outcome"]) == (502, "payment_crashed")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PAYMENT_PORT", "eighty", "1 to 65535"),
        ("PAYMENT_FAILURE_RATE", "20", "0 to 1"),
        ("PAYMENT_FAILURE_RATE", "nan", "0 to 1"),
        ("PAYMENT_SLOW_SECONDS", "-1", "0 to 60"),
        ("PAYMENT_LATENCY_MIN", "9", "not be over"),
        ("PAYMENT_SEED", "x", "whole number"),
        ("CHECKOUT_WORKERS", "0", "1 to 64"),
        ("CHECKOUT_PAYMENT_TIMEOUT", "0", "over 0"),
        ("CHECKOUT_PAYMENT_URL", "payment:8001", "like http://127.0.0.1:8001"),
        ("CHECKOUT_PAYMENT_URL", "http://payment:8001/charges", "like http://127.0.0.1:8001"),
        ("CHECKOUT_PAYMENT_URL", "http://payment:port", "like http://127.0.0.1:8001"),
    ],
)
def test_invalid_setting_is_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    """An invalid setting raises an error of one line: the variable, its value, what is allowed."""
    settings = payment.Settings if name.startswith("PAYMENT") else checkout.Settings
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as raised:
        settings.load()
    message = str(raised.value)
    assert len(message.splitlines()) == 1
    assert f"{name}={value}" in message
    assert allowed in message


def test_service_with_an_invalid_setting_does_not_start() -> None:
    """A service with an invalid setting ends with exit code 2 and one line on stderr."""
    process = subprocess.run(
        [sys.executable, "-m", "services.payment"],
        env=os.environ | {"PAYMENT_FAILURE_RATE": "often"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("PAYMENT_FAILURE_RATE=often: ")
    assert len(process.stderr.splitlines()) == 1
