"""Tests that one invalid record never costs its neighbours, in JSON as in protobuf."""

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from tests.demo.local_store.messages import (
    MIB,
    NANO,
    attributes,
    counter,
    exemplar,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    number_point,
    span,
    to_otlp_json,
    trace_request,
)
from tests.demo.local_store.test_fuzz import nested_arrays, varint
from three_pillar_demo.local_store.export_request import JSON, PROTOBUF, decode_request
from three_pillar_demo.local_store.otlp.batch import Batch
from three_pillar_demo.local_store.otlp.json_request import parse
from three_pillar_demo.local_store.request_error import RequestError

NOW = time.time_ns()
SURROGATE = "\ud83d"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
SETTINGS = settings(deadline=None, max_examples=300, derandomize=True)
RECORD_LISTS = {"traces": "spans", "logs": "logRecords", "metrics": "dataPoints"}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SURROGATE),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3)
    ),
    max_leaves=6,
)


def traces_json(*spans: object, resource: object = None, scope: object = None) -> dict[str, Any]:
    """Return the JSON of a trace request with one resource and scope."""
    return {
        "resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]
    }


def logs_json(*records: object) -> dict[str, Any]:
    """Return the JSON of a log request."""
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


def metrics_json(*metrics: object) -> dict[str, Any]:
    """Return the JSON of a metrics request."""
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}


def span_json(**changes: object) -> dict[str, object]:
    """Return the JSON of a valid span; ``changes`` replace or add fields."""
    fields: dict[str, object] = {
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "name": "work",
        "kind": 2,
        "startTimeUnixNano": str(NOW),
        "endTimeUnixNano": str(NOW + NANO),
    }
    return fields | changes


def point_json(**changes: object) -> dict[str, object]:
    """Return the JSON of a valid data point of a gauge."""
    fields: dict[str, object] = {"timeUnixNano": str(NOW), "asDouble": 1.5}
    return fields | changes


METRIC_JSON: dict[str, object] = {
    "gauge": {"dataPoints": [point_json(timeUnixNano=str(NOW + number)) for number in range(3)]}
}
"""The JSON of a metric with three points."""


def decoded(signal_name: str, request: object) -> Batch:
    """Return the batch that the store makes of a request in JSON."""
    return decode_request(signal_name, json.dumps(request).encode(), "", JSON)


def span_names(batch: Batch) -> list[str]:
    """Return the names of the spans in a batch."""
    return [row[3] for _, row in batch.spans]


INVALID_SPANS: list[tuple[object, str]] = [
    ("text", "span: Span is not an object"),
    ([], "span: Span is not an object"),
    (span_json(traceId="xyz"), "span: invalid span or trace id"),
    (span_json(traceId="0a"), "span: invalid span or trace id"),
    (span_json(spanId=7), "span: invalid span or trace id"),
    (span_json(spanId="0" * 16), "span: invalid span or trace id"),
    (span_json(startTimeUnixNano="abc"), "span: startTimeUnixNano is not an integer"),
    (span_json(startTimeUnixNano=-1), "span: startTimeUnixNano is out of range"),
    (span_json(startTimeUnixNano=1e30), "span: startTimeUnixNano is out of range"),
    (span_json(startTimeUnixNano=True), "span: startTimeUnixNano is not an integer"),
    (span_json(startTimeUnixNano="NaN"), "span: startTimeUnixNano is not an integer"),
    (span_json(startTimeUnixNano=None), "span: start_time_unix_nano missing"),
    (span_json(kind="SPAN_KIND_NONE"), "span: kind is not one of SpanKind"),
    (span_json(kind=2**40), "span: kind is not one of SpanKind"),
    (span_json(name=7), "span: name is not a text"),
    (span_json(status=[]), "span: Status is not an object"),
    (span_json(attributes={}), "span: attributes is not a list"),
    (span_json(flags=-1), "span: flags is out of range"),
]


@pytest.mark.parametrize(("invalid", "reason"), INVALID_SPANS, ids=range(len(INVALID_SPANS)))
def test_an_invalid_span_in_json_is_rejected_alone(invalid: object, reason: str) -> None:
    """An invalid span is refused with the reason, and its neighbours are stored."""
    request = traces_json(span_json(name="before"), invalid, span_json(name="after"))
    batch = decoded("traces", request)
    assert span_names(batch) == ["before", "after"]
    assert batch.rejected == {reason: 1}


