"""Tests of queries of the local store's file, also while it is written, killed or replaced."""

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.messages import (
    MIB,
    attributes,
    counter,
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
    PROTOBUF,
    InMemoryStore,
    StoreProcess,
    poll_until,
    running_store,
)
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.query.interface import NANO, BackendError, ServiceCall
from three_pillar_demo.query.local import SCAN_ROWS, LocalBackends

DAY_S = 24 * 3600
TRACE_ID = bytes(range(16))
CLIENT_SPAN_ID = b"caller01"
CLIENT_KIND = 3
DURATION = "http.server.request.duration"
CLOSED_URL = "http://127.0.0.1:9"
EMPTY = {"spans": 0, "lines": 0, "points": 0}
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def run(path: Path, query: Callable[[LocalBackends], Awaitable[Any]], url: str = CLOSED_URL) -> Any:  # noqa: ANN401  (a different type for each query)
    """Run one query of the file at ``path`` with new backends, and return its result."""

    async def run_query() -> Any:  # noqa: ANN401  (as above)
        async with LocalBackends(path, url) as backends:
            return await query(backends)

    return asyncio.run(run_query())


def span_names(path: Path) -> list[str]:
    """Return the names of the stored spans of the trace ``TRACE_ID``, by start."""
    spans = run(path, lambda backends: backends.trace(TRACE_ID.hex()))
    return [stored_span.name for stored_span in spans]


def send_spans(in_memory_store: InMemoryStore, *names: str) -> None:
    """Send spans with these names, all of the trace ``TRACE_ID``."""
    now = time.time_ns()
    spans = [span(name, start=now + number, trace_id=TRACE_ID) for number, name in enumerate(names)]
    assert in_memory_store.send("traces", trace_request(*spans)).status_code == 200


def post_span(store_process: StoreProcess, name: str) -> None:
    """Send a span of the trace ``TRACE_ID`` to a store process over HTTP."""
    body = trace_request(span(name, trace_id=TRACE_ID)).SerializeToString()
    url = f"{store_process.url}/v1/traces"
    response = httpx2.post(url, content=body, headers=PROTOBUF, timeout=10, trust_env=False)
    response.raise_for_status()


def test_the_file_is_read_while_it_is_written_and_after_a_stop(tmp_path: Path) -> None:
    """Acknowledged spans are visible at once, and also after a stop and restart of the store."""
    path = tmp_path / "telemetry.db"
    with running_store(path) as in_memory_store:
        send_spans(in_memory_store, "first")
        assert span_names(path) == ["first"]
        send_spans(in_memory_store, "second")
        assert span_names(path) == ["first", "second"]
    assert [file.name for file in tmp_path.iterdir()] == ["telemetry.db"]
    assert span_names(path) == ["first", "second"]
    with running_store(path) as in_memory_store:
        send_spans(in_memory_store, "third")
        assert span_names(path) == ["first", "second", "third"]


def test_one_reader_works_across_restarts_of_the_store(tmp_path: Path) -> None:
    """One open connection sees all spans, also after each stop and start of the store."""
    path = tmp_path / "telemetry.db"

    async def restart_three_times() -> None:
        async with LocalBackends(path) as backends:
            for number in range(3):
                in_memory_store = InMemoryStore(path)
                send_spans(in_memory_store, f"span {number}")
                assert len(await backends.trace(TRACE_ID.hex())) == number + 1
                await asyncio.to_thread(in_memory_store.writer.stop)
                assert len(await backends.trace(TRACE_ID.hex())) == number + 1

    asyncio.run(restart_three_times())


def test_the_file_is_read_after_a_kill(store_process: StoreProcess) -> None:
    """After SIGKILL of the store, spans that are only in the write-ahead log are read."""
    store_process.start()
    post_span(store_process, "first")
    store_process.stop(signal.SIGKILL)
    assert store_process.path.with_name("telemetry.db-wal").exists()
    assert span_names(store_process.path) == ["first"]
    store_process.start()
    post_span(store_process, "second")
    assert span_names(store_process.path) == ["first", "second"]


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    """If the file is deleted or replaced, an open reader reads the new one."""
    path = tmp_path / "telemetry.db"

    async def replace_three_times() -> None:
        async with LocalBackends(path) as backends:
            with pytest.raises(BackendError, match="unable to open database file"):
                await backends.ingested()
            for number in range(3):
                in_memory_store = InMemoryStore(path)
                send_spans(in_memory_store, f"span {number}")
                spans = await backends.trace(TRACE_ID.hex())
                assert [stored_span.name for stored_span in spans] == [f"span {number}"]
                await asyncio.to_thread(in_memory_store.writer.stop)
                path.unlink()
                with pytest.raises(BackendError, match="unable to open database file"):
                    await backends.ingested()

    asyncio.run(replace_three_times())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_an_error(tmp_path: Path) -> None:
    """A file without read permission gives an error that it cannot be opened."""
    path = tmp_path / "telemetry.db"
    with running_store(path):
        pass
    path.chmod(0)
    with pytest.raises(BackendError, match="unable to open"):
        span_names(path)


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    """A file of text gives an error with path, reason and the command for the store's log."""
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"x" * 5000)
    message = rf"{re.escape(str(path))}.*not a database.*demo logs store"
    with pytest.raises(BackendError, match=message):
        span_names(path)


