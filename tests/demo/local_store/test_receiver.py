"""Tests of the local store's HTTP server: which requests it accepts, and how it refuses others."""

import asyncio
import gzip
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Metric,
    NumberDataPoint,
    Summary,
)

from tests.demo.local_store.messages import (
    MIB,
    NANO,
    attributes,
    counter,
    gauge,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    to_otlp_json,
    trace_request,
)
from tests.demo.local_store.stores import (
    PROTOBUF,
    InMemoryStore,
    async_poll_until,
    poll_until,
)
from three_pillar_demo.local_store import intake as intake_module
from three_pillar_demo.local_store.compression import MAX_DECOMPRESSED_BYTES
from three_pillar_demo.local_store.export_request import decode_request
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.otlp.batch import MAX_RECORDS, Batch
from three_pillar_demo.local_store.receiver import MAX_BODY_BYTES, create_app
from three_pillar_demo.local_store.writer import MAX_BATCHES_PER_TRANSACTION

TRACE_ID = bytes(range(16))
SPAN_ID = bytes(range(8))
PARENT_ID = bytes(range(1, 9))
JSON = {"content-type": "application/json; charset=utf-8"}
GZIP = {"content-encoding": "gzip"}
LOCK_TIMEOUT_MS = 600_000
SIGNALS = ("traces", "logs", "metrics")
RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
STORED: dict[str, tuple[str, tuple[Any, ...]]] = {
    "traces": (
        "SELECT trace_id, span_id, parent_id, service, attributes ->> '$.\"order.id\"' FROM spans",
        (TRACE_ID.hex(), SPAN_ID.hex(), PARENT_ID.hex(), "checkout", "7"),
    ),
    "logs": (
        "SELECT trace_id, span_id, service, severity, body FROM lines",
        (TRACE_ID.hex(), SPAN_ID.hex(), "checkout", "INFO", "done"),
    ),
    "metrics": (
        "SELECT name, service, labels ->> 'route', labels ->> 'job', value FROM points",
        ("sold_total", "checkout", "/checkout", "shop/checkout", 3.0),
    ),
}
"""By signal, a query and the one row it returns once ``export_request`` is stored."""


def export_request(signal_name: str) -> Message:
    """Return a request of the signal with one record; spans and log records have fixed ids."""
    match signal_name:
        case "traces":
            return trace_request(
                span(
                    trace_id=TRACE_ID,
                    span_id=SPAN_ID,
                    parent_span_id=PARENT_ID,
                    attributes=attributes(order__id="7"),
                )
            )
        case "logs":
            record = log_record(
                trace_id=TRACE_ID, span_id=SPAN_ID, attributes=attributes(order__id="7")
            )
            return log_request(record)
    point = number_point(3, attributes=attributes(route="/checkout"))
    return metric_request(counter("sold", point))


@pytest.mark.parametrize("compress", [False, True], ids=["identity", "gzip"])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("signal_name", SIGNALS)
def test_each_signal_is_accepted_in_each_encoding(
    in_memory_store: InMemoryStore,
    signal_name: str,
    encoding: str,
    compress: bool,  # noqa: FBT001  (a parameter of the test)
) -> None:
    """A valid request gets a response in its own encoding, and its rows are in the file."""
    request = export_request(signal_name)
    if encoding == "json":
        body = to_otlp_json(request)
        response = in_memory_store.send(signal_name, body, JSON, compress=compress)
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {}
    else:
        response = in_memory_store.send(signal_name, request, compress=compress)
        assert response.headers["content-type"] == "application/x-protobuf"
        message = RESPONSES[signal_name].FromString(response.content)
        assert not message.HasField("partial_success")
    assert response.status_code == 200
    query, row = STORED[signal_name]
    assert in_memory_store.rows(query) == [row]


def test_an_empty_request_is_accepted(in_memory_store: InMemoryStore) -> None:
    """A request without records is answered 200, as the OTLP specification demands."""
    statuses = [in_memory_store.send(signal_name, b"").status_code for signal_name in SIGNALS]
    assert statuses == [200, 200, 200]


def test_rejected_spans_are_counted_by_reason(in_memory_store: InMemoryStore) -> None:
    """Invalid spans are counted by reason, and the others of the request are stored."""
    tomorrow = time.time_ns() + 25 * 3600 * NANO
    invalid = [span(trace_id=b"short"), span(span_id=bytes(8)), span(start=tomorrow)]
    response = in_memory_store.send("traces", trace_request(span("good"), *invalid))
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 3
    assert partial.error_message == (
        "rejected: 2 x span: invalid span or trace id; "
        "1 x span: start_time_unix_nano over 24 h in the future"
    )
    assert in_memory_store.rows("SELECT name FROM spans") == [("good",)]


