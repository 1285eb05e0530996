"""Tests that a search in the local store finds exactly the log records that were asked for."""

import asyncio
import time
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as OtlpLogRecord

from tests.demo.local_store.messages import attributes, log_record, log_request
from tests.demo.local_store.stores import InMemoryStore
from tests.demo.query.test_local import DAY_S, run
from three_pillar_demo.query import local_logs
from three_pillar_demo.query.interface import NANO, LogRecord
from three_pillar_demo.query.local_logs import search_logs
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.sqlite_reader import Parameters, SqliteReader

TRACE_ID = bytes.fromhex("0123456789abcdef" * 2)
SPAN_ID = bytes.fromhex("fedcba9876543210")
KINDS_OF_BODY = {
    "map": AnyValue(kvlist_value=KeyValueList(values=attributes(message="no stock", left=3))),
    "array": AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="in a list")])),
    "number": AnyValue(int_value=4711),
    "bytes": AnyValue(bytes_value=b"\x00\xff"),
    "large": AnyValue(string_value="x" * 8_000 + "needle" + "y" * 256 * 1024),
    "no body": AnyValue(),
}


def search(store: InMemoryStore, limit: int = 50, **wanted: Any) -> list[LogRecord]:  # noqa: ANN401  (the fields of LogFilter)
    """Return the log records of any accepted time that ``wanted`` describes."""
    end = time.time() + DAY_S
    filter_ = LogFilter(**wanted)
    found: list[LogRecord] = run(
        store.path, lambda backends: backends.search_logs(0, end, filter_, limit)
    )
    return found


def bodies(records: list[LogRecord]) -> list[str]:
    """Return the bodies of records."""
    return [record.body for record in records]


@pytest.mark.parametrize(
    "text",
    [
        "No Stock of",  # the body
        "of Äpfel",
        "ÄPFEL",
        "NETWORK",  # the name of an attribute
        "visa",
        'say "hi\\there"',
        "100%_sure",
        "Été",
        "1.2.3",  # the resource
        "WAREhouse",  # the service
        "CRITICAL",  # the severity text
        "Stock.Checked",  # the name of the event
        "tests",  # the scope
        "89ABCDEF0123",  # the trace id
        "fedcba98",  # the span id
        "\x00t",  # after a NUL character
    ],
)
def test_a_text_is_found_in_every_field_and_any_case(
    in_memory_store: InMemoryStore, text: str
) -> None:
    """A text is found in each field of a record, also with letters outside of ASCII."""
    record = log_record(
        "no stock of Äpfel\x00tail",
        severity=21,
        severity_text="Critical",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        event_name="stock.checked",
        attributes=attributes(
            network="VISA", quote='Say "Hi\\There"', share="100%_SURE", season="ÉTÉ"
        ),
    )
    request = log_request(record, service="Warehouse")
    request.resource_logs[0].resource.attributes.extend(attributes(service__version="1.2.3"))
    in_memory_store.send("logs", request)
    other = log_record("nothing", attributes=attributes(share="100 per cent, sure"))
    other_request = log_request(other, service="other")
    other_request.resource_logs[0].scope_logs[0].scope.name = "else"
    in_memory_store.send("logs", other_request)
    assert [record.service for record in search(in_memory_store, text=text)] == ["Warehouse"]


@pytest.mark.parametrize("text", ["stock_of", "100%x", "0123456", "no  such text", "é"])
def test_a_text_is_no_pattern(in_memory_store: InMemoryStore, text: str) -> None:
    """A percent sign and an underscore stand for themselves; few digits are no part of an id."""
    record = log_record("x", trace_id=TRACE_ID, attributes=attributes(share="100 stock-of e"))
    in_memory_store.send("logs", log_request(record))
    assert search(in_memory_store, text=text) == []


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("count", "3", True),
        ("ok", "true", True),
        ("service.namespace", "shop", True),
        ("trace_id", TRACE_ID.hex(), True),
        ("span_id", SPAN_ID.hex(), True),
        ("severity_number", "9", True),
        ("severity_text", "INFO", True),
        ("event_name", "sold", True),
        ("count", "30", False),
        ("event_name", "sol", False),
        ("coun", "3", False),
    ],
)
def test_records_are_found_by_an_attribute_or_a_field(
    in_memory_store: InMemoryStore, name: str, value: str, *, is_found: bool
) -> None:
    """An attribute of the record or its resource, or a field, is compared as a whole."""
    record = log_record(
        "sold",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        event_name="sold",
        attributes=attributes(count=3, ok=True),
    )
    in_memory_store.send("logs", log_request(record))
    found = search(in_memory_store, attributes=((name, value),))
    assert bodies(found) == (["sold"] if is_found else [])


