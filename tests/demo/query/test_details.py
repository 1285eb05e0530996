"""Tests that the local store keeps every field of spans and log records, within its limits."""

import time
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.demo.local_store.messages import (
    attributes,
    log_record,
    log_request,
    span,
    to_otlp_json,
    trace_request,
)
from tests.demo.local_store.stores import PROTOBUF, InMemoryStore
from tests.demo.query.test_local import DAY_S, TRACE_ID, run
from three_pillar_demo.local_store.values import MAX_ATTRIBUTES
from three_pillar_demo.query.interface import LogRecord, Scope, Span, SpanEvent, SpanLink

NOW = time.time_ns()
OTHER_TRACE_ID = bytes(range(1, 17))
OTHER_SPAN_ID = bytes(range(1, 9))
JSON = {"content-type": "application/json"}
STACK_TRACE = 'Traceback:\n  File "stock.py", line 7, in reserve\nDatabaseError: away'
RESOURCE = {
    "service.name": "checkout",
    "service.namespace": "shop",
    "service.instance.id": "one",
    "service.version": "2",
}
SCOPE = InstrumentationScope(name="tests", version="1.5", attributes=attributes(short_lived=True))
STORED_SCOPE = Scope("tests", "1.5", {"short_lived": True})


def trace_of(in_memory_store: InMemoryStore) -> list[Span]:
    """Return the spans of the trace ``TRACE_ID``, read through the query interface."""
    spans: list[Span] = run(in_memory_store.path, lambda backends: backends.trace(TRACE_ID.hex()))
    return spans


def detailed_trace() -> ExportTraceServiceRequest:
    """Return a request with one span of which every field is set."""
    link = OtlpSpan.Link(
        trace_id=OTHER_TRACE_ID,
        span_id=OTHER_SPAN_ID,
        trace_state="vendor=1",
        attributes=attributes(cause="queue"),
        dropped_attributes_count=1,
        flags=1,
    )
    exception = OtlpSpan.Event(
        name="exception",
        time_unix_nano=NOW + 1,
        attributes=attributes(exception__type="DatabaseError", exception__stacktrace=STACK_TRACE),
        dropped_attributes_count=2,
    )
    note = OtlpSpan.Event(name="retry", time_unix_nano=NOW + 2, attributes=attributes(attempt=2))
    request = trace_request(
        span(
            start=NOW,
            trace_id=TRACE_ID,
            events=[exception, note],
            links=[link],
            trace_state="rojo=00f067aa0ba902b7",
            flags=0x301,
            dropped_attributes_count=3,
            dropped_events_count=4,
            dropped_links_count=5,
        )
    )
    request.resource_spans[0].resource.attributes.extend(attributes(service__version="2"))
    request.resource_spans[0].scope_spans[0].scope.CopyFrom(SCOPE)
    request.resource_spans[0].scope_spans[0].spans[0].status.code = Status.STATUS_CODE_OK
    return request


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_every_field_of_a_span_can_be_read(in_memory_store: InMemoryStore, encoding: str) -> None:
    """Links, events with stack traces, trace state, flags, dropped counts and scope are kept."""
    request = detailed_trace()
    body = request.SerializeToString() if encoding == "protobuf" else to_otlp_json(request)
    headers = PROTOBUF if encoding == "protobuf" else JSON
    assert in_memory_store.send("traces", body, headers).status_code == 200
    [stored] = trace_of(in_memory_store)
    assert stored.events == (
        SpanEvent(
            NOW + 1,
            "exception",
            {"exception.type": "DatabaseError", "exception.stacktrace": STACK_TRACE},
            2,
        ),
        SpanEvent(NOW + 2, "retry", {"attempt": 2}),
    )
    assert stored.exceptions == ("DatabaseError",)
    assert stored.links == (
        SpanLink(OTHER_TRACE_ID.hex(), OTHER_SPAN_ID.hex(), {"cause": "queue"}, "vendor=1", 1, 1),
    )
    assert (stored.trace_state, stored.flags) == ("rojo=00f067aa0ba902b7", 0x301)
    dropped = (stored.dropped_attributes, stored.dropped_events, stored.dropped_links)
    assert dropped == (3, 4, 5)
    assert (stored.status, stored.error) == ("OK", False)
    assert (stored.resource, stored.scope) == (RESOURCE, STORED_SCOPE)