def test_a_log_record_needs_no_valid_ids(in_memory_store: InMemoryStore) -> None:
    """A log record is stored without its ids if they are missing or invalid."""
    invalid = log_record("odd", trace_id=b"short", span_id=SPAN_ID)
    response = in_memory_store.send("logs", log_request(log_record("alone"), invalid))
    message = ExportLogsServiceResponse.FromString(response.content)
    assert not message.HasField("partial_success")
    rows = in_memory_store.rows("SELECT body, trace_id FROM lines ORDER BY body")
    assert rows == [("alone", ""), ("odd", "")]


def test_rejected_data_points_are_counted_by_reason(in_memory_store: InMemoryStore) -> None:
    """Invalid points of each metric type are counted with the metric's name and the reason."""
    exponential_point = ExponentialHistogramDataPoint(count=1, time_unix_nano=time.time_ns())
    exponential = ExponentialHistogram(data_points=[exponential_point, exponential_point])
    request = metric_request(
        Metric(name="wide", exponential_histogram=exponential),
        Metric(name="old", summary=Summary(data_points=[])),
        Metric(name="none"),
        gauge("heat", number_point(float("nan")), number_point(21.5)),
        histogram("torn", histogram_point([1, 2], bounds=[0.1, 1.0])),
        counter("left", number_point(1, flags=1)),
        counter("empty", NumberDataPoint(time_unix_nano=time.time_ns())),
    )
    response = in_memory_store.send("metrics", request)
    partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_data_points == 7
    for reason in (
        "2 x data point of wide: inconsistent buckets and count",
        "1 x data point of heat: value is NaN or infinite",
        "1 x data point of torn: inconsistent buckets, bounds, count or sum",
        "1 x metric none: no data",
        "1 x data point of left: no recorded value",
    ):
        assert reason in partial.error_message
    assert in_memory_store.rows("SELECT name, value FROM points") == [("heat", 21.5)]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xff\xff", {}),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"resourceSpans": 7}', JSON),
        (b'{"resourceSpans": [}', JSON),
        (b"\xc3\x28", JSON),
        (b"no gzip", GZIP),
        (gzip.compress(b"cut")[:-4], GZIP),
        (gzip.compress(b"") + b"more", GZIP),
    ],
    ids=[
        "protobuf",
        "json",
        "list",
        "type",
        "syntax",
        "utf-8",
        "gzip",
        "cut gzip",
        "more than gzip",
    ],
)
def test_an_invalid_body_is_refused_with_400(
    in_memory_store: InMemoryStore, body: bytes, headers: dict[str, str]
) -> None:
    """An invalid body is answered with a google.rpc.Status in the encoding of the request."""
    response = in_memory_store.send("traces", body, headers)
    assert response.status_code == 400
    if headers == JSON:
        assert response.json()["code"] == 3
        assert response.json()["message"]
    else:
        status = Status.FromString(response.content)
        assert status.code == 3
        assert status.message


def test_other_paths_and_methods_are_refused(in_memory_store: InMemoryStore) -> None:
    """An unknown signal gets 404, and another method 405 with the allowed one."""
    assert in_memory_store.send("profiles", b"").status_code == 404
    assert in_memory_store.client.get("/nowhere").status_code == 404
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        response = in_memory_store.client.request(method, "/v1/traces")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


def test_other_types_and_encodings_are_refused(in_memory_store: InMemoryStore) -> None:
    """Other media types and encodings get 415 and the list of supported ones."""
    other_type = in_memory_store.send("traces", b"", {"content-type": "text/plain"})
    other_encoding = in_memory_store.send("traces", b"", {"content-encoding": "br"})
    assert (other_type.status_code, other_encoding.status_code) == (415, 415)
    assert "application/x-protobuf" in Status.FromString(other_type.content).message
    assert "gzip" in Status.FromString(other_encoding.content).message


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("application/x-protobuf", "application/x-protobuf"),
        ("Application/X-Protobuf", "application/x-protobuf"),
        (" application/x-protobuf; a=b", "application/x-protobuf"),
        ("application/protobuf", "application/protobuf"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON;charset=UTF-8", "application/json"),
    ],
)
def test_media_types_are_recognised(
    in_memory_store: InMemoryStore, sent: str, answered: str
) -> None:
    """Media types in any case and with parameters are accepted, and answered in the same type."""
    request = export_request("logs")
    body = to_otlp_json(request) if "json" in answered else request.SerializeToString()
    response = in_memory_store.send("logs", body, {"content-type": sent})
    assert (response.status_code, response.headers["content-type"]) == (200, answered)
    assert in_memory_store.rows("SELECT count(*) FROM lines") == [(1,)]


