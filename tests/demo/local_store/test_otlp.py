"""Tests of the OTLP decoders: what they keep of each record, and which records they reject."""

import json
import time
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.messages import (
    DELTA,
    NANO,
    attributes,
    counter,
    gauge,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    trace_request,
)
from three_pillar_demo.local_store.export_request import SIGNALS
from three_pillar_demo.local_store.otlp import logs, metrics, traces
from three_pillar_demo.local_store.otlp.batch import Batch, Point
from three_pillar_demo.local_store.values import MAX_ATTRIBUTES, MAX_TEXT, prometheus_name

NOW = time.time_ns()
IDS: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8}


def span_rows(*spans: Span) -> list[tuple[Any, ...]]:
    """Return the rows of the table ``span`` that ``traces.decode`` makes of spans."""
    batch = Batch()
    traces.decode(trace_request(*spans), batch)
    return [row for _, row in batch.spans]


def log_rows(*records: LogRecord) -> list[tuple[Any, ...]]:
    """Return the rows of the table ``log`` that ``logs.decode`` makes of log records."""
    batch = Batch()
    logs.decode(log_request(*records), batch)
    return [row for _, row in batch.log_records]


def metric_batch(*metric_messages: Metric) -> Batch:
    """Return the batch that ``metrics.decode`` makes of metrics."""
    batch = Batch()
    request: ExportMetricsServiceRequest = metric_request(*metric_messages)
    metrics.decode(request, batch)
    return batch


def only_point(*metric_messages: Metric) -> Point:
    """Return the only data point that ``metrics.decode`` makes of metrics."""
    [point] = metric_batch(*metric_messages).points
    return point


def stored_attributes(*pairs: KeyValue) -> dict[str, object]:
    """Return a span's attributes as they are stored."""
    [row] = span_rows(span(attributes=pairs))
    kept: dict[str, object] = json.loads(row[9])
    return kept


def test_attributes_keep_their_types() -> None:
    """Attribute values keep their JSON type, and values that JSON cannot express become text."""
    nested = AnyValue(kvlist_value=KeyValueList(values=attributes(inner=1)))
    elements = [AnyValue(string_value="a"), nested, AnyValue()]
    array = AnyValue(array_value=ArrayValue(values=elements))
    scalars = attributes(
        text="\x00é",
        integer=-(2**63),
        double=0.5,
        boolean=True,
        raw=b"\xff",
        nan=float("nan"),
        infinite=float("inf"),
    )
    kept = stored_attributes(*scalars, KeyValue(key="list", value=array), KeyValue(key="none"))
    assert kept == {
        "text": "\x00é",
        "integer": -(2**63),
        "double": 0.5,
        "boolean": True,
        "raw": "/w==",
        "nan": "nan",
        "infinite": "inf",
        "list": ["a", {"inner": 1}, None],
        "none": None,
    }


def test_attributes_are_limited() -> None:
    """Attributes beyond the limit are dropped, and long texts are truncated."""
    long_text = "x" * (MAX_TEXT + 1)
    pairs = attributes(**{f"key{number}": long_text for number in range(MAX_ATTRIBUTES + 50)})
    kept = stored_attributes(*pairs)
    assert len(kept) == MAX_ATTRIBUTES
    assert {len(str(value)) for value in kept.values()} == {MAX_TEXT}


def test_truncation_does_not_reveal_part_of_a_secret() -> None:
    """An e-mail address that lies across the truncation is redacted as a whole."""
    padding = "a " * (MAX_TEXT // 2 - 6)
    kept = stored_attributes(
        *attributes(across=f"{padding}somebody.or.other@example.co.uk was here")
    )
    assert "some" not in str(kept["across"])


def test_a_duration_is_never_negative() -> None:
    """A span that ends before its start, or has no end, has a duration of zero."""
    without_end = Span(start_time_unix_nano=NOW, **IDS)
    rows = span_rows(span(start=NOW, seconds=-5), without_end)
    assert [row[6] for row in rows] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"end_time_unix_nano": 2**64 - 1},
            "end_time_unix_nano over 24 h in the future",
        ),
        (
            {"end_time_unix_nano": NOW // 10**6},
            "end_time_unix_nano older than the retention of 48 h",
        ),
        ({"parent_span_id": b"p"}, "invalid parent span id"),
        ({"parent_span_id": b"p" * 16}, "invalid parent span id"),
        ({"parent_span_id": b"", "end_time_unix_nano": 0}, ""),
        ({"parent_span_id": bytes(8)}, ""),
    ],
)
def test_a_span_is_not_stored_as_what_it_is_not(changes: dict[str, Any], reason: str) -> None:
    """A span with an impossible end or parent is refused by name, and one without them is kept."""
    fields = {"start_time_unix_nano": NOW, "end_time_unix_nano": NOW + NANO, **IDS, **changes}
    batch = Batch()
    traces.decode(trace_request(Span(**fields)), batch)
    assert batch.rejected == ({f"span: {reason}": 1} if reason else {})
    assert [row[2] for _, row in batch.spans] == ([] if reason else [None])


