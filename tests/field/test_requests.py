"""Requests: odd bytes, several at once, probes by any name, odd Accept, baggage, trace ids; and payment with too much to do."""

import asyncio
import contextlib
import io
import json
import re
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from opentelemetry.trace import SpanKind, format_trace_id
from starlette.requests import Request
from starlette.responses import JSONResponse
from uvicorn import Config
from uvicorn.server import ServerState

from services.checkout.payment_client import PaymentClient
from tests.conftest import ShopFactory
from tests.in_memory_shop import CANONICAL, InMemoryShop, attributes_of
from tests.processes import Service, InMemoryCollector, free_port, run_collector, serve, wait_for
from three_pillar_demo.verify.outcomes import CHECKOUT

PARSERS = ("httptools", "h11")
"""Both of uvicorn's: ours, and what an app that copies ``telemetry/`` may have."""
ODD = b"\xff\\x\x80"
"""No UTF-8, with half an escape in it."""
TRACE, SPAN = "ab" * 16, "cd" * 8
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
SECRET = "s3cret"  # noqa: S105  (it stands for what a client sent, and may not be written down)
ACTIVE, DURATION, COUNT = (
    "http.server.active_requests",
    "http.server.request.duration",
    "checkout.requests",
)


class Wire(io.BytesIO):
    """Received bytes in the place of a socket."""

    def makefile(self, *_: object) -> "Wire":
        """Return the bytes: the standard library's parser reads its answers from here."""
        return self

    def close(self) -> None:
        """Stay open: there may be another answer."""


@dataclass(frozen=True)
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The body, which is JSON."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def trace_id(self) -> str:
        """The way back, which the header and the body of every answer that is told of carry alike."""
        _, trace_id, _, _ = self.headers["traceresponse"].split("-")
        assert not self.body or self.said.get("trace_id", trace_id) == trace_id
        return trace_id


def request(
    target: bytes = b"POST /checkout",
    *headers: bytes,
    host: bytes = b"shop",
    body: object = None,
    close: bool = True,
) -> bytes:
    """The bytes of a request; the last one of a connection closes it."""
    content = b"" if body is None else json.dumps(body).encode()
    end = [b"Connection: close"] if close else []
    about = [
        b"Host: " + host,
        *headers,
        *end,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(content),
    ]
    return target + b" HTTP/1.1\r\n" + b"\r\n".join(about) + b"\r\n\r\n" + content


def answers(wire: Wire, heads: int = 0) -> Iterator[Answer]:
    """All answers in ``wire``; the first ``heads`` of them have no body."""
    while wire.tell() < len(wire.getvalue()):
        answer = HTTPResponse(cast("Any", wire), method="HEAD" if heads > 0 else None)
        heads -= 1
        answer.begin()
        yield Answer(
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )


