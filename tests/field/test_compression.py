"""``OTEL_EXPORTER_OTLP_COMPRESSION``: each allowed value is accepted by store and Collector."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.demo.local_store.stores import StoreProcess
from tests.processes import InMemoryCollector, Service, serve, wait_for
from tests.real_collector import run_real_collector

STORE_COMPRESSIONS = ["none", "gzip", "deflate"]
COLLECTOR_COMPRESSIONS = ["none", "gzip", "deflate"]
CHARGE: dict[str, object] = {
    "order_id": "one",
    "amount": "1",
    "currency": "EUR",
    "card": "ordinary",
}


def charge_once(payment: Service) -> None:
    """Charge once, stop the service, and check that no export failed."""
    assert payment.post("/charges", CHARGE).status_code == 200
    payment.stop(20)
    assert {line["level"] for line in payment.lines()} == {"info"}, payment.lines()


@pytest.mark.parametrize("compression", STORE_COMPRESSIONS)
def test_store_accepts_every_allowed_compression(tmp_path: Path, compression: str) -> None:
    """A service with this compression sends all three signals to the local store."""
    store = StoreProcess(tmp_path / "data")
    variables = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    try:
        store.start()
        with serve("payment", tmp_path, store.url, **variables) as payment:
            charge_once(payment)
    finally:
        if store.process:
            store.process.terminate()
            store.process.wait(30)
    with closing(sqlite3.connect(store.path)) as database:
        for table in ("span", "log", "point"):
            (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
            assert count, table


@pytest.mark.full
@pytest.mark.parametrize("compression", COLLECTOR_COMPRESSIONS)
def test_collector_accepts_every_allowed_compression(
    tmp_path: Path, collector: InMemoryCollector, compression: str
) -> None:
    """A service with this compression sends all three signals through the real Collector."""
    variables = {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}
    with (
        run_real_collector(tmp_path, collector.url) as real_collector,
        serve("payment", tmp_path, real_collector.url, **variables) as payment,
    ):
        charge_once(payment)
        wait_for(
            "all three signals",
            lambda: (
                {path for path, _ in collector.received}
                == {"/v1/traces", "/v1/metrics", "/v1/logs"}
            ),
        )
    assert len(collector.spans) == 1