def test_what_is_left_out_of_a_record_is_named() -> None:
    """Repeated keys, invalid links, and what is over a limit, are named for every kind of owner."""
    repeated = [*attributes(key=1), *attributes(key=2), *attributes(other=3)]
    many = attributes(**{f"key{number}": number for number in range(MAX_ATTRIBUTES + 2)})
    links = [Span.Link(**IDS, attributes=repeated) for _ in range(MAX_ATTRIBUTES + 3)]
    invalid = [Span.Link(trace_id=b"zz", span_id=b"s" * 8), Span.Link(trace_id=b"t" * 16)]
    events = [Span.Event(attributes=repeated) for _ in range(MAX_ATTRIBUTES + 4)]
    messages: dict[str, Any] = {
        "traces": trace_request(
            span(attributes=[*many, *many[:1]], links=[*invalid, *links], events=events)
        ),
        "logs": log_request(log_record(attributes=repeated)),
        "metrics": metric_request(gauge("heat", number_point(1, attributes=repeated))),
    }
    messages["traces"].resource_spans[0].resource.attributes.extend(repeated)
    messages["logs"].resource_logs[0].scope_logs[0].scope.attributes.extend(repeated)
    messages["metrics"].resource_metrics[0].resource.attributes.extend(repeated)
    batches = {signal_name: Batch() for signal_name in messages}
    for signal_name, message in messages.items():
        SIGNALS[signal_name].decode(message, batches[signal_name])
        assert batches[signal_name].record_count == 1
        assert not batches[signal_name].rejected
    assert batches["traces"].warnings == {
        "attribute: repeated key": 1 + 1 + 2 * MAX_ATTRIBUTES,
        f"attribute: over {MAX_ATTRIBUTES} in one record": 2,
        "link: invalid span or trace id": 2,
        f"link: over {MAX_ATTRIBUTES} in one span": 3,
        f"event: over {MAX_ATTRIBUTES} in one span": 4,
    }
    assert batches["logs"].warnings == {"attribute: repeated key": 2}
    assert batches["metrics"].warnings == {"attribute: repeated key": 2}
    [(_, row)] = batches["traces"].spans
    assert row[14:] == (3, 4, 5)


def test_events_and_status_messages_of_spans_are_kept() -> None:
    """A span's exception event is stored with its attributes, and its status with the message."""
    event = Span.Event(
        name="exception",
        time_unix_nano=NOW,
        attributes=attributes(exception__type="TimeoutError"),
    )
    [row] = span_rows(span(error=True, events=[event]))
    assert row[7:9] == (2, "failed")
    assert json.loads(row[10]) == [
        {"name": "exception", "time": NOW, "attributes": {"exception.type": "TimeoutError"}}
    ]


def test_a_log_record_without_time_or_severity_text_gets_them() -> None:
    """The time defaults to the observed time or now, the severity text to its number's name."""
    observed = log_record(severity_text="")
    observed.time_unix_nano = 0
    observed.observed_time_unix_nano = NOW
    bare = log_record(severity_text="", severity=21)
    bare.time_unix_nano = 0
    observed_row, bare_row = log_rows(observed, bare)
    assert (observed_row[0], observed_row[4]) == (NOW, "INFO")
    assert NOW <= bare_row[0] <= time.time_ns()
    assert bare_row[4] == "FATAL"


def test_a_structured_body_is_kept_as_json() -> None:
    """A structured body is kept as JSON, an absent one as an empty text."""
    structured = log_record()
    structured.body.CopyFrom(AnyValue(kvlist_value=KeyValueList(values=attributes(sold=3))))
    absent = log_record()
    absent.ClearField("body")
    assert [row[5] for row in log_rows(structured, absent)] == ['{"sold":3}', ""]


@pytest.mark.parametrize(
    ("otlp_name", "unit", "kind", "name"),
    [
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("checkout_requests", "", "counter", "checkout_requests_total"),
        ("checkout_requests_total", "", "counter", "checkout_requests_total"),
        ("http.server.active_requests", "{request}", "gauge", "http_server_active_requests"),
        ("checkout_request_latency_seconds", "s", "histogram", "checkout_request_latency_seconds"),
        ("memory.used", "By", "gauge", "memory_used_bytes"),
        ("waits", "ms", "counter", "waits_milliseconds_total"),
    ],
)
def test_metrics_have_prometheus_names(otlp_name: str, unit: str, kind: str, name: str) -> None:
    """A metric has the name that Prometheus' OTLP receiver gives it."""
    assert prometheus_name(otlp_name, unit, kind) == name