def converse(shop: InMemoryShop, parser: str, sent: bytes, heads: int = 0) -> list[Answer]:
    """Write ``sent`` at once on one connection to checkout, behind uvicorn's ``parser``, and read until it is closed."""

    async def conversation() -> bytes:
        config = Config(
            shop.checkout,
            http=cast("Any", parser),
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
        )
        config.load()
        state, protocol = ServerState(), cast("Any", config.http_protocol_class)
        server = await asyncio.get_running_loop().create_server(
            lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with server, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            with contextlib.closing(writer):
                writer.write(sent)
                received = await reader.read()
            await asyncio.gather(*state.tasks)
            await shop.finish()
        return received

    return list(answers(Wire(asyncio.run(conversation())), heads))


def told(shop: InMemoryShop, *answers: Answer) -> None:
    """Check that exactly these answers of checkout were told of, each once in every pillar, and no other."""
    ids = sorted(answer.trace_id for answer in answers)
    spans = [
        each
        for each in shop.spans
        if each.kind is SpanKind.SERVER and attributes_of(each).get("http.route") != "/charges"
    ]
    assert sorted(format_trace_id(each.context.trace_id) for each in spans) == ids
    lines = [
        each for each in shop.lines() if CANONICAL in each and each["http.route"] != "/charges"
    ]
    assert sorted(each["trace_id"] for each in lines) == ids
    assert sorted(each[CANONICAL] for each in lines) == sorted(answer.status for answer in answers)
    records = [(each, attributes_of(each)) for each in shop.records if CANONICAL in attributes_of(each)]
    assert (
        sorted(
            format_trace_id(each.trace_id or 0)
            for each, said in records
            if said["http.route"] != "/charges"
        )
        == ids
    )
    samples = shop.samples()
    counted = {
        name: [
            each for each in samples.get(name, []) if each.labels.get("http.route") != "/charges"
        ]
        for name in samples
    }
    assert sum(each.count for each in counted.get(COUNT, [])) == len(ids)
    assert sum(each.count for each in counted.get(DURATION, [])) == len(ids)
    assert sum(each.count for each in samples.get(ACTIVE, [])) == 0
    assert {each.labels["url.scheme"] for each in samples.get(DURATION, [])} <= {"http", "https"}


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
def test_pipelined_purchases_have_a_trace_each(build_shop: ShopFactory, first: bytes, status: int) -> None:
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


GETS = ("/healthz", "/metrics", "/openapi.json")


@pytest.mark.parametrize("path", GETS)
def test_head_works_on_what_get_works_on(shop: InMemoryShop, path: str) -> None:
    """HEAD is answered like GET, with the same headers and no body."""
    for parser in PARSERS:
        (got,) = converse(shop, parser, request(b"GET " + path.encode()))
        (head,) = converse(shop, parser, request(b"HEAD " + path.encode()), heads=1)
        assert (head.status, head.body) == (got.status, b"") == (200, b"")
        kept = (
            ("content-type", "content-length") if path != "/metrics" else ("content-type",)
        )  # its length may grow in between
        assert [head.headers[name] for name in kept] == [got.headers[name] for name in kept]


def test_head_works_on_payment_too(shop: InMemoryShop) -> None:
    """Payment answers HEAD as checkout does."""

    async def ask() -> list[int]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(shop.payment), base_url="http://payment"
        ) as http:
            return [(await http.head(path)).status_code for path in GETS]

    assert asyncio.run(ask()) == [200] * 3


QUIET = {
    "GET /healthz": request(b"GET /healthz"),
    "GET /metrics": request(b"GET /metrics"),
    "HEAD /healthz": request(b"HEAD /healthz"),
    "HEAD /metrics": request(b"HEAD /metrics"),
    "a query": request(b"GET /healthz?a=b&%ff"),
    "half a bracket in the query": request(b"GET /metrics?["),
    "another spelling": request(b"GET /%68ealthz"),
    "no Host": request(b"GET /healthz", host=b""),
    "an odd Host": request(b"GET /healthz", host=ODD),
    "half an address": request(b"GET /metrics", host=b"[::1"),
    "a Host with a path": request(b"GET /healthz", host=b"shop/checkout?"),
    "a Host like another URL": request(b"GET /metrics", host=b"shop/x#"),
    "https": request(b"GET /healthz", b"X-Forwarded-Proto: https"),
    "wss": request(b"GET /healthz", b"X-Forwarded-Proto: wss"),
    "an odd scheme": request(b"GET /metrics", b"X-Forwarded-Proto: " + ODD),
    "a trace of its own": request(b"GET /healthz", f"Traceparent: {TRACEPARENT}".encode()),
    "odd bytes": request(
        b"GET /metrics", b"User-Agent: " + ODD, b"Baggage: " + ODD, b"Accept: " + ODD
    ),
    "a body": request(b"GET /healthz", body={"card": "slow"}),
    "a body over the limit": request(b"GET /metrics", body="x" * 70_000),
}


@pytest.mark.parametrize("sent", list(QUIET.values()), ids=list(QUIET))
def test_a_probe_is_quiet_in_all_pillars(shop: InMemoryShop, sent: bytes) -> None:
    """GET or HEAD on exactly the two paths is answered 200 and told of nowhere, whatever else the request says."""
    for parser in PARSERS:
        (answer,) = converse(shop, parser, sent, heads=sent.startswith(b"HEAD"))
        assert answer.status == 200
        assert "traceresponse" not in answer.headers
    told(shop)
    assert (shop.spans, shop.lines(), shop.records) == ((), [], [])


