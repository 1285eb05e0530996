"""The file stays small and young, while it is written and read."""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.demo.local_store.conftest import (
    MIB,
    NANO,
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
    read,
    running,
    span,
    traces,
)
from three_pillar_demo.local_store import retention
from three_pillar_demo.local_store.otlp import logs as otlp_logs
from three_pillar_demo.local_store.otlp import metrics as otlp_metrics
from three_pillar_demo.local_store.otlp import traces as otlp_traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.retention import (
    SOURCE_RETENTION_HOURS,
    RETENTION_HOURS,
    POINT_RETENTION_HOURS,
    DIGEST_RETENTION_S,
)
from three_pillar_demo.local_store.store import Store

HOUR = 3600 * NANO
CAP = 16 * MIB
TOLERANCE, LOG = 1.25, 24 * MIB


def files(path: Path) -> tuple[int, int]:
    """Bytes of the file, and of the log of what is not in it yet."""
    return path.stat().st_size, path.with_name(f"{path.name}-wal").stat().st_size


def test_the_size_is_bounded_in_a_steady_state(tmp_path: Path) -> None:
    """Five times the cap goes through: the file never holds a quarter over it, the newest are there, the oldest are gone."""
    path = tmp_path / "telemetry.db"
    peak, log, asked = 0, 0, 0
    with running(path, CAP) as house:
        over, failures = threading.Event(), []

        def look() -> None:
            nonlocal asked
            reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            while not over.is_set():
                try:
                    reader.execute("SELECT name FROM spans ORDER BY start DESC LIMIT 5").fetchall()
                    reader.execute("SELECT count(*), sum(length(body)) FROM lines").fetchall()
                    asked += 1
                except sqlite3.Error as error:
                    failures.append(str(error))
            reader.close()

        reading = threading.Thread(target=look)
        reading.start()
        try:
            for number in range(100):
                spans = [
                    span(f"span {number}", attributes=pairs(padding="x" * 400)) for _ in range(300)
                ]
                lines = [line(f"line {number} " + "x" * 500) for _ in range(450)]
                sold = counter(
                    "sold", *(point(number, attributes=pairs(id=str(each))) for each in range(50))
                )
                sent = (
                    ("traces", traces(*spans)),
                    ("logs", logs(*lines)),
                    ("metrics", metrics(sold)),
                )
                assert {house.send(*each).status_code for each in sent} == {200}
                peak, log = map(max, (peak, log), files(path))
        finally:
            over.set()
            reading.join()
        assert not failures
        assert house.whole()
        assert retention.used_bytes(house.store) < CAP * 1.1
    assert asked > 5
    assert peak < CAP * TOLERANCE
    assert log < LOG, "the log is put into the file also while somebody always reads"
    kept = {int(name.split()[1]) for (name,) in read(path, "SELECT DISTINCT name FROM spans")}
    said = {int(body.split()[1]) for (body,) in read(path, "SELECT DISTINCT body FROM lines")}
    for found in (kept, said):
        assert found == set(range(min(found), 100)), "what is there is the newest, without a gap"
        assert 10 < min(found) < 90
    assert abs(min(kept) - min(said)) < 15, "traces and logs reach back equally far"
    assert (
        read(path, "SELECT count(DISTINCT time) FROM points WHERE labels ->> 'id' = '7'")[0][0] > 10
    )


def test_a_small_file_takes_large_batches(tmp_path: Path) -> None:
    """A batch that does not fit beside what is there is told to come again at most once or twice: the old makes room."""
    with running(tmp_path / "telemetry.db", CAP) as house:
        for number in range(6):
            large = logs(*(line(f"{number} " + "x" * 7500) for _ in range(1000)))
            answers = []
            while 200 not in answers:
                answers.append(house.send("logs", large, packed=True).status_code)
                assert len(answers) < 4
        assert house.rows("SELECT count(*) FROM log WHERE body LIKE '5 %'") == [(1000,)]
        assert house.client.get("/healthz").status_code == 200


