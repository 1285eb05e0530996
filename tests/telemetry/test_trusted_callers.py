"""Trusted callers: the trace context of a caller is continued only from a trusted network."""

import pytest
from opentelemetry.trace import SpanKind, format_trace_id

from tests.conftest import ShopFactory
from tests.in_memory_shop import InMemoryShop, attributes_of
from three_pillars.trusted_callers import TrustedCallers

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
OTHER_PARENT = f"00-{1:032x}-{1:016x}-01"

FORGED = {
    "sampled": [("traceparent", PARENT)],
    "not sampled": [("traceparent", PARENT[:-1] + "0")],
    "name in mixed case": [("TraceParent", PARENT)],
    "the same twice": [("traceparent", PARENT), ("traceparent", PARENT)],
    "two different ones": [("traceparent", PARENT), ("traceparent", OTHER_PARENT)],
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
    "with forged forwarding headers": [
        ("traceparent", PARENT),
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
    ],
    "baggage alone": [("baggage", "role=admin")],
    "an invalid traceparent": [("traceparent", "00-" + "z" * 32)],
}
"""Request headers with trace context or baggage that an untrusted caller may send."""

NOT_LINKED = {
    "the same twice",
    "two different ones",
    "baggage alone",
    "an invalid traceparent",
}


@pytest.mark.parametrize("name", list(FORGED))
def test_context_of_an_untrusted_caller_is_not_continued(shop: InMemoryShop, name: str) -> None:
    """An untrusted caller starts a new trace, which links to the one trace that it named."""
    response = shop.request(headers=FORGED[name])
    trace_id = response.json()["trace_id"]
    assert trace_id != TRACE
    assert response.headers["traceresponse"].split("-")[1] == trace_id
    assert len(shop.spans_by_role) == 4, "payment continues the trace of checkout"
    assert {format_trace_id(span.context.trace_id) for span in shop.spans} == {trace_id}
    assert {line["trace_id"] for line in shop.lines()} == {trace_id}
    [root] = [span for span in shop.spans if span.parent is None]
    assert root.kind is SpanKind.SERVER
    assert not root.context.trace_state
    links = [
        (format_trace_id(link.context.trace_id), len(link.context.trace_state))
        for link in root.links
    ]
    assert links == ([] if name in NOT_LINKED else [(TRACE, 0)])
    for span in shop.spans:
        attributes = str(attributes_of(span))
        assert "admin" not in attributes
        assert "theirs" not in attributes


@pytest.mark.parametrize(
    "networks", ["*", "127.0.0.1", "10.0.0.0/8, 127.0.0.0/8", "::ffff:127.0.0.1/128,127.0.0.1"]
)
def test_context_of_a_trusted_caller_is_continued(build_shop: ShopFactory, networks: str) -> None:
    """The trace and tracestate of a caller in a trusted network are continued, without a link."""
    shop = build_shop(trusted_networks=networks)
    response = shop.request(headers=FORGED["with a tracestate"])
    assert response.json()["trace_id"] == TRACE
    parent_id = int(SPAN, 16)
    [child] = [span for span in shop.spans if span.parent and span.parent.span_id == parent_id]
    assert child.context.trace_state.get("theirs") == "1"
    assert not child.links
    assert len(shop.spans_by_role) == 4


@pytest.mark.parametrize("networks", ["10.0.0.0/8", "::1", ""])
def test_a_caller_in_another_network_is_not_trusted(build_shop: ShopFactory, networks: str) -> None:
    """A caller outside the trusted networks starts a new trace."""
    shop = build_shop(trusted_networks=networks)
    assert shop.request(headers=FORGED["sampled"]).json()["trace_id"] != TRACE


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("", False), ("x", False)],
)
def test_ipv4_addresses_in_ipv6_form_are_recognised(host: str, is_trusted: bool) -> None:  # noqa: FBT001
    """An IPv4-mapped IPv6 address counts as its IPv4 address; other texts are not trusted."""
    traceparent = PARENT.encode()
    headers = [(b"traceparent", traceparent)]
    scope = {"type": "http", "client": (host, 1)}
    kept, untrusted = TrustedCallers("10.0.0.0/8").split_headers(scope, headers)
    if is_trusted:
        assert (kept, untrusted) == (headers, [])
    else:
        assert (kept, untrusted) == ([], [traceparent])