@pytest.mark.parametrize(
    ("kind", "text"), [("map", "NO STOCK"), ("array", "A LIST"), ("large", "NEEDLE")]
)
def test_any_kind_of_body_is_searched(in_memory_store: InMemoryStore, kind: str, text: str) -> None:
    """The text inside of a map, a list or a long body is found, and every record is returned."""
    now = time.time_ns()
    records = [
        OtlpLogRecord(time_unix_nano=now + number, body=body, event_name=name)
        for number, (name, body) in enumerate(KINDS_OF_BODY.items())
    ]
    in_memory_store.send("logs", log_request(*records))
    assert [record.event_name for record in search(in_memory_store)] == [*KINDS_OF_BODY][::-1]
    assert [record.event_name for record in search(in_memory_store, text=text)] == [kind]


def test_pages_have_each_record_once(in_memory_store: InMemoryStore) -> None:
    """Older records follow without a gap or a repetition, also if all have the same time."""
    now = time.time_ns()
    records = [log_record(f"{number}", at=now + number // 7) for number in range(21)]
    in_memory_store.send("logs", log_request(*records))
    for text in ("", "checkout"):
        found: list[LogRecord] = []
        until = skipped = 0
        while page := search(in_memory_store, 5, text=text, until=until, skipped=skipped):
            found += page
            until = page[-1].time
            skipped = sum(record.time == until for record in found)
        assert bodies(found) == [f"{number}" for number in range(20, -1, -1)]


def test_records_ahead_of_the_clock_are_found(in_memory_store: InMemoryStore) -> None:
    """A record that is dated in the future is the newest one."""
    now = time.time_ns()
    ahead = log_record("ahead", at=now + 3600 * NANO)
    in_memory_store.send("logs", log_request(log_record("now", at=now), ahead))
    assert bodies(search(in_memory_store)) == ["ahead", "now"]


def test_text_is_searched_in_the_newest_records_alone(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search for a text goes back step by step, up to its limit, within service and level."""
    monkeypatch.setattr(local_logs, "ROWS_SCANNED", (2, 4))
    now = time.time_ns()
    records = [
        log_record(f"{number}", at=now + number, severity=17 if number < 2 else 9)
        for number in range(8)
    ]
    in_memory_store.send("logs", log_request(*records))
    assert bodies(search(in_memory_store, text="check", limit=1)) == ["7"]
    assert bodies(search(in_memory_store, text="5")) == ["5"]
    assert bodies(search(in_memory_store, text="3")) == []
    assert bodies(search(in_memory_store, text="1", level="ERROR")) == ["1"]


class PlanReader(SqliteReader):
    """Returns nothing, and notes in ``plan`` how SQLite would find the rows of each statement."""

    plan: tuple[str, ...] = ()

    async def fetch(self, statement: str, parameters: Parameters = ()) -> list[Any]:
        """Return no rows."""
        rows = await super().fetch(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.plan += tuple(row[3] for row in rows)
        return []


def test_service_and_level_are_read_from_the_index_alone(in_memory_store: InMemoryStore) -> None:
    """The records of a level and a service are found without reading the records of others."""
    reader = PlanReader(in_memory_store.path)
    asyncio.run(search_logs(reader, 0, 1, LogFilter("checkout", "ERROR"), 50))
    reader.close()
    assert "SEARCH log USING COVERING INDEX log_time (time>? AND time<?)" in reader.plan
