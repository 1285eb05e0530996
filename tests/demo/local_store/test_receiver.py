"""The door: what is taken, what is refused, and in which words."""

import asyncio
import gzip
import sqlite3
import time
from collections.abc import Callable
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
    Summary,
)

from tests.demo.local_store.conftest import (
    MIB,
    NANO,
    PROTOBUF,
    House,
    as_json,
    buckets,
    counter,
    gauge,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    poll_until,
    span,
    traces,
    until,
)
from three_pillar_demo.local_store.otlp.batch import MAX_RECORDS
from three_pillar_demo.local_store.export_request import MAX_DECOMPRESSED_BYTES
from three_pillar_demo.local_store.receiver import MAX_BODY_BYTES, create_app
from three_pillar_demo.local_store.writer import MAX_BATCHES_PER_TRANSACTION

TRACE, SPAN, PARENT = bytes(range(16)), bytes(range(8)), bytes(range(1, 9))
JSON = {"content_type": "application/json; charset=utf-8"}
EVERY = ("traces", "logs", "metrics")
RESPONSES: dict[str, type[Message]] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


def message(signal: str) -> Message:
    """A request of one record, with ids."""
    match signal:
        case "traces":
            return traces(
                span(
                    trace_id=TRACE,
                    span_id=SPAN,
                    parent_span_id=PARENT,
                    attributes=pairs(order__id="7"),
                )
            )
        case "logs":
            return logs(line(trace_id=TRACE, span_id=SPAN, attributes=pairs(order__id="7")))
    return metrics(counter("sold", point(3, attributes=pairs(route="/checkout"))))


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("signal", EVERY)
def test_each_signal_is_taken_in_each_encoding(
    house: House, signal: str, encoding: str, packed: bool
) -> None:
    """A good request is answered with its response message in its own encoding, and its rows are in the file."""
    if encoding == "json":
        answer = house.send(signal, as_json(message(signal)), packed=packed, **JSON)
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {}
    else:
        answer = house.send(signal, message(signal), packed=packed)
        assert answer.headers["content-type"] == "application/x-protobuf"
        said = RESPONSES[signal].FromString(answer.content)
        assert not said.HasField("partial_success")
    assert answer.status_code == 200
    match signal:
        case "traces":
            query = "SELECT trace_id, span_id, parent_id, service, attributes ->> '$.\"order.id\"' FROM spans"
            assert house.rows(query) == [(TRACE.hex(), SPAN.hex(), PARENT.hex(), "checkout", "7")]
        case "logs":
            query = "SELECT trace_id, span_id, service, severity, body FROM lines"
            assert house.rows(query) == [(TRACE.hex(), SPAN.hex(), "checkout", "INFO", "done")]
        case "metrics":
            query = "SELECT name, service, labels ->> 'route', labels ->> 'job', value FROM points"
            assert house.rows(query) == [
                ("sold_total", "checkout", "/checkout", "shop/checkout", 3.0)
            ]


def test_an_empty_request_is_taken(house: House) -> None:
    """A request without records is a success, as the specification wants it."""
    assert [house.send(signal, b"").status_code for signal in EVERY] == [200, 200, 200]


def test_refused_spans_are_counted_and_named(house: House) -> None:
    """What is wrong with a span is said by count and name, and the others of its request are kept."""
    tomorrow = time.time_ns() + 25 * 3600 * NANO
    bad = [span(trace_id=b"short"), span(span_id=bytes(8)), span(start=tomorrow)]
    answer = house.send("traces", traces(span("good"), *bad))
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 3
    assert (
        partial.error_message
        == "rejected: 2 x span: invalid span or trace id; 1 x span: start_time_unix_nano over 24 h in the future"
    )
    assert house.rows("SELECT name FROM spans") == [("good",)]


def test_a_line_without_ids_is_kept(house: House) -> None:
    """A log record needs no trace: ids that are none are left out, the line stays."""
    answer = house.send("logs", logs(line("alone"), line("odd", trace_id=b"short", span_id=SPAN)))
    assert not ExportLogsServiceResponse.FromString(answer.content).HasField("partial_success")
    assert house.rows("SELECT body, trace_id FROM lines ORDER BY body") == [
        ("alone", ""),
        ("odd", ""),
    ]


