"""The HTTP server of the local store: it receives OTLP and answers 200 once a batch is committed.

https://opentelemetry.io/docs/specs/otlp/#otlphttp defines the statuses: a sender drops a batch
after 400 or 413, and sends it again after 429 or 503 with ``Retry-After``.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.code_pb2 import INVALID_ARGUMENT, UNAVAILABLE
from google.rpc.status_pb2 import Status
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from three_pillar_demo.local_store.export_request import (
    JSON,
    PROTOBUF,
    SIGNALS,
    decode_request,
)
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.request_error import RequestError
from three_pillar_demo.local_store.writer import QueueFullError, WriteError, Writer

MAX_BODY_BYTES = 4 * 1024**2
"""The maximum size of a body before decompression; an SDK sends some hundred thousand bytes."""
BODY_TIMEOUT_S = 10.0
MAX_CONCURRENT_DECODES = 1
"""The number of requests decoded at the same time.

The limit saves memory: the records decoded from a body can take ninety times the size of the body.
"""
RETRY_AFTER_S = {429: "1", 503: "5"}
"""The header ``Retry-After`` by HTTP status: seconds to wait before the request is sent again.

429 means a full queue, and 503 a failed write, for example because the disk is full. An SDK sends a
request at most six times. After a failed write, the SDK would give up after 5 s with pauses of 1 s;
with pauses of 5 s, it keeps trying for 25 s.
"""
MAX_SHOWN_PATH = 40
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def create_app(writer: Writer) -> Starlette:
    """Return the HTTP application of the local store.

    The application stores the received requests with ``writer``, and stops ``writer`` at shutdown.
    """
    decode_slots = asyncio.Semaphore(MAX_CONCURRENT_DECODES)

    async def receive_export(request: Request) -> Response:
        media_type = _header(request, "content-type").partition(";")[0].strip()
        signal_name = request.path_params["signal"]
        parts: list[bytes] = []
        try:
            _check_request(signal_name, request.method, media_type)
            await _read_body(request, parts, writer)
            async with decode_slots:
                batch = await asyncio.to_thread(
                    decode_request,
                    signal_name,
                    b"".join(parts),
                    _header(request, "content-encoding"),
                    media_type,
                )
            await writer.put(batch)
        except RequestError as error:
            return _error_response(error.status, str(error), media_type)
        except QueueFullError as error:
            return _error_response(429, str(error), media_type)
        except WriteError as error:
            return _error_response(503, f"cannot write to the store: {error}", media_type)
        finally:
            writer.release(sum(len(part) for part in parts))
        return _response(200, _success(signal_name, batch), media_type)

    async def healthz(_request: Request) -> Response:
        if writer.last_error:
            return JSONResponse({"status": writer.last_error}, 503)
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(writer.stop)

    return Starlette(
        routes=[
            Route("/v1/{signal}", receive_export, methods=ALL_METHODS),
            Route("/healthz", healthz),
        ],
        lifespan=lifespan,
    )


def _header(request: Request, name: str) -> str:
    return request.headers.get(name, "").strip().lower()


def _check_request(signal_name: str, method: str, media_type: str) -> None:
    if signal_name not in SIGNALS:
        path = f"/v1/{signal_name[:MAX_SHOWN_PATH]}"
        raise RequestError(404, f"unknown path {path}, use /v1/traces, /v1/logs or /v1/metrics")
    if method != "POST":
        raise RequestError(405, "method not allowed, use POST")
    if media_type not in {PROTOBUF, JSON}:
        raise RequestError(415, f"unsupported content-type, use {PROTOBUF} or {JSON}")


async def _read_body(request: Request, parts: list[bytes], writer: Writer) -> None:
    """Append the parts of the request body to ``parts``, and count their bytes as queued.

    The bytes are counted by ``writer.reserve``. The caller must subtract the bytes of ``parts``
    with ``writer.release``, also after an error.

    Raises:
        RequestError: The body is too large, too slow or incomplete.
        QueueFullError: The write queue is full.
    """
    size_bytes = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                size_bytes += len(part)
                if size_bytes > MAX_BODY_BYTES:
                    reason = f"request body over {MAX_BODY_BYTES} bytes, send smaller batches"
                    raise RequestError(413, reason)
                parts.append(part)
                writer.reserve(len(part))
    except TimeoutError:
        reason = f"request body not received within {BODY_TIMEOUT_S:g} s"
        raise RequestError(408, reason) from None
    except ClientDisconnect:
        raise RequestError(400, "request body incomplete, client disconnected") from None


def _success(signal_name: str, batch: Batch) -> Message:
    """Return the OTLP response to a stored batch.

    If records were rejected, the response contains their number and the most frequent reasons.
    """
    signal = SIGNALS[signal_name]
    message = signal.response_type()
    text = batch.partial_success_text()
    if text:
        partial_success = message.partial_success
        setattr(partial_success, signal.rejected_field, batch.rejected.total())
        partial_success.error_message = text
    return message


def _error_response(status: int, reason: str, media_type: str) -> Response:
    retry_after = RETRY_AFTER_S.get(status)
    code = UNAVAILABLE if retry_after else INVALID_ARGUMENT
    response = _response(status, Status(code=code, message=reason), media_type)
    if retry_after:
        response.headers["retry-after"] = retry_after
    if status == 405:  # noqa: PLR2004
        response.headers["allow"] = "POST"
    return response


def _response(status: int, message: Message, media_type: str) -> Response:
    """Return a response with ``message`` as JSON if ``media_type`` is JSON, else as protobuf."""
    if media_type == JSON:
        content = json_format.MessageToJson(message, indent=None)
        return Response(content, status, media_type=JSON)
    return Response(message.SerializeToString(), status, media_type=PROTOBUF)