LOUD = {
    "POST": (request(b"POST /healthz"), 405),
    "POST to metrics": (request(b"POST /metrics"), 405),
    "OPTIONS": (request(b"OPTIONS /healthz"), 405),
    "PUT over wss": (request(b"PUT /healthz", b"X-Forwarded-Proto: wss"), 405),
    "DELETE without a Host": (request(b"DELETE /metrics", host=b""), 405),
    "a query with POST": (request(b"POST /healthz?x"), 405),
    "a line break in front": (request(b"GET /%0Ahealthz"), 404),
    "a zero": (request(b"GET /healthz%00"), 404),
    "a space": (request(b"GET /healthz%20"), 404),
    "a slash": (request(b"GET /healthz/"), 404),
    "two slashes": (request(b"GET //healthz"), 404),
    "a way round": (request(b"GET /x/../healthz"), 404),
    "capitals": (request(b"GET /HEALTHZ"), 404),
    "a parameter": (request(b"GET /healthz;x=1"), 404),
    "an escaped query": (request(b"GET /healthz%3Fx"), 404),
    "a Host that ends like one": (request(b"GET /nowhere", host=b"shop/healthz?"), 404),
    "a query that ends like one": (request(b"GET /nowhere?/healthz"), 404),
    "an escaped slash": (request(b"GET /x%2Fhealthz"), 404),
}


@pytest.mark.parametrize(("sent", "status"), list(LOUD.values()), ids=list(LOUD))
def test_what_only_looks_like_a_probe_is_told_of(shop: InMemoryShop, sent: bytes, status: int) -> None:
    """Another method, or a path that is not exactly one of the two, is an error like others, with a trace id to find it by."""
    refused = [answer for parser in PARSERS for answer in converse(shop, parser, sent)]
    assert [(answer.status, answer.said["outcome"]) for answer in refused] == [
        (status, "invalid")
    ] * 2
    assert all(answer.said["trace_id"] == answer.trace_id for answer in refused)
    told(shop, *refused)


@pytest.mark.parametrize(
    "target", [b"GET /healthz%0A", b"HEAD /metrics%0a", b"GET /metrics%0A", b"POST /checkout%0A"]
)
def test_a_line_break_behind_a_path_is_no_probe(shop: InMemoryShop, target: bytes) -> None:
    """For Starlette a line break ends a path, so such a request is served; it is no probe, and told of in all pillars."""
    for parser in PARSERS:
        (answer,) = converse(shop, parser, request(target), heads=target.startswith(b"HEAD"))
        assert answer.status == 200
    spans = [
        each
        for each in shop.spans
        if each.kind is SpanKind.SERVER and attributes_of(each)["http.route"] != "/charges"
    ]
    lines = [each for each in shop.lines() if each["http.route"] != "/charges"]
    assert len({line["trace_id"] for line in lines}) == len(spans) == len(lines) == 2
    assert sum(each.count for each in shop.samples()[COUNT]) == 2


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


def test_a_root_path_changes_nobody_quiet(shop: InMemoryShop) -> None:
    """Behind a prefix that a proxy takes away the same two paths are quiet, and no others."""

    async def ask(*paths: str) -> list[int]:
        transport = httpx2.ASGITransport(shop.checkout, root_path="/shop")
        async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as http:
            return [(await http.get(path)).status_code for path in paths]

    assert asyncio.run(ask("/shop/healthz", "/shop/metrics", "/healthz")) == [200] * 3
    told(shop)
    assert asyncio.run(ask("/shop/shop/healthz", "/shop/nowhere")) == [404] * 2
    assert (len(shop.spans), len(shop.lines()), len(shop.records)) == (2, 2, 2)


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
def test_what_a_client_carries_is_not_written_down(shop: InMemoryShop, header: str, value: str) -> None:
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


