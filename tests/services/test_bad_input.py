"""Bad input: a clear answer, never a crash; and what payment answers and what an operator sets is input too."""

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

import services.checkout.__main__ as checkout
import services.payment.__main__ as payment
from tests.conftest import Build, House
from three_pillar_demo.verify.outcomes import CHECKOUT

JSON = {"content-type": "application/json"}
SECRET = "31337"  # noqa: S105  (it stands for what a customer mistyped, and may not come back)
JARGON = ("tuple", "dictionary", "Decimal object", "validation", "Traceback", "pydantic")
MAX_BYTES = 64 * 1024


def item(**changes: object) -> dict[str, Any]:
    """A basket of one item, with something about the item changed."""
    return {"items": [{"sku": "tea", "quantity": 2, "unit_price": "4.50"} | changes]}


FIELDS: dict[str, tuple[object, str]] = {
    "items are a string": ({"items": "31337"}, "items: "),
    "items are null": ({"items": None}, "items: "),
    "no items": ({"items": []}, "items: "),
    "too many items": ({"items": item()["items"] * 51}, "items: "),
    "an item is a number": ({"items": [31337]}, "items[0]: "),
    "the second item is wrong": (
        {"items": [*item()["items"], *item(quantity=0)["items"]]},
        "items[1].quantity: ",
    ),
    "no price": ({"items": [{"sku": "tea", "quantity": 1}]}, "items[0].unit_price: "),
    "negative quantity": (item(quantity=-31337), "items[0].quantity: "),
    "no quantity at all": (item(quantity=0), "items[0].quantity: "),
    "huge quantity": (item(quantity=31337), "items[0].quantity: "),
    "quantity of 40 digits": (item(quantity=31337 * 10**36), "items[0].quantity: "),
    "quantity is a string": (item(quantity="31337"), "items[0].quantity: "),
    "quantity is a fraction": (item(quantity=1.31337), "items[0].quantity: "),
    "quantity is a boolean": (item(quantity=True), "items[0].quantity: "),
    "negative price": (item(unit_price=-31337), "items[0].unit_price: "),
    "no price at all": (item(unit_price="0.00"), "items[0].unit_price: "),
    "huge price": (item(unit_price="3133700000"), "items[0].unit_price: "),
    "a price with an endless exponent": (item(unit_price="31337e999999"), "items[0].unit_price: "),
    "too many decimals": (item(unit_price="1.31337"), "items[0].unit_price: "),
    "a float's endless decimals": (item(unit_price=0.1 + 0.2), "items[0].unit_price: "),
    "price is a word": (item(unit_price="free31337"), "items[0].unit_price: "),
    "price is a list": (item(unit_price=[31337]), "items[0].unit_price: "),
    "price is a boolean": (item(unit_price=True), "items[0].unit_price: "),
    "price is NaN": (item(unit_price=float("nan")), "items[0].unit_price: "),
    "price is Infinity": (item(unit_price=float("inf")), "items[0].unit_price: "),
    "price is NaN in words": (item(unit_price="NaN"), "items[0].unit_price: "),
    "a total over the limit": (item(quantity=1000, unit_price="3133.70"), "total"),
    "long sku": (item(sku="31337" * 13), "items[0].sku: "),
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
    "unknown field of an item": (item(colour="31337"), "items[0].colour: "),
    "unknown field with an endless name": ({"a\r\nb" * 5000: "31337"}, "a"),
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
    "bytes that are no text": (b'{"card": "31337\xff"}', JSON, 400, "body"),
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
    "a content type that is none": (
        b'{"card": "31337"}',
        {"content-type": "///"},
        422,
        "application/json",
    ),
    "one byte too many": (b" " * (MAX_BYTES - 1) + b"{}", JSON, 413, f"over {MAX_BYTES} bytes"),
}
BODIES |= {
    name: (json.dumps(body).encode(), JSON, 422, says) for name, (body, says) in FIELDS.items()
}


