"""What becomes of each thing that OTLP can say."""

import json
import time
from pathlib import Path

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.conftest import (
    DELTA,
    NANO,
    buckets,
    counter,
    gauge,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    span,
    traces,
)
from three_pillar_demo.local_store.otlp import logs as otlp_logs
from three_pillar_demo.local_store.otlp import metrics as otlp_metrics
from three_pillar_demo.local_store.otlp import traces as otlp_traces
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.values import MAX_ATTRIBUTES, MAX_TEXT, prometheus_name

NOW = time.time_ns()


def attributes_of(given: Span) -> dict[str, object]:
    """What is kept of a span's attributes."""
    batch = Batch()
    otlp_traces.decode(traces(given), batch)
    kept: dict[str, object] = json.loads(batch.spans[0][1][9])
    return kept


def test_attributes_keep_their_types() -> None:
    """Texts, numbers, truth, bytes, lists and maps come back as JSON has them; what JSON cannot say is text."""
    nested = AnyValue(kvlist_value=KeyValueList(values=pairs(inner=1)))
    listed = AnyValue(
        array_value=ArrayValue(values=[AnyValue(string_value="a"), nested, AnyValue()])
    )
    known = pairs(
        text="\x00é",
        whole=-(2**63),
        part=0.5,
        truth=True,
        raw=b"\xff",
        nan=float("nan"),
        big=float("inf"),
    )
    assert attributes_of(
        span(attributes=[*known, KeyValue(key="list", value=listed), KeyValue(key="none")])
    ) == {
        "text": "\x00é",
        "whole": -(2**63),
        "part": 0.5,
        "truth": True,
        "raw": "/w==",
        "nan": "nan",
        "big": "inf",
        "list": ["a", {"inner": 1}, None],
        "none": None,
    }


