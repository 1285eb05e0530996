"""The door: OTLP over HTTP. A batch is acknowledged after its commit; what cannot be taken is refused in words.

https://opentelemetry.io/docs/specs/otlp/#otlphttp says which status means what to a sender: 400 and 413 are final, 429 and 503
with ``Retry-After`` are not.
"""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as log_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metric_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from three_pillar_demo.local_store import otlp
from three_pillar_demo.local_store.otlp import Batch
from three_pillar_demo.local_store.writer import MAX_WAITING, BusyError, StoreError, Writer

MAX_BODY, MAX_UNPACKED = 4 * 1024**2, 8 * 1024**2
"""Bytes of a request as it comes, and unpacked; a batch of an SDK has some hundred thousand."""
READ_SECONDS = 10.0
AT_ONCE = 1
"""Requests that are decoded at the same time: of empty records, a body takes ninety times its bytes in memory."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
AGAIN = {429: "1", 503: "5"}
"""Seconds to come again after. An SDK tries six times, whatever it is told: after a full disk's 1 s it would give up in 5 s."""
INVALID, UNAVAILABLE = 3, 14
"""Codes of google.rpc: INVALID_ARGUMENT, UNAVAILABLE."""
SIGNALS: dict[str, tuple[type[Message], type[Message], str, Callable[[Any, Batch], None]]] = {
    "traces": (
        trace_service.ExportTraceServiceRequest,
        trace_service.ExportTraceServiceResponse,
        "rejected_spans",
        otlp.traces,
    ),
    "logs": (
        log_service.ExportLogsServiceRequest,
        log_service.ExportLogsServiceResponse,
        "rejected_log_records",
        otlp.logs,
    ),
    "metrics": (
        metric_service.ExportMetricsServiceRequest,
        metric_service.ExportMetricsServiceResponse,
        "rejected_data_points",
        otlp.metrics,
    ),
}


class RefusedError(Exception):
    """A request that is not taken: HTTP status, and the words for it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def create_app(writer: Writer) -> Starlette:
    """Build the app; it stops ``writer`` when it ends."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def take(request: Request) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        signal, parts = request.path_params["signal"], list[bytes]()
        try:
            _check(signal, request.method, media)
            await _body(request, parts, writer)
            async with gate:
                encoding = request.headers.get("content-encoding", "").strip().lower()
                batch = await asyncio.to_thread(_read, signal, b"".join(parts), encoding, media)
            await writer.put(batch)
        except RefusedError as refused:
            return _refusal(refused.status, str(refused), media)
        except BusyError:
            return _refusal(429, "the disk is behind; come again", media)
        except StoreError as error:
            return _refusal(503, f"cannot store now: {error}", media)
        finally:
            writer.waiting -= sum(map(len, parts))
        return _answer(200, _taken(signal, batch), media)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": writer.trouble or "ok"}, 503 if writer.trouble else 200)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(writer.stop)

    every = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    return Starlette(
        routes=[Route("/v1/{signal}", take, methods=every), Route("/healthz", healthz)],
        lifespan=lifespan,
    )


def _check(signal: str, method: str, media: str) -> None:
    if signal not in SIGNALS:
        raise RefusedError(
            404, f"there is no /v1/{signal[:40]}: send to /v1/traces, /v1/logs or /v1/metrics"
        )
    if method != "POST":
        raise RefusedError(405, "send with POST")
    if media not in {PROTOBUF, JSON}:
        raise RefusedError(415, f"send as {PROTOBUF} or {JSON}")


async def _body(request: Request, parts: list[bytes], writer: Writer) -> None:
    """Read the body into ``parts``; what is here counts as waiting."""
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY:
                    raise RefusedError(
                        413, f"the body is over {MAX_BODY} bytes; send smaller batches"
                    )
                parts.append(part)
                writer.waiting += len(part)
                if writer.waiting > MAX_WAITING:
                    raise BusyError
    except TimeoutError:
        raise RefusedError(408, f"request body not received within {READ_SECONDS:g} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "the body ended early") from None


def _read(signal: str, packed: bytes, encoding: str, media: str) -> Batch:
    """Unpack and decode one request; raises ``RefusedError`` for what cannot be."""
    body = _unpacked(packed, encoding)
    kind, _, _, rows = SIGNALS[signal]
    message = kind()
    try:
        if media == JSON:
            if not body.lstrip().startswith(
                b"{"
            ):  # the parser takes an empty list for an empty object
                raise RefusedError(400, "the body is no JSON object")
            json_format.Parse(body, message, ignore_unknown_fields=True)
            _ids_from_hex(message)
        else:
            message.ParseFromString(body)
    except (DecodeError, json_format.ParseError, ValueError, RecursionError) as error:
        raise RefusedError(
            400, f"the body is no {kind.DESCRIPTOR.name}: {str(error)[:200]}"
        ) from error
    batch = Batch(hashlib.blake2b(signal.encode() + body, digest_size=16).digest(), len(body))
    rows(message, batch)
    return batch


def _unpacked(packed: bytes, encoding: str) -> bytes:
    if encoding in {"", "identity"}:
        return packed
    if encoding != "gzip":
        raise RefusedError(415, "pack with gzip, or not at all")
    unzip = zlib.decompressobj(wbits=31)
    try:
        body = unzip.decompress(packed, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise RefusedError(400, f"the body is no gzip: {error}") from error
    if len(body) > MAX_UNPACKED:
        raise RefusedError(
            413, f"unpacked the body is over {MAX_UNPACKED} bytes; send smaller batches"
        )
    if not unzip.eof or unzip.unused_data:
        raise RefusedError(400, "the gzip stream ends too early or too late")
    return body


def _ids_from_hex(message: Message) -> None:
    """OTLP's JSON has ids in hex, where protobuf's own JSON has base64: what was read as that is turned back."""
    for field, value in message.ListFields():
        if field.name in {"trace_id", "span_id", "parent_span_id"}:
            setattr(message, field.name, bytes.fromhex(base64.b64encode(value).decode()))
        elif field.message_type and field.message_type.name not in {"AnyValue", "KeyValue"}:
            for each in value if isinstance(value, Sequence) else [value]:
                _ids_from_hex(each)


def _taken(signal: str, batch: Batch) -> Message:
    _, response, rejected, _ = SIGNALS[signal]
    said = response()
    if batch.refused:
        words = "; ".join(f"{count} x {reason}" for reason, count in batch.refused.most_common(5))
        setattr(said.partial_success, rejected, batch.refused.total())
        said.partial_success.error_message = f"refused: {words}"
    return said


def _refusal(status: int, words: str, media: str) -> Response:
    again = AGAIN.get(status)
    response = _answer(status, Status(code=UNAVAILABLE if again else INVALID, message=words), media)
    response.headers.update(
        {"retry-after": again} if again else {"allow": "POST"} if status == 405 else {}
    )
    return response


def _answer(status: int, message: Message, media: str) -> Response:
    if media == JSON:
        return Response(json_format.MessageToJson(message, indent=None), status, media_type=JSON)
    return Response(message.SerializeToString(), status, media_type=PROTOBUF)
