"""Send HTTP/1.1 requests as raw bytes to checkout behind uvicorn, and parse the responses."""

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

from tests.in_memory_shop import CANONICAL, InMemoryShop, Sample, attributes_of

PARSERS = ("httptools", "h11")
"""Both HTTP parsers of uvicorn; the services use the first one."""
NOT_UTF8 = b"\xff\\x\x80"
r"""Bytes that are not UTF-8, with the incomplete escape sequence ``\x`` among them."""
PARENT_TRACE_ID = "ab" * 16
PARENT_SPAN_ID = "cd" * 8
TRACEPARENT = f"00-{PARENT_TRACE_ID}-{PARENT_SPAN_ID}-01"
REQUEST_COUNT = "checkout.requests"
DURATION = "http.server.request.duration"
ACTIVE_REQUESTS = "http.server.active_requests"


class ReceivedBytes(io.BytesIO):
    """Received bytes in the role of a socket, for ``http.client.HTTPResponse``."""

    def makefile(self, *_: object) -> "ReceivedBytes":
        """Return this object, from which ``HTTPResponse`` reads."""
        return self

    def close(self) -> None:
        """Do nothing, because another response may follow."""


@dataclass(frozen=True)
class RawResponse:
    """One HTTP response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, parsed as JSON."""
        return cast("dict[str, Any]", json.loads(self.body))

    @property
    def trace_id(self) -> str:
        """The trace id in the header ``traceresponse``; asserts that the body has the same one."""
        _, trace_id, _, _ = self.headers["traceresponse"].split("-")
        assert not self.body or self.json.get("trace_id", trace_id) == trace_id
        return trace_id


def raw_request(
    target: bytes = b"POST /checkout",
    *headers: bytes,
    host: bytes = b"shop",
    body: object = None,
    close: bool = True,
) -> bytes:
    """Return the bytes of one request.

    ``target`` is the method and the path; ``body`` is sent as JSON. The last request of a
    connection must have ``close=True``.
    """
    content = b"" if body is None else json.dumps(body).encode()
    lines = [target + b" HTTP/1.1", b"Host: " + host, *headers]
    if close:
        lines.append(b"Connection: close")
    lines.append(b"Content-Type: application/json")
    lines.append(b"Content-Length: %d" % len(content))
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


def exchange(shop: InMemoryShop, parser: str, sent: bytes, heads: int = 0) -> list[RawResponse]:
    """Send requests on one connection to checkout, and return the responses.

    Args:
        shop: The shop whose checkout uvicorn serves.
        parser: One of ``PARSERS``.
        sent: The bytes of one or more requests, which are sent at once.
        heads: The number of HEAD requests at the beginning; their responses have no body.
    """
    received = asyncio.run(_send_and_receive(shop, parser, sent))
    return list(_parse_responses(ReceivedBytes(received), heads))


def exchange_with_each_parser(shop: InMemoryShop, sent: bytes, heads: int = 0) -> list[RawResponse]:
    """Call ``exchange`` once for each parser, and return the responses of both calls."""
    return [response for parser in PARSERS for response in exchange(shop, parser, sent, heads)]


async def _send_and_receive(shop: InMemoryShop, parser: str, sent: bytes) -> bytes:
    config = Config(
        shop.checkout,
        http=cast("Any", parser),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    config.load()
    state = ServerState()
    protocol_class = cast("Any", config.http_protocol_class)
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with contextlib.closing(writer):
            writer.write(sent)
            received = await reader.read()
        await asyncio.gather(*state.tasks)
        await shop.finish()
    return received


def _parse_responses(received: ReceivedBytes, heads: int) -> Iterator[RawResponse]:
    while received.tell() < len(received.getvalue()):
        response = HTTPResponse(cast("Any", received), method="HEAD" if heads > 0 else None)
        heads -= 1
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        yield RawResponse(response.status, headers, response.read())


def assert_recorded(shop: InMemoryShop, *responses: RawResponse) -> None:
    """Assert that checkout recorded exactly the requests of these ``responses``, each once.

    This holds for SERVER spans, canonical log lines, log records, request counts and durations.
    """
    trace_ids = sorted(response.trace_id for response in responses)
    statuses = sorted(response.status for response in responses)
    spans = [
        span
        for span in shop.spans
        if span.kind is SpanKind.SERVER and _is_of_checkout(attributes_of(span))
    ]
    assert sorted(format_trace_id(span.context.trace_id) for span in spans) == trace_ids
    lines = [line for line in shop.lines() if CANONICAL in line and _is_of_checkout(line)]
    assert sorted(line["trace_id"] for line in lines) == trace_ids
    assert sorted(line[CANONICAL] for line in lines) == statuses
    records = [
        record
        for record in shop.records
        if CANONICAL in attributes_of(record) and _is_of_checkout(attributes_of(record))
    ]
    assert sorted(format_trace_id(record.trace_id or 0) for record in records) == trace_ids
    samples = shop.samples()
    durations = samples.get(DURATION, [])
    checkout_durations = [sample for sample in durations if _is_of_checkout(sample.labels)]
    assert total(samples.get(REQUEST_COUNT, [])) == len(trace_ids)
    assert total(checkout_durations) == len(trace_ids)
    assert total(samples.get(ACTIVE_REQUESTS, [])) == 0
    assert {sample.labels["url.scheme"] for sample in durations} <= {"http", "https"}


def _is_of_checkout(labels: dict[str, Any]) -> bool:
    return labels.get("http.route") != "/charges"


def total(samples: list[Sample]) -> float:
    """Return the sum of the counts of ``samples``."""
    return sum(sample.count for sample in samples)
