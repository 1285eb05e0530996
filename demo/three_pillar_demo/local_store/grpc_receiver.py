"""The gRPC server of the local store: it receives OTLP and answers OK once a batch is committed.

https://opentelemetry.io/docs/specs/otlp/#otlpgrpc defines the status codes: a sender drops a batch
after INVALID_ARGUMENT, and after RESOURCE_EXHAUSTED without ``RetryInfo``. It sends the batch again
after UNAVAILABLE.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from three_pillar_demo.local_store.compression import MAX_DECOMPRESSED_BYTES
from three_pillar_demo.local_store.export_request import PROTOBUF, SIGNALS
from three_pillar_demo.local_store.intake import BODY_TIMEOUT_S, Intake, timeout_reason
from three_pillar_demo.local_store.request_error import RequestError
from three_pillar_demo.local_store.writer import QueueFullError, WriteError

log = logging.getLogger("local_store")

MAX_CONCURRENT_READS = 4
"""The number of messages that are received at the same time, which limits their memory to 32 MiB.

A message that nobody receives yet stays with its sender, except for the first 64 KiB.
"""
CROWDED_TIMEOUT_S = 1.0
"""Seconds that a message may take to arrive while other calls wait for its place."""
MAX_STREAMS = 100
"""The maximum number of calls at the same time on one connection."""
MAX_CONNECTIONS = 500
"""The number of connections at the same time; gRPC refuses more, it cannot close the oldest one.

Without a limit, connections without calls would use up the file descriptors, which HTTP and the
database need as well.
"""
MAX_IDLE_MS = 75_000
"""How long a connection without calls stays open; SDKs export once a minute or more often."""
KEEPALIVE_MS = 60_000
"""How often a silent connection is checked, so that one whose client is gone is closed."""
KEEPALIVE_TIMEOUT_MS = 20_000
MIN_PING_INTERVAL_MS = 5_000
"""How often a client may check the connection; gRPC's default of 300 s refuses common settings."""
HANDSHAKE_TIMEOUT_MS = 10_000
"""How long a new connection may take to speak HTTP/2."""
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_DECOMPRESSED_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    # Else gRPC accepts ever more of the messages that nobody receives yet: 620 MiB were measured.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.max_connection_idle_ms", MAX_IDLE_MS),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
    # The system would let several processes share the port, and each would get a part of the data.
    ("grpc.so_reuseport", 0),
]
STATUS_CODES = {408: StatusCode.DEADLINE_EXCEEDED, 413: StatusCode.RESOURCE_EXHAUSTED}
"""The gRPC status code of a refusal with this HTTP status; that of all others is
INVALID_ARGUMENT."""

Context = grpc.aio.ServicerContext[bytes, bytes]


def create_server(intake: Intake, host: str, port: int) -> grpc.aio.Server:
    """Return a gRPC server, not started yet, that stores the received requests with ``intake``.

    The server has the services of OTLP. It listens without TLS on ``host`` and ``port``, but
    accepts connections only once it is started. The caller runs in the event loop of the server.

    Raises:
        OSError: The server cannot listen there.
    """
    server = grpc.aio.server(options=OPTIONS)
    read_slots = _ReadSlots()
    for signal_name, signal in SIGNALS.items():
        (service,) = signal.request_type.DESCRIPTOR.file.services_by_name.values()
        export = _Export(signal_name, intake, read_slots).handle
        handler: grpc.RpcMethodHandler[bytes, bytes]
        handler = grpc.stream_unary_rpc_method_handler(export)
        handlers = grpc.method_handlers_generic_handler(service.full_name, {"Export": handler})
        server.add_generic_rpc_handlers((handlers,))
    try:
        server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return server


