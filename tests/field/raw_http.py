"""HTTP as bytes."""

import asyncio
import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any, cast

from opentelemetry.trace import SpanKind, format_trace_id
from uvicorn import Config
from uvicorn.server import ServerState

from tests.in_memory_shop import CANONICAL, InMemoryShop, attributes_of

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
    records = [
        (each, attributes_of(each)) for each in shop.records if CANONICAL in attributes_of(each)
    ]
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
