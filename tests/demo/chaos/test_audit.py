"""The audit of a rehearsal, on real services and a store from whose file rows are removed."""

import asyncio
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.demo.local_store.stores import StoreProcess
from three_pillar_demo.chaos import services as services_module
from three_pillar_demo.chaos.audit import SAMPLE_SIZE, StoreAudit
from three_pillar_demo.chaos.load import Load
from three_pillar_demo.chaos.services import Services
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.verify.check import poll_until

WITHIN_S = 3600.0
SPANS_PER_PURCHASE = 4


@pytest.fixture
def services(
    tmp_path: Path, store: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Services]:
    """Start the services of a rehearsal, and check that no process is left at the end."""
    (tmp_path / "logs").mkdir()
    monkeypatch.setattr(services_module, "STATE", tmp_path)
    with Services(store.url) as services:
        services.start()
        yield services
        processes = [psutil.Process(process.pid) for process in services.running.values()]
    assert not any(process.is_running() for process in processes)


async def buy(load: Load, count: int) -> None:
    """Send the requests of ``load`` until ``count`` purchases are answered."""

    async def answered() -> bool:
        return len(load.purchases) >= count

    stop = asyncio.Event()
    sending = asyncio.create_task(load.send(stop))
    assert await poll_until(answered)
    stop.set()
    await sending


async def buy_across_a_restart(
    services: Services, store: StoreProcess
) -> tuple[list[Purchase], float]:
    """Buy before and after a restart of the services, and wait until all of it is stored.

    Returns:
        The purchases, and the time when the first load began (seconds since the epoch).
    """
    first_load = Load(services.url, services.run, 20)
    await buy(first_load, 10)
    assert len(services.stop()) == 2
    services.start()
    second_load = Load(services.url, f"{services.run}-again", 20)
    await buy(second_load, 10)
    purchases = first_load.purchases + second_load.purchases
    async with LocalBackends(store.path, store.url) as backends:
        audit = StoreAudit(backends, services.run, first_load.started)

        async def all_stored() -> bool:
            result = await audit.compare(purchases, WITHIN_S)
            return (
                result.complete == len(purchases)
                and result.lost.total() == 0
                and result.duplicated.total() == 0
            )

        assert await poll_until(all_stored)
    return purchases, first_load.started


def damage(path: Path, purchases: Sequence[Purchase], run: str) -> None:
    """Change rows of three purchases in the store's file ``path``.

    The first purchase loses a span, the second one its two log records. Of the third, two spans and
    both log records are duplicated. The request counter of checkout's first instance is reduced
    by 1.
    """
    without_span, without_records, duplicated = (
        bytes.fromhex(purchase.trace_id) for purchase in purchases[:3]
    )
    database = sqlite3.connect(path)
    with database:
        database.execute("DELETE FROM span WHERE trace_id = ? AND kind = 3", (without_span,))
        database.execute("DELETE FROM log WHERE trace_id = ?", (without_records,))
        database.execute(
            "INSERT INTO span SELECT * FROM span WHERE trace_id = ? AND kind = 2", (duplicated,)
        )
        database.execute("INSERT INTO log SELECT * FROM log WHERE trace_id = ?", (duplicated,))
        database.execute(
            "UPDATE point SET value = value - 1 WHERE series IN "
            "(SELECT id FROM series WHERE name = ?1 AND labels LIKE ?2)",
            ("checkout_requests_total", f"%{run}-1%"),
        )
    database.close()


@pytest.mark.timeout(300)
def test_missing_and_duplicated_items_are_counted(services: Services, store: StoreProcess) -> None:
    """The audit counts every span, log record and counter increment removed or duplicated."""
    purchases, started = asyncio.run(buy_across_a_restart(services, store))
    services.stop()
    store.stop(signal.SIGTERM)
    damage(store.path, purchases, services.run)

    async def compare() -> None:
        async with LocalBackends(store.path, store.url) as backends:
            audit = StoreAudit(backends, services.run, started)
            result = await audit.compare(purchases, WITHIN_S)
        assert result.complete == len(purchases) - 2
        assert dict(result.lost) == {"spans": 1, "log_records": 2, "counts": 1}
        assert dict(result.duplicated) == {"spans": 2, "log_records": 2, "counts": 0}

    asyncio.run(compare())


def test_only_a_sample_is_queried_while_traces_are_missing(
    store: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit queries all traces only if a sample of them is complete or it is thorough."""
    purchases = [
        Purchase("ordinary", None, f"{number:032x}", 200, "success", "", 0.0, 0.0)
        for number in range(1, 501)
    ]
    queried: set[int] = set()
    missing = len(purchases)

    async def trace(trace_id: str) -> list[SimpleNamespace]:
        number = int(trace_id, 16)
        queried.add(number)
        if number == missing:
            return []
        return [SimpleNamespace(span_id=str(span)) for span in range(SPANS_PER_PURCHASE)]

    async def compare(*, thorough: bool) -> tuple[int, int]:
        """Return the number of lost spans, and the number of traces that were queried."""
        queried.clear()
        async with LocalBackends(store.path, store.url) as backends:
            monkeypatch.setattr(backends, "trace", trace)
            audit = StoreAudit(backends, "run", 0.0)
            result = await audit.compare(purchases, WITHIN_S, thorough=thorough)
        return result.lost["spans"], len(queried)

    lost, count = asyncio.run(compare(thorough=False))
    assert lost == SPANS_PER_PURCHASE * (len(purchases) - (count - 1))
    assert SAMPLE_SIZE <= count <= 2 * SAMPLE_SIZE
    assert asyncio.run(compare(thorough=True)) == (SPANS_PER_PURCHASE, len(purchases))
    missing = 0
    assert asyncio.run(compare(thorough=False)) == (0, len(purchases))