class _Export:
    """The method ``Export`` of one signal's service.

    To gRPC it is a method that receives a stream, although each call has one message. So it
    decides itself when the message is received; gRPC would receive the messages of all unary calls
    at once. The message stays bytes, because ``decode_request`` accepts more than protobuf's
    parser.
    """

    def __init__(self, signal_name: str, intake: Intake, read_slots: "_ReadSlots") -> None:
        self.signal_name = signal_name
        self.intake = intake
        self.read_slots = read_slots

    async def handle(self, _messages: AsyncIterator[bytes], context: Context) -> bytes:
        """Store the message of one call, and return the serialized response."""
        try:
            response = await self._store(context)
        except RequestError as error:
            self.intake.rejections.record_refusal(self.signal_name, str(error))
            code = STATUS_CODES.get(error.status, StatusCode.INVALID_ARGUMENT)
            await context.abort(code, str(error))
        except (QueueFullError, WriteError) as error:
            await _abort_for_retry(context, str(error), error.retry_after_s)
        return bytes(response.SerializeToString())

    async def _store(self, context: Context) -> Message:
        """Receive and store the message; count its bytes as queued meanwhile.

        Raises:
            RequestError: The message is missing, too slow or invalid.
            QueueFullError: The write queue is full, or too many other calls are being received.
            WriteError: The message could not be stored.
        """
        writer = self.intake.writer
        reserved_bytes = 0
        try:
            async with self.read_slots.one():
                # Until its size is known, the message counts as one of the maximum size.
                reserved_bytes = MAX_DECOMPRESSED_BYTES
                writer.reserve(reserved_bytes)
                body = await self._read(context)
                writer.release(reserved_bytes - len(body))
                reserved_bytes = len(body)
            return await self.intake.store(self.signal_name, body, "", PROTOBUF)
        finally:
            writer.release(reserved_bytes)

    async def _read(self, context: Context) -> bytes:
        """Return the message of the call, for which a place in ``read_slots`` is held.

        Raises:
            RequestError: The message is missing or too slow.
        """
        message = asyncio.ensure_future(context.read())
        try:
            await self._wait_for(message)
        finally:
            message.cancel()
        content = message.result()
        if not isinstance(content, bytes):
            raise RequestError(400, "the call has no message")
        return content

    async def _wait_for(self, message: "asyncio.Task[bytes]") -> None:
        """Wait until the message has arrived, but not for long while other calls need the place.

        Raises:
            RequestError: The message is too slow.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + BODY_TIMEOUT_S
        while not message.done():
            remaining_s = deadline - loop.time()
            await asyncio.wait({message}, timeout=min(CROWDED_TIMEOUT_S, max(0, remaining_s)))
            if message.done():
                return
            if loop.time() >= deadline:
                raise RequestError(408, timeout_reason())
            if self.read_slots.waiting:
                reason = f"message not received within {CROWDED_TIMEOUT_S:g} s while others wait"
                raise RequestError(408, reason)


class _ReadSlots:
    """The places of the messages that are received at the same time; ``waiting`` calls want one."""

    def __init__(self) -> None:
        self.waiting = 0
        self._semaphore = asyncio.Semaphore(MAX_CONCURRENT_READS)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Hold one place.

        Raises:
            QueueFullError: No place becomes free in time.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                await self._semaphore.acquire()
        except TimeoutError:
            raise QueueFullError from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._semaphore.release()


async def _abort_for_retry(context: Context, reason: str, retry_after_s: int) -> NoReturn:
    """End the call with UNAVAILABLE and the time to wait before the next attempt."""
    retry_info = RetryInfo(retry_delay=Duration(seconds=retry_after_s))
    status = Status(code=StatusCode.UNAVAILABLE.value[0], message=reason)
    status.details.add().Pack(retry_info)
    metadata = (
        ("grpc-status-details-bin", status.SerializeToString()),
        # The name under which OpenTelemetry's SDK for Python looks for it.
        ("google.rpc.retryinfo-bin", retry_info.SerializeToString()),
    )
    await context.abort(StatusCode.UNAVAILABLE, reason, metadata)
