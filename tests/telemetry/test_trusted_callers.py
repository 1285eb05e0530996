"""Who is believed: outside nobody, whatever the headers say; inside everybody that the setting names."""

import pytest
from opentelemetry.trace import SpanKind, format_trace_id

from tests.conftest import Build, House, about
from three_pillars.trusted_callers import Trust

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
FORGED = {
    "sampled": [("traceparent", PARENT)],
    "not sampled": [("traceparent", PARENT[:-1] + "0")],
    "in other letters": [("TraceParent", PARENT)],
    "twice": [("traceparent", PARENT), ("traceparent", PARENT)],
    "two of them": [("traceparent", PARENT), ("traceparent", f"00-{1:032x}-{1:016x}-01")],
    "with a tracestate": [
        ("traceparent", PARENT),
        ("tracestate", "theirs=1"),
        ("tracestate", "others=2"),
    ],
    "with baggage": [
        ("traceparent", PARENT),
        ("baggage", "role=admin"),
        ("baggage", "order.id=theirs"),
    ],
    "60 kB": [
        ("traceparent", PARENT),
        ("tracestate", "a=" + "b" * 60_000),
        ("baggage", "c=" + "d" * 60_000),
    ],
    "behind a proxy, so they say": [
        ("traceparent", PARENT),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
    ],
    "nothing but baggage": [("baggage", "role=admin")],
    "nonsense": [("traceparent", "00-" + "z" * 32)],
}
LINKED = {
    name
    for name in FORGED
    if name not in {"twice", "two of them", "nothing but baggage", "nonsense"}
}


@pytest.mark.parametrize("name", list(FORGED))
def test_a_stranger_is_not_believed(house: House, name: str) -> None:
    """From outside no trace, no sampling and no baggage goes on: a new trace begins, linked to theirs if there is one."""
    answer = house.ask(headers=FORGED[name])
    trace_id = answer.json()["trace_id"]
    assert trace_id != TRACE
    assert answer.headers["traceresponse"].split("-")[1] == trace_id
    roles = house.roles
    assert len(roles) == 4  # whole, payment included: what checkout calls goes on
    assert {format_trace_id(each.context.trace_id) for each in house.spans} == {trace_id}
    assert {line["trace_id"] for line in house.lines()} == {trace_id}
    [root] = [each for each in house.spans if each.parent is None]
    assert root.kind is SpanKind.SERVER
    assert not root.context.trace_state
    links = [
        (format_trace_id(each.context.trace_id), len(each.context.trace_state))
        for each in root.links
    ]
    assert links == ([(TRACE, 0)] if name in LINKED else [])
    assert not any(
        "admin" in str(about(each)) or "theirs" in str(about(each)) for each in house.spans
    )


@pytest.mark.parametrize(
    "inside", ["*", "127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "::ffff:127.0.0.1/128,127.0.0.1"]
)
def test_an_insider_is(build: Build, inside: str) -> None:
    """A caller from a network that is inside goes on with its trace, its state included, and links to nothing."""
    house = build(inside=inside)
    answer = house.ask(headers=FORGED["with a tracestate"])
    assert answer.json()["trace_id"] == TRACE
    [first] = [each for each in house.spans if each.parent and each.parent.span_id == int(SPAN, 16)]
    assert first.context.trace_state.get("theirs") == "1"
    assert not first.links
    assert len(house.roles) == 4


@pytest.mark.parametrize("inside", ["10.0.0.0/8", "::1", ""])
def test_others_are_not_insiders(build: Build, inside: str) -> None:
    """A caller from any other network is outside."""
    assert build(inside=inside).ask(headers=FORGED["sampled"]).json()["trace_id"] != TRACE


@pytest.mark.parametrize(
    ("host", "holds"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("", False), ("x", False)],
)
def test_an_address_is_read_as_one(host: str, holds: bool) -> None:  # noqa: FBT001
    """An IPv4 address in IPv6's clothes is that address, and who has none is outside."""
    headers = [(b"traceparent", PARENT.encode())]
    believed, outside = Trust("10.0.0.0/8").of({"type": "http", "client": (host, 1)}, headers)
    assert (believed, outside) == ((headers, []) if holds else ([], [PARENT.encode()]))
