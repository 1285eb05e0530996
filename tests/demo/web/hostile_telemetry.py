"""Builds OTLP requests in which every text of a sender is hostile, for tests of the pages.

The names are those of CSS classes, very long, written from right to left, blank, or HTML. Values
are large and of every type. Spans are their own parents, disagree about the time, and are many.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.messages import (
    NANO,
    counter,
    exemplar,
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

HTML = "<script>alert(1)</script><img/src=x/onerror=alert(1)>"
LONGEST_NAME = "n" * 5_000
RIGHT_TO_LEFT = "خدمة الدفع للمتجر الثاني"
BLANK = " "
NAMES = (
    "main",
    "card",
    "bad",
    "skip",
    "unseen",
    LONGEST_NAME,
    RIGHT_TO_LEFT,
    "\u202egnp.exe",
    "🛒👩‍👩‍👧‍👦 shop",
    HTML,
    '" onmouseover="alert(1)',
    "a&amp;b=c#d/e?f%20g",
    "",
    BLANK,
    "\u00a0",
    "\u200b",
)
"""The names of the services that send hostile telemetry, and the names that they use."""
MANY_SERVICES = 200
"""The number of services with ordinary names besides."""


def text_value(text: str) -> AnyValue:
    """Return the OTLP value of a text."""
    return AnyValue(string_value=text)


BODIES = (
    text_value("java.lang.Error: no stock\n\tat shop.Stock.take(Stock.java:7)\r\n\n"),
    text_value("w" * 20_000),
    text_value("\x1b[1;31mred\x1b[0m \x1b]8;;http://x.test\x07link\x1b]8;;\x07 \x00\x9b"),
    text_value(HTML),
    text_value(""),
    text_value("\u202e\u2066nothing\u2069"),
    AnyValue(),
    AnyValue(bytes_value=b"\x00\xff" * 400),
    AnyValue(bool_value=False),
    AnyValue(int_value=-(2**63)),
    AnyValue(double_value=float("nan")),
    AnyValue(array_value=ArrayValue(values=[text_value("x" * 300)] * 40)),
    AnyValue(
        kvlist_value=KeyValueList(
            values=[
                KeyValue(key="k" * 300, value=text_value("v" * 3_000)),
                KeyValue(key="", value=text_value("line 1\nline 2")),
                KeyValue(key=HTML, value=AnyValue(array_value=ArrayValue())),
            ]
        )
    ),
)
"""The bodies of the log records: text of all kinds, nothing, and values of every other type."""
POOLS = 60
"""The number of further instruments of the first of ``NAMES``."""
LARGE_ATTRIBUTES = 100
"""The number of attributes, of 8,000 characters each, of the request in ``LARGE_TRACE``."""
DEPTH = 20
"""The depth of ``DEEP_TRACE``."""
DEEP_SPANS = 36
"""The number of spans of ``DEEP_TRACE``, of which every tenth has failed."""
COMPARED = 40
"""The number of requests like that of ``COMPARED_TRACE``, of which every third has failed."""
FIRST_TRACE = 1
"""The trace of a request to the first of ``NAMES``; those of the others follow."""
DEEP_TRACE = 1_000
CIRCLE_TRACE = 1_001
LARGE_TRACE = 1_002
COMPARED_TRACE = 2_000


def trace_id(number: int) -> bytes:
    """Return the id of the trace with a number."""
    return number.to_bytes(16)


def span_id(number: int) -> bytes:
    """Return the id of the span with a number, which is not 0."""
    return number.to_bytes(8)


def hostile_requests(now: int) -> dict[str, Message]:
    """Return an export request for each signal, by the name of the signal.

    ``now`` is the time of the newest telemetry, in nanoseconds since the epoch.
    """
    traces = ExportTraceServiceRequest()
    logs = ExportLogsServiceRequest()
    metrics = ExportMetricsServiceRequest()
    for number, (name, callee) in enumerate(pairwise([*NAMES, NAMES[0]])):
        for request in _failed_request(number, name, callee, now - (60 + number) * NANO):
            traces.MergeFrom(request)
        logs.MergeFrom(log_request(*_records(number, name, now), service=name))
        metrics.MergeFrom(_metrics(number, name, now))
    logs.MergeFrom(log_request(log_record(at=now - 200 * NANO), service="only logs"))
    for request in (*_many_services(now), *_deep_trace(now), *_other_traces(now)):
        traces.MergeFrom(request)
    return {"traces": traces, "logs": logs, "metrics": metrics}


def _pairs(**texts: str) -> list[KeyValue]:
    """Return attributes with texts; ``__`` in a keyword becomes a dot."""
    return [
        KeyValue(key=key.replace("__", "."), value=text_value(text)) for key, text in texts.items()
    ]


def _every_type(name: str) -> list[KeyValue]:
    """Return attributes with ``name`` in their names, and with values of every type."""
    values = [text_value(name), *BODIES]
    pairs = [KeyValue(key=f"{name}.{number}", value=value) for number, value in enumerate(values)]
    return [*pairs, KeyValue(key="", value=text_value(name))]


def _failed_request(
    number: int, name: str, callee: str, start: int
) -> Iterator[ExportTraceServiceRequest]:
    """Yield a request to ``name`` that fails in ``callee``, whose clock is ahead.

    It also calls a database and sends a message, and all are called ``name``.
    """
    common: dict[str, Any] = {"trace_id": trace_id(FIRST_TRACE + number)}
    failed: dict[str, Any] = {"error": True, "message": name, **common}
    http = [
        KeyValue(key="http.response.status_code", value=AnyValue(int_value=500)),
        *_pairs(http__request__method="GET", http__route=f"/{name}", server__address=name),
    ]
    exception = Span.Event(
        name="exception",
        time_unix_nano=start,
        attributes=_pairs(
            exception__type=name, exception__message=name, exception__stacktrace=name * 2
        ),
    )
    link = Span.Link(
        trace_id=trace_id(FIRST_TRACE + number + 1),
        span_id=span_id(1),
        attributes=_pairs(link=name),
    )
    call: dict[str, Any] = {"parent_span_id": span_id(1), "start": start + NANO // 10}
    database = _pairs(db__system__name=name, db__namespace=name, server__address=name)
    message = _pairs(messaging__system=name, messaging__destination__name=name)
    yield trace_request(
        span(
            name,
            start=start,
            seconds=0.5,
            span_id=span_id(1),
            attributes=[*http, *_every_type(name)],
            events=[exception],
            links=[link],
            **failed,
        ),
        span(
            name,
            seconds=0.3,
            span_id=span_id(2),
            kind=Span.SPAN_KIND_CLIENT,
            attributes=http,
            **call,
            **failed,
        ),
        span(
            name,
            span_id=span_id(3),
            kind=Span.SPAN_KIND_CLIENT,
            attributes=database,
            **call,
            **common,
        ),
        span(
            name,
            span_id=span_id(4),
            kind=Span.SPAN_KIND_PRODUCER,
            attributes=message,
            **call,
            **common,
        ),
        service=name,
    )
    yield trace_request(
        span(
            name,
            start=start + 7 * NANO,
            seconds=0.2,
            span_id=span_id(5),
            parent_span_id=span_id(2),
            attributes=http,
            events=[exception],
            **failed,
        ),
        service=callee,
    )


def _records(number: int, name: str, now: int) -> Iterator[LogRecord]:
    """Yield a log record with each body, of every severity, within the request and without."""
    for index, body in enumerate(BODIES):
        age = 40 * NANO + (number * len(BODIES) + index) * NANO // 10
        record = log_record(at=now - age, severity=index * 2)
        record.body.CopyFrom(body)
        record.severity_text = name
        record.event_name = name
        if index == 0:
            record.attributes.extend(_every_type(name))
        if index % 2 == 0:
            record.trace_id = trace_id(FIRST_TRACE + number)
            record.span_id = span_id(1)
        yield record


def _metrics(number: int, name: str, now: int) -> ExportMetricsServiceRequest:
    """Return the durations of requests, with an exemplar, and instruments called ``name``."""
    start = now - 90 * NANO
    labels = [
        KeyValue(key="http.response.status_code", value=AnyValue(int_value=500)),
        *_pairs(http__request__method="GET", http__route=f"/{name}", **{name or "blank": name}),
    ]
    points = [
        histogram_point(
            [count, 2 * count, 3 * count],
            at=now - age * NANO,
            start=start,
            attributes=labels,
            exemplars=[exemplar(trace_id(FIRST_TRACE + number), 0.5, at=now - age * NANO)],
        )
        for count, age in ((1, 60), (2, 30), (4, 1))
    ]
    durations = histogram("http.server.request.duration", *points)
    level = gauge(
        name or "blank", number_point(1e300, at=now - 30 * NANO), number_point(-7.5, at=now - NANO)
    )
    level.unit = name[:60]
    level.description = name
    sold = counter("sold", number_point(5, at=now - NANO, start=start, attributes=labels))
    pools = [gauge(f"db.pool_{pool}", number_point(1, at=now - NANO)) for pool in range(POOLS)]
    return metric_request(durations, level, sold, *(pools if number == 0 else ()), service=name)


def _many_services(now: int) -> Iterator[ExportTraceServiceRequest]:
    """Yield a request to each of the services with ordinary names, and a job of another one.

    Every seventh request has failed.
    """
    for number in range(MANY_SERVICES):
        request = span("GET /", start=now - (90 + number % 60) * NANO, error=number % 7 == 0)
        yield trace_request(request, service=f"svc-{number:03}")
    job = span("nightly", start=now - 90 * NANO, kind=Span.SPAN_KIND_INTERNAL)
    yield trace_request(job, service="a job")


def _deep_trace(now: int) -> Iterator[ExportTraceServiceRequest]:
    """Yield the spans of a deep trace, to which each of ``NAMES`` contributes."""
    start = now - 30 * NANO
    for number in range(DEEP_SPANS):
        name = NAMES[number % len(NAMES)]
        parent = number if number < DEPTH else number % DEPTH + 1
        sent = span(
            name,
            start=start + number * NANO // 100,
            seconds=0.5,
            error=number % 10 == 9,
            message=name,
            trace_id=trace_id(DEEP_TRACE),
            span_id=span_id(number + 1),
            parent_span_id=span_id(parent) if number else b"",
        )
        yield trace_request(sent, service=name)


def _other_traces(now: int) -> Iterator[ExportTraceServiceRequest]:
    """Yield a circle of parents, a request with large attributes, and requests to compare."""
    start = now - 20 * NANO
    parents = {1: 1, 2: 3, 3: 2}
    circle = [
        span(
            "circle",
            start=start,
            trace_id=trace_id(CIRCLE_TRACE),
            span_id=span_id(number),
            parent_span_id=span_id(parent),
        )
        for number, parent in parents.items()
    ]
    yield trace_request(*circle, service=HTML)
    large = [
        KeyValue(key=f"{number}.{'k' * 200}", value=text_value("v" * 8_000))
        for number in range(LARGE_ATTRIBUTES)
    ]
    ids: dict[str, Any] = {"trace_id": trace_id(LARGE_TRACE), "span_id": span_id(1)}
    yield trace_request(span("large", start=start, attributes=large, **ids), service="card")
    yield trace_request(*_compared_requests(start), service="bad")


def _compared_requests(start: int) -> Iterator[Span]:
    """Yield requests of which those fail that have an attribute with a long value."""
    for number in range(COMPARED):
        is_failed = number % 3 == 0
        cause = text_value("w" * 150 if is_failed else "fine")
        yield span(
            "GET /compared",
            start=start + number * NANO // 100,
            error=is_failed,
            message=HTML,
            trace_id=trace_id(COMPARED_TRACE + number),
            span_id=span_id(1),
            attributes=[KeyValue(key="k" * 120, value=cause)],
        )
