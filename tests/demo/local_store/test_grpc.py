"""Tests of the local store's gRPC server: which calls it accepts, and how it refuses others."""

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, cast

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import Compression, StatusCode
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.demo.local_store.messages import (
    MIB,
    attributes,
    log_record,
    log_request,
    span,
    trace_request,
)
from tests.demo.local_store.stores import (
    InMemoryStore,
    StoreProcess,
    async_poll_until,
    poll_until,
    read_rows,
)
from tests.demo.local_store.test_receiver import SIGNALS, STORED, export_request, lock_file
from tests.private_ports import free_port
from three_pillar_demo.local_store import grpc_receiver
from three_pillar_demo.local_store.compression import MAX_DECOMPRESSED_BYTES
from three_pillar_demo.local_store.grpc_receiver import MAX_CONCURRENT_READS
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.writer import MAX_QUEUED_BYTES

STUBS: dict[str, Any] = {
    "traces": trace_service_pb2_grpc.TraceServiceStub,
    "logs": logs_service_pb2_grpc.LogsServiceStub,
    "metrics": metrics_service_pb2_grpc.MetricsServiceStub,
}
TRACE_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOG_METHOD = TRACE_METHOD.replace("trace", "logs").replace("Trace", "Logs")
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 sends first: the preface and empty settings."""
MAX_TRIED = 5
"""The limit on connections in the test of it."""
ANY_SIZE = [("grpc.max_send_message_length", -1)]
TIMEOUT_S = 60
MAX_GROWTH_BYTES = 350 * MIB
"""The tolerated growth of the process while 100 messages of 7 MiB arrive at once.

170 MiB were measured, and 800 MiB without a limit on the messages that are received at once.
"""

Exchange = Callable[[grpc.aio.Channel], Awaitable[None]]


@asynccontextmanager
async def connected(in_memory_store: InMemoryStore) -> AsyncIterator[grpc.aio.Channel]:
    """Run a gRPC server of the store; yield a channel to it."""
    port = free_port()
    server = grpc_receiver.create_server(Intake(in_memory_store.writer), "127.0.0.1", port)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=ANY_SIZE) as channel:
            yield channel
    finally:
        await server.stop(0)


def exchange(in_memory_store: InMemoryStore, calls: Exchange) -> None:
    """Run ``calls`` with a channel to the store."""

    async def run() -> None:
        async with connected(in_memory_store) as channel:
            await calls(channel)

    asyncio.run(run())


async def refusal(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """Return the error that ``call`` ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def send(channel: grpc.aio.Channel, body: bytes | Message, **options: Any) -> Awaitable[bytes]:  # noqa: ANN401  (any option of gRPC)
    """Start a call with a trace request; return what waits for the response's bytes."""
    content = body if isinstance(body, bytes) else body.SerializeToString()
    method: Any = channel.unary_unary(TRACE_METHOD)
    return cast("Awaitable[bytes]", method(content, timeout=TIMEOUT_S, **options))


def set_option(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """Change the value of an option of gRPC that the server sets."""
    options = dict(grpc_receiver.OPTIONS)
    assert name in options
    monkeypatch.setattr(grpc_receiver, "OPTIONS", list((options | {name: value}).items()))


def connect(address: tuple[str, int], opened: ExitStack, sent: bytes) -> socket.socket:
    """Open a connection that makes no call, and send ``sent``."""
    connection = opened.enter_context(socket.create_connection(address, TIMEOUT_S))
    connection.sendall(sent)
    return connection


def is_greeted(connection: socket.socket) -> bool:
    """Return whether the server has answered; it closes a connection that it refuses."""
    try:
        return bool(connection.recv(1000))
    except ConnectionResetError:
        return False


def talk_to_server(
    in_memory_store: InMemoryStore, talk: Callable[[tuple[str, int], ExitStack], None]
) -> None:
    """Run ``talk`` in a thread with the address of a gRPC server; close what it has opened."""

    async def run() -> None:
        port = free_port()
        server = grpc_receiver.create_server(Intake(in_memory_store.writer), "127.0.0.1", port)
        await server.start()
        try:
            with ExitStack() as opened:
                await asyncio.to_thread(talk, ("127.0.0.1", port), opened)
        finally:
            await server.stop(0)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("option", "sent"),
    [("grpc.max_connection_idle_ms", HTTP2_PREFACE), ("grpc.server_handshake_timeout_ms", b"")],
)
def test_a_connection_without_calls_is_closed(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch, option: str, sent: bytes
) -> None:
    """A client that connects, and then calls nothing or says nothing, does not stay for ever."""
    set_option(monkeypatch, option, 200)

    def talk(address: tuple[str, int], opened: ExitStack) -> None:
        connection = connect(address, opened, sent)
        while is_greeted(connection):
            pass

    talk_to_server(in_memory_store, talk)


