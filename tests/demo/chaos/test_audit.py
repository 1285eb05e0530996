"""The books on real services and a real store: whole at first, then with rows taken out of the file and put in twice."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.demo.local_store.conftest import Process
from three_pillar_demo.chaos import services as serving
from three_pillar_demo.chaos.audit import SAMPLE, Found, StoreAudit
from three_pillar_demo.chaos.load import Load
from three_pillar_demo.chaos.services import Services
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.verify.checks import poll_until

WITHIN = 3600.0


@pytest.fixture
def services(tmp_path: Path, store: Process, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A rehearsal's own services, running, and gone at the end."""
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(serving, "STATE", tmp_path)
    with Services(store.url) as ours:
        ours.start()
        yield ours
        processes = [psutil.Process(each.pid) for each in ours.running.values()]
    assert not any(each.is_running() for each in processes)


async def buy(load: Load, count: int) -> None:
    """Send customers until ``count`` are served."""

    async def served() -> bool:
        return len(load.purchases) >= count

    stop = asyncio.Event()
    coming = asyncio.create_task(load.come(stop))
    assert await poll_until(served)
    stop.set()
    await coming


@pytest.mark.timeout(300)
def test_what_is_missing_and_what_is_twice_is_counted(services: Services, store: Process) -> None:
    """Purchases are whole across a stop and a start; a span and a line less, and one too many, are found to the last one."""

    async def play() -> tuple[Found, list[str]]:
        load = Load(services.url, services.run, 20)
        async with LocalBackends(store.path, store.url) as backends:
            await buy(load, 10)
            assert len(services.stop()) == 2
            services.start()
            again = Load(services.url, f"{services.run}-again", 20)
            await buy(again, 10)
            purchases = load.purchases + again.purchases
            books = StoreAudit(backends, services.run, load.started)

            async def whole() -> bool:
                found = await books.compare(purchases, WITHIN)
                return (found.whole, found.lost.total(), found.twice.total()) == (
                    len(purchases),
                    0,
                    0,
                )

            assert await poll_until(whole)
            services.stop()
            store.stop(signal.SIGTERM)
            victims = [bytes.fromhex(each.trace_id) for each in purchases[:3]]
            file = sqlite3.connect(store.path)
            with file:
                file.execute("DELETE FROM span WHERE trace_id = ? AND kind = 3", victims[:1])
                file.execute("DELETE FROM log WHERE trace_id = ?", victims[1:2])
                file.execute(
                    "INSERT INTO span SELECT * FROM span WHERE trace_id = ? AND kind = 2",
                    victims[2:],
                )
                file.execute("INSERT INTO log SELECT * FROM log WHERE trace_id = ?", victims[2:])
                file.execute(
                    "UPDATE point SET value = value - 1 WHERE series IN (SELECT id FROM series WHERE name = ?1 AND "
                    "labels LIKE ?2)",
                    ("checkout_requests_total", f"%{services.run}-1%"),
                )
            file.close()
            found = await StoreAudit(backends, services.run, load.started).compare(
                purchases, WITHIN
            )
            return found, [each.trace_id for each in purchases]

    found, bought = asyncio.run(play())
    assert found.whole == len(bought) - 2
    assert dict(found.lost) == {"spans": 1, "lines": 2, "counts": 1}
    assert dict(found.twice) == {"spans": 2, "lines": 2, "counts": 0}


def test_while_some_are_missing_the_others_are_not_asked_for(
    store: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What drains is asked for a sample of its traces, and for all once those are there or when it must be thorough."""
    bought = [
        Purchase("ordinary", None, f"{number:032x}", 200, "success", "", 0.0, 0.0)
        for number in range(1, 501)
    ]

    async def asked(*, thorough: bool) -> tuple[int, int]:
        async with LocalBackends(store.path, store.url) as backends:
            monkeypatch.setattr(backends, "trace", lambda trace_id: found(int(trace_id, 16)))
            seen.clear()
            return (
                await StoreAudit(backends, "run", 0.0).compare(bought, WITHIN, thorough=thorough)
            ).lost["spans"], len(set(seen))

    async def found(number: int) -> list[object]:
        seen.append(number)
        return [] if number == gone else [SimpleNamespace(span_id=str(each)) for each in range(4)]

    seen: list[int] = []
    gone = len(bought)
    lost, count = asyncio.run(asked(thorough=False))
    assert lost == 4 * len(bought) - 4 * (count - 1)
    assert SAMPLE <= count <= 2 * SAMPLE
    assert asyncio.run(asked(thorough=True)) == (4, len(bought))
    gone = 0
    assert asyncio.run(asked(thorough=False)) == (0, len(bought))
