"""Tests of writing to the store's file: what is stored, and what happens to unusable files."""

import asyncio
import json
import logging
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from tests.demo.local_store.messages import (
    DELTA,
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
    trace_request,
)
from tests.demo.local_store.stores import (
    InMemoryStore,
    async_poll_until,
    read_rows,
    running_store,
)
from three_pillar_demo.local_store.database import APPLICATION_ID, is_of_record, pragma
from three_pillar_demo.local_store.otlp import logs, metrics, traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.series_table import MAX_SERIES
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import WriteError

NOW = time.time_ns()
TIMES = [NOW - seconds * NANO for seconds in (30, 20, 10)]
PAGE_BYTES = 4096
HEADER_BYTES = 108
SIDE_FILES = ("-wal", "-shm")


@pytest.fixture(autouse=True)
def recent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set ``NOW`` anew for each test, because this module may have been imported long before."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", time.time_ns())


def test_a_batch_that_is_sent_again_is_stored_once(in_memory_store: InMemoryStore) -> None:
    """A repeated batch, compressed or not, is answered 200 and adds no rows."""
    requests = {
        "traces": trace_request(span()),
        "logs": log_request(log_record()),
        "metrics": metric_request(counter("sold", number_point(1))),
    }
    for signal_name, request in requests.items():
        for compress in (False, True, False):
            response = in_memory_store.send(signal_name, request, compress=compress)
            assert response.status_code == 200
    for table in ("span", "log", "point"):
        assert in_memory_store.rows(f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608
    tally = in_memory_store.rows("SELECT * FROM tally ORDER BY signal")
    assert tally == [("lines", 1), ("points", 1), ("spans", 1)]


def test_counters_gauges_and_histograms_are_stored(in_memory_store: InMemoryStore) -> None:
    """Each point is stored with its value, a histogram with its sum, bounds and buckets."""
    request = metric_request(
        counter("sold", number_point(4)),
        gauge("heat", number_point(-1)),
        histogram("took", histogram_point([1, 2, 3], total=4)),
    )
    in_memory_store.send("metrics", request)
    query = "SELECT name, kind, value, bounds, buckets FROM points ORDER BY name"
    assert in_memory_store.rows(query) == [
        ("heat", "gauge", -1.0, "[]", None),
        ("sold_total", "counter", 4.0, "[]", None),
        ("took_seconds", "histogram", 4.0, "[0.1,1.0]", "[1,2,3]"),
    ]


def test_delta_points_become_cumulative(in_memory_store: InMemoryStore) -> None:
    """Delta points are stored as running totals since the start of the first one."""
    start = TIMES[0] - NANO
    for point_time, point_start in zip(TIMES, [start, *TIMES], strict=False):
        sold_point = number_point(2, at=point_time, start=point_start)
        sold = counter("sold", sold_point, temporality=DELTA)
        took_point = histogram_point([1, 0, 2], total=0.5, at=point_time, start=point_start)
        took = histogram("took", took_point, temporality=DELTA)
        assert in_memory_store.send("metrics", metric_request(sold, took)).status_code == 200
    sold_rows = in_memory_store.rows(
        "SELECT time, point.start, value FROM point JOIN series ON id = series "
        "WHERE name = 'sold_total'"
    )
    assert sold_rows == [(TIMES[0], start, 2.0), (TIMES[1], start, 4.0), (TIMES[2], start, 6.0)]
    took_rows = in_memory_store.rows(
        "SELECT value, count, buckets FROM point JOIN series ON id = series "
        "WHERE name = 'took_seconds'"
    )
    assert [(value, count, json.loads(buckets)) for value, count, buckets in took_rows] == [
        (0.5, 3, [1, 0, 2]),
        (1.0, 6, [2, 0, 4]),
        (1.5, 9, [3, 0, 6]),
    ]


def test_delta_points_that_cannot_be_added_are_rejected(in_memory_store: InMemoryStore) -> None:
    """A delta point that is not the newest, or makes a total overflow, changes nothing."""

    def send(point_time: int, count: int) -> ExportMetricsServiceResponse:
        point = histogram_point([count, 0, 0], at=point_time, start=point_time - NANO)
        request = metric_request(histogram("took", point, temporality=DELTA))
        response = in_memory_store.send("metrics", request)
        message: ExportMetricsServiceResponse
        message = ExportMetricsServiceResponse.FromString(response.content)
        return message

    assert not send(TIMES[1], 2**62).partial_success.rejected_data_points
    for point_time, count in ((TIMES[0], 1), (TIMES[1], 2), (TIMES[2], 2**62)):
        partial = send(point_time, count).partial_success
        assert partial.rejected_data_points == 1
        assert partial.error_message == (
            "rejected: 1 x delta data point: not after the previous one, or sum out of range"
        )
    assert not send(TIMES[2], 5).partial_success.rejected_data_points
    rows = in_memory_store.rows("SELECT count FROM point ORDER BY time")
    assert rows == [(2**62,), (2**62 + 5,)]


def test_series_beyond_the_limit_are_rejected(in_memory_store: InMemoryStore) -> None:
    """Points of series over the limit are rejected, those of existing series are stored."""
    points = [
        number_point(1, at=NOW, attributes=attributes(id=str(number)))
        for number in range(MAX_SERIES + 3)
    ]
    response = in_memory_store.send("metrics", metric_request(counter("sold", *points)))
    partial = ExportMetricsServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_data_points == 3
    assert partial.error_message == (
        f"rejected: 3 x data point of a new series: over {MAX_SERIES} series"
    )
    known_point = number_point(2, start=NOW - NANO, attributes=attributes(id="7"))
    response = in_memory_store.send("metrics", metric_request(counter("sold", known_point)))
    message = ExportMetricsServiceResponse.FromString(response.content)
    assert not message.HasField("partial_success")
    assert in_memory_store.rows("SELECT count(*) FROM series") == [(MAX_SERIES,)]
    # Rejected points are not in the total.
    tally = in_memory_store.rows("SELECT rows FROM tally WHERE signal = 'points'")
    assert tally == [(MAX_SERIES + 1,)]


def batch(digest: bytes, *counter_names: str) -> Batch:
    """Return a batch with a point of each counter, and a span whose name is the digest."""
    new_batch = Batch(digest, 1)
    counters = [counter(name, number_point(1)) for name in counter_names]
    metrics.decode(metric_request(*counters), new_batch)
    traces.decode(trace_request(span(digest.decode())), new_batch)
    return new_batch


def large_batch(digest: bytes, *counter_names: str) -> Batch:
    """Return a batch with a span that a file which is ``nearly_full`` cannot hold."""
    new_batch = batch(digest, *counter_names)
    source, row = new_batch.spans[0]
    new_batch.spans.append((source, (*row[:3], "x" * MIB, *row[4:])))
    return new_batch


@contextmanager
def nearly_full(store: Store) -> Iterator[None]:
    """Leave only little room in the file of ``store`` meanwhile."""
    pages = pragma(store.connection, "page_count") + 50
    limit = pragma(store.connection, "max_page_count")
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    store.connection.execute(f"PRAGMA max_page_count = {limit}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store with a new file and without a writer thread."""
    return Store(tmp_path / "telemetry.db", 64 * MIB)


def test_a_rollback_clears_the_caches(store: Store) -> None:
    """Sources and series that a rollback removed are inserted again by the next batch."""
    with nearly_full(store), pytest.raises(sqlite3.OperationalError, match="full"):
        store.write([batch(b"first", "bought"), large_batch(b"large", "sold")])
    for table in ("span", "series"):
        assert read_rows(store.path, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    store.write([batch(b"first", "bought"), batch(b"second", "sold")])
    names = read_rows(store.path, "SELECT name FROM points ORDER BY name")
    assert names == [("bought_total",), ("sold_total",)]
    spans = read_rows(store.path, "SELECT name, service FROM spans ORDER BY name")
    assert spans == [("first", "checkout"), ("second", "checkout")]
    store.close()


def test_a_rollback_does_not_count_rejections_twice(store: Store) -> None:
    """If a batch is written again after a rollback, its rejected points count only once."""
    first_batch = Batch(b"first")
    late_batch = Batch(b"late")
    for delta_batch, point_time in ((first_batch, NOW), (late_batch, NOW - 60 * NANO)):
        point = number_point(1, at=point_time)
        metrics.decode(metric_request(counter("sold", point, temporality=DELTA)), delta_batch)
    store.write([first_batch])
    with nearly_full(store), pytest.raises(sqlite3.OperationalError, match="full"):
        store.write([late_batch, large_batch(b"large")])
    store.write([late_batch])
    assert late_batch.rejected.total() == 1
    store.close()


def test_a_batch_without_room_does_not_affect_the_others(in_memory_store: InMemoryStore) -> None:
    """If one batch of a transaction cannot be stored, the other ones still are."""
    valid = [batch(f"good{number}".encode(), "sold") for number in range(3)]
    writer = in_memory_store.writer

    async def write_together() -> list[object]:
        lock = sqlite3.connect(in_memory_store.path, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        first_task = asyncio.create_task(writer.put(batch(b"first")))
        await async_poll_until(
            lambda: writer.queued_bytes > 0 and not writer.queue.qsize(),
            "the writer to wait for the lock",
        )
        batches = [valid[0], large_batch(b"large", "sold"), *valid[1:]]
        later_tasks = [asyncio.create_task(writer.put(queued)) for queued in batches]
        await async_poll_until(
            lambda: writer.queue.qsize() == len(later_tasks), "the later batches to be queued"
        )
        lock.close()
        return await asyncio.gather(first_task, *later_tasks, return_exceptions=True)

    with nearly_full(in_memory_store.store):
        first_result, good_result, bad_result, *results = asyncio.run(write_together())
    assert [first_result, good_result, *results] == [None, None, None, None]
    assert type(bad_result) is WriteError
    names = in_memory_store.rows("SELECT name FROM spans ORDER BY name")
    assert names == [("first",), ("good0",), ("good1",), ("good2",)]


def test_a_record_that_sqlite_cannot_store_is_rejected_alone(store: Store) -> None:
    """A span, log record or point whose writing fails is refused by name, without its batch."""
    mixed = batch(b"mixed", "sold", "bought", "lost")
    logs.decode(log_request(*(log_record(text) for text in ("a", "b", "c", "d"))), mixed)
    source, span_row = mixed.spans[0]
    record_source, record_row = mixed.log_records[1]
    unknown_source = ("\ud83d", *source[1:])
    mixed.spans[:0] = [(unknown_source, span_row), (source, (None, *span_row[1:]))]
    mixed.log_records[1] = (record_source, (2**63, *record_row[1:]))
    mixed.log_records[3] = (record_source, (*record_row[:5], "\ud83d", *record_row[6:]))
    mixed.points[1] = replace(mixed.points[1], value=cast("float", "\ud83d"))
    mixed.points[2] = replace(mixed.points[2], value=cast("float", 2**70))
    for _ in range(2):  # the second time as a retry
        mixed.rejected.clear()
        store.write([mixed])
        assert mixed.rejected == {
            "span: cannot be stored, IntegrityError": 1,
            "span: cannot be stored, UnicodeEncodeError": 1,
            "log record: cannot be stored, OverflowError": 1,
            "log record: cannot be stored, UnicodeEncodeError": 1,
            "data point of bought_total: cannot be stored, UnicodeEncodeError": 1,
            "data point of lost_total: cannot be stored, OverflowError": 1,
        }
    assert read_rows(store.path, "SELECT name FROM spans") == [("mixed",)]
    assert read_rows(store.path, "SELECT body FROM lines") == [("a",), ("c",)]
    assert read_rows(store.path, "SELECT name FROM points") == [("sold_total",)]
    tally = read_rows(store.path, "SELECT * FROM tally ORDER BY signal")
    assert tally == [("lines", 2), ("points", 1), ("spans", 1)]
    store.close()


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("disk I/O error"),
        sqlite3.DatabaseError("database disk image is malformed"),
        MemoryError(),
        OSError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_file_is_of_no_record(error: Exception) -> None:
    """An error of the file, the disk or the memory rejects no record, as a retry may succeed."""
    assert not is_of_record(error)


def files_moved_aside(path: Path) -> list[Path]:
    """Return the database files that the store has renamed because they were unusable."""
    return [file for file in path.parent.glob("*.aside-*") if not file.name.endswith(SIDE_FILES)]


def create_foreign_database(path: Path) -> None:
    """Create a SQLite database of another application at ``path``."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE precious (it TEXT); INSERT INTO precious VALUES ('kept')"
    )
    connection.close()


def create_other_version(path: Path) -> None:
    """Create a store file at ``path`` with a later schema version."""
    Store(path, 64 * MIB).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def create_first_version(path: Path) -> None:
    """Create a store file at ``path`` with schema version 1, whose spans had no links."""
    connection = sqlite3.connect(path)
    connection.executescript(
        f"CREATE TABLE span (trace_id BLOB); PRAGMA application_id = {APPLICATION_ID};"
        "PRAGMA user_version = 1;"
    )
    connection.close()


def create_random_bytes(path: Path) -> None:
    """Create a file of random bytes at ``path``."""
    path.write_bytes(random.Random(7).randbytes(100_000))  # noqa: S311  (no secret)


def create_text(path: Path) -> None:
    """Create a text file at ``path``."""
    path.write_text("not a database")


@pytest.mark.parametrize(
    "create",
    [
        create_foreign_database,
        create_other_version,
        create_first_version,
        create_random_bytes,
        create_text,
    ],
)
def test_a_file_of_another_format_is_moved_aside(
    tmp_path: Path, create: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """An unusable file is renamed unchanged, its new name is logged, and a new file is used."""
    path = tmp_path / "telemetry.db"
    create(path)
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING), running_store(path) as in_memory_store:
        assert in_memory_store.send("traces", trace_request(span())).status_code == 200
        assert in_memory_store.rows("SELECT count(*) FROM spans") == [(1,)]
    [moved] = files_moved_aside(path)
    assert moved.read_bytes() == before
    assert "moved aside to telemetry.db.aside-" in caplog.text


def test_a_second_start_uses_the_same_file(tmp_path: Path) -> None:
    """A store that is opened again keeps the stored rows and adds to them."""
    path = tmp_path / "telemetry.db"
    for point_time in TIMES[:2]:
        with running_store(path) as in_memory_store:
            in_memory_store.send("traces", trace_request(span()))
            point = number_point(1, at=point_time, start=TIMES[0] - NANO)
            in_memory_store.send("metrics", metric_request(counter("sold", point)))
    assert read_rows(path, "SELECT count(*) FROM span") == [(2,)]
    assert read_rows(path, "SELECT count(*) FROM series") == [(1,)]
    assert not files_moved_aside(path)


def fill(path: Path) -> None:
    """Create a store file at ``path`` with rows on many pages."""
    with running_store(path) as in_memory_store:
        for _ in range(20):
            spans = [span("x" * 500) for _ in range(100)]
            in_memory_store.send("traces", trace_request(*spans))
            points = [number_point(1, attributes=attributes(n=str(n))) for n in range(50)]
            in_memory_store.send("metrics", metric_request(counter("sold", *points)))


def test_a_file_that_is_damaged_while_in_use_is_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """If a write finds damage, the file is renamed and the batch is stored in a new one."""
    path = tmp_path / "telemetry.db"
    fill(path)
    intact_bytes = 3 * PAGE_BYTES  # the names of the tables stay readable, their pages do not
    with path.open("r+b") as file:
        file.seek(intact_bytes)
        file.write(b"\xa5" * (path.stat().st_size - intact_bytes))
    with caplog.at_level(logging.WARNING), running_store(path) as in_memory_store:
        statuses = {
            in_memory_store.send("traces", trace_request(span())).status_code for _ in range(5)
        }
        assert statuses <= {200, 503}
        last_response = in_memory_store.send("traces", trace_request(span("after")))
        assert last_response.status_code == 200
        assert in_memory_store.client.get("/healthz").status_code == 200
        assert ("after",) in in_memory_store.rows("SELECT name FROM spans")
        assert in_memory_store.is_intact()
    assert len(files_moved_aside(path)) == 1
    assert "moved aside" in caplog.text


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.long)])
def test_no_damage_prevents_the_start(tmp_path: Path, step: int) -> None:
    """Wherever a byte in its first pages is damaged, the store starts and stores batches."""
    whole = tmp_path / "whole.db"
    fill(whole)
    original = whole.read_bytes()
    chance = random.Random(11)  # noqa: S311  (no secret)
    offsets = [
        *range(HEADER_BYTES),
        *(chance.randrange(HEADER_BYTES, 20 * PAGE_BYTES) for _ in range(60)),
    ]
    for offset in offsets[::step]:
        folder = tmp_path / str(offset)
        folder.mkdir()
        path = folder / "telemetry.db"
        damaged = bytearray(original)
        damaged[offset] ^= 0xFF
        path.write_bytes(damaged)
        with running_store(path) as in_memory_store:
            in_memory_store.send("traces", trace_request(span()))
            response = in_memory_store.send("traces", trace_request(span()))
            assert response.status_code == 200, (offset, in_memory_store.writer.last_error)
        path.unlink()


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """If a folder has the name of the file, opening the store fails, and the folder stays."""
    path = tmp_path / "telemetry.db"
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Store(path, 64 * MIB)
    assert not files_moved_aside(path)
