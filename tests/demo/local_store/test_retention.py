"""Tests of retention: the file stays within its size and age limits while it is used."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message

from tests.demo.local_store.messages import (
    MIB,
    NANO,
    attributes,
    counter,
    exemplar,
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
from tests.demo.local_store.stores import InMemoryStore, poll_until, read_rows, running_store
from three_pillar_demo.local_store import retention
from three_pillar_demo.local_store.export_request import SIGNALS
from three_pillar_demo.local_store.otlp import checks, logs, metrics, traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.retention import (
    DIGEST_RETENTION_S,
    POINT_RETENTION_HOURS,
    RETENTION_HOURS,
    SOURCE_RETENTION_HOURS,
)
from three_pillar_demo.local_store.store import Store

HOUR_NS = 3600 * NANO
SIZE_BYTES = 16 * MIB
MAX_WAL_BYTES = 24 * MIB


class Reader:
    """A thread that queries the file without pause, and records queries and errors."""

    def __init__(self, path: Path) -> None:
        """Start the thread, which reads the file at ``path``."""
        self.path = path
        self.queries = 0
        self.errors: list[str] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        while not self.stopped.is_set():
            try:
                connection.execute("SELECT name FROM spans ORDER BY start DESC LIMIT 5").fetchall()
                connection.execute("SELECT count(*), sum(length(body)) FROM lines").fetchall()
                self.queries += 1
            except sqlite3.Error as error:
                self.errors.append(str(error))
        connection.close()

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        self.stopped.set()
        self.thread.join()


def send_round(in_memory_store: InMemoryStore, number: int) -> None:
    """Send 300 spans, 450 log records and 50 points, whose names or values contain ``number``."""
    spans = [span(f"span {number}", attributes=attributes(padding="x" * 400)) for _ in range(300)]
    records = [log_record(f"line {number} " + "x" * 500) for _ in range(450)]
    points = [number_point(number, attributes=attributes(id=str(series))) for series in range(50)]
    requests = {
        "traces": trace_request(*spans),
        "logs": log_request(*records),
        "metrics": metric_request(counter("sold", *points)),
    }
    for signal_name, request in requests.items():
        assert in_memory_store.send(signal_name, request).status_code == 200


@pytest.mark.parametrize(
    ("size_bytes", "rounds"),
    [(SIZE_BYTES // 2, 50), pytest.param(SIZE_BYTES, 100, marks=pytest.mark.long)],
)
def test_the_size_is_limited_in_a_steady_state(
    tmp_path: Path, size_bytes: int, rounds: int
) -> None:
    """While five times its size limit is written, the file stays small, with the newest rows."""
    path = tmp_path / "telemetry.db"
    wal = tmp_path / "telemetry.db-wal"
    peak_file_bytes = 0
    peak_wal_bytes = 0
    with running_store(path, size_bytes) as in_memory_store:
        reader = Reader(path)
        try:
            for number in range(rounds):
                send_round(in_memory_store, number)
                peak_file_bytes = max(peak_file_bytes, path.stat().st_size)
                peak_wal_bytes = max(peak_wal_bytes, wal.stat().st_size)
        finally:
            reader.stop()
        assert not reader.errors
        assert in_memory_store.is_intact()
        assert retention.used_bytes(in_memory_store.store) < size_bytes * 1.1
    assert reader.queries > 5
    assert peak_file_bytes < size_bytes * 1.25
    assert peak_wal_bytes < MAX_WAL_BYTES, "the log is emptied also with a constant reader"
    span_names = read_rows(path, "SELECT DISTINCT name FROM spans")
    bodies = read_rows(path, "SELECT DISTINCT body FROM lines")
    span_numbers = {int(name.split()[1]) for (name,) in span_names}
    record_numbers = {int(body.split()[1]) for (body,) in bodies}
    for numbers in (span_numbers, record_numbers):
        assert numbers == set(range(min(numbers), rounds)), "the newest are stored without a gap"
        assert 0.1 * rounds < min(numbers) < 0.9 * rounds
    difference = abs(min(span_numbers) - min(record_numbers))
    assert difference < 0.15 * rounds, "both reach back equally far"
    [(times,)] = read_rows(
        path, "SELECT count(DISTINCT time) FROM points WHERE labels ->> 'id' = '7'"
    )
    assert times > 10


def test_a_small_file_accepts_large_batches(tmp_path: Path) -> None:
    """A batch too large for the free part of the file is stored after three retries at most."""
    with running_store(tmp_path / "telemetry.db", SIZE_BYTES) as in_memory_store:
        for number in range(6):
            large = log_request(*(log_record(f"{number} " + "x" * 7500) for _ in range(1000)))
            statuses: list[int] = []
            while 200 not in statuses:
                statuses.append(in_memory_store.send("logs", large, compress=True).status_code)
                assert len(statuses) < 4
        rows = in_memory_store.rows("SELECT count(*) FROM log WHERE body LIKE '5 %'")
        assert rows == [(1000,)]
        assert in_memory_store.client.get("/healthz").status_code == 200


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yield a store with a new file and without a writer thread; close it after the test."""
    store = Store(tmp_path / "telemetry.db", 512 * MIB)
    yield store
    store.close()