@pytest.mark.parametrize("sent", ["", "application", "text/plain", "application/x-protobuf, a/b"])
def test_what_is_no_media_type_of_otlp_is_refused(
    in_memory_store: InMemoryStore, sent: str
) -> None:
    """A missing, unknown or repeated media type gets 415."""
    response = in_memory_store.send("logs", export_request("logs"), {"content-type": sent})
    assert response.status_code == 415


def test_a_body_that_is_too_large_is_refused(in_memory_store: InMemoryStore) -> None:
    """A body gets 413 if it is too large as it arrives, or when decompressed."""
    large = in_memory_store.send("traces", bytes(MAX_BODY_BYTES + 1))
    bomb = in_memory_store.send("traces", bytes(200 * MIB), compress=True)
    assert (large.status_code, bomb.status_code) == (413, 413)
    assert str(MAX_DECOMPRESSED_BYTES) in Status.FromString(bomb.content).message
    assert in_memory_store.send("traces", export_request("traces")).status_code == 200


def test_records_beyond_the_limit_of_a_request_are_rejected(
    in_memory_store: InMemoryStore,
) -> None:
    """Of a small body with very many empty records, the first ``MAX_RECORDS`` are stored."""
    records = [LogRecord() for _ in range(MAX_RECORDS + 5)]
    response = in_memory_store.send("logs", log_request(*records), compress=True)
    partial = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_log_records == 5
    assert partial.error_message == (
        f"rejected: 5 x log record: over {MAX_RECORDS} records in one request"
    )
    assert in_memory_store.rows("SELECT count(*) FROM log") == [(MAX_RECORDS,)]


async def post_all(
    http: httpx2.AsyncClient, path: str, bodies: Sequence[bytes], **headers: str
) -> list[asyncio.Task[httpx2.Response]]:
    """Start sending each body at the same time; return the tasks that wait for responses."""
    return [
        asyncio.create_task(http.post(path, content=body, headers=PROTOBUF | headers))
        for body in bodies
    ]


def client(in_memory_store: InMemoryStore) -> httpx2.AsyncClient:
    """Return an asynchronous HTTP client of the store, without a network."""
    transport = httpx2.ASGITransport(create_app(Intake(in_memory_store.writer)))
    return httpx2.AsyncClient(transport=transport, base_url="http://store")


def test_bodies_in_memory_count_as_queued(in_memory_store: InMemoryStore) -> None:
    """Bodies that wait for decoding count towards the limit of the write queue until answered."""

    async def send_all() -> set[int]:
        async with client(in_memory_store) as http:
            invalid = bytes(3 * MIB)
            requests = await post_all(http, "/v1/logs", [invalid for _ in range(40)])
            return {response.status_code for response in await asyncio.gather(*requests)}

    assert asyncio.run(send_all()) == {400, 429}
    assert in_memory_store.writer.queued_bytes == 0


