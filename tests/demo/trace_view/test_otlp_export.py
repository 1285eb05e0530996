"""Tests that a trace written as OTLP JSON is complete, and in the encoding of the specification."""

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from tests.demo.local_store.messages import (
    attributes,
    log_record,
    log_request,
    span,
    trace_request,
)
from tests.demo.local_store.stores import InMemoryStore, running_store
from tests.traces import CALL, ROOT, TRACE, line, slow
from tests.traces import span as sample_span
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.trace_view.otlp_export import otlp_lines
from three_pillar_demo.trace_view.view import TraceView

TRACE_ID = bytes.fromhex(TRACE)
JSON = {"content-type": "application/json"}


def read(path: Path) -> TraceView:
    """Return the trace ``TRACE`` from the store file at ``path``."""

    async def query() -> TraceView:
        async with LocalBackends(path) as backends:
            end = time.time() + 60
            logs = await backends.trace_logs(TRACE, end - 3600, end)
            return TraceView(TRACE, await backends.trace(TRACE), logs, [])

    return asyncio.run(query())


def send_everything(store: InMemoryStore) -> None:
    """Send a trace in which every field of a span and a log record has a value."""
    now = time.time_ns()
    event = OtlpSpan.Event(
        name="exception",
        time_unix_nano=now + 5,
        attributes=attributes(exception__type="OSError", exception__message="gone"),
        dropped_attributes_count=1,
    )
    link = OtlpSpan.Link(
        trace_id=b"l" * 16, span_id=b"l" * 8, trace_state="a=1", attributes=attributes(batch=3)
    )
    request = span(
        "GET /order",
        start=now,
        error=True,
        trace_id=TRACE_ID,
        span_id=b"server01",
        trace_state="vendor=x",
        flags=0x101,
        attributes=attributes(order__id=2**53 + 1, ratio=0.5, paid=True, note="münze \u4e2d"),
        events=[event],
        links=[link],
        dropped_attributes_count=2,
        dropped_events_count=3,
        dropped_links_count=4,
    )
    call = span("call", start=now + 1, trace_id=TRACE_ID, parent_span_id=b"server01", kind=3)
    record = log_record(
        "database is away",
        at=now + 2,
        severity=17,
        trace_id=TRACE_ID,
        span_id=b"server01",
        observed_time_unix_nano=now + 3,
        attributes=attributes(attempt=2),
        event_name="db.error",
        flags=1,
        dropped_attributes_count=5,
    )
    store.send("traces", trace_request(request, call, service="shopfront"))
    store.send("traces", trace_request(span("job", trace_id=TRACE_ID), service="stock"))
    store.send("logs", log_request(record, service="shopfront"))


def test_nothing_is_lost_on_the_way_to_another_store(tmp_path: Path) -> None:
    """A trace that is exported and sent to another store is equal there, in every field."""
    with running_store(tmp_path / "one.db") as one, running_store(tmp_path / "two.db") as two:
        send_everything(one)
        original = read(one.path)
        assert [len(original.spans), len(original.logs)] == [3, 1]
        spans, logs = otlp_lines(original)
        for signal, content in (("traces", spans), ("logs", logs)):
            response = two.send(signal, content.encode(), JSON)
            assert (response.status_code, response.json()) == (200, {})
        assert read(two.path) == original


