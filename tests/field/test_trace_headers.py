"""Baggage and trace ids."""

import pytest
from opentelemetry.trace import format_trace_id

from tests.conftest import ShopFactory
from tests.field.raw_http import SECRET, SPAN, TRACE, TRACEPARENT, converse, request, told
from tests.in_memory_shop import CANONICAL, InMemoryShop, attributes_of

BIG = SECRET * 10_000
SHAPES = {
    "60 kB": f"k={BIG}",
    "a key of 60 kB": f"{BIG}=1",
    "3,000 members": ",".join(f"k{number}={SECRET}" for number in range(3000)),
    "200 small members": ",".join(f"k{number}={SECRET}" for number in range(200)),
    "9 kB": f"k={SECRET * 1500}",
    "5 kB": f"k={SECRET * 800}",
    "commas": "," * 60_000,
    "equals signs": "=" * 9000,
    "nothing": "",
    "no pair": SECRET,
    "a space in the key": f"{SECRET} k=1",
    "line breaks": f"a%0d%0aX-{SECRET}%3a%20y=1%0d%0aX: {SECRET}",
    "a zero": f"{SECRET}=%00{SECRET}",
    "no UTF-8": f"k=%ff{SECRET},{SECRET}=%ed%a0%80",
    "half an escape": f"k=%zz{SECRET}%",
    "snow": f"☃={SECRET}☃",
    "quotes": f'k="{SECRET}',
    "JSON": f'k={{"{SECRET}": "\\u0000"}}',
    "properties": f"k=1;{SECRET}=2;" + "x=1;" * 1500,
    "twice": f"{SECRET}={SECRET},{SECRET}={SECRET}",
}


@pytest.mark.parametrize("header", ["baggage", "tracestate"])
@pytest.mark.parametrize("value", list(SHAPES.values()), ids=list(SHAPES))
def test_what_a_client_carries_is_not_written_down(
    shop: InMemoryShop, header: str, value: str
) -> None:
    """Baggage and tracestate of any size and shape sell as ever, no value of theirs is written, and lines stay short."""
    carried = [(b"traceparent", TRACEPARENT.encode()), (header.encode(), value.encode())]
    for headers in (carried, carried * 2, carried[1:]):
        answer = shop.request(headers=headers)
        assert (answer.status_code, answer.json()["outcome"]) == (200, "success")
    assert SECRET not in shop.stdout.getvalue().lower()
    assert SECRET not in str([(each.body, attributes_of(each)) for each in shop.records]).lower()
    assert max(map(len, shop.stdout.getvalue().splitlines())) < 1000
    assert len([each for each in shop.lines() if CANONICAL in each]) == 3 * 2


NEW = ""
LONG = {
    "User-Agent": b"User-Agent: " + b"a" * 20_000,
    "X-Forwarded-For": b"X-Forwarded-For: " + b"a" * 20_000,
    "tracestate": f"Traceparent: {TRACEPARENT}\r\nTracestate: k=".encode() + b"a" * 20_000,
}


@pytest.mark.parametrize("header", list(LONG.values()), ids=list(LONG))
def test_a_long_header_is_worth_no_line_of_its_own(shop: InMemoryShop, header: bytes) -> None:
    """A header that is cut or dropped for its size adds no line: a stranger does not decide how much is written."""
    told(shop, *converse(shop, "httptools", request(b"POST /checkout", header)))
    assert [line for line in shop.lines() if CANONICAL not in line] == []


STRANGERS: dict[str, tuple[tuple[str, ...], str]] = {
    "sampled": ((TRACEPARENT,), TRACE),
    "not sampled": ((f"00-{TRACE}-{SPAN}-00",), TRACE),
    "other flags": ((f"00-{TRACE}-{SPAN}-fe",), TRACE),
    "a future version": ((f"cc-{TRACE}-{SPAN}-00-what-the-future-will-bring",), TRACE),
    "a small id": ((f"00-{1:032x}-{1:016x}-00",), f"{1:032x}"),
    "no flags": ((f"00-{TRACE}-{SPAN}",), NEW),
    "flags that are none": ((f"00-{TRACE}-{SPAN}-xx",), NEW),
    "more than there is": ((f"00-{TRACE}-{SPAN}-01-more",), NEW),
    "a forbidden version": ((f"ff-{TRACE}-{SPAN}-01",), NEW),
    "all zero": ((f"00-{0:032x}-{SPAN}-00",), NEW),
    "a parent of zeros": ((f"00-{TRACE}-{0:016x}-00",), NEW),
    "upper case": ((TRACEPARENT.upper(),), NEW),
    "too short": ((f"00-{TRACE[2:]}-{SPAN}-00",), NEW),
    "too long": ((f"00-{TRACE}ab-{SPAN}-00",), NEW),
    "no hex": ((f"00-{'x' * 32}-{SPAN}-00",), NEW),
    "digits of another script": ((f"00-{'٣' * 32}-{SPAN}-00",), NEW),
    "words": (("hello",), NEW),
    "empty": (("",), NEW),
    "two alike": ((TRACEPARENT, TRACEPARENT), TRACE),
    "60 kB": (("00-" + "a" * 60_000,), NEW),
}


@pytest.mark.parametrize("unsampled", [False, True], ids=["alone", "with a tracestate"])
@pytest.mark.parametrize(("sent", "expected"), list(STRANGERS.values()), ids=list(STRANGERS))
def test_a_trace_id_in_an_answer_is_somewhere(
    build_shop: ShopFactory, sent: tuple[str, ...], expected: str, unsampled: bool
) -> None:
    """From inside a valid ``traceparent`` is continued whatever its flags say, any other makes a new trace."""
    shop = build_shop(trusted_networks="*")
    headers = [(b"traceparent", each.encode()) for each in sent]
    answer = shop.request(headers=headers + [(b"tracestate", b"theirs=1,=,")] * unsampled)
    trace_id = answer.json()["trace_id"]
    assert trace_id == expected or (not expected and trace_id != TRACE and int(trace_id, 16))
    assert answer.headers["traceresponse"].split("-")[1] == trace_id
    assert {format_trace_id(each.context.trace_id) for each in shop.spans} == {trace_id}
    assert len(shop.spans_by_role) == 4
    assert {line["trace_id"] for line in shop.lines()} == {trace_id}
    assert {format_trace_id(each.trace_id or 0) for each in shop.records} == {trace_id}


def test_two_traceparents_are_one_of_them_or_none(shop: InMemoryShop) -> None:
    """Two different parents make no third thing: the id handed out is in all pillars."""
    other = f"00-{1:032x}-{1:016x}-01"
    trace_id = shop.request(headers=[("traceparent", TRACEPARENT), ("traceparent", other)]).json()[
        "trace_id"
    ]
    assert {format_trace_id(each.context.trace_id) for each in shop.spans} == {trace_id}
    assert {line["trace_id"] for line in shop.lines()} == {trace_id}
