"""Tests that the requests of an import are of limited size, and have every record."""

import json
from typing import Any

import pytest

from tests.demo.share.otlp_files import Trace, metrics
from three_pillar_demo.share.batches import MAX_BODY_BYTES, MAX_RECORDS, Batcher, ExportBatch
from three_pillar_demo.share.records import Record, records_of


def batched(*objects: dict[str, Any]) -> list[ExportBatch]:
    """Return the batches of all records in ``objects``."""
    batcher = Batcher()
    found: list[ExportBatch] = []
    for value in objects:
        for record in records_of(value):
            assert isinstance(record, Record)
            found.extend(batcher.add(record))
    return [*found, *batcher.rest()]


def test_requests_are_limited_in_size() -> None:
    """No request is larger than the limit, and together they have all records."""
    trace = Trace()
    batches = batched(*(trace.spans(name="x" * 50_000) for _ in range(100)))
    assert len(batches) > 4
    assert max(len(batch.body()) for batch in batches) <= MAX_BODY_BYTES
    assert sum(len(batch.records) for batch in batches) == 100


def test_requests_are_limited_in_records() -> None:
    """A request of small records has a limited number of them."""
    trace = Trace()
    spans = trace.spans()
    group = spans["resourceSpans"][0]["scopeSpans"][0]
    group["spans"] = group["spans"] * (2 * MAX_RECORDS + 1)
    assert [len(batch.records) for batch in batched(spans)] == [MAX_RECORDS, MAX_RECORDS, 1]


def test_each_signal_has_requests_of_its_own() -> None:
    """Spans, log records and metrics of one file go to three requests, with their resources."""
    trace = Trace()
    load = metrics()
    batches = batched(trace.spans() | trace.logs() | load, trace.spans())
    assert [batch.signal.name for batch in batches] == ["traces", "logs", "metrics"]
    assert [json.loads(batch.body()) for batch in batches[1:]] == [trace.logs(), load]
    [resource] = json.loads(batches[0].body())["resourceSpans"]
    [scope] = resource["scopeSpans"]
    assert len(scope["spans"]) == 2, "neighbours of one resource and scope stay together"


@pytest.mark.parametrize("count", [2, 3, 10])
def test_halves_have_all_records(count: int) -> None:
    """A batch that is refused is halved without loss, in the order of its records."""
    trace = Trace()
    [batch] = batched(*(trace.spans(name=str(number)) for number in range(count)))
    first, second = batch.halves()
    assert first.records + second.records == batch.records
    assert first.records
    assert second.records
