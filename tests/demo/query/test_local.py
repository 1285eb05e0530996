"""The file is read from outside: while embedded runs, after it stopped, was killed, or has another file."""

import asyncio
import os
import re
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.demo.local_store.conftest import (
    MIB,
    House,
    Process,
    buckets,
    counter,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    poll_until,
    running,
    span,
    traces,
)
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.query.interface import NANO, BackendError, LogRecord, ServiceCall, Span
from three_pillar_demo.query.local import SCAN_ROWS, LocalBackends

DAY = 24 * 3600
TRACE = bytes(range(16))
DURATION = "http.server.request.duration"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The app with a new file."""
    with running(tmp_path / "telemetry.db") as house:
        yield house


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    """Embedded, not started yet; gone at the end."""
    embedded = Process(tmp_path / "data")
    yield embedded
    embedded.stop(signal.SIGKILL)


def ask(
    path: Path, question: Callable[[LocalBackends], Awaitable[Any]], url: str = "http://127.0.0.1:9"
) -> Any:  # noqa: ANN401  (any answer)
    """Ask the file at ``path`` once."""

    async def once() -> Any:  # noqa: ANN401  (as above)
        async with LocalBackends(path, url) as it:
            return await question(it)

    return asyncio.run(once())


def names(path: Path) -> list[str]:
    """Of the spans of ``TRACE``."""
    return [each.name for each in ask(path, lambda it: it.trace(TRACE.hex()))]


def tell(house: House, *known: str) -> None:
    """Spans of ``TRACE`` with these names."""
    now = time.time_ns()
    spans = (span(name, start=now + number, trace_id=TRACE) for number, name in enumerate(known))
    assert house.send("traces", traces(*spans)).status_code == 200


def test_the_file_is_read_while_it_is_written_and_after(tmp_path: Path) -> None:
    """What was acknowledged is there for a reader at once, and still there when embedded was stopped and its log is gone."""
    path = tmp_path / "telemetry.db"
    with running(path) as house:
        tell(house, "first")
        assert names(path) == ["first"]
        tell(house, "second")
        assert names(path) == ["first", "second"]
    assert [each.name for each in tmp_path.iterdir()] == ["telemetry.db"]
    assert names(path) == ["first", "second"]
    with running(path) as house:
        tell(house, "third")
        assert names(path) == ["first", "second", "third"]


def test_a_reader_that_stays_sees_a_stop_and_a_start(tmp_path: Path) -> None:
    """One connection goes on over a stop of embedded and its next start, and does not keep the log from going away."""
    path = tmp_path / "telemetry.db"

    async def watch() -> None:
        async with LocalBackends(path) as it:
            for number in range(3):
                house = House(path)
                tell(house, f"span {number}")
                assert len(await it.trace(TRACE.hex())) == number + 1
                await asyncio.to_thread(house.writer.stop)
                assert len(await it.trace(TRACE.hex())) == number + 1

    asyncio.run(watch())


def test_the_file_is_read_after_a_kill(process: Process) -> None:
    """After SIGKILL a reader finds what was acknowledged, though it lies in the log still."""
    process.start()
    with_house = Sender(process)
    with_house.tell("first")
    process.stop(signal.SIGKILL)
    assert process.path.with_name("telemetry.db-wal").exists()
    assert names(process.path) == ["first"]
    process.start()
    with_house.tell("second")
    assert names(process.path) == ["first", "second"]


class Sender:
    """Sends to a process."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def tell(self, name: str) -> None:
        """A span of ``TRACE``."""
        body = traces(span(name, trace_id=TRACE)).SerializeToString()
        headers = {"content-type": "application/x-protobuf"}
        httpx2.post(
            f"{self.process.url}/v1/traces", content=body, headers=headers, trust_env=False
        ).raise_for_status()


def test_another_file_is_noticed(tmp_path: Path) -> None:
    """When the file was cleaned away, or put aside for a new one, the same reader reads the new one."""
    path = tmp_path / "telemetry.db"

    async def watch() -> None:
        async with LocalBackends(path) as it:
            with pytest.raises(BackendError, match="unable to open database file"):
                await it.ingested()
            for number in range(3):
                house = House(path)
                tell(house, f"span {number}")
                assert [each.name for each in await it.trace(TRACE.hex())] == [f"span {number}"]
                await asyncio.to_thread(house.writer.stop)
                path.unlink()
                with pytest.raises(BackendError, match="unable to open database file"):
                    await it.ingested()

    asyncio.run(watch())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    """A file without the right to read it is a reason in words."""
    path = tmp_path / "telemetry.db"
    with running(path):
        pass
    path.chmod(0)
    with pytest.raises(BackendError, match="unable to open"):
        names(path)


def test_a_damaged_file_is_a_reason_in_words(tmp_path: Path) -> None:
    """What is no database, or none of ours, is said with its place, and where to look."""
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(
        BackendError, match=rf"{re.escape(str(path))}.*not a database.*demo logs store"
    ):
        names(path)