async def until(found: Callable[[], object]) -> None:
    """Let the others go on until it is ``found``; a test that waits in vain ends with a time-out."""
    async with asyncio.timeout(20):
        while not found():  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.01)


async def forever() -> None:
    """Never come back."""
    await asyncio.Event().wait()


def payment(waits: Callable[[], Awaitable[object]] = forever) -> httpx2.MockTransport:
    """A payment in memory that does what the card's name says; for the card ``slow`` it ``waits`` first."""

    async def handle(request: httpx2.Request) -> httpx2.Response:
        card = json.loads(await request.aread())["card"]
        match card:
            case "slow":
                await waits()
            case "unreachable":
                raise httpx2.ConnectError("nobody there")
            case "broken":
                raise httpx2.ReadError("broken off")
            case "crash":
                return httpx2.Response(500)
            case "gateway-timeout":
                return httpx2.Response(504)
            case "nonsense":
                return httpx2.Response(200, content=b"[" * 100_000)
            case "bug":
                raise KeyError
        return httpx2.Response(
            200, json={"outcome": "declined" if card == "declined" else "authorised"}
        )

    return httpx2.MockTransport(handle)


FATES = {
    "ordinary": "success",
    "declined": "declined",
    "gateway-timeout": "gateway_timeout",
    "crash": "payment_crashed",
    "broken": "payment_crashed",
    "nonsense": "payment_crashed",
    "unreachable": "payment_unreachable",
    "slow": "payment_slow",
    "bug": "crashed",
}


@pytest.mark.parametrize(("card", "outcome"), list(FATES.items()), ids=list(FATES))
def test_a_connection_is_given_back(build_shop: ShopFactory, card: str, outcome: str) -> None:
    """Whatever became of a purchase, its connection is free for the next one."""
    shop = build_shop(transport=payment(), calls=1, limit=1)
    assert [shop.request(json={"card": each}).json()["outcome"] for each in (card, "ordinary")] == [
        outcome,
        "success",
    ]


def test_a_customer_who_leaves_gives_back_too(build_shop: ShopFactory) -> None:
    """A purchase that is cancelled, in its call or before its turn, leaves no connection in use."""
    shop = build_shop(transport=payment(), calls=1)

    async def leave() -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(shop.checkout), base_url="http://shop"
        ) as http:
            tasks = [
                asyncio.create_task(http.post("/checkout", json={"card": "slow"})) for _ in range(3)
            ]
            await until(lambda: sum(each.count for each in shop.samples().get(ACTIVE, [])) == 3)
            for task in reversed(tasks):
                task.cancel()
            await asyncio.wait(tasks)
            answer = await http.post("/checkout")
            assert answer.json()["outcome"] == "success"

    asyncio.run(leave())


async def buy_in_turn(shop: InMemoryShop, *cards: str, pause: float) -> list[httpx2.Response]:
    """Buy with each card, ``pause`` seconds after the one before."""
    tasks = []
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(shop.checkout), base_url="http://shop"
    ) as http:
        for card in cards:
            tasks.append(asyncio.create_task(http.post("/checkout", json={"card": card})))
            await asyncio.sleep(pause)
        return list(await asyncio.gather(*tasks))


def reasons(shop: InMemoryShop, answer: httpx2.Response) -> list[str]:
    """What was said of this purchase before its canonical line."""
    mine = [each for each in shop.lines() if each["trace_id"] == answer.json()["trace_id"]]
    return [each["event"] for each in mine if CANONICAL not in each]