def test_refused_points_are_counted_and_named(house: House) -> None:
    """Kinds of metrics that are not kept, and points that make no sense, are refused by the metric's name."""
    exponential = ExponentialHistogram(
        data_points=[ExponentialHistogramDataPoint(count=1, time_unix_nano=time.time_ns())] * 2
    )
    found = [
        Metric(name="wide", exponential_histogram=exponential),
        Metric(name="old", summary=Summary(data_points=[])),
        Metric(name="none"),
        gauge("heat", point(float("nan")), point(21.5)),
        histogram("torn", buckets([1, 2], bounds=[0.1, 1.0])),
        counter("left", point(1, flags=1)),
    ]
    answer = house.send("metrics", metrics(*found))
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_data_points == 6
    for said in (
        "2 x exponential_histogram wide: unsupported metric type",
        "1 x metric none: no data",
        "1 x data point of heat: value is NaN or infinite",
        "1 x data point of torn: inconsistent buckets, bounds, count or sum",
        "1 x data point of left: no recorded value",
    ):
        assert said in partial.error_message
    assert house.rows("SELECT name, value FROM points") == [("heat", 21.5)]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xff\xff\xff", {}),
        (b"{", JSON),
        (b"[]", JSON),
        (b'{"resourceSpans": 7}', JSON),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"trace_id": "xyz"}]}]}]}', JSON),
        (b"\xc3\x28", JSON),
        (b"no gzip", {"content_encoding": "gzip"}),
        (gzip.compress(b"cut")[:-4], {"content_encoding": "gzip"}),
        (gzip.compress(b"") + b"more", {"content_encoding": "gzip"}),
    ],
    ids=["protobuf", "json", "list", "type", "id", "utf-8", "gzip", "cut gzip", "more than gzip"],
)
def test_what_cannot_be_decoded_is_refused_with_a_status(
    house: House, body: bytes, headers: Any
) -> None:
    """400 comes with a google.rpc.Status that says why, in the encoding of the request."""
    answer = house.send("traces", body, **headers)
    assert answer.status_code == 400
    if headers == JSON:
        assert answer.json()["code"] == 3
        assert answer.json()["message"]
    else:
        status = Status.FromString(answer.content)
        assert status.code == 3
        assert status.message


def test_other_paths_and_methods_are_refused(house: House) -> None:
    """A signal that there is not is 404; another method than POST is 405 and names the one that is."""
    assert house.send("profiles", b"").status_code == 404
    assert house.client.get("/nowhere").status_code == 404
    for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        answer = house.client.request(method, "/v1/traces")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_other_types_and_encodings_are_refused(house: House) -> None:
    """415 says what is understood."""
    typed = house.send("traces", b"", content_type="text/plain")
    packed = house.send("traces", b"", content_encoding="br")
    assert (typed.status_code, packed.status_code) == (415, 415)
    assert "application/x-protobuf" in Status.FromString(typed.content).message
    assert "gzip" in Status.FromString(packed.content).message


def test_a_body_that_is_too_large_is_refused(house: House) -> None:
    """413 for what is too large as it comes, and for a small body that would be too large unpacked."""
    large = house.send("traces", bytes(MAX_BODY_BYTES + 1))
    bomb = house.send("traces", bytes(200 * MIB), packed=True)
    assert (large.status_code, bomb.status_code) == (413, 413)
    assert str(MAX_DECOMPRESSED_BYTES) in Status.FromString(bomb.content).message
    assert house.send("traces", message("traces")).status_code == 200


def test_a_crowd_of_empty_records_is_bounded(house: House) -> None:
    """A small body of very many empty records is taken up to a limit, and the rest refused by name and count."""
    answer = house.send("logs", logs(*[LogRecord()] * (MAX_RECORDS + 5)), packed=True)
    partial = ExportLogsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_log_records == 5
    assert (
        partial.error_message == f"rejected: 5 x log record: over {MAX_RECORDS} records in one request"
    )
    assert house.rows("SELECT count(*) FROM log") == [(MAX_RECORDS,)]


