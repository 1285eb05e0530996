"""Several requests at once."""

import pytest
from opentelemetry.trace import SpanKind, format_trace_id

from tests.conftest import ShopFactory
from tests.field.raw_http import ODD, PARSERS, SPAN, TRACE, TRACEPARENT, converse, request, told
from tests.in_memory_shop import InMemoryShop, attributes_of

ENDINGS: dict[str, tuple[bytes, int]] = {
    "a purchase": (request(close=False), 200),
    "a 402": (request(body={"card": "declined"}, close=False), 402),
    "a 500": (request(body={"card": "gateway-timeout"}, close=False), 500),
    "a 502": (request(body={"card": "crash"}, close=False), 502),
    "a 422": (request(body={"card": 1}, close=False), 422),
    "a 400": (
        request(close=False).replace(b"Content-Length: 0\r\n\r\n", b"Content-Length: 1\r\n\r\n{"),
        400,
    ),
    "a 404": (request(b"GET /nowhere", close=False), 404),
    "a 405": (request(b"DELETE /checkout", close=False), 405),
    "odd bytes": (request(b"POST /checkout", b"User-Agent: " + ODD, close=False), 200),
    "an unsampled one": (
        request(b"POST /checkout", f"Traceparent: 00-{1:032x}-{1:016x}-00".encode(), close=False),
        200,
    ),
}


@pytest.mark.parametrize(("first", "status"), list(ENDINGS.values()), ids=list(ENDINGS))
def test_pipelined_purchases_have_a_trace_each(
    build_shop: ShopFactory, first: bytes, status: int
) -> None:
    """Purchases written at once have a SERVER span and a trace each, and their own parent, whatever the one before became."""
    shop = build_shop(trusted_networks="*")
    for parser in PARSERS:
        known = len(shop.spans)
        ours = request(b"POST /checkout", f"Traceparent: {TRACEPARENT}".encode(), close=False)
        bought = converse(shop, parser, first + ours + request())
        assert [answer.status for answer in bought] == [status, 200, 200]
        ids = [answer.trace_id for answer in bought]
        assert len(set(ids)) == 3
        assert ids[1] == TRACE
        servers = [
            each
            for each in shop.spans[known:]
            if attributes_of(each).get("url.path", "/charges") != "/charges"
        ]
        servers = [each for each in servers if each.kind is SpanKind.SERVER]
        parents = {
            format_trace_id(each.context.trace_id): each.parent and f"{each.parent.span_id:016x}"
            for each in servers
        }
        assert [parents[trace_id] for trace_id in ids[1:]] == [SPAN, None]
        bound = {each["order.id"]: each["trace_id"] for each in shop.lines() if "order.id" in each}
        assert all(bound[answer.said["order_id"]] == answer.trace_id for answer in bought[1:])


@pytest.mark.parametrize("parser", PARSERS)
def test_pipelined_purchases_are_counted_each(shop: InMemoryShop, parser: str) -> None:
    """Twenty requests at once, probes among them, are told of once each, and the probes not at all."""
    probe = request(b"GET /healthz", close=False)
    many = converse(shop, parser, (request(close=False) + probe) * 10 + request())
    assert [answer.status for answer in many] == [200] * 21
    told(shop, *(answer for answer in many if answer.said != {"status": "ok"}))


@pytest.mark.parametrize("parser", PARSERS)
def test_a_crash_ends_the_connection(
    shop: InMemoryShop, parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash closes the connection: what was already written behind it is neither answered nor told of, and loses nothing."""

    async def bug(*_: object) -> None:
        raise ValueError

    with monkeypatch.context() as patch:
        patch.setattr("services.checkout.app.place_order", bug)
        crashed = converse(shop, parser, request(close=False) + request())
        assert [(answer.status, answer.said["outcome"]) for answer in crashed] == [(500, "crashed")]
    told(shop, *crashed, *converse(shop, parser, request()))