def test_it_writes_nothing(house: House) -> None:
    """The reader's connection cannot change the file."""

    async def try_it() -> None:
        async with LocalBackends(house.path) as it:
            await it.ingested()
            assert it.reader.connection
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                it.reader.connection.execute("DELETE FROM tally")

    asyncio.run(try_it())


def test_questions_at_the_same_time_are_all_answered(house: House) -> None:
    """Many questions at once share the one connection."""
    tell(house, *(f"span {number}" for number in range(100)))

    async def crowd() -> list[Any]:
        async with LocalBackends(house.path) as it:
            return await asyncio.gather(*(it.trace(TRACE.hex()) for _ in range(30)))

    assert {len(each) for each in asyncio.run(crowd())} == {100}


def test_whether_it_is_up(tmp_path: Path, process: Process) -> None:
    """It is up when the receiver is well and the file can be read; else the reason is said."""
    [reason] = ask(tmp_path / "telemetry.db", lambda it: it.health()).values()
    assert reason
    process.start()
    assert ask(process.path, lambda it: it.health(), process.url) == {"store": ""}
    [reason] = ask(tmp_path / "elsewhere.db", lambda it: it.health(), process.url).values()
    assert "unable to open" in reason


def test_what_is_wrong_is_said_in_words(process: Process) -> None:
    """A receiver that cannot store is down for its own reason, and not for the JSON that says so."""
    process.start()
    with closing(sqlite3.connect(process.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        batch = traces(span("late", start=time.time_ns(), trace_id=TRACE)).SerializeToString()
        with suppress(httpx2.HTTPError):  # it may hold on for as long as it tries
            headers = {"content-type": "application/x-protobuf"}
            httpx2.post(
                f"{process.url}/v1/traces",
                content=batch,
                headers=headers,
                timeout=10,
                trust_env=False,
            )
        poll_until(lambda: not process.answers(), "the receiver to say that it is not well", 60)
        assert ask(process.path, lambda it: it.health(), process.url) == {
            "store": "OperationalError: database is locked"
        }


@pytest.mark.parametrize("folder", ["c#", "what?mode=rwc", "50%41", "ü b"])
def test_a_folder_may_have_any_name(tmp_path: Path, folder: str) -> None:
    """The file is found whatever the folder is called into which somebody cloned, and no other one is made."""
    path = tmp_path / folder / "telemetry.db"
    Store(path, 64 * MIB).close()
    assert ask(path, lambda it: it.ingested()) == {"spans": 0, "lines": 0, "points": 0}
    assert list(tmp_path.iterdir()) == [path.parent]


def test_odd_values_do_not_break_an_answer(house: House) -> None:
    """Kinds that are none, NUL characters, bytes and missing exception texts come back as they are."""
    now = time.time_ns()
    event = {"name": "exception", "time_unix_nano": now}
    spans = [
        span(
            "a\x00b",
            start=now,
            trace_id=TRACE,
            kind=-7,
            attributes=pairs(raw=b"\xff", nan=float("nan")),
        ),
        span("b", start=now + 1, trace_id=TRACE, kind=77, events=[event]),
    ]
    house.send("traces", traces(*spans))
    first, second = ask(house.path, lambda it: it.trace(TRACE.hex()))
    assert (first.name, first.kind, first.attributes) == (
        "a\x00b",
        "-7",
        {"raw": "/w==", "nan": "nan"},
    )
    assert (second.kind, second.exceptions) == ("77", ("",))
    house.send("logs", logs(line("one\x00two", attributes=pairs(deep__er=1.5, ok=True))))
    [found] = ask(house.path, lambda it: it.logs(0, now / NANO + DAY, text="\x00t"))
    assert (found.body, found.fields) == ("one\x00two", {"deep_er": "1.5", "ok": "true"})


async def both(path: Path, trace_id: str) -> tuple[list[Span], list[LogRecord]]:
    """The spans and lines of a trace."""
    async with LocalBackends(path) as it:
        return await it.trace(trace_id), await it.trace_logs(trace_id, 0, DAY)


def test_an_id_that_is_none_finds_nothing(house: House) -> None:
    """What is no trace id is the id of no trace."""
    for odd in ("", "xyz", "abc", "0", "f" * 31):
        assert asyncio.run(both(house.path, odd)) == ([], [])


def test_a_search_reaches_back_and_no_further(house: House) -> None:
    """The newest lines that match are found in order, also among many that do not."""
    now = time.time_ns()
    house.send("logs", logs(*(line(f"line {number}", at=now + number) for number in range(5000))))
    end = now / NANO + 60
    found = ask(house.path, lambda it: it.logs(0, end, text="line 1", limit=3))
    assert [each.body for each in found] == ["line 1999", "line 1998", "line 1997"]
    assert ask(house.path, lambda it: it.logs(0, end, text="nothing has this")) == []
    assert SCAN_ROWS > 5000


def test_a_silent_series_is_gone(house: House) -> None:
    """A counter that told nothing for as long as was asked is not counted any more."""
    now = time.time_ns()
    old = point(7, at=now - 400 * NANO, attributes=pairs(who="old"))
    young = point(5, at=now - 100 * NANO, attributes=pairs(who="young"))
    house.send("metrics", metrics(counter("sold", old, young)))
    assert ask(house.path, lambda it: it.counters("sold_total", ("who",))) == {("young",): 5.0}
    assert ask(house.path, lambda it: it.counters("sold_total", (), within=3600)) == {(): 12.0}
    assert ask(house.path, lambda it: it.counters("sold_total", (), within=50)) == {}


def test_a_restart_is_no_negative_rate(house: House) -> None:
    """A counter that begins again from zero counts on."""
    base = time.time_ns() // NANO - 60
    for number, count in enumerate([10, 20, 30, 2, 12]):
        told = buckets([count, 0, 0], at=(base + 10 * number) * NANO, start=(base - DAY) * NANO)
        told.attributes.extend(pairs(http__route="/a", http__response__status_code=200))
        house.send("metrics", metrics(histogram(DURATION, told)))
    [one] = ask(
        house.path,
        lambda it: it.red("checkout", "/a", base + 40, base + 40, window=50.0, quantiles=()),
    )
    # 32 events in 40 s; the first point is 10 s from the window's start, which is under 1.1 intervals.
    assert one.rate == pytest.approx(32 * (40 + 10) / 40 / 50)


def test_a_first_event_is_not_lost(house: House) -> None:
    """One request on a route that nobody asked before is a rate at once; an old series heard of anew is not."""
    base = time.time_ns() // NANO - 60
    for route, start in (("/new", base + 19), ("/known", base - DAY)):
        for number in range(2):
            told = buckets([1, 0, 0], at=(base + 20 + 10 * number) * NANO, start=start * NANO)
            told.attributes.extend(pairs(http__route=route, http__response__status_code=200))
            house.send("metrics", metrics(histogram(DURATION, told)))
    [new] = ask(
        house.path,
        lambda it: it.red("checkout", "/new", base + 30, base + 30, window=30.0, quantiles=()),
    )
    [known] = ask(
        house.path,
        lambda it: it.red("checkout", "/known", base + 30, base + 30, window=30.0, quantiles=()),
    )
    assert new.rate == pytest.approx(1 / 30)
    assert known.rate == 0.0


def test_edges_need_both_ends(house: House) -> None:
    """A call without its other end, or inside one service, is no edge."""
    now = time.time_ns()
    caller = span("GET", start=now, trace_id=TRACE, span_id=b"caller01", kind=3)
    called = span("GET /", start=now, trace_id=TRACE, parent_span_id=b"caller01")
    orphan = span("GET /", start=now, parent_span_id=b"caller02")
    itself = span("GET /", start=now, trace_id=TRACE, parent_span_id=b"caller01")
    house.send("traces", traces(caller, itself, service="front"))
    house.send("traces", traces(called, orphan, service="bank"))
    between = (now / NANO - 1, now / NANO + 1)
    assert ask(house.path, lambda it: it.service_graph(*between)) == [
        ServiceCall("front", "bank", 1, 0)
    ]


@pytest.mark.parametrize("ends", [(True, False), (False, True), (True, True), (False, False)])
def test_a_call_failed_if_either_end_says_so(house: House, ends: tuple[bool, bool]) -> None:
    """An edge counts a call as failed when the caller's span or the other one has error status."""
    now = time.time_ns()
    caller = span("GET", start=now, trace_id=TRACE, span_id=b"caller01", kind=3, error=ends[0])
    called = span("GET /", start=now, trace_id=TRACE, parent_span_id=b"caller01", error=ends[1])
    house.send("traces", traces(caller, service="front"))
    house.send("traces", traces(called, service="bank"))
    found = ask(house.path, lambda it: it.service_graph(now / NANO - 1, now / NANO + 1))
    assert found == [ServiceCall("front", "bank", 1, int(any(ends)))]


def test_no_file_has_no_size(tmp_path: Path) -> None:
    """Before the store has made its file, it takes nothing."""
    assert ask(tmp_path / "telemetry.db", lambda it: it.size()) == 0


def test_ages_are_of_the_newest_within_the_hour(house: House) -> None:
    """An empty file has no ages, an old one neither, and a young one is as old as its newest."""
    nothing = {"traces": None, "logs": None, "metrics": None}
    assert ask(house.path, lambda it: it.freshness()) == nothing
    for seconds in (7200, 30):
        at = time.time_ns() - seconds * NANO
        house.send("traces", traces(span(start=at, seconds=0)))
        house.send("logs", logs(line(at=at)))
        house.send("metrics", metrics(counter("sold", point(1, at=at))))
        ages = ask(house.path, lambda it: it.freshness())
        if seconds > 3600:
            assert ages == nothing
    assert all(30 <= age < 60 for age in ages.values())


def test_a_question_that_is_given_up_holds_up_nobody(house: House) -> None:
    """When who asked does not wait any longer, the question ends, and the next is answered."""
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    )

    async def give_up() -> dict[str, int]:
        async with LocalBackends(house.path) as it:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await it.reader.fetch(endless)  # noqa: SLF001  (no question of ours takes so long)
            async with asyncio.timeout(30):
                return await it.ingested()

    assert asyncio.run(give_up()) == {"spans": 0, "lines": 0, "points": 0}