def fill(store: Store, ages: dict[str, float], salt: bytes = b"") -> None:
    """One span, line, point and exemplar for each name, so many hours old; a service of its own for each."""
    for name, hours in ages.items():
        at = time.time_ns() - int(hours * HOUR)
        made = Batch(salt + name.encode())
        otlp_traces.decode(traces(span(name, start=at), service=name), made)
        otlp_logs.decode(logs(line(name, at=at), service=name), made)
        otlp_metrics.decode(metrics(gauge(name, point(1, at=at)), service=name), made)
        store.write([made])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An open file without a writer."""
    return Store(tmp_path / "telemetry.db", 512 * MIB)


def test_the_old_are_deleted(store: Store) -> None:
    """Spans and lines go after two days, points after half a day, and not before."""
    fill(store, {"ancient": RETENTION_HOURS + 1, "old": POINT_RETENTION_HOURS + 1, "young": 1})
    retention.delete_expired(store)
    assert store.connection.execute("SELECT name FROM spans").fetchall() == [("old",), ("young",)]
    assert store.connection.execute("SELECT body FROM lines").fetchall() == [("old",), ("young",)]
    assert store.connection.execute("SELECT name FROM points").fetchall() == [("young",)]
    store.close()


def test_who_starts_again_has_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where somebody's label took all series, those that have been silent go at the next tidying, and new ones are taken."""
    for module in ("store", "retention"):
        monkeypatch.setattr(f"three_pillar_demo.local_store.{module}.MAX_SERIES", 3)
    fill(store, {"silent": 1, "silent too": 2, "speaks": 0, "restarted": 0})
    store.connection.execute(
        "INSERT INTO exemplar SELECT id, born, x'00', x'00', 1 FROM series WHERE name LIKE 'silent%'"
    )
    retention.delete_expired(store)
    fill(store, {"restarted": 0}, b"again ")
    assert store.connection.execute("SELECT name FROM series ORDER BY name").fetchall() == [
        ("restarted",),
        ("speaks",),
    ]
    assert (
        store.connection.execute("SELECT value FROM exemplar").fetchall() == []
    )  # of a series that went; the next has its number
    store.close()


def test_what_is_silent_is_forgotten(store: Store) -> None:
    """A series without points goes with its last one; a source that said nothing for longer than any row is kept goes too."""
    fill(store, {"old": RETENTION_HOURS + 1, "young": 1})
    long_ago = int(time.time()) - (SOURCE_RETENTION_HOURS + 1) * 3600
    store.connection.execute("UPDATE source SET seen = ? WHERE service = 'old'", (long_ago,))
    retention.delete_expired(store)
    assert store.connection.execute("SELECT name FROM series").fetchall() == [("young",)]
    assert store.connection.execute("SELECT service FROM source").fetchall() == [("young",)]
    fill(store, {"old again": 0})
    made = Batch(b"another", 1)
    otlp_traces.decode(traces(span("back"), service="old"), made)
    otlp_metrics.decode(metrics(gauge("old", point(1)), service="old"), made)
    store.write([made])
    assert store.connection.execute("SELECT service FROM spans WHERE name = 'back'").fetchall() == [
        ("old",)
    ]
    assert store.connection.execute("SELECT value FROM points WHERE name = 'old'").fetchall() == [(1.0,)]
    store.close()


def test_exemplars_go_with_their_points(store: Store) -> None:
    """An exemplar is as old as a point may be."""
    for hours in (POINT_RETENTION_HOURS + 1, 1):
        at = time.time_ns() - hours * HOUR
        told = buckets([1, 0, 0], at=at)
        told.exemplars.add(as_double=0.05, time_unix_nano=at, trace_id=b"t" * 16, span_id=b"s" * 8)
        made = Batch(str(hours).encode())
        otlp_metrics.decode(metrics(histogram("took", told)), made)
        store.write([made])
    retention.delete_expired(store)
    assert store.connection.execute("SELECT count(*) FROM exemplars").fetchall() == [(1,)]
    store.close()


