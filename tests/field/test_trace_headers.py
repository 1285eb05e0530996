"""The headers ``traceparent``, ``tracestate`` and ``baggage`` with unusual values from clients."""

import pytest
from opentelemetry.trace import format_trace_id

from tests.conftest import ShopFactory
from tests.field.raw_http import (
    PARENT_SPAN_ID,
    PARENT_TRACE_ID,
    TRACEPARENT,
    assert_recorded,
    exchange,
    raw_request,
)
from tests.in_memory_shop import CANONICAL, InMemoryShop, attributes_of

SECRET = "s3cret"  # noqa: S105  (it stands for what a client sent and telemetry may not contain)
LONG_SECRET = SECRET * 10_000
CARRIED_VALUES = {
    "60 kB": f"k={LONG_SECRET}",
    "key of 60 kB": f"{LONG_SECRET}=1",
    "3,000 members": ",".join(f"k{number}={SECRET}" for number in range(3000)),
    "200 small members": ",".join(f"k{number}={SECRET}" for number in range(200)),
    "9 kB": f"k={SECRET * 1500}",
    "5 kB": f"k={SECRET * 800}",
    "commas": "," * 60_000,
    "equals signs": "=" * 9000,
    "empty": "",
    "no pair": SECRET,
    "space in the key": f"{SECRET} k=1",
    "line breaks": f"a%0d%0aX-{SECRET}%3a%20y=1%0d%0aX: {SECRET}",
    "zero": f"{SECRET}=%00{SECRET}",
    "not UTF-8": f"k=%ff{SECRET},{SECRET}=%ed%a0%80",
    "incomplete escape": f"k=%zz{SECRET}%",
    "snowmen": f"☃={SECRET}☃",
    "quotes": f'k="{SECRET}',
    "JSON": f'k={{"{SECRET}": "\\u0000"}}',
    "properties": f"k=1;{SECRET}=2;" + "x=1;" * 1500,
    "twice": f"{SECRET}={SECRET},{SECRET}={SECRET}",
}


@pytest.mark.parametrize("header", ["baggage", "tracestate"])
@pytest.mark.parametrize("value", list(CARRIED_VALUES.values()), ids=list(CARRIED_VALUES))
def test_carried_values_are_not_logged(shop: InMemoryShop, header: str, value: str) -> None:
    """A purchase with unusual baggage or tracestate succeeds, and no log contains their values."""
    carried = [(b"traceparent", TRACEPARENT.encode()), (header.encode(), value.encode())]
    for headers in (carried, carried * 2, carried[1:]):
        response = shop.request(headers=headers)
        assert (response.status_code, response.json()["outcome"]) == (200, "success")
    stdout = shop.stdout.getvalue()
    records = [(record.body, attributes_of(record)) for record in shop.records]
    assert SECRET not in stdout.lower()
    assert SECRET not in str(records).lower()
    assert max(len(line) for line in stdout.splitlines()) < 1000
    assert len([line for line in shop.lines() if CANONICAL in line]) == 3 * 2


LONG_HEADERS = {
    "User-Agent": b"User-Agent: " + b"a" * 20_000,
    "X-Forwarded-For": b"X-Forwarded-For: " + b"a" * 20_000,
    "tracestate": f"Traceparent: {TRACEPARENT}\r\nTracestate: k=".encode() + b"a" * 20_000,
}


@pytest.mark.parametrize("header", list(LONG_HEADERS.values()), ids=list(LONG_HEADERS))
def test_a_long_header_adds_no_log_line(shop: InMemoryShop, header: bytes) -> None:
    """A header that is truncated or dropped for its length adds no log line to the request."""
    assert_recorded(shop, *exchange(shop, "httptools", raw_request(b"POST /checkout", header)))
    assert [line for line in shop.lines() if CANONICAL not in line] == []


