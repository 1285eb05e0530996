"""Tests that what arrives in the local store is returned once, however late or much it is."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.demo.local_store.messages import log_record, log_request, span, trace_request
from tests.demo.local_store.stores import InMemoryStore, running_store
from three_pillar_demo.query import local_arrivals
from three_pillar_demo.query.interface import NANO, Arrival, Arrivals, Selection, Span
from three_pillar_demo.query.local import LocalBackends

HOUR_NS = 3600 * NANO
PARENT = b"parent01"


def names(arrivals: list[Arrival]) -> list[str]:
    """Return the names of requests and the bodies of log records."""
    return [item.name if isinstance(item, Span) else item.body for item in arrivals]


def run(path: Path, use: Callable[[Arrivals], Coroutine[Any, Any, None]], **wanted: Any) -> None:  # noqa: ANN401  (the fields of Selection)
    """Call ``use`` with the arrivals of the selection ``wanted`` in the file at ``path``."""

    async def run_use() -> None:
        async with LocalBackends(path) as backends:
            await use(backends.arrivals(Selection(**wanted)))

    asyncio.run(run_use())


def send(store: InMemoryStore, *names: str, at: int = 0, **options: Any) -> None:  # noqa: ANN401  (those of span)
    """Send a SERVER span for each name, which starts at ``at`` or now."""
    store.send("traces", trace_request(*[span(name, start=at, **options) for name in names]))


def move_aside(folder: Path) -> None:
    """Rename every file in ``folder``, as the store does with a damaged file."""
    for file in list(folder.iterdir()):
        file.rename(file.with_name(f"old-{file.name}"))


def test_each_request_and_record_arrives_once(in_memory_store: InMemoryStore) -> None:
    """What is stored before counts as seen, and what is stored after is returned by one poll."""
    send(in_memory_store, "before")

    async def use(arrivals: Arrivals) -> None:
        assert await arrivals.begin(0) == []
        assert await arrivals.poll() == []
        send(in_memory_store, "first")
        in_memory_store.send("logs", log_request(log_record("written later")))
        assert names(await arrivals.poll()) == ["written later", "first"]
        assert await arrivals.poll() == []
        send(in_memory_store, "second")
        assert names(await arrivals.poll()) == ["second"]

    run(in_memory_store.path, use)


def test_late_records_are_not_missed(in_memory_store: InMemoryStore) -> None:
    """A record that arrives after newer ones is returned, even when its time is an hour ago."""

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        send(in_memory_store, "new")
        assert names(await arrivals.poll()) == ["new"]
        send(in_memory_store, "late", at=time.time_ns() - HOUR_NS)
        old = log_record("late record", at=time.time_ns() - HOUR_NS)
        in_memory_store.send("logs", log_request(old))
        assert sorted(names(await arrivals.poll())) == ["late", "late record"]

    run(in_memory_store.path, use)


def test_only_requests_are_returned(in_memory_store: InMemoryStore) -> None:
    """SERVER and CONSUMER spans and roots are requests; other spans with a parent are not."""

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        for kind, name in enumerate(("unspecified", "internal", "server", "client", "producer")):
            send(in_memory_store, name, kind=kind, parent_span_id=PARENT)
        send(in_memory_store, "consumer", kind=5, parent_span_id=PARENT)
        send(in_memory_store, "job", kind=1)
        assert names(await arrivals.poll()) == ["server", "consumer", "job"]

    run(in_memory_store.path, use)


def test_a_selection_narrows_what_arrives(in_memory_store: InMemoryStore) -> None:
    """A service's name and ``failed`` select requests and records, with any logger's severities."""

    def send_all() -> None:
        for service in ("checkout", "payment"):
            spans = [span(f"{service} good"), span(f"{service} bad", error=True)]
            in_memory_store.send("traces", trace_request(*spans, service=service))
            records = [
                log_record(f"{service} {text}", severity=number, severity_text=text)
                for number, text in ((9, "INFO"), (17, "boom"), (0, "Error"), (0, "CRITICAL"))
            ]
            in_memory_store.send("logs", log_request(*records, service=service))

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        send_all()
        arrived = sorted(names(await arrivals.poll()))
        assert arrived == ["payment CRITICAL", "payment Error", "payment bad", "payment boom"]

    run(in_memory_store.path, use, service="payment", failed=True)

    async def use_history(arrivals: Arrivals) -> None:
        history = sorted(names(await arrivals.begin(50)))
        assert history == ["payment CRITICAL", "payment Error", "payment bad", "payment boom"]

    run(in_memory_store.path, use_history, service="payment", failed=True)


def test_history_is_the_newest_in_order(in_memory_store: InMemoryStore) -> None:
    """The history has the newest requests and records of the last hour, oldest first."""
    now = time.time_ns()
    for age_s in (7200, 30, 20, 10):
        at = now - age_s * NANO
        send(in_memory_store, f"request {age_s}", at=at)
        record = log_record(f"record {age_s}", at=at - NANO)
        in_memory_store.send("logs", log_request(record))

    async def use(arrivals: Arrivals) -> None:
        assert names(await arrivals.begin(3)) == ["request 20", "record 10", "request 10"]
        assert await arrivals.poll() == []

    run(in_memory_store.path, use)


def test_a_burst_is_read_in_parts(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poll reads a limited number of rows, says that it is behind, and the next ones go on."""
    monkeypatch.setattr(local_arrivals, "MAX_ROWS_PER_POLL", 2)

    async def use(arrivals: Arrivals) -> None:
        await arrivals.begin(0)
        send(in_memory_store, "a", "b", "c")
        assert names(await arrivals.poll()) == ["a", "b"]
        assert arrivals.is_behind
        assert names(await arrivals.poll()) == ["c"]
        assert not arrivals.is_behind

    run(in_memory_store.path, use)