def test_the_encoding_is_that_of_otlp_json(in_memory_store: InMemoryStore) -> None:
    """Ids are hex digits, 64-bit integers strings, kinds numbers; there is one line a signal."""
    send_everything(in_memory_store)
    lines = list(otlp_lines(read(in_memory_store.path)))
    assert not any("\n" in text for text in lines)
    spans, logs = (json.loads(text) for text in lines)
    [shopfront, stock] = spans["resourceSpans"]
    assert [scope["scope"]["name"] for scope in shopfront["scopeSpans"]] == ["tests"]
    server, call = shopfront["scopeSpans"][0]["spans"]
    assert len(stock["scopeSpans"][0]["spans"]) == 1
    assert (server["traceId"], server["spanId"]) == (TRACE, b"server01".hex())
    assert call["parentSpanId"] == server["spanId"]
    assert (server["kind"], call["kind"]) == (2, 3)
    assert server["status"] == {"message": "failed", "code": 2}
    assert int(server["endTimeUnixNano"]) > int(server["startTimeUnixNano"])
    assert {"key": "order.id", "value": {"intValue": str(2**53 + 1)}} in server["attributes"]
    assert {"key": "paid", "value": {"boolValue": True}} in server["attributes"]
    [record] = logs["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert (record["severityNumber"], record["body"]) == (17, {"stringValue": "database is away"})


def test_records_of_loki_get_the_resource_of_their_service() -> None:
    """A log record without a resource of its own is below that of its service's spans."""
    resource = {"service.name": "checkout", "service.version": "2"}
    root = sample_span(ROOT, "", resource=resource, attributes={"service.version": "2"})
    record = line(ROOT, "done", service_name="checkout", service_version="2", order_id="o-1")
    spans, logs = (json.loads(text) for text in otlp_lines(TraceView(TRACE, [root], [record], [])))
    [group] = logs["resourceLogs"]
    assert group["resource"] == spans["resourceSpans"][0]["resource"]
    [exported] = group["scopeLogs"][0]["logRecords"]
    assert exported["attributes"] == [{"key": "order_id", "value": {"stringValue": "o-1"}}]
    assert "attributes" not in spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0]


def test_values_that_json_cannot_write_are_kept() -> None:
    """Infinity, bytes, nested values, huge integers and absent values have their OTLP form."""
    values: dict[str, Any] = {
        "infinite": float("inf"),
        "nothing": None,
        "bytes": b"\x00\xff",
        "nested": {"list": [1, "two", None]},
        "huge": 2**70,
    }
    [text] = otlp_lines(TraceView(TRACE, [sample_span(CALL, ROOT, attributes=values)], [], []))
    [exported] = json.loads(text)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {entry["key"]: entry["value"] for entry in exported["attributes"]} == {
        "infinite": {"doubleValue": "Infinity"},
        "nothing": {},
        "bytes": {"bytesValue": "AP8="},
        "nested": {
            "kvlistValue": {
                "values": [
                    {
                        "key": "list",
                        "value": {
                            "arrayValue": {
                                "values": [{"intValue": "1"}, {"stringValue": "two"}, {}]
                            }
                        },
                    }
                ]
            }
        },
        "huge": {"stringValue": str(2**70)},
    }


def test_a_trace_without_log_records_is_one_line() -> None:
    """A signal without records has no line."""
    view = slow()
    assert len(list(otlp_lines(TraceView(TRACE, view.spans, [], [])))) == 1
    assert len(list(otlp_lines(TraceView(TRACE, [], view.logs, [])))) == 1
    assert list(otlp_lines(TraceView(TRACE, [], [], []))) == []


def test_records_of_loki_are_below_the_resource_that_agrees_with_them() -> None:
    """Of two instances in a trace, each record gets its own, with values of all types."""
    shared = {"service.name": "checkout", "args": ["a\u00fc", 2.0, None], "on": True, "ratio": 3.0}
    nested = {"k8s/pod": {"name.x": 1}}
    spans = [
        sample_span(ROOT, "", resource={**shared, **nested, "service.instance.id": "one"}),
        sample_span(CALL, ROOT, resource={**shared, **nested, "service.instance.id": "two"}),
    ]
    record = line(ROOT, "done", service_name="checkout")
    texts = {"args": '["a\u00fc",2,null]', "on": "true", "ratio": "3", "k8s_pod_name_x": "1"}
    records = [
        replace(record, fields={**record.fields, **texts, "service_instance_id": instance})
        for instance in ("one", "two")
    ]
    _, logs = (json.loads(text) for text in otlp_lines(TraceView(TRACE, spans, records, [])))
    instances = [
        entry["value"]["stringValue"]
        for group in logs["resourceLogs"]
        for entry in group["resource"]["attributes"]
        if entry["key"] == "service.instance.id"
    ]
    assert instances == ["one", "two"]
    for group in logs["resourceLogs"]:
        [exported] = group["scopeLogs"][0]["logRecords"]
        assert "attributes" not in exported
