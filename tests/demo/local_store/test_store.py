"""The file: what is in it, once and whole, and what becomes of files that are not ours."""

import asyncio
import json
import logging
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from tests.demo.local_store.conftest import (
    DELTA,
    MIB,
    NANO,
    House,
    buckets,
    counter,
    gauge,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    read,
    running,
    span,
    traces,
    until,
)
from three_pillar_demo.local_store.otlp import logs as otlp_logs
from three_pillar_demo.local_store.otlp import metrics as otlp_metrics
from three_pillar_demo.local_store.otlp import traces as otlp_traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.store import MAX_SERIES, Store
from three_pillar_demo.local_store.writer import WriteError

NOW = time.time_ns()
LATER = [NOW - each * NANO for each in (30, 20, 10)]


def test_what_is_sent_twice_is_stored_once(house: House) -> None:
    """The same batch again, packed or not, is a success and adds nothing."""
    for signal, body in (
        ("traces", traces(span())),
        ("logs", logs(line())),
        ("metrics", metrics(counter("sold", point(1)))),
    ):
        assert [
            house.send(signal, body, packed=packed).status_code for packed in (False, True, False)
        ] == [200] * 3
    counted = "SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM log), (SELECT count(*) FROM point)"
    assert house.rows(counted) == [(1, 1, 1)]
    assert house.rows("SELECT * FROM tally ORDER BY signal") == [
        ("lines", 1),
        ("points", 1),
        ("spans", 1),
    ]


def test_counters_gauges_and_histograms_are_kept(house: House) -> None:
    """Each point has its value, and a histogram its sum, count, bounds and buckets."""
    house.send(
        "metrics",
        metrics(
            counter("sold", point(4)),
            gauge("heat", point(-1)),
            histogram("took", buckets([1, 2, 3], total=4)),
        ),
    )
    assert house.rows("SELECT name, kind, value, bounds, buckets FROM points ORDER BY name") == [
        ("heat", "gauge", -1.0, "[]", None),
        ("sold_total", "counter", 4.0, "[]", None),
        ("took_seconds", "histogram", 4.0, "[0.1,1.0]", "[1,2,3]"),
    ]


def test_deltas_become_cumulative(house: House) -> None:
    """Points that count from the one before are added up, since the first one's start."""
    start = LATER[0] - NANO
    for at, begin in zip(LATER, [start, *LATER], strict=False):
        sold = counter("sold", point(2, at=at, start=begin), temporality=DELTA)
        took = histogram(
            "took", buckets([1, 0, 2], total=0.5, at=at, start=begin), temporality=DELTA
        )
        assert house.send("metrics", metrics(sold, took)).status_code == 200
    assert house.rows(
        "SELECT time, point.start, value FROM point JOIN series ON id = series WHERE name = 'sold_total'"
    ) == [
        (LATER[0], start, 2.0),
        (LATER[1], start, 4.0),
        (LATER[2], start, 6.0),
    ]
    took_rows = house.rows(
        "SELECT value, count, buckets FROM point JOIN series ON id = series WHERE name = 'took_seconds'"
    )
    assert [(value, count, json.loads(told)) for value, count, told in took_rows] == [
        (0.5, 3, [1, 0, 2]),
        (1.0, 6, [2, 0, 4]),
        (1.5, 9, [3, 0, 6]),
    ]


def test_deltas_that_do_not_follow_are_refused(house: House) -> None:
    """A delta from before the newest point, or one that no number holds any more, is refused by name and spoils nothing."""

    def took(at: int, counts: list[int], total: float = 1.0) -> ExportMetricsServiceResponse:
        sent = histogram(
            "took", buckets(counts, total=total, at=at, start=at - NANO), temporality=DELTA
        )
        said: ExportMetricsServiceResponse = ExportMetricsServiceResponse.FromString(
            house.send("metrics", metrics(sent)).content
        )
        return said

    assert not took(LATER[1], [2**62, 0, 0]).partial_success.rejected_data_points
    for at, count in ((LATER[0], 1), (LATER[1], 2), (LATER[2], 2**62)):
        partial = took(at, [count, 0, 0]).partial_success
        assert partial.rejected_data_points == 1
        assert (
            partial.error_message
            == "rejected: 1 x delta data point: not after the previous one, or sum out of range"
        )
    assert not took(LATER[2], [5, 0, 0]).partial_success.rejected_data_points
    assert house.rows("SELECT count FROM point ORDER BY time") == [(2**62,), (2**62 + 5,)]