def test_what_is_read_counts_as_waiting(house: House) -> None:
    """Bodies that are read but not decoded take no more memory than may wait, and all is given back at the end."""

    async def crowd() -> list[int]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(house.writer)), base_url="http://it"
        ) as http:
            body = bytes(3 * MIB)
            sent = (http.post("/v1/logs", content=body, headers=PROTOBUF) for _ in range(40))
            return [each.status_code for each in await asyncio.gather(*sent)]

    assert set(asyncio.run(crowd())) == {400, 429}
    assert house.writer.queued_bytes == 0


def lock(house: House) -> sqlite3.Connection:
    """Another connection that holds the file for itself, so that nothing can be written."""
    other = sqlite3.connect(house.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def ends(house: House, status: int) -> Callable[[], bool]:
    """Whether the health is at ``status``."""
    return lambda: house.client.get("/healthz").status_code == status


def test_a_file_that_cannot_be_written_is_said_and_recovers(house: House) -> None:
    """While nothing can be stored a batch is told to come again and the health says why; it ends by itself."""
    house.store.connection.execute("PRAGMA busy_timeout = 50")
    other = lock(house)
    try:
        answer = house.send("traces", message("traces"))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        status = Status.FromString(answer.content)
        assert (status.code, status.message) == (14, "cannot write to the store: database is locked")
        health = house.client.get("/healthz")
        assert (health.status_code, health.json()) == (
            503,
            {"status": "OperationalError: database is locked"},
        )
    finally:
        other.close()
    poll_until(ends(house, 200), "the health without any batch that came")
    assert house.send("traces", message("traces")).status_code == 200
    assert house.rows("SELECT count(*) FROM span") == [(1,)]


def test_a_file_that_is_full_gets_room_again(house: House) -> None:
    """When SQLite says that the file is full, the batch is told to come again, and is stored once there is room."""
    house.store.connection.execute("PRAGMA max_page_count = 60")
    large = logs(*(line("x" * 8000) for _ in range(100)))
    answer = house.send("logs", large)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "full" in Status.FromString(answer.content).message
    house.store.connection.execute("PRAGMA max_page_count = 60000")
    assert house.send("logs", large).status_code == 200
    assert house.rows("SELECT count(*) FROM log") == [(100,)]
    assert house.client.get("/healthz").status_code == 200


def test_more_than_may_wait_is_told_to_come_again(house: House) -> None:
    """When the disk is behind by more than may wait, one more is told to come again; those that waited are stored."""
    other = lock(house)

    async def crowd() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(house.writer)), base_url="http://it"
        ) as http:
            bodies = [
                gzip.compress(logs(line(f"{each}" + "x" * 7 * MIB)).SerializeToString(), 1)
                for each in range(11)
            ]
            headers = PROTOBUF | {"content-encoding": "gzip"}
            sent = [
                asyncio.create_task(http.post("/v1/logs", content=body, headers=headers))
                for body in bodies
            ]
            await until(
                lambda: sum(each.done() for each in sent) == 2, "two to be told to come again"
            )
            other.close()
            return await asyncio.gather(*sent)

    answers = asyncio.run(crowd())
    assert sorted(each.status_code for each in answers) == [200] * 9 + [429] * 2
    assert {each.headers["retry-after"] for each in answers if each.status_code == 429} == {"1"}
    assert house.rows("SELECT count(*) FROM log") == [(9,)]


def test_every_batch_of_a_crowd_is_answered(house: House) -> None:
    """More batches at once than fit in one transaction are all stored and all answered."""
    other = lock(house)

    async def crowd() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(create_app(house.writer)), base_url="http://it"
        ) as http:
            bodies = [traces(span()).SerializeToString() for _ in range(200)]
            sent = [
                asyncio.create_task(http.post("/v1/traces", content=body, headers=PROTOBUF))
                for body in bodies
            ]
            await until(
                lambda: house.writer.queue.qsize() > 2 * MAX_BATCHES_PER_TRANSACTION, "more than two groups to wait"
            )
            other.close()
            async with asyncio.timeout(20):
                return await asyncio.gather(*sent)

    assert {each.status_code for each in asyncio.run(crowd())} == {200}
    assert house.rows("SELECT count(*) FROM span") == [(200,)]