@pytest.mark.parametrize(
    ("invalid", "reason"),
    [
        (point_json(asDouble="abc"), "data point: asDouble is not a number"),
        (point_json(asDouble=None), "data point of heat: no value"),
        (point_json(asDouble="NaN"), "data point of heat: value is NaN or infinite"),
        (point_json(asDouble=10**400), "data point: asDouble is out of range"),
        ({"timeUnixNano": NOW, "asInt": "1.5"}, "data point: asInt is not an integer"),
        ({"timeUnixNano": NOW, "asInt": 2**63}, "data point: asInt is out of range"),
        (7, "data point: NumberDataPoint is not an object"),
    ],
    ids=range(7),
)
def test_an_invalid_point_in_json_is_rejected_alone(invalid: object, reason: str) -> None:
    """An invalid or absent value is refused by name, never stored as 0, and neighbours are kept."""
    points = [point_json(), invalid, point_json(timeUnixNano=NOW + 1, asDouble="2.5")]
    batch = decoded("metrics", metrics_json({"name": "heat", "gauge": {"dataPoints": points}}))
    assert [point.value for point in batch.points] == [1.5, 2.5]
    assert batch.rejected == {reason: 1}


def test_an_invalid_metric_costs_its_own_points_only() -> None:
    """If a metric is invalid as a whole, its points are counted, and other metrics are stored."""
    invalid = {"name": 7, "gauge": {"dataPoints": [point_json(), point_json()]}}
    valid = {"name": "heat", "gauge": {"dataPoints": [point_json()]}}
    batch = decoded("metrics", metrics_json(invalid, valid))
    assert len(batch.points) == 1
    assert batch.rejected == {"metric: name is not a text": 2}


def test_an_invalid_part_is_dropped_from_its_record() -> None:
    """An invalid attribute, event, link or exemplar is left out and counted; its record is kept."""
    pairs = [
        {"key": "good", "value": {"stringValue": "a"}},
        {"key": "bad", "value": {"intValue": "abc"}},
        7,
    ]
    events = [{"name": "good", "timeUnixNano": NOW}, {"name": 7}]
    links = [{"traceId": TRACE_ID, "spanId": SPAN_ID}, "link"]
    batch = decoded("traces", traces_json(span_json(attributes=pairs, events=events, links=links)))
    [(_, row)] = batch.spans
    assert json.loads(row[9]) == {"good": "a"}
    assert (len(json.loads(row[10])), len(json.loads(row[11]))) == (1, 1)
    assert row[14:] == (2, 1, 1)
    assert not batch.rejected
    assert batch.warnings.total() == 4
    point = point_json(exemplars=[{"asDouble": 1, "timeUnixNano": NOW}, {"asInt": "x"}])
    batch = decoded("metrics", metrics_json({"name": "heat", "gauge": {"dataPoints": [point]}}))
    assert len(batch.points[0].exemplars) == 1
    assert batch.warnings == {"exemplar: asInt is not an integer": 1}


@pytest.mark.parametrize("invalid", [7, [], {"attributes": 7}, {"attributes": [7]}])
def test_an_invalid_resource_or_scope_keeps_its_records(invalid: object) -> None:
    """Records of an invalid resource or scope are stored, and the fault is named."""
    request = traces_json(span_json(), resource=invalid, scope=invalid)
    linked = {"schemaUrl": 7, "scopeSpans": [None, 7, {"spans": [span_json(name="linked")]}]}
    request["resourceSpans"] += [7, {"scopeSpans": 7}, linked]
    batch = decoded("traces", request)
    assert span_names(batch) == ["work", "linked"]
    assert batch.warnings
    assert batch.rejected.total() == 3