def test_who_gets_no_connection_is_told_so(build_shop: ShopFactory) -> None:
    """A purchase that waits for a connection until it is too late is ``payment_busy``, in words, and payment is not called."""
    called = []

    async def wait() -> None:
        called.append(1)
        await forever()

    shop = build_shop(transport=payment(wait), calls=1, limit=1)
    slow, busy = asyncio.run(buy_in_turn(shop, "slow", "slow", pause=0.2))
    assert (slow.status_code, slow.json()["outcome"]) == (504, "payment_slow")
    assert (busy.status_code, busy.json()["outcome"], busy.json()["detail"]) == (
        503,
        "payment_busy",
        "Payment is busy",
    )
    assert len(called) == 1
    (why,) = reasons(shop, busy)
    assert "all 1 connections were in use" in why
    found = [
        each
        for each in shop.spans
        if format_trace_id(each.context.trace_id) == busy.json()["trace_id"]
    ]
    assert sorted(each.kind.name for each in found) == ["INTERNAL", "SERVER"], (
        "no CLIENT span for a call that was not made"
    )


def test_a_late_turn_is_not_said_to_have_been_a_whole_one(build_shop: ShopFactory) -> None:
    """Where the wait for a connection took part of the limit, the reason names the time that payment really had."""
    called, turn = [], asyncio.Event()

    async def wait() -> None:
        called.append(1)
        await (turn.wait() if len(called) == 1 else forever())

    shop = build_shop(transport=payment(wait), calls=1, limit=1.5)

    async def buy() -> list[httpx2.Response]:
        buying = asyncio.create_task(buy_in_turn(shop, "slow", "slow", pause=0.2))
        await until(lambda: sum(each.count for each in shop.samples().get(ACTIVE, [])) == 2)
        await asyncio.sleep(0.2)  # the second one waits so long at least
        turn.set()
        return await buying

    first, late = asyncio.run(buy())
    assert (first.json()["outcome"], late.json()["outcome"]) == ("success", "payment_slow")
    (why,) = reasons(shop, late)
    found = re.search(r"no answer within ([\d.]+) s", why)
    assert found
    assert float(found[1]) < 1.4


def test_the_wait_for_a_turn_is_part_of_the_limit() -> None:
    """Who waited for a connection has that much less for the call: nobody waits longer than the limit in all."""
    turn, deadlines = asyncio.Event(), []

    async def handle(request: httpx2.Request) -> httpx2.Response:
        deadlines.append(request.extensions["deadline"])
        await turn.wait()
        return httpx2.Response(200, json={"outcome": "authorised"})

    async def buy() -> None:
        loop = asyncio.get_running_loop()
        client = PaymentClient("http://payment", 60, 1, httpx2.MockTransport(handle))
        first = asyncio.create_task(client.charge("a", Decimal(1), "EUR", "ordinary"))
        await until(lambda: deadlines)
        second = asyncio.create_task(client.charge("b", Decimal(1), "EUR", "ordinary"))
        await asyncio.sleep(0)
        asked = loop.time()
        await until(lambda: loop.time() > asked)
        turn.set()
        assert [await first, await second] == ["success"] * 2
        assert deadlines[1] <= asked + 60
        await client.http.aclose()

    asyncio.run(buy())


@dataclass(frozen=True)
class Town:
    """One payment service, a checkout for each setting to try, and the Collector of them all."""

    collector: InMemoryCollector
    payment: Service
    checkouts: dict[str, Service]

    def records(self, trace_id: str) -> list[str]:
        """Which services' records have this trace id, as the Collector knows it."""
        return sorted(who for who, found in self.sink.lines if found == trace_id)