def lock_file(in_memory_store: InMemoryStore) -> sqlite3.Connection:
    """Open a connection that holds the write lock, so that the store waits, and does not give up.

    The store's own time limit for the lock would end first on a busy machine.
    """
    in_memory_store.store.connection.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}")
    connection = sqlite3.connect(in_memory_store.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection


def health_is(in_memory_store: InMemoryStore, status: int) -> Callable[[], bool]:
    """Return a function that returns whether ``/healthz`` answers with ``status``."""
    return lambda: in_memory_store.client.get("/healthz").status_code == status


def test_a_locked_file_is_reported_and_the_store_recovers(in_memory_store: InMemoryStore) -> None:
    """While the file is locked, batches get 503 and ``/healthz`` reports the reason."""
    lock = lock_file(in_memory_store)
    in_memory_store.store.connection.execute("PRAGMA busy_timeout = 50")
    try:
        response = in_memory_store.send("traces", export_request("traces"))
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        status = Status.FromString(response.content)
        assert status.code == 14
        assert status.message == "cannot write to the store: database is locked"
        health = in_memory_store.client.get("/healthz")
        assert health.status_code == 503
        assert health.json() == {"status": "OperationalError: database is locked"}
    finally:
        lock.close()
    poll_until(health_is(in_memory_store, 200), "the health, without a further batch")
    assert in_memory_store.send("traces", export_request("traces")).status_code == 200
    assert in_memory_store.rows("SELECT count(*) FROM span") == [(1,)]


def test_a_full_file_is_reported_and_the_store_recovers(in_memory_store: InMemoryStore) -> None:
    """A batch over the file's size limit gets 503, and is stored once the limit is raised."""
    in_memory_store.store.connection.execute("PRAGMA max_page_count = 60")
    large = log_request(*(log_record("x" * 8000) for _ in range(100)))
    response = in_memory_store.send("logs", large)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert "full" in Status.FromString(response.content).message
    in_memory_store.store.connection.execute("PRAGMA max_page_count = 60000")
    assert in_memory_store.send("logs", large).status_code == 200
    assert in_memory_store.rows("SELECT count(*) FROM log") == [(100,)]
    assert in_memory_store.client.get("/healthz").status_code == 200


def test_a_full_write_queue_refuses_further_batches(in_memory_store: InMemoryStore) -> None:
    """Batches over the queue's size limit get 429, and the queued ones are stored."""
    lock = lock_file(in_memory_store)
    requests = [log_request(log_record(f"{number}" + "x" * 7 * MIB)) for number in range(11)]
    bodies = [gzip.compress(request.SerializeToString(), 1) for request in requests]

    async def send_all() -> list[httpx2.Response]:
        async with client(in_memory_store) as http:
            tasks = await post_all(http, "/v1/logs", bodies, **{"content-encoding": "gzip"})
            await async_poll_until(
                lambda: sum(task.done() for task in tasks) == 2, "two batches to be refused"
            )
            lock.close()
            return await asyncio.gather(*tasks)

    responses = asyncio.run(send_all())
    refused = [response for response in responses if response.status_code == 429]
    assert sorted(response.status_code for response in responses) == [200] * 9 + [429] * 2
    assert {response.headers["retry-after"] for response in refused} == {"1"}
    assert {Status.FromString(response.content).message for response in refused} == {
        "write queue full, retry later"
    }
    assert in_memory_store.rows("SELECT count(*) FROM log") == [(9,)]


def test_more_batches_than_fit_in_a_transaction_are_all_stored(
    in_memory_store: InMemoryStore,
) -> None:
    """If more batches than fit in a transaction arrive at once, all are stored and answered."""
    lock = lock_file(in_memory_store)
    queue = in_memory_store.writer.queue
    bodies = [trace_request(span()).SerializeToString() for _ in range(200)]

    async def send_all() -> set[int]:
        async with client(in_memory_store) as http:
            tasks = await post_all(http, "/v1/traces", bodies)
            await async_poll_until(
                lambda: queue.qsize() > 2 * MAX_BATCHES_PER_TRANSACTION,
                "more than two transactions in the queue",
            )
            lock.close()
            async with asyncio.timeout(90):
                return {response.status_code for response in await asyncio.gather(*tasks)}

    assert asyncio.run(send_all()) == {200}
    assert in_memory_store.rows("SELECT count(*) FROM span") == [(200,)]


def test_a_cancelled_request_is_decoded_alone(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests given up while they are decoded keep their place and bytes until that ends."""
    running: list[str] = []
    begun: list[int] = []
    may_end = threading.Event()

    def decode_slowly(*arguments: Any) -> Batch:  # noqa: ANN401  (any argument)
        running.append("decode")
        begun.append(len(running))
        assert may_end.wait(60)
        running.pop()
        return decode_request(*arguments)

    monkeypatch.setattr(intake_module, "decode_request", decode_slowly)
    writer = in_memory_store.writer
    bodies = [export_request("logs").SerializeToString() for _ in range(3)]

    async def give_up_all() -> None:
        intake = Intake(writer)
        stores = [
            asyncio.create_task(intake.store("logs", body, "", PROTOBUF["content-type"]))
            for body in bodies
        ]
        await async_poll_until(lambda: len(begun) == 1, "the first request to be decoded")
        for store in stores[:2]:
            store.cancel()
        await asyncio.wait(stores[:2])
        assert writer.queued_bytes == len(bodies[0])
        assert not stores[2].done()
        may_end.set()
        await stores[2]

    asyncio.run(give_up_all())
    assert begun == [1, 1]
    assert writer.queued_bytes == 0
    assert in_memory_store.rows("SELECT count(*) FROM log") == [(1,)]