def test_the_number_of_connections_is_limited(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Idle connections leave file descriptors to others, and one that closes makes room."""
    set_option(monkeypatch, "grpc.max_allowed_incoming_connections", MAX_TRIED)

    def talk(address: tuple[str, int], opened: ExitStack) -> None:
        connections = [connect(address, opened, HTTP2_PREFACE) for _ in range(MAX_TRIED)]
        assert all(map(is_greeted, connections))
        assert not is_greeted(connect(address, opened, HTTP2_PREFACE))
        connections[0].close()
        poll_until(
            lambda: is_greeted(connect(address, opened, HTTP2_PREFACE)), "room for another one"
        )

    talk_to_server(in_memory_store, talk)


@pytest.mark.parametrize("compression", list(Compression), ids=lambda value: value.name)
@pytest.mark.parametrize("signal_name", SIGNALS)
def test_each_signal_is_accepted_in_each_compression(
    in_memory_store: InMemoryStore, signal_name: str, compression: Compression
) -> None:
    """A valid request of a generated client is answered, and its rows are in the file."""

    async def calls(channel: grpc.aio.Channel) -> None:
        stub = STUBS[signal_name](channel)
        request = export_request(signal_name)
        response = await stub.Export(request, compression=compression, timeout=TIMEOUT_S)
        assert not response.HasField("partial_success")

    exchange(in_memory_store, calls)
    query, row = STORED[signal_name]
    assert in_memory_store.rows(query) == [row]


def test_rejected_records_are_counted(in_memory_store: InMemoryStore) -> None:
    """Invalid spans are counted by reason, and the others of the request are stored."""

    async def calls(channel: grpc.aio.Channel) -> None:
        request = trace_request(span("good"), span(trace_id=b"short"))
        response = await STUBS["traces"](channel).Export(request, timeout=TIMEOUT_S)
        assert response.partial_success.rejected_spans == 1
        assert response.partial_success.error_message == (
            "rejected: 1 x span: invalid span or trace id"
        )

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT name FROM spans") == [("good",)]


def test_secrets_are_redacted(in_memory_store: InMemoryStore) -> None:
    """A card number that arrives over gRPC is not in the file."""

    async def calls(channel: grpc.aio.Channel) -> None:
        record: LogRecord = log_record("paid", attributes=attributes(card="4111 1111 1111 1111"))
        await STUBS["logs"](channel).Export(log_request(record), timeout=TIMEOUT_S)

    exchange(in_memory_store, calls)
    ((stored,),) = in_memory_store.rows("SELECT attributes FROM lines")
    assert "4111" not in stored


def test_invalid_and_missing_messages_are_refused(
    in_memory_store: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that is no request, and a call without one, get INVALID_ARGUMENT."""

    async def calls(channel: grpc.aio.Channel) -> None:
        error = await refusal(send(channel, b"\xff\xff\xff"))
        assert error.code() is StatusCode.INVALID_ARGUMENT
        assert "1 x request refused: request body is not a valid Export" in caplog.text
        assert "request body is not a valid ExportTraceServiceRequest" in str(error.details())
        empty_call: Any = channel.stream_unary(TRACE_METHOD)(iter(()), timeout=TIMEOUT_S)
        error = await refusal(empty_call)
        assert error.code() is StatusCode.INVALID_ARGUMENT
        assert error.details() == "the call has no message"
        unknown: Any = channel.unary_unary(TRACE_METHOD.replace("Trace", "Profiles"))
        error = await refusal(unknown(b"", timeout=TIMEOUT_S))
        assert error.code() is StatusCode.UNIMPLEMENTED
        await send(channel, b"")

    exchange(in_memory_store, calls)
    assert in_memory_store.writer.queued_bytes == 0


def test_messages_that_are_too_large_are_refused(in_memory_store: InMemoryStore) -> None:
    """A message over 8 MiB, also once decompressed, is refused so that it is not sent again."""

    async def calls(channel: grpc.aio.Channel) -> None:
        for size_bytes, compression in (
            (MAX_DECOMPRESSED_BYTES + 1, Compression.NoCompression),
            (200 * MIB, Compression.Gzip),
        ):
            error = await refusal(send(channel, bytes(size_bytes), compression=compression))
            assert error.code() is StatusCode.RESOURCE_EXHAUSTED
            assert "larger than max" in str(error.details())
            assert not error.trailing_metadata()
            await send(channel, trace_request(span()))

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT count(*) FROM spans") == [(2,)]


def retry_delay_s(error: grpc.aio.AioRpcError) -> int:
    """Return the pause that an UNAVAILABLE demands; both forms of it must be the same."""
    assert error.code() is StatusCode.UNAVAILABLE
    metadata = dict(error.trailing_metadata())
    status = Status.FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (14, error.details())
    retry_info = RetryInfo()
    assert status.details[0].Unpack(retry_info)
    assert retry_info.SerializeToString() == metadata["google.rpc.retryinfo-bin"]
    return int(retry_info.retry_delay.seconds)


def test_a_full_queue_and_a_locked_file_are_retried(in_memory_store: InMemoryStore) -> None:
    """While nothing can be stored, calls get UNAVAILABLE with the time to wait."""

    async def calls(channel: grpc.aio.Channel) -> None:
        writer = in_memory_store.writer
        writer.reserve(MAX_QUEUED_BYTES)
        error = await refusal(send(channel, trace_request(span())))
        writer.release(MAX_QUEUED_BYTES)
        assert (retry_delay_s(error), error.details()) == (1, "write queue full, retry later")
        lock = lock_file(in_memory_store)
        in_memory_store.store.connection.execute("PRAGMA busy_timeout = 50")
        error = await refusal(send(channel, trace_request(span())))
        lock.close()
        assert retry_delay_s(error) == 5
        assert error.details() == "cannot write to the store: database is locked"
        await send(channel, trace_request(span()))

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT count(*) FROM spans") == [(1,)]


def test_silent_calls_end_and_block_no_others(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that never send their message are ended after a time, and then others are served."""
    monkeypatch.setattr(grpc_receiver, "BODY_TIMEOUT_S", 0.3)

    async def calls(channel: grpc.aio.Channel) -> None:
        method: Any = channel.stream_unary(TRACE_METHOD)
        silent = [method(timeout=TIMEOUT_S) for _ in range(MAX_CONCURRENT_READS)]
        errors = [await refusal(call) for call in silent]
        assert {error.code() for error in errors} == {StatusCode.DEADLINE_EXCEEDED}
        assert {error.details() for error in errors} == {"request body not received within 10 s"}
        await send(channel, trace_request(span()))

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT count(*) FROM spans") == [(1,)]


def test_silent_calls_do_not_delay_others_for_long(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent call loses its place soon while others wait for it, but not while none waits."""
    monkeypatch.setattr(grpc_receiver, "BODY_TIMEOUT_S", 300)
    monkeypatch.setattr(grpc_receiver, "CROWDED_TIMEOUT_S", 0.01)

    async def calls(channel: grpc.aio.Channel) -> None:
        method: Any = channel.stream_unary(TRACE_METHOD)
        alone = asyncio.create_task(refusal(method(timeout=TIMEOUT_S)))
        for _ in range(20):
            await send(channel, trace_request(span()))
        assert not alone.done()
        silent = [method(timeout=TIMEOUT_S) for _ in range(2 * MAX_CONCURRENT_READS)]
        errors = asyncio.gather(alone, *(refusal(call) for call in silent[:MAX_CONCURRENT_READS]))
        await send(channel, trace_request(span()))
        for error in await errors:
            assert error.code() is StatusCode.DEADLINE_EXCEEDED
            assert error.details() == "message not received within 0.01 s while others wait"

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT count(*) FROM spans") == [(21,)]


def test_a_cancelled_call_is_forgotten(in_memory_store: InMemoryStore) -> None:
    """The batch of a call that its client gives up counts as queued, until it is stored once."""
    lock = lock_file(in_memory_store)
    writer = in_memory_store.writer

    async def calls(channel: grpc.aio.Channel) -> None:
        body = trace_request(span()).SerializeToString()
        call: Any = send(channel, body)
        await async_poll_until(lambda: writer.queued_bytes == 2 * len(body), "the call to wait")
        call.cancel()
        await async_poll_until(
            lambda: writer.queued_bytes == len(body), "the body to be freed, but not the batch"
        )
        lock.close()
        await async_poll_until(lambda: writer.queued_bytes == 0, "the batch to be freed")
        await send(channel, body)

    exchange(in_memory_store, calls)
    assert in_memory_store.rows("SELECT count(*) FROM spans") == [(1,)]


@contextmanager
def channels(port: int, count: int) -> Iterator[list[grpc.Channel]]:
    """Yield channels to ``port``, each with a connection of its own."""
    opened = [
        grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[*ANY_SIZE, ("grpc.use_local_subchannel_pool", 1)]
        )
        for _ in range(count)
    ]
    try:
        yield opened
    finally:
        for channel in opened:
            channel.close()


def test_many_large_messages_take_bounded_memory(store_process: StoreProcess) -> None:
    """A hundred messages of 7 MiB at once are stored or refused, and the process stays small."""
    store_process.start()
    body = log_request(log_record("x" * 7 * MIB)).SerializeToString()
    before = store_process.peak_memory_bytes()
    with channels(store_process.grpc_port, 10) as opened:
        methods: list[Any] = [channel.unary_unary(LOG_METHOD) for channel in opened]
        calls = [method.future(body, timeout=TIMEOUT_S) for method in methods for _ in range(10)]
        codes = {call.code() for call in calls}
    assert codes <= {StatusCode.OK, StatusCode.UNAVAILABLE}
    assert StatusCode.OK in codes
    assert store_process.peak_memory_bytes() - before < MAX_GROWTH_BYTES


def test_calls_in_flight_at_the_end_are_answered(store_process: StoreProcess) -> None:
    """Calls that wait for the disk at SIGTERM are answered; each one that gets OK is stored."""
    store_process.start()
    names = [f"span {number}" for number in range(20)]
    connection = sqlite3.connect(store_process.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with channels(store_process.grpc_port, 1) as (channel,), ThreadPoolExecutor(1) as pool:
        method: Any = channel.unary_unary(TRACE_METHOD)
        calls = [
            method.future(trace_request(span(name)).SerializeToString(), timeout=TIMEOUT_S)
            for name in names
        ]
        poll_until(lambda: all(call.running() for call in calls), "the calls to start")
        ended = pool.submit(store_process.stop)
        poll_until(lambda: not store_process.is_healthy(), "the store to end")
        connection.close()
        answered = [name for name, call in zip(names, calls, strict=True) if not call.exception()]
        ended.result()
    stored = [name for (name,) in read_rows(store_process.path, "SELECT name FROM spans")]
    assert answered
    assert set(answered) <= set(stored)