NEW_TRACE = ""
VALID_IDS = f"{PARENT_TRACE_ID}-{PARENT_SPAN_ID}"
TRACEPARENTS: dict[str, tuple[list[str], str]] = {
    "sampled": ([f"00-{VALID_IDS}-01"], PARENT_TRACE_ID),
    "not sampled": ([f"00-{VALID_IDS}-00"], PARENT_TRACE_ID),
    "unknown flags": ([f"00-{VALID_IDS}-fe"], PARENT_TRACE_ID),
    "future version": ([f"cc-{VALID_IDS}-00-what-the-future-will-bring"], PARENT_TRACE_ID),
    "small id": ([f"00-{1:032x}-{1:016x}-00"], f"{1:032x}"),
    "no flags": ([f"00-{VALID_IDS}"], NEW_TRACE),
    "invalid flags": ([f"00-{VALID_IDS}-xx"], NEW_TRACE),
    "fifth field": ([f"00-{VALID_IDS}-01-more"], NEW_TRACE),
    "forbidden version": ([f"ff-{VALID_IDS}-01"], NEW_TRACE),
    "trace id of zeros": ([f"00-{0:032x}-{PARENT_SPAN_ID}-00"], NEW_TRACE),
    "span id of zeros": ([f"00-{PARENT_TRACE_ID}-{0:016x}-00"], NEW_TRACE),
    "upper case": ([TRACEPARENT.upper()], NEW_TRACE),
    "too short": ([f"00-{PARENT_TRACE_ID[2:]}-{PARENT_SPAN_ID}-00"], NEW_TRACE),
    "too long": ([f"00-{PARENT_TRACE_ID}ab-{PARENT_SPAN_ID}-00"], NEW_TRACE),
    "not hexadecimal": ([f"00-{'x' * 32}-{PARENT_SPAN_ID}-00"], NEW_TRACE),
    "digits of another script": ([f"00-{'٣' * 32}-{PARENT_SPAN_ID}-00"], NEW_TRACE),
    "one word": (["hello"], NEW_TRACE),
    "empty": ([""], NEW_TRACE),
    "twice the same": ([TRACEPARENT, TRACEPARENT], PARENT_TRACE_ID),
    "60 kB": (["00-" + "a" * 60_000], NEW_TRACE),
}
"""Pairs of the ``traceparent`` headers of a trusted caller and the trace id that the request gets.

``NEW_TRACE`` stands for a trace id that did not exist before.
"""


@pytest.mark.parametrize("tracestate", [False, True], ids=["alone", "with a tracestate"])
@pytest.mark.parametrize(
    ("traceparents", "expected"), list(TRACEPARENTS.values()), ids=list(TRACEPARENTS)
)
def test_the_trace_id_of_a_response_is_in_all_pillars(
    build_shop: ShopFactory, traceparents: list[str], expected: str, *, tracestate: bool
) -> None:
    """A valid ``traceparent`` of a trusted caller is continued, and an invalid one is ignored."""
    shop = build_shop(trusted_networks="*")
    headers = [(b"traceparent", traceparent.encode()) for traceparent in traceparents]
    if tracestate:
        headers.append((b"tracestate", b"theirs=1,=,"))
    response = shop.request(headers=headers)
    trace_id = response.json()["trace_id"]
    if expected == NEW_TRACE:
        assert trace_id != PARENT_TRACE_ID
        assert int(trace_id, 16)
    else:
        assert trace_id == expected
    assert response.headers["traceresponse"].split("-")[1] == trace_id
    assert {format_trace_id(span.context.trace_id) for span in shop.spans} == {trace_id}
    assert len(shop.spans_by_role) == 4
    assert {line["trace_id"] for line in shop.lines()} == {trace_id}
    assert {format_trace_id(record.trace_id or 0) for record in shop.records} == {trace_id}


def test_two_different_traceparents_make_one_trace(shop: InMemoryShop) -> None:
    """With two different ``traceparent`` headers, all spans and log lines have one trace id."""
    other_traceparent = f"00-{1:032x}-{1:016x}-01"
    headers = [("traceparent", TRACEPARENT), ("traceparent", other_traceparent)]
    response = shop.request(headers=headers)
    trace_id = response.json()["trace_id"]
    assert {format_trace_id(span.context.trace_id) for span in shop.spans} == {trace_id}
    assert {line["trace_id"] for line in shop.lines()} == {trace_id}