def test_attributes_are_bounded() -> None:
    """More attributes than the limit are left out, and a long text is cut."""
    many = [
        each
        for number in range(MAX_ATTRIBUTES + 50)
        for each in pairs(**{f"key{number}": "x" * (MAX_TEXT + 1)})
    ]
    kept = attributes_of(span(attributes=many))
    assert len(kept) == MAX_ATTRIBUTES
    assert {len(str(each)) for each in kept.values()} == {MAX_TEXT}
    across = "a " * (MAX_TEXT // 2 - 6) + "somebody.or.other@example.co.uk was here"
    assert "some" not in str(attributes_of(span(attributes=pairs(across=across)))["across"]), (
        "what the cut leaves of an address is no address"
    )


def test_a_span_that_ends_before_it_starts_takes_no_time() -> None:
    """A span's duration is never negative, and one without an end has none."""
    batch = Batch()
    odd = [
        span(start=NOW, seconds=-5),
        Span(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=NOW),
    ]
    odd += [
        Span(
            trace_id=b"t" * 16,
            span_id=b"s" * 8,
            start_time_unix_nano=NOW,
            end_time_unix_nano=2**64 - 1,
        )
    ]
    otlp_traces.decode(traces(*odd), batch)
    assert [row[6] for _, row in batch.spans] == [0, 0, 2**63 - 1 - NOW]


def test_events_and_messages_of_spans_are_kept() -> None:
    """An exception is an event with attributes, and the status has its words."""
    event = Span.Event(
        name="exception", time_unix_nano=NOW, attributes=pairs(exception__type="TimeoutError")
    )
    batch = Batch()
    otlp_traces.decode(traces(span(error=True, events=[event])), batch)
    row = batch.spans[0][1]
    assert row[7:9] == (2, "failed")
    assert json.loads(row[10]) == [
        {"name": "exception", "time": NOW, "attributes": {"exception.type": "TimeoutError"}}
    ]


def test_a_line_finds_its_time_and_severity() -> None:
    """A record without a time has the one it was seen at, else now; one without words has the severity's own."""
    batch = Batch()
    seen, bare = line(severity_text=""), line(severity_text="", severity=21)
    seen.time_unix_nano, seen.observed_time_unix_nano = 0, NOW
    bare.time_unix_nano = 0
    otlp_logs.decode(logs(seen, bare), batch)
    rows = [row for _, row in batch.log_records]
    assert (rows[0][0], rows[0][4]) == (NOW, "INFO")
    assert NOW <= rows[1][0] <= time.time_ns()
    assert rows[1][4] == "FATAL"


def test_a_body_that_is_no_text_is_json() -> None:
    """A structured body is kept as JSON, an absent one as an empty text."""
    batch = Batch()
    structured, absent = line(), line()
    structured.body.CopyFrom(AnyValue(kvlist_value=KeyValueList(values=pairs(sold=3))))
    absent.ClearField("body")
    otlp_logs.decode(logs(structured, absent), batch)
    assert [row[5] for _, row in batch.log_records] == ['{"sold":3}', ""]


@pytest.mark.parametrize(
    ("otel", "unit", "kind", "name"),
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
def test_names_are_those_of_prometheus(otel: str, unit: str, kind: str, name: str) -> None:
    """A metric has the name that Prometheus' OTLP receiver gives it."""
    assert prometheus_name(otel, unit, kind) == name


def test_labels_are_those_of_prometheus() -> None:
    """Attributes become labels, job and instance say who speaks, and the promoted resource attributes are there."""
    batch = Batch()
    otlp_metrics.decode(
        metrics(counter("sold", point(1, attributes=pairs(http__route="/a", status=200, ok=True)))),
        batch,
    )
    assert json.loads(batch.points[0].labels) == {
        "http_route": "/a",
        "status": "200",
        "ok": "true",
        "job": "shop/checkout",
        "instance": "one",
        "service_name": "checkout",
        "service_namespace": "shop",
    }


def test_each_kind_of_metric_is_known() -> None:
    """A monotonic sum is a counter, another sum and a gauge are gauges, and a delta says that it is one."""
    batch = Batch()
    whole = point(0)
    whole.as_int = 7
    otlp_metrics.decode(
        metrics(
            counter("sold", whole),
            counter("open", point(2), monotonic=False),
            gauge("heat", point(-1.5)),
            histogram("took", buckets([1, 2, 3], total=4.5)),
            counter("step", point(1), temporality=DELTA),
        ),
        batch,
    )
    assert [
        (each.name, each.kind, each.value, each.count, each.buckets, each.is_delta)
        for each in batch.points
    ] == [
        ("sold_total", "counter", 7.0, None, None, False),
        ("open", "gauge", 2.0, None, None, False),
        ("heat", "gauge", -1.5, None, None, False),
        ("took_seconds", "histogram", 4.5, 6, [1, 2, 3], False),
        ("step_total", "counter", 1.0, None, None, True),
    ]


def test_exemplars_without_a_trace_are_left_out() -> None:
    """An exemplar is worth keeping for its trace alone; a bad one does not cost its point."""
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    given = [
        Exemplar(as_double=0.5, time_unix_nano=NOW, **ids),  # type: ignore[arg-type]
        Exemplar(as_double=0.5, time_unix_nano=NOW),
        Exemplar(as_double=float("nan"), time_unix_nano=NOW, **ids),  # type: ignore[arg-type]
        Exemplar(as_double=0.5, time_unix_nano=2**63, **ids),  # type: ignore[arg-type]
    ]
    batch = Batch()
    otlp_metrics.decode(metrics(histogram("took", buckets([1, 0, 0], exemplars=given))), batch)
    assert batch.points[0].exemplars == ((NOW, b"t" * 16, b"s" * 8, 0.5),)
    assert not batch.rejected


@pytest.mark.parametrize(
    ("counts", "bounds"),
    [
        ([1, 2], [0.1, 1.0]),
        ([1, 2, 3], [1.0, 0.1]),
        ([1, 2, 3], [0.1, float("inf")]),
        ([2**63, 0, 0], [0.1, 1.0]),
    ],
    ids=["too few", "disordered", "infinite", "overflowing"],
)
def test_buckets_that_do_not_fit_are_refused(counts: list[int], bounds: list[float]) -> None:
    """A histogram whose buckets contradict each other is not kept."""
    batch = Batch()
    otlp_metrics.decode(metrics(histogram("took", buckets(counts, bounds))), batch)
    assert not batch.points
    assert batch.rejected == {"data point of took: inconsistent buckets, bounds, count or sum": 1}


def test_too_many_buckets_are_refused() -> None:
    """A histogram of very many buckets is nobody's, and is not kept."""
    batch = Batch()
    otlp_metrics.decode(
        metrics(histogram("took", buckets([1] * 502, [float(each) for each in range(501)]))), batch
    )
    assert not batch.points
    assert batch.rejected == {"data point of took: over 500 buckets": 1}


def test_a_histogram_without_buckets_is_one_bucket() -> None:
    """Sum and count alone make a histogram too."""
    batch = Batch()
    bare = buckets([], bounds=[], total=3.0)
    bare.count = 4
    otlp_metrics.decode(metrics(histogram("took", bare)), batch)
    assert (batch.points[0].count, batch.points[0].buckets, batch.points[0].bounds) == (
        4,
        [4],
        "[]",
    )


def test_a_series_never_starts_after_its_point() -> None:
    """A start that is later than the point is taken for the point's own time."""
    batch = Batch()
    otlp_metrics.decode(metrics(counter("sold", point(1, at=NOW, start=NOW + NANO))), batch)
    assert batch.points[0].start == NOW


def test_the_schema_is_in_the_package() -> None:
    """The file's layout lies beside the code that reads it."""
    assert (Path(otlp_traces.__file__).parents[1] / "schema.sql").is_file()
