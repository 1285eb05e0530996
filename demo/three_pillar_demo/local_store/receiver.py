"""The HTTP server of the local store: it receives OTLP and answers 200 once a batch is committed.

https://opentelemetry.io/docs/specs/otlp/#otlphttp defines the statuses: a sender drops a batch
after 400 or 413, and sends it again after 429 or 503 with ``Retry-After``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.code_pb2 import INVALID_ARGUMENT, UNAVAILABLE
from google.rpc.status_pb2 import Status
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from three_pillar_demo.local_store.cors import LOOPBACK, CorsMiddleware
from three_pillar_demo.local_store.export_request import JSON, PROTOBUF, SIGNALS
from three_pillar_demo.local_store.intake import BODY_TIMEOUT_S, Intake, timeout_reason
from three_pillar_demo.local_store.request_error import RequestError
from three_pillar_demo.local_store.values import shown_text
from three_pillar_demo.local_store.writer import QueueFullError, WriteError, Writer

MAX_BODY_BYTES = 4 * 1024**2
"""The maximum size of a body before decompression; an SDK sends some hundred thousand bytes."""
MEDIA_TYPES = {PROTOBUF: PROTOBUF, "application/protobuf": PROTOBUF, JSON: JSON}
"""The accepted media types, each with the format that it means.

OTLP defines the first and the last. The second is the registered name of the first.
"""
MAX_SHOWN_PATH = 40
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def do_nothing() -> None:
    """Do nothing."""


def create_app(
    intake: Intake,
    origins: str = LOOPBACK,
    before_shutdown: Callable[[], Awaitable[None]] = do_nothing,
) -> Starlette:
    """Return the HTTP application of the local store.

    The application stores the received requests with ``intake``. ``origins`` is the setting
    ``STORE_CORS_ORIGINS``. At shutdown the application calls ``before_shutdown``, then stops the
    writer of ``intake``.
    """
    writer = intake.writer

    async def receive_export(request: Request) -> Response:
        media_type = _header(request, "content-type").partition(";")[0].strip()
        signal_name = request.path_params["signal"]
        parts: list[bytes] = []
        try:
            _check_request(signal_name, request.method, media_type)
            await _read_body(request, parts, writer)
            body = b"".join(parts)
            encoding = _header(request, "content-encoding")
            message = await intake.store(signal_name, body, encoding, MEDIA_TYPES[media_type])
        except RequestError as error:
            sender = signal_name if signal_name in SIGNALS else "unknown path"
            intake.rejections.record_refusal(sender, str(error))
            return _error_response(error.status, str(error), media_type)
        except QueueFullError as error:
            return _error_response(429, str(error), media_type, error.retry_after_s)
        except WriteError as error:
            return _error_response(503, str(error), media_type, error.retry_after_s)
        finally:
            writer.release(sum(len(part) for part in parts))
        return _response(200, message, media_type)

    async def healthz(_request: Request) -> Response:
        if writer.last_error:
            return JSONResponse({"status": writer.last_error}, 503)
        rejections = intake.rejections
        counts = {"rejected": rejections.total, "refused": rejections.refused}
        return JSONResponse({"status": "ok", **counts})

    def record_refused_page(reason: str) -> None:
        intake.rejections.record_refusal("web page", reason)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await before_shutdown()
        intake.rejections.flush()
        await asyncio.to_thread(writer.stop)

    return Starlette(
        routes=[
            Route("/v1/{signal}", receive_export, methods=ALL_METHODS),
            Route("/healthz", healthz),
        ],
        middleware=[Middleware(CorsMiddleware, origins=origins, on_refusal=record_refused_page)],
        lifespan=lifespan,
    )


def _header(request: Request, name: str) -> str:
    return request.headers.get(name, "").strip().lower()


def _check_request(signal_name: str, method: str, media_type: str) -> None:
    if signal_name not in SIGNALS:
        path = f"/v1/{shown_text(signal_name)[:MAX_SHOWN_PATH]}"
        raise RequestError(404, f"unknown path {path}, use /v1/traces, /v1/logs or /v1/metrics")
    if method != "POST":
        raise RequestError(405, "method not allowed, use POST")
    if media_type not in MEDIA_TYPES:
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
        raise RequestError(408, timeout_reason()) from None
    except ClientDisconnect:
        raise RequestError(400, "request body incomplete, client disconnected") from None


def _error_response(
    status: int, reason: str, media_type: str, retry_after_s: int | None = None
) -> Response:
    code = UNAVAILABLE if retry_after_s else INVALID_ARGUMENT
    response = _response(status, Status(code=code, message=reason), media_type)
    if retry_after_s:
        response.headers["retry-after"] = str(retry_after_s)
    if status == 405:  # noqa: PLR2004
        response.headers["allow"] = "POST"
    return response


def _response(status: int, message: Message, media_type: str) -> Response:
    """Return a response with ``message`` in the format of the request, by default as protobuf."""
    if media_type == JSON:
        content = json_format.MessageToJson(message, indent=None)
        return Response(content, status, media_type=JSON)
    response_type = media_type if media_type in MEDIA_TYPES else PROTOBUF
    return Response(message.SerializeToString(), status, media_type=response_type)