def detailed_log_request() -> ExportLogsServiceRequest:
    """Return a request with one log record of which every field is set."""
    request = log_request(
        log_record(
            at=NOW,
            trace_id=TRACE_ID,
            span_id=OTHER_SPAN_ID,
            observed_time_unix_nano=NOW + 3,
            event_name="order.placed",
            flags=1,
            dropped_attributes_count=2,
            attributes=attributes(order__amount=9.5, order__items=3),
        )
    )
    request.resource_logs[0].resource.attributes.extend(attributes(service__version="2"))
    request.resource_logs[0].scope_logs[0].scope.CopyFrom(SCOPE)
    return request


def test_every_field_of_a_log_record_can_be_read(in_memory_store: InMemoryStore) -> None:
    """Event name, observed time, typed attributes, flags, resource and scope are kept."""
    assert in_memory_store.send("logs", detailed_log_request()).status_code == 200
    [stored] = run(
        in_memory_store.path,
        lambda backends: backends.trace_logs(TRACE_ID.hex(), 0, NOW / 1e9 + DAY_S),
    )
    assert stored == LogRecord(
        time=NOW,
        service="checkout",
        severity="INFO",
        body="done",
        fields={
            "service_version": "2",
            "order_amount": "9.5",
            "order_items": "3",
            "trace_id": TRACE_ID.hex(),
            "span_id": OTHER_SPAN_ID.hex(),
        },
        attributes={"order.amount": 9.5, "order.items": 3},
        severity_number=9,
        observed_time=NOW + 3,
        event_name="order.placed",
        flags=1,
        dropped_attributes=2,
        resource=RESOURCE,
        scope=STORED_SCOPE,
    )


def test_what_is_over_a_limit_is_counted_as_dropped(in_memory_store: InMemoryStore) -> None:
    """Attributes, events and links over the limit, and invalid links, are counted as dropped."""
    over = MAX_ATTRIBUTES + 7
    pairs = attributes(**{f"key{number}": number for number in range(over)})
    link = OtlpSpan.Link(trace_id=OTHER_TRACE_ID, span_id=OTHER_SPAN_ID)
    invalid_link = OtlpSpan.Link(trace_id=b"short", span_id=OTHER_SPAN_ID)
    event = OtlpSpan.Event(name="tick", time_unix_nano=NOW, attributes=pairs)
    crowded = span(
        trace_id=TRACE_ID,
        attributes=pairs,
        events=[event for _ in range(over)],
        links=[invalid_link, *(link for _ in range(over))],
        dropped_links_count=1,
    )
    in_memory_store.send("traces", trace_request(crowded))
    [stored] = trace_of(in_memory_store)
    kept = (len(stored.attributes), len(stored.events), len(stored.links))
    assert kept == (MAX_ATTRIBUTES, MAX_ATTRIBUTES, MAX_ATTRIBUTES)
    dropped = (stored.dropped_attributes, stored.dropped_events, stored.dropped_links)
    assert dropped == (7, 7, 9)
    assert stored.events[0].dropped_attributes == 7


def test_secrets_are_redacted_in_every_field(in_memory_store: InMemoryStore) -> None:
    """A secret in a link, an event, a scope or the trace state is redacted as elsewhere."""
    address = "sarah.jones@example.com"
    pairs: Any = attributes(note=address)
    request = trace_request(
        span(
            trace_id=TRACE_ID,
            events=[OtlpSpan.Event(name=address, time_unix_nano=NOW, attributes=pairs)],
            links=[
                OtlpSpan.Link(
                    trace_id=OTHER_TRACE_ID,
                    span_id=OTHER_SPAN_ID,
                    trace_state=address,
                    attributes=pairs,
                )
            ],
            trace_state=address,
        )
    )
    scope = InstrumentationScope(name=address, version=address, attributes=pairs)
    request.resource_spans[0].scope_spans[0].scope.CopyFrom(scope)
    in_memory_store.send("traces", request)
    record = log_record(trace_id=TRACE_ID, span_id=OTHER_SPAN_ID, event_name=address)
    in_memory_store.send("logs", log_request(record))
    for view in ("spans", "lines"):
        [row] = in_memory_store.rows(f"SELECT * FROM {view}")  # noqa: S608  (of constants)
        assert "sarah" not in str(row)


def test_long_names_stay_different(in_memory_store: InMemoryStore) -> None:
    """Attributes whose names differ only behind the cut are both kept."""
    prefix = "n" * 300
    pairs = attributes(**{f"{prefix}{number}": number for number in range(2)})
    in_memory_store.send("traces", trace_request(span(trace_id=TRACE_ID, attributes=pairs)))
    [stored] = trace_of(in_memory_store)
    assert sorted(stored.attributes.values()) == [0, 1]
    assert {len(name) for name in stored.attributes} == {256}