def test_more_series_than_the_limit_are_refused(house: House) -> None:
    """A label without bound makes no more series than the limit; known ones go on, and the rest is refused by name."""
    many = [point(1, at=NOW, attributes=pairs(id=str(each))) for each in range(MAX_SERIES + 3)]
    answer = house.send("metrics", metrics(counter("sold", *many)))
    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_data_points == 3
    assert (
        partial.error_message
        == f"rejected: 3 x data point of a new series: over {MAX_SERIES} series"
    )
    known = metrics(counter("sold", point(2, attributes=pairs(id="7"))))
    assert not ExportMetricsServiceResponse.FromString(
        house.send("metrics", known).content
    ).HasField("partial_success")
    assert house.rows("SELECT count(*) FROM series") == [(MAX_SERIES,)]
    assert house.rows("SELECT rows FROM tally WHERE signal = 'points'") == [
        (MAX_SERIES + 1,)
    ]  # what is stored, no more


def batch(digest: bytes, *names: str) -> Batch:
    """A batch with one counter for each name, and a span."""
    made = Batch(digest, 1)
    otlp_metrics.decode(metrics(*(counter(name, point(1)) for name in names)), made)
    otlp_traces.decode(traces(span(digest.decode())), made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An open file without a writer."""
    return Store(tmp_path / "telemetry.db", 64 * MIB)


def test_a_rollback_is_forgotten(store: Store) -> None:
    """What a transaction named that was taken back is named anew: nothing points to rows that are gone."""
    broken = batch(b"broken", "sold")
    broken.spans.append((broken.spans[0][0], (None,) * 11))
    with pytest.raises(sqlite3.IntegrityError):
        store.write([batch(b"first", "bought"), broken])
    assert read(
        store.path, "SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM series)"
    ) == [(0, 0)]
    store.write([batch(b"first", "bought"), batch(b"second", "sold")])
    assert read(store.path, "SELECT name FROM points ORDER BY name") == [
        ("bought_total",),
        ("sold_total",),
    ]
    assert read(store.path, "SELECT name, service FROM spans ORDER BY name") == [
        ("first", "checkout"),
        ("second", "checkout"),
    ]
    store.close()


def test_a_rollback_does_not_count_refusals_twice(store: Store) -> None:
    """A batch that is tried again after a rollback says what it refused once."""
    store.write([batch(b"first", "sold")])
    late = Batch(b"late")
    otlp_metrics.decode(metrics(counter("sold", point(1, at=NOW - 60 * NANO), temporality=DELTA)), late)
    broken = batch(b"broken")
    broken.spans.append((broken.spans[0][0], (None,) * 11))
    with pytest.raises(sqlite3.IntegrityError):
        store.write([late, broken])
    store.write([late])
    assert late.rejected.total() == 1
    store.close()


def test_a_bad_batch_does_not_spoil_the_others(house: House) -> None:
    """Of batches in one transaction the good ones are stored when one cannot be."""
    good = [batch(f"good{each}".encode(), "sold") for each in range(3)]
    bad = batch(b"bad", "sold")
    bad.spans.append((bad.spans[0][0], (None,) * 11))

    async def together() -> list[object]:
        held = sqlite3.connect(house.path, isolation_level=None)
        held.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(house.writer.put(batch(b"first")))
        await until(
            lambda: house.writer.queued_bytes > 0 and not house.writer.queue.qsize(),
            "the writer to wait for the file",
        )
        others = [asyncio.create_task(house.writer.put(each)) for each in (good[0], bad, *good[1:])]
        await until(
            lambda: house.writer.queue.qsize() == len(others), "the others to wait behind it"
        )
        held.close()
        return await asyncio.gather(first, *others, return_exceptions=True)

    told = asyncio.run(together())
    assert [type(each) for each in told] == [
        type(None),
        type(None),
        WriteError,
        type(None),
        type(None),
    ]
    assert house.rows("SELECT name FROM spans ORDER BY name") == [
        ("first",),
        ("good0",),
        ("good1",),
        ("good2",),
    ]


def aside(path: Path) -> list[Path]:
    """The files that were moved aside, without what belongs to them."""
    return [
        each for each in path.parent.glob("*.aside-*") if not each.name.endswith(("-wal", "-shm"))
    ]


def foreign(path: Path) -> None:
    """A database of somebody else."""
    file = sqlite3.connect(path)
    file.executescript("CREATE TABLE precious (it TEXT); INSERT INTO precious VALUES ('kept')")
    file.close()


def other_version(path: Path) -> None:
    """Our own, of a layout that is to come."""
    Store(path, 64 * MIB).close()
    file = sqlite3.connect(path)
    file.execute("PRAGMA user_version = 99")
    file.close()


def garbage(path: Path) -> None:
    """No database at all."""
    path.write_bytes(random.Random(7).randbytes(100_000))  # noqa: S311  (no secret)


def text(path: Path) -> None:
    """Somebody's notes."""
    path.write_text("not a database")


@pytest.mark.parametrize("make", [foreign, other_version, garbage, text])
def test_a_file_that_is_not_ours_is_put_aside(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's file keeps its bytes under another name, that is said, and a new one serves."""
    path = tmp_path / "telemetry.db"
    make(path)
    before = path.read_bytes()
    with caplog.at_level(logging.WARNING), running(path) as house:
        assert house.send("traces", traces(span())).status_code == 200
        assert house.rows("SELECT count(*) FROM spans") == [(1,)]
    [kept] = aside(path)
    assert kept.read_bytes() == before
    assert "moved aside to telemetry.db.aside-" in caplog.text


def test_our_own_file_is_gone_on_with(tmp_path: Path) -> None:
    """A second start finds what the first one stored, and adds to it."""
    path = tmp_path / "telemetry.db"
    for _ in range(2):
        with running(path) as house:
            house.send("traces", traces(span()))
            house.send("metrics", metrics(counter("sold", point(1))))
    assert read(path, "SELECT (SELECT count(*) FROM span), (SELECT count(*) FROM series)") == [
        (2, 1)
    ]
    assert not aside(path)


def fill(path: Path) -> None:
    """A file with something on many pages."""
    with running(path) as house:
        for _ in range(20):
            house.send("traces", traces(*(span("x" * 500) for _ in range(100))))
            house.send(
                "metrics",
                metrics(
                    counter("sold", *(point(1, attributes=pairs(n=str(n))) for n in range(50)))
                ),
            )


def test_a_file_that_is_damaged_is_put_aside_while_it_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When damage shows while a batch is written, the file is moved aside, the batch is stored in a new one, and all goes on."""
    path = tmp_path / "telemetry.db"
    fill(path)
    with path.open("r+b") as file:  # the tables' names stay, their pages do not
        file.seek(3 * 4096)
        file.write(b"\xa5" * (path.stat().st_size - 3 * 4096))
    with caplog.at_level(logging.WARNING), running(path) as house:
        answers = {house.send("traces", traces(span())).status_code for _ in range(5)}
        assert answers <= {200, 503}
        assert house.send("traces", traces(span("after"))).status_code == 200
        assert house.client.get("/healthz").status_code == 200
        assert ("after",) in house.rows("SELECT name FROM spans")
        assert house.whole()
    assert len(aside(path)) == 1
    assert "moved aside" in caplog.text


def test_no_damage_keeps_it_from_starting(tmp_path: Path) -> None:
    """Wherever in its first pages a file is damaged, embedded starts, and stores what comes."""
    whole = tmp_path / "whole.db"
    fill(whole)
    original = whole.read_bytes()
    chance = random.Random(11)  # noqa: S311  (no secret)
    places = [*range(108), *(chance.randrange(108, 20 * 4096) for _ in range(60))]
    for place in places:
        folder = tmp_path / str(place)
        folder.mkdir()
        path = folder / "telemetry.db"
        path.write_bytes(original[:place] + bytes([original[place] ^ 0xFF]) + original[place + 1 :])
        with running(path) as house:
            answers = [house.send("traces", traces(span())).status_code for _ in range(2)]
            assert answers[-1] == 200, (place, house.writer.last_error)
        path.unlink()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Where the file cannot be, it says so at once; nothing is moved aside."""
    (tmp_path / "telemetry.db").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        Store(tmp_path / "telemetry.db", 64 * MIB)
    assert not aside(tmp_path / "telemetry.db")