def test_digests_are_forgotten_after_an_hour(store: Store) -> None:
    """What was accepted long ago is not remembered for ever."""
    store.write([Batch(b"old"), Batch(b"young")])
    store.connection.execute(
        "UPDATE batch SET time = time - ? WHERE digest = ?", (DIGEST_RETENTION_S + 5, b"old")
    )
    retention.delete_expired(store)
    assert store.connection.execute("SELECT digest FROM batch").fetchall() == [(b"young",)]
    store.close()


@pytest.mark.parametrize("hours", [23, -47], ids=["ahead", "behind"])
def test_one_wrong_clock_does_not_decide_what_goes(store: Store, hours: int) -> None:
    """A span from tomorrow, or from the day before, in front of the others does not make all lines go before any span."""
    made = Batch(b"odd")
    otlp_traces.decode(traces(span("odd", start=time.time_ns() + hours * HOUR)), made)
    store.write([made])
    for number in range(30):
        made = Batch(str(number).encode())
        otlp_traces.decode(traces(*(span("x" * 200) for _ in range(200))), made)
        otlp_logs.decode(logs(*(line("x" * 200) for _ in range(200))), made)
        store.write([made])
    store.size_bytes = int(retention.used_bytes(store) * 0.5)
    for _ in range(20):
        retention.make_room(store, 500)
    assert retention.used_bytes(store) <= store.size_bytes
    spans, lines = store.connection.execute(
        "SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM log)"
    ).fetchone()
    assert spans > 1000
    assert lines > 1000
    store.close()


def test_points_make_room_too(store: Store) -> None:
    """Where metrics alone fill the file, the oldest points go."""
    now = time.time_ns()
    for minute in range(60, 0, -1):
        made = Batch(str(minute).encode())
        at = now - minute * 60 * NANO
        many = [
            point(1, at=at + each * NANO, attributes=pairs(id=str(each % 10))) for each in range(50)
        ]
        otlp_metrics.decode(metrics(counter("sold", *many)), made)
        store.write([made])
    before = retention.used_bytes(store)
    store.size_bytes = before // 2
    for _ in range(60):
        retention.make_room(store, 500)
    assert retention.used_bytes(store) <= store.size_bytes
    [(oldest, newest)] = store.connection.execute("SELECT min(time), max(time) FROM point").fetchall()
    assert newest == now - 60 * NANO + 49 * NANO
    assert oldest > now - 50 * 60 * NANO
    store.close()


def test_names_alone_make_room_and_are_learned_anew(store: Store) -> None:
    """Where nothing but names is left they go as well, and what comes afterwards has its names again."""
    fill(store, {"only": 1})
    store.size_bytes = 1
    for _ in range(5):
        retention.make_room(store, 500)
    tables = "SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM point), (SELECT count(*) FROM source)"
    assert store.connection.execute(tables).fetchall() == [(0, 0, 0)]
    store.size_bytes = 512 * MIB
    made = Batch(b"after")
    otlp_traces.decode(traces(span("after")), made)
    store.write([made])
    assert store.connection.execute("SELECT name, service FROM spans").fetchall() == [
        ("after", "checkout")
    ]
    store.close()


def test_it_tidies_by_itself(tmp_path: Path) -> None:
    """The running app deletes what is too old without being told."""
    path = tmp_path / "telemetry.db"
    store = Store(path, 512 * MIB)
    fill(store, {"ancient": RETENTION_HOURS + 1, "young": 1})
    store.close()

    def left(*wanted: str) -> Callable[[], bool]:
        return lambda: (
            [name for (name,) in read(path, "SELECT name FROM spans ORDER BY name")] == [*wanted]
        )

    with running(path) as house:
        house.send("traces", traces(span("zest")))
        poll_until(left("young", "zest"), "what is too old to be gone")