def test_the_reader_cannot_write(in_memory_store: InMemoryStore) -> None:
    """A statement that writes is refused, because the connection is read-only."""

    async def try_to_write() -> None:
        async with LocalBackends(in_memory_store.path) as backends:
            await backends.ingested()
            assert backends.reader.connection
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                backends.reader.connection.execute("DELETE FROM tally")

    asyncio.run(try_to_write())


def test_concurrent_queries_share_a_connection(in_memory_store: InMemoryStore) -> None:
    """Many concurrent queries of one reader all get their results."""
    send_spans(in_memory_store, *(f"span {number}" for number in range(100)))

    async def run_all() -> set[int]:
        async with LocalBackends(in_memory_store.path) as backends:
            queries = [backends.trace(TRACE_ID.hex()) for _ in range(30)]
            return {len(spans) for spans in await asyncio.gather(*queries)}

    assert asyncio.run(run_all()) == {100}


def health(path: Path, url: str = CLOSED_URL) -> str:
    """Return the problem of the component ``store`` that health reports."""
    problems: dict[str, str] = run(path, lambda backends: backends.health(), url)
    assert list(problems) == ["store"]
    return problems["store"]


def test_health_needs_the_process_and_the_file(tmp_path: Path, store_process: StoreProcess) -> None:
    """The store is healthy if its process reports so and its file can be read."""
    assert health(tmp_path / "telemetry.db")
    store_process.start()
    assert health(store_process.path, store_process.url) == ""
    assert "unable to open" in health(tmp_path / "elsewhere.db", store_process.url)