CHECKOUTS = {
    "always_off": {"OTEL_TRACES_SAMPLER": "always_off", "CHECKOUT_PAYMENT_CONNECTIONS": "1"},
    "parentbased_traceidratio": {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
    },
}
"""By their samplers, which start no trace; one of them has a single connection, the other as many as usual."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """All these processes, started at once."""
    folder, often, port = (
        tmp_path_factory.mktemp("town"),
        {"OTEL_BLRP_SCHEDULE_DELAY": "100"},
        str(free_port()),
    )
    paid = {
        "CHECKOUT_PAYMENT_URL": f"http://127.0.0.1:{port}",
        "CHECKOUT_TRUSTED_NETWORKS": "127.0.0.1",
        "CHECKOUT_PAYMENT_TIMEOUT": "5",
    }
    with run_collector() as collector, ExitStack() as stack:
        doors = [
            serve("payment", folder, collector.url, PAYMENT_PORT=port, PAYMENT_SLOW_SECONDS="8", **often)
        ]
        doors += [
            serve("checkout", folder, collector.url, **paid, **often, **more)
            for more in CHECKOUTS.values()
        ]
        with ThreadPoolExecutor() as pool:
            payment, *checkouts = pool.map(stack.enter_context, doors)
        yield Town(collector, payment, dict(zip(CHECKOUTS, checkouts, strict=True)))
        for each in (payment, *checkouts):
            each.process.kill()


def contains(file: Path, text: str) -> bool:
    """Whether ``text`` is in ``file`` by now."""
    return text in file.read_text()


@pytest.mark.parametrize(
    "flags", ["", "00", "01"], ids=["no parent", "unsampled parent", "sampled parent"]
)
@pytest.mark.parametrize("sampler", list(CHECKOUTS))
def test_an_id_without_a_trace_is_in_the_lines(town: Town, sampler: str, flags: str) -> None:
    """An operator may sample nothing: the id in the answer is still in the lines of both services, on stdout and by OTLP."""
    checkout = town.checkouts[sampler]
    ours = f"{len(sampler):030x}{flags}"
    headers = {"traceparent": f"00-{ours}-{SPAN}-{flags}"} if flags else {}
    answer = httpx2.post(checkout.url + "/checkout", headers=headers, timeout=60, trust_env=False)
    trace_id = answer.json()["trace_id"]
    assert answer.status_code == 200
    assert trace_id == ours if flags else len(trace_id) == 32
    assert answer.headers["traceresponse"].split("-")[1] == trace_id
    for file in (checkout.output, town.payment.output):
        wait_for(f"{trace_id} in {file}", partial(contains, file, trace_id))
    wait_for(
        f"two records of {trace_id}", lambda: town.records(trace_id) == ["checkout", "payment"]
    )


def test_who_hangs_up_in_mid_body_has_abandoned_it(town: Town) -> None:
    """Half a basket was refused to nobody: its one line says abandoned, and not what the answer would have said."""
    checkout = next(iter(town.checkouts.values()))
    url = httpx2.URL(checkout.url)
    with socket.create_connection((url.host, url.port or 80)) as client:
        client.sendall(
            b"POST /checkout HTTP/1.1\r\nhost: shop\r\ncontent-type: application/json\r\n"
        )
        client.sendall(b'content-length: 99\r\n\r\n{"card": ')

    def told() -> list[dict[str, Any]]:
        return [each for each in checkout.lines() if each.get("http.response.status_code") == 499]

    wait_for("its line", told)
    assert [(each["outcome"], each["event"]) for each in told()] == [
        ("abandoned", "POST /checkout 499 abandoned")
    ]


def test_real_connections_are_given_back(town: Town) -> None:
    """One connection, and one purchase after the other: each has its own outcome, whatever became of the one before."""
    cards = {"declined": 402, "gateway-timeout": 500, "crash": 502, "slow": 504, "ordinary": 200}
    narrow = town.checkouts["always_off"]
    found = [
        narrow.post("/checkout", {"card": each}).status_code
        for card in cards
        for each in (card, "ordinary")
    ]
    assert found == [status for each in cards.values() for status in (each, 200)]


def test_the_hundred_and_first_is_told_why(town: Town) -> None:
    """Of 101 purchases at once that payment is slow with, one never had a connection, and that is what it is told."""
    door = town.checkouts["parentbased_traceidratio"]

    async def buy() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
            return await asyncio.gather(
                *(http.post(f"{door.url}/checkout", json={"card": "slow"}) for _ in range(101))
            )

    found = asyncio.run(buy())
    assert Counter(each.status_code for each in found) == {504: 100, 503: 1}
    (busy,) = [each.json() for each in found if each.status_code == 503]
    assert (busy["outcome"], busy["detail"]) == ("payment_busy", "Payment is busy")
    said = [each["event"] for each in door.lines() if each.get("trace_id") == busy["trace_id"]]
    assert [each for each in said if "all 100 connections were in use" in each]