def refused(house: House, answer: httpx2.Response, status: int, says: str) -> None:
    """Check that a request was refused with a reason fit for a person, and that nothing else happened."""
    detail = answer.json()["detail"]
    assert (answer.status_code, answer.json()["outcome"]) == (status, "invalid")
    assert says in detail
    assert len(detail) < 300, "a sentence, not a page"
    assert detail.isprintable(), "one line"
    assert not [word for word in JARGON if word in detail], detail
    assert " more)" not in detail, "one mistake is reported as one"
    assert list(house.roles) == [CHECKOUT], "payment was not asked"
    assert house.roles[CHECKOUT].status.status_code is StatusCode.UNSET
    (line,) = house.lines()
    assert (line["level"], line["outcome"]) == ("warning", "invalid")
    # Ids, moments and durations have digits of their own, now and then the secret's.
    told = f"{answer.text} {line} {house.roles[CHECKOUT].to_json()}"
    for chance in (line["trace_id"], line["span_id"], str(line["http.server.request.duration"])):
        told = told.replace(chance, "")
    assert SECRET not in re.sub(r":\d\d\.\d+Z", "", told), "the value is echoed"


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"), list(BODIES.values()), ids=list(BODIES)
)
def test_bad_input_is_refused_in_words(
    house: House, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    """A bad body gets a 4xx that names the field and what is allowed, never the value, and disturbs nothing."""
    refused(house, house.ask(content=body, headers=headers), status, says)
    assert house.ask().status_code == 200, "the next customer is served"


def test_several_mistakes_are_counted(house: House) -> None:
    """An answer to several mistakes names the first and says how many more there are."""
    answer = house.ask(json={"card": "", "currency": "", "coupon": 1})
    assert answer.json()["detail"].endswith("(and 2 more)")


def test_a_body_that_admits_its_size_is_refused_unread(house: House) -> None:
    """A declared length over the limit gets its 413 before one byte is read."""

    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    answer = house.ask(content=body(), headers=JSON | {"content-length": str(MAX_BYTES + 1)})
    refused(house, answer, 413, f"over {MAX_BYTES} bytes")
    assert answer.headers["connection"] == "close"


def test_a_body_in_chunks_is_refused_at_the_limit(house: House) -> None:
    """A body without a declared length is read up to the limit and no further."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 1000
            yield b" " * 1000

    refused(house, house.ask(content=body(), headers=JSON), 413, f"over {MAX_BYTES} bytes")
    assert read <= MAX_BYTES + 1000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b" " * (MAX_BYTES - 2) + b"{}",
        json.dumps(
            {"items": item()["items"] * 50, "card": "x" * 64, "order_id": "y" * 64}
        ).encode(),
        json.dumps(item(quantity=1000, unit_price=1000)).encode(),
        json.dumps(item(quantity=1, unit_price=0.01, sku="A.b_c-9")).encode(),
    ],
)
def test_the_limits_themselves_are_allowed(house: House, body: bytes) -> None:
    """No basket is the default basket, and everything exactly at its limit is accepted, by payment too."""
    answer = house.ask(content=body, headers=JSON)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "success"), answer.text


@pytest.mark.parametrize(
    ("price", "total"),
    [("4.5", "9.00"), (4, "8.00"), ("1" + "." + "0" * 40, "2.00"), ("1e2", "200.00")],
)
def test_an_amount_has_two_decimals(house: House, price: object, total: str) -> None:
    """However a price is spelled, the customer reads an amount with two decimals."""
    assert house.ask(json=item(unit_price=price)).json()["amount"] == total


CHARGE = {"order_id": "a", "amount": "9.00", "currency": "EUR", "card": "ordinary"}


@pytest.mark.parametrize(
    "changes", [{"amount": "-1"}, {"amount": "NaN"}, {"card": ""}, {"order_id": None}, {"tip": 1}]
)
def test_payment_refuses_bad_charges_too(house: House, changes: dict[str, object]) -> None:
    """Payment trusts its caller no more than checkout does."""
    answer = house.ask(path="/charges", json=CHARGE | changes)
    assert (answer.status_code, answer.json()["outcome"]) == (422, "invalid")
    assert answer.json()["detail"].startswith(next(iter(changes)))


def _broken(error: type[httpx2.HTTPError]) -> Callable[[httpx2.Request], httpx2.Response]:
    def handler(_request: httpx2.Request) -> httpx2.Response:
        raise error("broken off")

    return handler


ANSWERS: dict[str, Callable[[httpx2.Request], httpx2.Response]] = {
    "not JSON": lambda _: httpx2.Response(200, text="<html>"),
    "bytes that are no text": lambda _: httpx2.Response(200, content=b"\xff\xfe\xff"),
    "a list": lambda _: httpx2.Response(200, json=[]),
    "no outcome": lambda _: httpx2.Response(200, json={}),
    "an unknown outcome": lambda _: httpx2.Response(200, json={"outcome": "perhaps"}),
    "an outcome of the wrong type": lambda _: httpx2.Response(
        200, json={"outcome": ["authorised"]}
    ),
    "deep nesting": lambda _: httpx2.Response(200, content=b"[" * 100_000),
    "a promise with the wrong status": lambda _: httpx2.Response(
        201, json={"outcome": "authorised"}
    ),
    "a redirect": lambda _: httpx2.Response(307, headers={"location": "http://elsewhere/"}),
    "not found": lambda _: httpx2.Response(404),
    "broken compression": lambda _: httpx2.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(b"not gzip")
    ),
    "the connection lost while reading": _broken(httpx2.ReadError),
    "half an answer": _broken(httpx2.RemoteProtocolError),
}


@pytest.mark.parametrize("answers", list(ANSWERS.values()), ids=list(ANSWERS))
def test_whatever_payment_answers_checkout_stands(
    build: Build, answers: Callable[[httpx2.Request], httpx2.Response]
) -> None:
    """An answer from payment that makes no sense is ``payment_crashed``: 502, never a crash of checkout or a sale."""
    answer = build(transport=httpx2.MockTransport(answers)).ask()
    assert (answer.status_code, answer.json()["outcome"]) == (502, "payment_crashed")


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
def test_a_bad_setting_is_explained(
    name: str,
    value: str,
    allowed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A bad setting ends the process with one line that names the variable, its value and what is allowed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        (payment.Settings if name.startswith("PAYMENT") else checkout.Settings).load()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(said.splitlines()) == 1
    assert f"{name}={value}" in said
    assert allowed in said


def test_a_service_refuses_to_start_with_a_bad_setting() -> None:
    """The real process ends at once, with a status that a launcher notices and without a traceback."""
    environment = os.environ | {"PAYMENT_FAILURE_RATE": "often"}
    command = [sys.executable, "-m", "services.payment"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("PAYMENT_FAILURE_RATE=often: ")
    assert len(done.stderr.splitlines()) == 1