def test_health_has_the_reason_of_the_process(store_process: StoreProcess) -> None:
    """While the store cannot write, health returns the reason that it reports."""
    store_process.start()
    with closing(sqlite3.connect(store_process.path, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        with suppress(httpx2.HTTPError):  # a refusal, or no response in time
            post_span(store_process, "late")
        poll_until(lambda: not store_process.is_healthy(), "the process to report a problem", 60)
        problem = health(store_process.path, store_process.url)
        assert problem == "OperationalError: database is locked"


@pytest.mark.parametrize("folder", ["c#", "what?mode=rwc", "50%41", "ü b"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    """A file in a folder with special characters is read, and no other file is created."""
    path = tmp_path / folder / "telemetry.db"
    Store(path, 64 * MIB).close()
    assert run(path, lambda backends: backends.ingested()) == EMPTY
    assert list(tmp_path.iterdir()) == [path.parent]


def test_unusual_spans_are_returned_as_they_are(in_memory_store: InMemoryStore) -> None:
    """Spans with unknown kinds, NUL characters, bytes or empty exceptions are returned."""
    now = time.time_ns()
    event = {"name": "exception", "time_unix_nano": now}
    pairs = attributes(raw=b"\xff", nan=float("nan"))
    spans = [
        span("a\x00b", start=now, trace_id=TRACE_ID, kind=-7, attributes=pairs),
        span("b", start=now + 1, trace_id=TRACE_ID, kind=77, events=[event]),
    ]
    in_memory_store.send("traces", trace_request(*spans))
    path = in_memory_store.path
    first_span, second_span = run(path, lambda backends: backends.trace(TRACE_ID.hex()))
    assert (first_span.name, first_span.kind) == ("a\x00b", "-7")
    assert first_span.attributes == {"raw": "/w==", "nan": "nan"}
    assert (second_span.kind, second_span.exceptions) == ("77", ("",))


def test_unusual_log_records_are_returned_as_they_are(in_memory_store: InMemoryStore) -> None:
    """A NUL character in a body can be searched for, and fields that are not text become JSON."""
    now = time.time_ns()
    record = log_record("one\x00two", attributes=attributes(deep__er=1.5, ok=True))
    in_memory_store.send("logs", log_request(record))
    [stored_record] = run(
        in_memory_store.path, lambda backends: backends.logs(0, now / NANO + DAY_S, text="\x00t")
    )
    assert (stored_record.body, stored_record.fields) == (
        "one\x00two",
        {"deep_er": "1.5", "ok": "true"},
    )


@pytest.mark.parametrize("trace_id", ["", "xyz", "abc", "0", "f" * 31])
def test_an_invalid_trace_id_finds_nothing(in_memory_store: InMemoryStore, trace_id: str) -> None:
    """A query with an invalid trace id returns no spans and no log records."""
    path = in_memory_store.path
    assert run(path, lambda backends: backends.trace(trace_id)) == []
    assert run(path, lambda backends: backends.trace_logs(trace_id, 0, DAY_S)) == []


def test_a_text_search_finds_the_newest_records(in_memory_store: InMemoryStore) -> None:
    """A text search finds the newest matching records in order, among many that do not match."""
    now = time.time_ns()
    records = [log_record(f"line {number}", at=now + number) for number in range(5000)]
    in_memory_store.send("logs", log_request(*records))
    path = in_memory_store.path
    end = now / NANO + 60
    newest = run(path, lambda backends: backends.logs(0, end, text="line 1", limit=3))
    assert [record.body for record in newest] == ["line 1999", "line 1998", "line 1997"]
    assert run(path, lambda backends: backends.logs(0, end, text="in no record")) == []
    assert SCAN_ROWS > 5000


def test_a_series_without_recent_points_does_not_count(in_memory_store: InMemoryStore) -> None:
    """A counter series is included only with a point at most ``within`` seconds old."""
    now = time.time_ns()
    old_point = number_point(7, at=now - 400 * NANO, attributes=attributes(age="old"))
    young_point = number_point(5, at=now - 100 * NANO, attributes=attributes(age="young"))
    in_memory_store.send("metrics", metric_request(counter("sold", old_point, young_point)))
    path = in_memory_store.path
    current = run(path, lambda backends: backends.counters("sold_total", ("age",)))
    assert current == {("young",): 5.0}
    of_an_hour = run(path, lambda backends: backends.counters("sold_total", (), within=3600))
    assert of_an_hour == {(): 12.0}
    assert run(path, lambda backends: backends.counters("sold_total", (), within=50)) == {}


def send_count(in_memory_store: InMemoryStore, route: str, count: int, at: int, start: int) -> None:
    """Send a histogram point with ``count`` requests of a route since ``start``.

    ``at``, the time of the point, and ``start`` are in seconds since the epoch.
    """
    pairs = attributes(http__route=route, http__response__status_code=200)
    point = histogram_point([count, 0, 0], at=at * NANO, start=start * NANO, attributes=pairs)
    in_memory_store.send("metrics", metric_request(histogram(DURATION, point)))


def rate(in_memory_store: InMemoryStore, route: str, at: float, window: float) -> float | None:
    """Return the requests per second to a route in the ``window`` seconds before ``at``."""
    [sample] = run(
        in_memory_store.path,
        lambda backends: backends.red("checkout", route, at, at, window=window, quantiles=()),
    )
    result: float | None = sample.rate
    return result


def test_a_restarted_counter_has_no_negative_rate(in_memory_store: InMemoryStore) -> None:
    """A counter that restarts at zero is taken as a reset, and its rate stays positive."""
    base = time.time_ns() // NANO - 60
    for number, count in enumerate([10, 20, 30, 2, 12]):
        send_count(in_memory_store, "/a", count, base + 10 * number, base - DAY_S)
    # 32 events in 40 s. The first point is 10 s after the window's start: under 1.1 intervals.
    expected = 32 * (40 + 10) / 40 / 50
    assert rate(in_memory_store, "/a", base + 40, 50.0) == pytest.approx(expected)


def test_the_first_event_of_a_new_series_counts(in_memory_store: InMemoryStore) -> None:
    """One request to a new route gives a rate, one counted before the window does not."""
    base = time.time_ns() // NANO - 60
    for route, start in (("/new", base + 19), ("/known", base - DAY_S)):
        for number in range(2):
            send_count(in_memory_store, route, 1, base + 20 + 10 * number, start)
    assert rate(in_memory_store, "/new", base + 30, 30.0) == pytest.approx(1 / 30)
    assert rate(in_memory_store, "/known", base + 30, 30.0) == 0.0


def send_call(
    in_memory_store: InMemoryStore, *, client_failed: bool = False, server_failed: bool = False
) -> tuple[float, float]:
    """Send a call from front to bank; return the start and end of a time range around it."""
    now = time.time_ns()
    client_span = span(
        "GET",
        start=now,
        trace_id=TRACE_ID,
        span_id=CLIENT_SPAN_ID,
        kind=CLIENT_KIND,
        error=client_failed,
    )
    server_span = span(
        "GET /", start=now, trace_id=TRACE_ID, parent_span_id=CLIENT_SPAN_ID, error=server_failed
    )
    in_memory_store.send("traces", trace_request(client_span, service="front"))
    in_memory_store.send("traces", trace_request(server_span, service="bank"))
    return now / NANO - 1, now / NANO + 1


def test_the_service_graph_needs_both_ends_of_a_call(in_memory_store: InMemoryStore) -> None:
    """A call without its CLIENT span, or within one service, is not in the service graph."""
    now = time.time_ns()
    orphan = span("GET /", start=now, parent_span_id=b"caller02")
    inner = span("GET /", start=now, trace_id=TRACE_ID, parent_span_id=CLIENT_SPAN_ID)
    in_memory_store.send("traces", trace_request(orphan, service="bank"))
    in_memory_store.send("traces", trace_request(inner, service="front"))
    between = send_call(in_memory_store)
    calls = run(in_memory_store.path, lambda backends: backends.service_graph(*between))
    assert calls == [ServiceCall("front", "bank", 1, 0)]


@pytest.mark.parametrize("client_failed", [True, False])
@pytest.mark.parametrize("server_failed", [True, False])
def test_a_call_failed_if_either_end_has_error_status(
    in_memory_store: InMemoryStore, *, client_failed: bool, server_failed: bool
) -> None:
    """The service graph counts a call as failed by its CLIENT or its SERVER span."""
    between = send_call(in_memory_store, client_failed=client_failed, server_failed=server_failed)
    calls = run(in_memory_store.path, lambda backends: backends.service_graph(*between))
    assert calls == [ServiceCall("front", "bank", 1, int(client_failed or server_failed))]


def test_a_missing_file_has_size_zero(tmp_path: Path) -> None:
    """Before the store has created its file, the size is 0."""
    assert run(tmp_path / "telemetry.db", lambda backends: backends.size()) == 0


def test_freshness_is_limited_to_the_last_hour(in_memory_store: InMemoryStore) -> None:
    """Freshness is None without records and with records over an hour old, else their age."""
    path = in_memory_store.path
    unknown = {"traces": None, "logs": None, "metrics": None}

    def send_records(age_s: int) -> None:
        record_time = time.time_ns() - age_s * NANO
        in_memory_store.send("traces", trace_request(span(start=record_time, seconds=0)))
        in_memory_store.send("logs", log_request(log_record(at=record_time)))
        points = counter("sold", number_point(1, at=record_time))
        in_memory_store.send("metrics", metric_request(points))

    assert run(path, lambda backends: backends.freshness()) == unknown
    send_records(age_s=7200)
    assert run(path, lambda backends: backends.freshness()) == unknown
    send_records(age_s=30)
    ages = run(path, lambda backends: backends.freshness())
    assert all(30 <= age < 60 for age in ages.values())


def test_records_of_the_future_are_not_the_newest(in_memory_store: InMemoryStore) -> None:
    """What a sender dates in the future does not hide how old the newest other records are."""
    now = time.time_ns()
    for record_time in (now - 30 * NANO, now + 60 * NANO):
        job = span(start=record_time, seconds=0, kind=Span.SPAN_KIND_INTERNAL)
        in_memory_store.send("traces", trace_request(job))
        in_memory_store.send("logs", log_request(log_record(at=record_time)))
    ages = run(in_memory_store.path, lambda backends: backends.freshness())
    assert ages["traces"] >= 30
    assert ages["logs"] >= 30


def test_a_cancelled_query_does_not_block_the_next_one(in_memory_store: InMemoryStore) -> None:
    """If a query is cancelled, its statement is interrupted and the next query is answered."""

    async def give_up() -> dict[str, int]:
        async with LocalBackends(in_memory_store.path) as backends:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await backends.reader.fetch(ENDLESS)
            async with asyncio.timeout(30):
                return await backends.ingested()

    assert asyncio.run(give_up()) == EMPTY