@pytest.mark.parametrize("name", ["name", "attribute key", "attribute", "body"])
def test_half_an_emoji_is_replaced(name: str) -> None:
    """Half a surrogate pair becomes U+FFFD, wherever the text is, and the record is kept."""
    pair = {"key": SURROGATE, "value": {"stringValue": SURROGATE}}
    if name == "body":
        batch = decoded("logs", logs_json({"body": {"stringValue": f"a{SURROGATE}"}}))
        assert batch.log_records[0][1][5] == "a\ufffd"
    elif name == "name":
        assert span_names(decoded("traces", traces_json(span_json(name=SURROGATE)))) == ["\ufffd"]
    else:
        batch = decoded("traces", traces_json(span_json(attributes=[pair])))
        assert json.loads(batch.spans[0][1][9]) == {"\ufffd": "\ufffd"}


def test_json_that_is_not_utf8_is_mended() -> None:
    """Bytes that are not UTF-8 become U+FFFD, a byte order mark is skipped, whole emoji stay."""
    request = json.dumps(traces_json(span_json(name="N"), span_json(name="😀"))).encode()
    body = b"\xef\xbb\xbf" + request.replace(b'"N"', b'"a\xff\xc3b"')
    assert span_names(decode_request("traces", body, "", JSON)) == ["a\ufffd\ufffdb", "😀"]


