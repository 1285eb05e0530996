"""Tests that the local store keeps what senders say about their metrics, also in earlier files."""

import sqlite3
import time
from pathlib import Path

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.demo.local_store.messages import NANO, counter, gauge, metric_request, number_point
from tests.demo.local_store.stores import InMemoryStore, running_store
from three_pillar_demo.local_store import database, retention
from three_pillar_demo.local_store.otlp.metrics import MAX_DESCRIPTION, MAX_UNIT

SINCE = time.time_ns() - 3600 * NANO

SELECT = """SELECT series.name, instrument.name, instrument.kind, unit, description
FROM series JOIN instrument ON instrument.id = series.instrument ORDER BY series.id"""


def described(metric: Metric, unit: str, description: str) -> Metric:
    """Return ``metric`` with its unit and description."""
    metric.unit = unit
    metric.description = description
    return metric


def orders(value: float, at: int, description: str = "Orders sold") -> Metric:
    """Return one point of a counter that has counted since ``SINCE``."""
    point = number_point(value, at=at, start=SINCE)
    return described(counter("orders.sold", point), "{order}", description)


def test_name_kind_unit_and_description_are_kept(in_memory_store: InMemoryStore) -> None:
    """A series has the instrument as it was sent; a sum that may fall is an up-down counter."""
    open_requests = counter("requests.open", number_point(-2), monotonic=False)
    temperature = gauge("температура", number_point(21.5))
    request = metric_request(
        orders(1, time.time_ns()), described(open_requests, "1", ""), described(temperature, "", "")
    )
    assert in_memory_store.send("metrics", request).status_code == 200
    assert in_memory_store.rows(SELECT) == [
        ("orders_sold_total", "orders.sold", "counter", "{order}", "Orders sold"),
        ("requests_open", "requests.open", "up_down_counter", "1", ""),
        ("___________", "температура", "gauge", "", ""),
    ]


def test_texts_are_cut_and_redacted(in_memory_store: InMemoryStore) -> None:
    """A unit or description of any length is cut, and secrets in it are not stored."""
    long_texts = described(gauge("long", number_point(1)), "x" * 5000, "y" * 5000)
    secret = described(gauge("secret", number_point(1)), "", "card 4111 1111 1111 1111")
    in_memory_store.send("metrics", metric_request(long_texts, secret))
    [(*_, unit, description), (*_, redacted)] = in_memory_store.rows(SELECT)
    assert (len(unit), len(description)) == (MAX_UNIT, MAX_DESCRIPTION)
    assert "4111" not in redacted


def test_a_new_description_replaces_the_former_one(in_memory_store: InMemoryStore) -> None:
    """A redeployed service may describe its metric anew; retention removes the former text."""
    now = time.time_ns()
    in_memory_store.send("metrics", metric_request(orders(1, now - NANO)))
    in_memory_store.send("metrics", metric_request(orders(2, now, "All orders")))
    assert in_memory_store.rows(SELECT) == [
        ("orders_sold_total", "orders.sold", "counter", "{order}", "All orders")
    ]
    retention.delete_expired(in_memory_store.store)
    assert in_memory_store.rows("SELECT description FROM instrument") == [("All orders",)]
    in_memory_store.send("metrics", metric_request(orders(3, now + NANO)))
    assert in_memory_store.rows("SELECT count(*) FROM point") == [(3,)]
    assert [row[-1] for row in in_memory_store.rows(SELECT)] == ["Orders sold"]


def to_version_3(path: Path) -> None:
    """Turn a store's file into one of schema version 3, which had no instruments."""
    connection = sqlite3.connect(path)
    connection.executescript(
        """DROP TABLE instrument;
        ALTER TABLE series DROP COLUMN instrument;
        DROP INDEX log_time;
        CREATE INDEX log_time ON log (time, severity_text, source);
        PRAGMA user_version = 3"""
    )
    connection.close()


def indexes(path: Path) -> list[tuple[object, ...]]:
    """Return the statements that create the indexes of a file."""
    connection = sqlite3.connect(path)
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name"
    ).fetchall()
    connection.close()
    return rows


def columns(path: Path) -> list[tuple[object, ...]]:
    """Return name, type and default of every column of every table of a file."""
    connection = sqlite3.connect(path)
    statement = """SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk
    FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table' ORDER BY 1, 2"""
    rows = connection.execute(statement).fetchall()
    connection.close()
    return rows


def test_a_file_of_version_3_is_kept_and_changed(tmp_path: Path) -> None:
    """A file of the version before keeps its points, and gets the new tables and indexes."""
    path = tmp_path / "telemetry.db"
    now = time.time_ns()
    with running_store(path) as store:
        store.send("metrics", metric_request(orders(1, now - NANO)))
    new_columns = columns(path)
    new_indexes = indexes(path)
    to_version_3(path)
    assert columns(path) != new_columns
    assert indexes(path) != new_indexes
    with running_store(path) as store:
        assert store.rows("SELECT instrument FROM series") == [(0,)]
        store.send("metrics", metric_request(orders(2, now)))
        assert store.rows("SELECT value FROM point") == [(1.0,), (2.0,)]
        assert [row[1] for row in store.rows(SELECT)] == ["orders.sold"]
        assert store.rows("PRAGMA user_version") == [(database.SCHEMA_VERSION,)]
    assert columns(path) == new_columns
    assert indexes(path) == new_indexes
    assert not list(tmp_path.glob("*.aside-*"))