def rows(store: Store, query: str) -> list[tuple[object, ...]]:
    """Return the rows of an SQL query of the store."""
    return store.connection.execute(query).fetchall()


@contextmanager
def clock_at(now_ns: int) -> Iterator[None]:
    """Let the decoders check the times of records as if it were ``now_ns``, in nanoseconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "time", SimpleNamespace(time_ns=lambda: now_ns))
        yield


def fill(store: Store, ages: dict[str, float], prefix: bytes = b"") -> None:
    """Write a span, a log record and a gauge point for each service, named after it.

    ``ages`` maps services to the age of their records in hours. ``prefix`` makes the batch new.
    """
    for service, hours in ages.items():
        record_time = time.time_ns() - int(hours * HOUR_NS)
        batch = Batch(prefix + service.encode())
        with clock_at(record_time):
            traces.decode(trace_request(span(service, start=record_time), service=service), batch)
            logs.decode(log_request(log_record(service, at=record_time), service=service), batch)
            points = gauge(service, number_point(1, at=record_time))
            metrics.decode(metric_request(points, service=service), batch)
        assert not batch.rejected
        store.write([batch])


def test_old_rows_are_deleted(store: Store) -> None:
    """Spans and log records are deleted after two days, points after six hours, not before."""
    fill(store, {"ancient": RETENTION_HOURS + 1, "old": POINT_RETENTION_HOURS + 1, "young": 1})
    retention.delete_expired(store)
    assert rows(store, "SELECT name FROM spans") == [("old",), ("young",)]
    assert rows(store, "SELECT body FROM lines") == [("old",), ("young",)]
    assert rows(store, "SELECT name FROM points") == [("young",)]


def test_a_restarted_sender_gets_series_at_the_limit(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit of series, stale ones are deleted with their exemplars, so new ones fit."""
    for module in ("series_table", "retention"):
        monkeypatch.setattr(f"three_pillar_demo.local_store.{module}.MAX_SERIES", 3)
    fill(store, {"stale": 1, "stale too": 2, "active": 0, "restarted": 0})
    store.connection.execute(
        "INSERT INTO exemplar SELECT id, born, x'00', x'00', 1 FROM series WHERE name LIKE 'stale%'"
    )
    retention.delete_expired(store)
    fill(store, {"restarted": 0}, b"again ")
    names = rows(store, "SELECT name FROM series ORDER BY name")
    assert names == [("active",), ("restarted",)]
    # A new series may have the id of a deleted one.
    assert rows(store, "SELECT value FROM exemplar") == []


def test_series_and_sources_without_rows_are_deleted(store: Store) -> None:
    """A series is deleted with its last point, a source once no row can refer to it."""
    fill(store, {"old": RETENTION_HOURS + 1, "young": 1})
    long_ago = int(time.time()) - (SOURCE_RETENTION_HOURS + 1) * 3600
    store.connection.execute("UPDATE source SET seen = ? WHERE service = 'old'", (long_ago,))
    retention.delete_expired(store)
    assert rows(store, "SELECT name FROM series") == [("young",)]
    assert rows(store, "SELECT service FROM source") == [("young",)]
    fill(store, {"old again": 0})
    batch = Batch(b"another", 1)
    traces.decode(trace_request(span("back"), service="old"), batch)
    metrics.decode(metric_request(gauge("old", number_point(1)), service="old"), batch)
    store.write([batch])
    assert rows(store, "SELECT service FROM spans WHERE name = 'back'") == [("old",)]
    assert rows(store, "SELECT value FROM points WHERE name = 'old'") == [(1.0,)]