def test_json_of_other_senders_is_understood() -> None:
    """Numbers as text, upper-case ids, snake_case, enumeration names and base64 are accepted."""
    fields = {
        "trace_id": TRACE_ID.upper(),
        "span_id": SPAN_ID,
        "parentSpanId": "",
        "name": "work",
        "kind": "SPAN_KIND_CLIENT",
        "start_time_unix_nano": NOW,
        "endTimeUnixNano": str(NOW + 5),
        "status": {"code": "STATUS_CODE_ERROR", "message": None},
        "attributes": [
            {"key": "bytes", "value": {"bytesValue": "_w"}},
            {"key": "int", "value": {"int_value": 7.0}},
            {"key": "none", "value": None},
            {"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}, None]}}},
            {"key": "double", "value": {"doubleValue": "-Infinity"}},
        ],
        "events": [],
        "links": None,
        "unknownField": {"deep": [1, 2]},
    }
    batch = decoded("traces", traces_json(fields))
    [(_, row)] = batch.spans
    assert row[:3] == (bytes.fromhex(TRACE_ID), bytes.fromhex(SPAN_ID), None)
    assert row[4:8] == (3, NOW, 5, 2)
    assert json.loads(row[9]) == {
        "bytes": "/w==",
        "int": 7,
        "none": None,
        "list": [True, None],
        "double": "-inf",
    }
    assert not batch.rejected
    assert not batch.warnings


@pytest.mark.parametrize("absent", [{"value": None, "sum": None}, {}], ids=["null", "left out"])
def test_absent_values_of_a_summary_are_absent(absent: dict[str, None]) -> None:
    """A quantile's value and a sum that are null or left out are stored as absent, not as 0."""
    value = {key: null for key, null in absent.items() if key == "value"}
    total = {key: null for key, null in absent.items() if key == "sum"}
    points: list[dict[str, object]] = [
        {"quantileValues": [{"quantile": 0.5, "value": 0}, {"quantile": 1, "value": 2}], "sum": 0},
        {"quantileValues": [{"quantile": 0.5} | value], **total},
    ]
    points = [point | {"timeUnixNano": NOW, "count": 1} for point in points]
    batch = decoded("metrics", metrics_json({"name": "took", "summary": {"dataPoints": points}}))
    assert not batch.rejected
    assert [(point.value, point.quantiles) for point in batch.points] == [
        (0.0, [(0.5, 0.0), (1.0, 2.0)]),
        (None, [(0.5, None)]),
    ]


def test_a_log_record_with_an_invalid_id_is_kept() -> None:
    """A log record is stored without an id that is none, as in protobuf, and with a valid one."""
    batch = decoded(
        "logs",
        logs_json({"traceId": "xyz", "spanId": SPAN_ID}, {"traceId": TRACE_ID, "spanId": "xyz"}),
    )
    rows = [row[1:3] for _, row in batch.log_records]
    assert rows == [(None, None), (bytes.fromhex(TRACE_ID), None)]


@pytest.mark.parametrize("depth", [60, 2_000, 100_000])
def test_a_deeply_nested_value_costs_itself_only(depth: int) -> None:
    """An attribute that is nested too deeply is dropped, both spans are kept."""
    deep = '{"arrayValue":{"values":[' * depth + "{}" + "]}}" * depth
    pair = f'[{{"key":"deep","value":{deep}}}]'
    text = json.dumps(traces_json(span_json(name="deep", attributes="DEEP"), span_json()))
    batch = decode_request("traces", text.replace('"DEEP"', pair).encode(), "", JSON)
    assert span_names(batch) == ["deep", "work"]
    assert not batch.rejected


@pytest.mark.parametrize("unit", ['\\"', '"', "[", '["', '{"a":', "\\", "9", "\ud83d"])
def test_deep_and_unfinished_json_is_refused_in_linear_time(unit: str) -> None:
    """A mebibyte of any mark behind many brackets is refused within the time of one reading."""
    body = b"[" * 3_000 + b'"' + (unit * (MIB // len(unit))).encode(errors="surrogatepass")
    began = time.thread_time()
    with pytest.raises(RequestError):
        decode_request("traces", body, "", JSON)
    assert time.thread_time() - began < 20


def test_a_huge_number_costs_its_record_only() -> None:
    """A number with thousands of digits is refused, and the neighbour is kept."""
    text = json.dumps(traces_json(span_json(flags="HUGE"), span_json()))
    body = text.replace('"HUGE"', "9" * 100_000).encode()
    batch = decode_request("traces", body, "", JSON)
    assert span_names(batch) == ["work"]
    assert batch.rejected == {"span: flags is not an integer": 1}


def requests() -> dict[str, Message]:
    """Return a request of each signal with records of every kind."""
    pairs = attributes(a="é", b=1, c=0.5, d=True, e=b"\xff")
    event = {"name": "e", "time_unix_nano": NOW, "attributes": pairs}
    point = histogram_point([1, 0, 0], at=NOW, exemplars=[exemplar(b"t" * 16, 0.5, at=NOW)])
    return {
        "traces": trace_request(span(error=True, attributes=pairs, events=[event])),
        "logs": log_request(log_record(attributes=pairs, trace_id=b"t" * 16, span_id=b"s" * 8)),
        "metrics": metric_request(
            counter("sold", number_point(1, attributes=pairs)), histogram("took", point)
        ),
    }


@pytest.mark.parametrize("signal_name", ["traces", "logs", "metrics"])
def test_json_and_protobuf_are_decoded_alike(signal_name: str) -> None:
    """The same request in both encodings gives the same rows."""
    request = requests()[signal_name]
    from_json = decode_request(signal_name, to_otlp_json(request), "", JSON)
    from_protobuf = decode_request(signal_name, request.SerializeToString(), "", PROTOBUF)
    for rows in ("spans", "log_records", "points"):
        assert getattr(from_json, rows) == getattr(from_protobuf, rows)
    assert from_json.record_count > 0


def with_invalid_text(request: Message) -> bytes:
    """Return a request with its text MARK!! replaced by bytes of the same length, not UTF-8."""
    body: bytes = request.SerializeToString()
    return body.replace(b"MARK!!", b"a\xff\xed\xa0\xbdb")


@pytest.mark.parametrize(
    "place",
    [
        lambda: trace_request(span("MARK!!"), span()),
        lambda: trace_request(span(attributes=attributes(MARK=1, key="MARK!!")), span()),
        lambda: trace_request(span(trace_state="MARK!!"), span()),
        lambda: trace_request(span(), span(), service="MARK!!"),
        lambda: log_request(log_record("MARK!!"), log_record()),
        lambda: metric_request(counter("MARK!!", number_point(1)), counter("b", number_point(1))),
    ],
    ids=["name", "attribute", "trace state", "resource", "body", "metric"],
)
def test_protobuf_that_is_not_utf8_is_mended(place: Callable[[], Message]) -> None:
    """A text that is not UTF-8 is mended, and nothing of the request is lost."""
    request = place()
    name = request.DESCRIPTOR.name
    signal_name = {"ExportTrace": "traces", "ExportLogsS": "logs"}.get(name[:11], "metrics")
    batch = decode_request(signal_name, with_invalid_text(request), "", PROTOBUF)
    assert batch.record_count == 2
    assert not batch.rejected
    stored = str([batch.spans, batch.log_records, batch.points])
    assert "MARK!!" not in stored
    assert "a\ufffd" in stored or "a_" in stored


def test_a_malformed_record_in_protobuf_is_rejected_alone() -> None:
    """A span whose bytes are no span is refused by name, and its neighbours are stored."""
    batch = decode_request("traces", with_raw_span(b"\x0a\xff"), "", PROTOBUF)
    assert span_names(batch) == ["before", "after"]
    assert batch.rejected == {"span: truncated message": 1}


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_half_a_number_costs_its_point_only() -> None:
    """A point with half a number in its list of bucket counts is refused by name, alone."""
    valid = [histogram_point([1, 0, 0], at=NOW + number).SerializeToString() for number in (1, 2)]
    invalid = histogram_point([], [], at=NOW).SerializeToString() + field(6, bytes(12))
    points = b"".join(field(1, point) for point in (valid[0], invalid, valid[1]))
    metric = field(1, b"took") + field(9, points)
    body = field(1, field(2, field(2, metric)))
    batch = decode_request("metrics", body, "", PROTOBUF)
    assert [point.time for point in batch.points] == [NOW + 1, NOW + 2]
    assert batch.rejected == {"data point: malformed message": 1}


MALFORMED = b"\x0b"
"""The begin of a group, which no message of OTLP has, and which does not end."""


@pytest.mark.parametrize(
    ("level", "lost"), [("metric", 3), ("scope", 6), ("resource", 6), ("empty scope", 1)]
)
def test_lost_points_of_protobuf_are_counted(level: str, lost: int) -> None:
    """What is lost with a malformed metric, scope or resource counts as the points in it."""
    ends = {name: MALFORMED if name == level else b"" for name in ("metric", "scope", "resource")}
    points = [number_point(number, at=NOW + number).SerializeToString() for number in range(3)]
    metric = field(1, b"heat") + field(5, b"".join(field(1, point) for point in points))
    scope = field(2, metric + ends["metric"]) + (field(2, metric) if level != "metric" else b"")
    if level == "empty scope":
        scope = MALFORMED
    kept = field(1, field(2, field(2, metric)))
    body = kept + field(1, field(2, scope + ends["scope"]) + ends["resource"])
    batch = decode_request("metrics", body, "", PROTOBUF)
    assert (batch.record_count, batch.rejected.total()) == (3, lost)


def test_lost_spans_of_protobuf_are_counted() -> None:
    """What is lost with a malformed scope counts as the spans in it."""
    spans = b"".join(field(2, span().SerializeToString()) for _ in range(4))
    body = field(1, field(2, spans) + field(2, spans + MALFORMED))
    batch = decode_request("traces", body, "", PROTOBUF)
    assert (batch.record_count, batch.rejected) == (4, {"scope: unknown wire type 3": 4})


@pytest.mark.parametrize(
    ("signal_name", "key", "invalid", "lost"),
    [
        ("metrics", "scopeMetrics", [{"metrics": [{"name": 7} | METRIC_JSON, METRIC_JSON]}], 3),
        ("metrics", "scopeMetrics", [{"metrics": METRIC_JSON}], 3),
        ("metrics", "scopeMetrics", {"metrics": [METRIC_JSON, METRIC_JSON, None]}, 6),
        ("metrics", "scope_metrics", {"metrics": [METRIC_JSON]}, 3),
        ("metrics", "scopeMetrics", [7], 1),
        ("traces", "scopeSpans", {"spans": [7, {}]}, 2),
        ("traces", "scopeSpans", [{"spans": 7}], 1),
        ("logs", "scopeLogs", {"logRecords": [{}, {}, {}]}, 3),
    ],
)
def test_lost_records_of_json_are_counted(
    signal_name: str, key: str, invalid: object, lost: int
) -> None:
    """What is lost with an invalid metric, scope or list counts as the records in it."""
    resources = {"metrics": "resourceMetrics", "traces": "resourceSpans", "logs": "resourceLogs"}
    batch = decoded(signal_name, {resources[signal_name]: [{key: invalid}]})
    assert batch.rejected.total() == lost


def with_raw_span(raw: bytes) -> bytes:
    """Return a trace request with the bytes ``raw`` as a span between two valid spans."""
    spans = [span("before").SerializeToString(), raw, span("after").SerializeToString()]
    return field(1, field(2, b"".join(field(2, part) for part in spans)))


@pytest.mark.parametrize("depth", [40, 46, 48, 60, 2_000])
def test_a_deeply_nested_value_in_protobuf_costs_itself_only(depth: int) -> None:
    """An attribute that is nested too deeply is dropped from its span, which is kept."""
    value = b"\x0a\x04deep"
    for _ in range(depth):
        array = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(array)) + array
    pair = b"\x0a\x01k\x12" + varint(len(value)) + value
    deep_span = span("deep").SerializeToString() + b"\x4a" + varint(len(pair)) + pair
    batch = decode_request("traces", with_raw_span(deep_span), "", PROTOBUF)
    assert span_names(batch) == ["before", "deep", "after"]
    assert not batch.rejected


def test_deep_attributes_of_points_do_not_break_the_store() -> None:
    """A data point with an attribute at the limit of depth is stored."""
    pairs = [KeyValue(key="deep", value=nested_arrays(30))]
    request = metric_request(counter("sold", number_point(1, attributes=pairs)))
    for depth in (30, 41, 44):
        value = AnyValue(string_value="innermost")
        for _ in range(depth):
            value = AnyValue(array_value=ArrayValue(values=[value]))
        request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].attributes[
            0
        ].value.CopyFrom(value)
        batch = decode_request("metrics", to_otlp_json(request), "", JSON)
        assert batch.record_count == 1


@SETTINGS
@given(raw=st.binary(max_size=60), position=st.integers(0, 400), start=st.booleans())
def test_no_bytes_of_a_span_cost_its_neighbours(raw: bytes, position: int, start: bool) -> None:  # noqa: FBT001  (drawn by hypothesis)
    """Whatever the bytes of one span are, the spans before and after it are stored."""
    whole = span("odd", attributes=attributes(key="value")).SerializeToString()
    cut = position % len(whole)
    mutated = whole[:cut] + raw + (b"" if start else whole[cut + len(raw) :])
    batch = decode_request("traces", with_raw_span(mutated), "", PROTOBUF)
    names = span_names(batch)
    assert (names[0], names[-1]) == ("before", "after")
    assert len(names) + batch.rejected.total() == 3


@SETTINGS
@given(value=JSON_VALUES, choice=st.integers(0, 10_000))
def test_no_json_of_a_record_costs_its_neighbours(value: object, choice: int) -> None:
    """Whatever value replaces a part of one record, the records before and after it are stored."""
    for signal_name, key in (
        ("traces", "spans"),
        ("logs", "logRecords"),
        ("metrics", "dataPoints"),
    ):
        request = json.loads(to_otlp_json(requests()[signal_name]))
        records = list_named(request, key)
        records[:] = [records[0], copy.deepcopy(records[0]), copy.deepcopy(records[0])]
        replace_a_part(records, 1, value, choice)
        message = requests()[signal_name].__class__()
        batch = Batch()
        parse(json.dumps(request).encode(), message, batch)
        kept = decode_request(signal_name, json.dumps(request).encode(), "", JSON)
        assert kept.record_count >= 2
        if signal_name == "traces":
            assert isinstance(message, ExportTraceServiceRequest)
            spans = message.resource_spans[0].scope_spans[0].spans
            assert spans[0] == spans[-1]


def list_named(value: Any, key: str) -> list[Any]:  # noqa: ANN401  (any JSON value)
    """Return the first list under ``key`` anywhere in a JSON value; empty if there is none."""
    if isinstance(value, dict):
        if key in value:
            found: list[Any] = value[key]
            return found
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            found = list_named(member, key)
            if found:
                return found
    return []


def replace_a_part(owner: Any, key: Any, value: object, choice: int) -> None:  # noqa: ANN401  (any JSON value)
    """Replace ``owner[key]``, or one of the values in it that ``choice`` selects, by ``value``."""
    current = owner[key]
    keys: list[Any] = []
    if isinstance(current, dict):
        keys = list(current)
    elif isinstance(current, list):
        keys = list(range(len(current)))
    selected = choice % (len(keys) + 1)
    if selected == len(keys):
        owner[key] = value
    else:
        replace_a_part(current, keys[selected], value, choice // (len(keys) + 1))