def test_a_new_file_is_read_from_its_beginning(tmp_path: Path) -> None:
    """After the store has replaced its file, everything in the new file has just arrived."""
    path = tmp_path / "telemetry.db"

    async def use(arrivals: Arrivals) -> None:
        with running_store(path) as store:
            send(store, "one", "two", "three")
            await arrivals.begin(0)
        move_aside(tmp_path)
        with running_store(path) as store:
            send(store, "four", "five", "six", "seven")
            assert names(await arrivals.poll()) == ["four", "five", "six", "seven"]

    run(path, use)


def test_a_table_that_was_emptied_is_read_from_its_beginning(
    in_memory_store: InMemoryStore,
) -> None:
    """After all rows were deleted for their age, the row numbers begin again and none is missed."""

    async def use(arrivals: Arrivals) -> None:
        send(in_memory_store, "one", "two", "three")
        await arrivals.begin(0)
        in_memory_store.store.connection.execute("DELETE FROM span")
        send(in_memory_store, "four")
        assert names(await arrivals.poll()) == ["four"]

    run(in_memory_store.path, use)


def test_request_spans_are_found_in_any_service(in_memory_store: InMemoryStore) -> None:
    """The newest requests of all services are found, or the failed ones of one service."""
    now = time.time_ns()
    for age_s, service in ((30, "web"), (20, "jobs"), (10, "web")):
        spans = [span(f"{service} {age_s}", start=now - age_s * NANO, error=age_s > 10)]
        in_memory_store.send("traces", trace_request(*spans, service=service))

    async def query() -> None:
        async with LocalBackends(in_memory_store.path) as backends:
            end = now / NANO
            found = await backends.request_spans(end - 25, end)
            assert [request.name for request in found] == ["web 10", "jobs 20"]
            found = await backends.request_spans(end - 60, end, service="web", failed=True)
            assert [request.name for request in found] == ["web 30"]
            found = await backends.request_spans(end - 60, end, failed=True, limit=1)
            assert [(request.service, request.name) for request in found] == [("jobs", "jobs 20")]

    asyncio.run(query())