def test_exemplars_are_kept_as_long_as_points(store: Store) -> None:
    """Exemplars are deleted at the same age as metric points."""
    for hours in (POINT_RETENTION_HOURS + 1, 1):
        point_time = time.time_ns() - hours * HOUR_NS
        exemplars = [exemplar(b"t" * 16, 0.05, at=point_time)]
        point = histogram_point([1, 0, 0], at=point_time, exemplars=exemplars)
        batch = Batch(str(hours).encode())
        with clock_at(point_time):
            metrics.decode(metric_request(histogram("took", point)), batch)
        store.write([batch])
    assert rows(store, "SELECT count(*) FROM exemplars") == [(2,)]
    retention.delete_expired(store)
    assert rows(store, "SELECT count(*) FROM exemplars") == [(1,)]


def send_with_age(in_memory_store: InMemoryStore, age_s: float, point_age_s: float) -> list[str]:
    """Send a record of each kind with an age in seconds; return the reasons of the refusals.

    The last log record has only an observed time.
    """
    record_time = time.time_ns() - int(age_s * NANO)
    point_time = time.time_ns() - int(point_age_s * NANO)
    observed = log_record("observed", observed_time_unix_nano=record_time)
    observed.time_unix_nano = 0
    point = histogram_point(
        [1, 0, 0], at=point_time, exemplars=[exemplar(b"t" * 16, 0.05, at=point_time)]
    )
    requests: list[tuple[str, Message]] = [
        ("traces", trace_request(span(start=record_time))),
        ("logs", log_request(log_record("timed", at=record_time))),
        ("logs", log_request(observed)),
        ("metrics", metric_request(histogram("took", point))),
        ("metrics", metric_request(gauge("heat", number_point(1, at=point_time)))),
    ]
    reasons = []
    for signal_name, request in requests:
        response = in_memory_store.send(signal_name, request)
        assert response.status_code == 200
        message: Any = SIGNALS[signal_name].response_type.FromString(response.content)
        reasons.append(message.partial_success.error_message)
    return reasons


COUNTS = {"span": 1, "log": 2, "point": 2, "exemplar": 1}


def counts(in_memory_store: InMemoryStore) -> dict[str, int]:
    """Return the number of rows of each table with records."""
    return {
        table: in_memory_store.rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608
        for table in COUNTS
    }


@pytest.mark.parametrize(
    "age_s",
    [60 * 86_400, time.time() - 1_800_000, RETENTION_HOURS * 3601],
    ids=["60 days", "since 1970", "just over the retention"],
)
def test_a_record_that_is_too_old_is_rejected_by_name(
    in_memory_store: InMemoryStore, age_s: float
) -> None:
    """A record of 60 days ago, of 1970 or just over the retention is refused with the reason."""
    reasons = send_with_age(in_memory_store, age_s, age_s)
    old = "older than the retention of"
    assert reasons == [
        f"rejected: 1 x span: start_time_unix_nano {old} 48 h",
        f"rejected: 1 x log record: time_unix_nano {old} 48 h",
        f"rejected: 1 x log record: observed_time_unix_nano {old} 48 h",
        f"rejected: 1 x data point of took: time_unix_nano {old} 6 h",
        f"rejected: 1 x data point of heat: time_unix_nano {old} 6 h",
    ]
    assert counts(in_memory_store) == dict.fromkeys(COUNTS, 0)


def test_an_accepted_record_is_not_deleted_at_once(in_memory_store: InMemoryStore) -> None:
    """A record just within the retention is accepted, and is still there after a retention run."""
    reasons = send_with_age(
        in_memory_store, RETENTION_HOURS * 3600 - 60, POINT_RETENTION_HOURS * 3600 - 60
    )
    assert reasons == ["", "", "", "", ""]
    # Within the grace, the records become older than the retention.
    retention.delete_expired(Store(in_memory_store.path, 512 * MIB))
    assert counts(in_memory_store) == COUNTS
    with pytest.MonkeyPatch.context() as patch:
        later = time.time_ns() + 120 * NANO
        patch.setattr(
            retention, "time", SimpleNamespace(time_ns=lambda: later, time=lambda: later / NANO)
        )
        retention.delete_expired(Store(in_memory_store.path, 512 * MIB))
    assert counts(in_memory_store) == COUNTS