def test_series_have_prometheus_labels() -> None:
    """Labels are a point's attributes, the promoted resource attributes, job and instance."""
    pairs = attributes(http__route="/a", status=200, ok=True)
    assert json.loads(only_point(counter("sold", number_point(1, attributes=pairs))).labels) == {
        "http_route": "/a",
        "status": "200",
        "ok": "true",
        "job": "shop/checkout",
        "instance": "one",
        "service_name": "checkout",
        "service_namespace": "shop",
    }


def test_each_kind_of_metric_is_recognised() -> None:
    """Monotonic sums become counters, other sums gauges, and delta points are marked as such."""
    integer = number_point(0)
    integer.as_int = 7
    batch = metric_batch(
        counter("sold", integer),
        counter("open", number_point(2), monotonic=False),
        gauge("heat", number_point(-1.5)),
        histogram("took", histogram_point([1, 2, 3], total=4.5)),
        counter("step", number_point(1), temporality=DELTA),
    )
    points = [
        (point.name, point.kind, point.value, point.count, point.buckets, point.is_delta)
        for point in batch.points
    ]
    assert points == [
        ("sold_total", "counter", 7.0, None, None, False),
        ("open", "gauge", 2.0, None, None, False),
        ("heat", "gauge", -1.5, None, None, False),
        ("took_seconds", "histogram", 4.5, 6, [1, 2, 3], False),
        ("step_total", "counter", 1.0, None, None, True),
    ]


def test_unusable_exemplars_are_left_out() -> None:
    """An exemplar without a finite value or a valid time is dropped by name, its point is kept."""
    exemplars = [
        Exemplar(as_double=0.5, time_unix_nano=NOW, **IDS),
        Exemplar(as_double=0.5, time_unix_nano=NOW),
        Exemplar(as_double=float("nan"), time_unix_nano=NOW, **IDS),
        Exemplar(as_double=0.5, time_unix_nano=2**63, **IDS),
        Exemplar(as_double=0.5, time_unix_nano=NOW - 7 * 3600 * NANO, **IDS),
        Exemplar(time_unix_nano=NOW, **IDS),
    ]
    batch = metric_batch(histogram("took", histogram_point([1, 0, 0], exemplars=exemplars)))
    assert batch.points[0].exemplars == ((NOW, b"t" * 16, b"s" * 8, 0.5), (NOW, b"", b"", 0.5))
    assert not batch.rejected
    assert batch.warnings == {
        "exemplar: no finite value": 2,
        "exemplar: time_unix_nano over 24 h in the future": 1,
        "exemplar: time_unix_nano older than the retention of 6 h": 1,
    }


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [
        ([1, 2], [0.1, 1.0]),
        ([1, 2, 3], [1.0, 0.1]),
        ([1, 2, 3], [0.1, float("inf")]),
        ([2**63, 0, 0], [0.1, 1.0]),
    ],
    ids=["too few", "unordered", "infinite", "overflowing"],
)
def test_an_inconsistent_histogram_is_rejected(counts: list[int], bounds: list[float]) -> None:
    """A histogram is rejected if its buckets, bounds and count contradict each other."""
    batch = metric_batch(histogram("took", histogram_point(counts, bounds)))
    assert not batch.points
    assert batch.rejected == {"data point of took: inconsistent buckets, bounds, count or sum": 1}


def test_a_histogram_with_too_many_buckets_is_rejected() -> None:
    """A histogram with more than 500 bucket bounds is rejected."""
    bounds = [float(number) for number in range(501)]
    batch = metric_batch(histogram("took", histogram_point([1] * 502, bounds)))
    assert not batch.points
    assert batch.rejected == {"data point of took: over 500 buckets": 1}


def test_a_histogram_without_buckets_has_one_bucket() -> None:
    """A histogram with only a sum and a count has one bucket without an upper bound."""
    bare = histogram_point([], bounds=[], total=3.0)
    bare.count = 4
    point = only_point(histogram("took", bare))
    assert (point.count, point.buckets, point.bounds) == (4, [4], "[]")


def test_a_series_never_starts_after_its_point() -> None:
    """A start time that is later than the point is replaced by the point's own time."""
    point = only_point(counter("sold", number_point(1, at=NOW, start=NOW + NANO)))
    assert point.start == NOW