def test_digests_are_deleted_after_an_hour(store: Store) -> None:
    """The digest of a batch is deleted after an hour, when no sender repeats the batch."""
    store.write([Batch(b"old"), Batch(b"young")])
    store.connection.execute(
        "UPDATE batch SET time = time - ? WHERE digest = ?", (DIGEST_RETENTION_S + 5, b"old")
    )
    retention.delete_expired(store)
    assert rows(store, "SELECT digest FROM batch") == [(b"young",)]


@pytest.mark.parametrize("hours", [23, -47], ids=["ahead", "behind"])
def test_one_wrong_clock_does_not_decide_what_is_deleted(store: Store, hours: int) -> None:
    """One span with a time far ahead or behind does not make one table lose all its rows."""
    batch = Batch(b"odd")
    odd_start = time.time_ns() + hours * HOUR_NS
    traces.decode(trace_request(span("odd", start=odd_start)), batch)
    store.write([batch])
    for number in range(30):
        batch = Batch(str(number).encode())
        traces.decode(trace_request(*(span("x" * 200) for _ in range(200))), batch)
        logs.decode(log_request(*(log_record("x" * 200) for _ in range(200))), batch)
        store.write([batch])
    store.size_bytes = int(retention.used_bytes(store) * 0.5)
    for _ in range(20):
        retention.enforce_size_limit(store, 500)
    assert retention.used_bytes(store) <= store.size_bytes
    [(spans,)] = store.connection.execute("SELECT count(*) FROM span").fetchall()
    [(records,)] = store.connection.execute("SELECT count(*) FROM log").fetchall()
    assert spans > 1000
    assert records > 1000


def test_old_points_are_deleted_to_make_room(store: Store) -> None:
    """If the file holds only metrics, the oldest points are deleted to reduce its size."""
    now = time.time_ns()
    for minute in range(60, 0, -1):
        minute_start = now - minute * 60 * NANO
        points = [
            number_point(
                1, at=minute_start + second * NANO, attributes=attributes(id=str(second % 10))
            )
            for second in range(50)
        ]
        batch = Batch(str(minute).encode())
        metrics.decode(metric_request(counter("sold", *points)), batch)
        store.write([batch])
    store.size_bytes = retention.used_bytes(store) // 2
    for _ in range(60):
        retention.enforce_size_limit(store, 500)
    assert retention.used_bytes(store) <= store.size_bytes
    query = "SELECT min(time), max(time) FROM point"
    [(oldest, newest)] = store.connection.execute(query).fetchall()
    assert newest == now - 60 * NANO + 49 * NANO
    assert oldest > now - 50 * 60 * NANO


def test_sources_are_deleted_to_make_room(store: Store) -> None:
    """If only sources are left, they are deleted, and later rows get their source again."""
    fill(store, {"only": 1})
    store.size_bytes = 1
    for _ in range(5):
        retention.enforce_size_limit(store, 500)
    for table in ("span", "point", "source"):
        assert rows(store, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    store.size_bytes = 512 * MIB
    batch = Batch(b"after")
    traces.decode(trace_request(span("after")), batch)
    store.write([batch])
    assert rows(store, "SELECT name, service FROM spans") == [("after", "checkout")]


def test_the_running_store_deletes_old_rows(tmp_path: Path) -> None:
    """The running store deletes expired rows without being asked to."""
    path = tmp_path / "telemetry.db"
    store = Store(path, 512 * MIB)
    fill(store, {"ancient": RETENTION_HOURS + 1, "young": 1})
    store.close()

    def is_old_row_deleted() -> bool:
        names = read_rows(path, "SELECT name FROM spans ORDER BY name")
        return names == [("young",), ("zest",)]

    with running_store(path) as in_memory_store:
        in_memory_store.send("traces", trace_request(span("zest")))
        poll_until(is_old_row_deleted, "the old row to be deleted")
