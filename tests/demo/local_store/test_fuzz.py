"""Sends broken requests to the local store: each gets an expected status, the file stays intact."""

import asyncio
import gzip
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.messages import (
    DELTA,
    MIB,
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
    to_otlp_json,
    trace_request,
)
from tests.demo.local_store.stores import PROTOBUF, read_rows
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.receiver import MAX_BODY_BYTES, create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer

SEED = 20
CONCURRENT_SENDERS = 24
EXPECTED_STATUSES = {200, 400, 413, 415}
JSON = {"content-type": "application/json"}
GZIP = {"content-encoding": "gzip"}
SIGNALS = ("traces", "logs", "metrics")
TIMES = (0, 1, NANO, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
DOUBLES = (float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7e308, -1.7e308, 1.0)
INTEGERS = (0, 1, -1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63))
COUNTS = (0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
SPAN_KINDS = (-(2**31), -1, 0, 2, 3, 77, 2**31 - 1)
SEVERITIES = (-(2**31), -1, 0, 24, 25, 2**31 - 1)
TEMPORALITIES = (0, 1, 2, DELTA, 77)
POINT_FLAGS = (0, 0, 0, 1, 2**32 - 1)
TEXTS = (
    "",
    "\x00",
    "a\x00b",
    "é" * 300,
    "\U0001f4a5",
    "'; DROP TABLE span; --",
    '"',
    "\\",
    "x" * 20_000,
    "\u202e\ufeff",
)
IDS = (
    b"",
    b"\x00" * 16,
    b"\x00" * 8,
    b"short",
    b"\xff" * 16,
    b"\x01" * 8,
    b"\x02" * 16,
    b"\x03" * 300,
)
ATTRIBUTE_NAMES = (
    *TEXTS,
    "service.name",
    "service.instance.id",
    "http.response.status_code",
    "order.id",
    "le",
)
INVALID_JSON = (
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800", "trace_id": "'
    + b"0a" * 16
    + b'"}]}]}]}',
    (
        b'{"resourceLogs": [{"scopeLogs": [{"logRecords": '
        b'[{"body": {"stringValue": "\\udfff\\u0000"}}]}]}]}'
    ),
    (
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": '
        b'[{"gauge": {"dataPoints": [{"asDouble": "NaN"}]}}]}]}]}'
    ),
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e999}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "-1"}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": '
    + b"9" * 5000
    + b"}]}]}]}",
    (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": '
        b'[{"kind": "SPAN_KIND_NONE", "trace_id": "zz"}]}]}]}'
    ),
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"trace_id": 7}]}]}]}',
    (
        b'{"resourceSpans": [{"scopeSpans": [{"spans": '
        b'[{"trace_id": "abc", "spanId": "====", "flags": -1}]}]}]}'
    ),
    b'{"resourceSpans": null, "resourceLogs": {}, "resourceMetrics": ""}',
    b'{"resourceSpans": [null]}',
    b'{"resourceSpans": {"scopeSpans": {}}}',
    b'{"a": 1, "a": 2}',
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b'{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":'
    + b'{"arrayValue":{"values":[' * 400,
    b"NaN",
    b"Infinity",
    b"null",
    b"7",
    b'"text"',
    b"",
    b" ",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    b"{\x00}",
    b"\xff\xfe\xfd",
)
"""JSON bodies that are not valid OTLP, or not JSON at all."""


class Case(NamedTuple):
    """One HTTP request to send: its signal (in the path ``/v1/``), body and headers."""

    signal_name: str
    body: bytes
    headers: dict[str, str]


class Generator(random.Random):
    """Generates random requests, the same ones for the same seed."""

    def case(self) -> Case:  # noqa: PLR0911  (one for each kind)
        """Return a valid, mutated or random request, or one with wrong headers or invalid JSON."""
        signal_name = self.choice(SIGNALS)
        message = self.message(signal_name)
        body = message.SerializeToString() or b"\x0a\x00"
        match self.randrange(12):
            case 0 | 1:
                return Case(signal_name, body, PROTOBUF)
            case 2 | 3 | 4:
                return Case(signal_name, self.mutated(body), PROTOBUF)
            case 5:
                return Case(signal_name, self.randbytes(self.randrange(400)), PROTOBUF)
            case 6:
                return Case(signal_name, self.mutated_gzip(body), PROTOBUF | GZIP)
            case 7:
                return Case(signal_name, body, PROTOBUF | self.wrong_headers())
            case 8:
                return Case(signal_name, self.choice(INVALID_JSON), JSON)
            case 9:
                return Case(signal_name, to_otlp_json(message), JSON)
        return Case(signal_name, self.mutated(to_otlp_json(message)), JSON)

    def wrong_headers(self) -> dict[str, str]:
        """Return headers that do not fit a protobuf body."""
        choices = [
            {"content-type": "text/html"},
            {"content-encoding": "br"},
            {"content-encoding": "gzip"},
            {"content-type": ""},
        ]
        return self.choice(choices)

    def mutated(self, body: bytes) -> bytes:
        """Return ``body`` changed in a random way: by ``flipped``, ``cut`` or ``spliced``."""
        return self.choice([self.flipped, self.cut, self.spliced])(body)

    def mutated_gzip(self, body: bytes) -> bytes:
        """Return the gzipped body, unchanged (1 of 5), gzipped twice (1 of 5), or mutated."""
        compressed = gzip.compress(body, 1)
        match self.randrange(5):
            case 0:
                return compressed
            case 1:
                return gzip.compress(compressed)
        return self.mutated(compressed)

    def flipped(self, body: bytes) -> bytes:
        """Return the body with one to seven random bits flipped."""
        mutable = bytearray(body)
        for _ in range(self.randrange(1, 8)):
            mutable[self.randrange(len(mutable))] ^= 1 << self.randrange(8)
        return bytes(mutable)

    def cut(self, body: bytes) -> bytes:
        """Return only the beginning or the end of the body, or the body with a part of it twice."""
        position = self.randrange(len(body))
        beginning = body[:position]
        return self.choice([beginning, body[position:], beginning + body, body + beginning])

    def spliced(self, body: bytes) -> bytes:
        """Return the body with up to 39 bytes replaced by 1 to 39 random ones."""
        position = self.randrange(len(body))
        inserted = self.randbytes(self.randrange(1, 40))
        return body[:position] + inserted + body[position + self.randrange(40) :]

    def message(self, signal_name: str) -> Message:
        """Return a request for the signal that can be parsed, with records of unusual values."""
        service = self.choice(TEXTS)
        count = self.randrange(4)
        request: Any
        match signal_name:
            case "traces":
                request = trace_request(*(self.span() for _ in range(count)), service=service)
                resource = request.resource_spans[0].resource
            case "logs":
                request = log_request(*(self.log_record() for _ in range(count)), service=service)
                resource = request.resource_logs[0].resource
            case _:
                request = metric_request(*(self.metric() for _ in range(count)), service=service)
                resource = request.resource_metrics[0].resource
        resource.attributes.extend(self.attributes())
        return request

    def attributes(self, depth: int = 0) -> list[KeyValue]:
        """Return up to four attributes, some with names that the store treats specially."""
        return [
            KeyValue(key=self.choice(ATTRIBUTE_NAMES), value=self.value(depth))
            for _ in range(self.randrange(5))
        ]

    def value(self, depth: int = 0) -> AnyValue:  # noqa: PLR0911  (one for each type)
        """Return an attribute value of any type, sometimes a nested one."""
        match self.randrange(8 if depth < 4 else 5):
            case 0:
                return AnyValue(string_value=self.choice(TEXTS))
            case 1:
                return AnyValue(int_value=self.choice(INTEGERS))
            case 2:
                return AnyValue(double_value=self.choice(DOUBLES))
            case 3:
                return AnyValue(bytes_value=self.randbytes(self.randrange(20)))
            case 4:
                return AnyValue()
            case 5:
                elements = [self.value(depth + 1) for _ in range(self.randrange(4))]
                return AnyValue(array_value=ArrayValue(values=elements))
            case 6:
                return AnyValue(kvlist_value=KeyValueList(values=self.attributes(depth + 1)))
        return nested_arrays(self.choice([5, 20, 30]))

    def span(self) -> Span:
        """Return a span with some unusual fields."""
        made = span(self.choice(TEXTS), attributes=self.attributes(), error=self.random() < 0.5)
        unusual: dict[str, tuple[Any, ...]] = {
            "start_time_unix_nano": TIMES,
            "end_time_unix_nano": TIMES,
            "trace_id": IDS,
            "span_id": IDS,
            "parent_span_id": IDS,
            "kind": SPAN_KINDS,
        }
        for field, values in unusual.items():
            if self.random() < 0.4:
                setattr(made, field, self.choice(values))
        for _ in range(self.randrange(3)):
            made.events.add(
                name=self.choice(TEXTS),
                time_unix_nano=self.choice(TIMES),
                attributes=self.attributes(),
            )
        return made

    def log_record(self) -> LogRecord:
        """Return a log record with some unusual fields."""
        record = log_record(
            self.choice(TEXTS),
            attributes=self.attributes(),
            trace_id=self.choice(IDS),
            span_id=self.choice(IDS),
        )
        record.severity_number = self.choice(SEVERITIES)  # type: ignore[assignment]
        record.severity_text = self.choice(TEXTS)
        record.body.CopyFrom(self.value())
        if self.random() < 0.5:
            record.time_unix_nano = self.choice(TIMES)
            record.observed_time_unix_nano = self.choice(TIMES)
        return record

    def metric(self) -> Metric:
        """Return a metric of any type; the name is often the same, so that series continue."""
        name = self.choice((*TEXTS, "same", "same", "same"))
        if self.random() < 0.3:
            return gauge(name, self.number_point())
        if self.random() < 0.3:
            return counter(
                name,
                self.number_point(),
                temporality=self.choice(TEMPORALITIES),
                monotonic=self.random() < 0.5,
            )
        return self.histogram(name)

    def number_point(self) -> Any:  # noqa: ANN401  (generated code)
        """Return a data point of a sum or gauge with some unusual fields."""
        point = number_point(
            self.choice(DOUBLES),
            attributes=self.attributes(),
            flags=self.choice(POINT_FLAGS),
        )
        if self.random() < 0.5:
            point.as_int = self.choice(INTEGERS)
        if self.random() < 0.5:
            point.time_unix_nano = self.choice(TIMES)
            point.start_time_unix_nano = self.choice(TIMES)
        return point

    def histogram(self, name: str) -> Metric:
        """Return a histogram with some unusual fields, sometimes of an unsupported type."""
        point = histogram_point(
            [self.randrange(3), self.choice((0, 1, 2**62)), 1],
            total=self.choice(DOUBLES),
            attributes=self.attributes()[:1],
        )
        if self.random() < 0.4:
            point.count = self.choice(COUNTS)
        if self.random() < 0.3:
            point.bucket_counts.append(self.choice(COUNTS))
        if self.random() < 0.3:
            point.explicit_bounds[:] = [self.choice(DOUBLES), self.choice(DOUBLES)]
        point.exemplars.append(
            Exemplar(
                as_double=self.choice(DOUBLES),
                time_unix_nano=self.choice(TIMES),
                trace_id=self.choice(IDS),
                span_id=self.choice(IDS),
            )
        )
        metric = histogram(
            name,
            point,
            temporality=self.choice(TEMPORALITIES),
            unit=self.choice(TEXTS),
        )
        if self.random() < 0.1:
            metric.exponential_histogram.data_points.add(count=1)
        elif self.random() < 0.1:
            metric.summary.data_points.add(count=1)
        return metric


def nested_arrays(depth: int) -> AnyValue:
    """Return a text within ``depth`` nested arrays."""
    value = AnyValue(string_value="innermost")
    for _ in range(depth):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return value


def huge_cases() -> list[Case]:
    """Return requests that are too large: in body, decompressed body, depth, text or attributes."""
    compressed = PROTOBUF | GZIP
    deep = b""
    for _ in range(5_000):
        deep = b"\x0a" + varint(len(deep)) + deep
    zeros = zlib.compress(bytes(50 * MIB), wbits=31)
    long_body = log_request(log_record("x" * (3 * MIB))).SerializeToString()
    pairs = attributes(**{f"k{number}": 1 for number in range(30_000)})
    many_attributes = trace_request(span(attributes=pairs)).SerializeToString()
    return [
        Case("traces", bytes(MAX_BODY_BYTES + 1), PROTOBUF),
        Case("logs", gzip.compress(bytes(300 * MIB), 1), compressed),
        Case("metrics", zeros, compressed),
        Case("traces", deep, PROTOBUF),
        Case("logs", long_body, PROTOBUF),
        Case("traces", many_attributes, PROTOBUF),
    ]


def varint(number: int) -> bytes:
    """Return ``number`` in protobuf's variable-length encoding of integers (varint)."""
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


class Results:
    """Counts responses by status, and keeps each unexpected response with its request."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.unexpected: list[tuple[Case, str]] = []

    async def send(self, http: httpx2.AsyncClient, case: Case) -> None:
        """Send the request of ``case`` and record the response."""
        response = await http.post(
            f"/v1/{case.signal_name}", content=case.body, headers=case.headers
        )
        self.statuses[response.status_code] += 1
        if response.status_code not in EXPECTED_STATUSES:
            shortened_case = case._replace(body=case.body[:2000])
            self.unexpected.append((shortened_case, f"{response.status_code} {response.text}"))


async def send_all(http: httpx2.AsyncClient, cases: list[Case]) -> Results:
    """Send all requests, ``CONCURRENT_SENDERS`` at a time."""
    results = Results()
    remaining = iter(cases)

    async def send_remaining() -> None:
        for case in remaining:
            await results.send(http, case)

    await asyncio.gather(*(send_remaining() for _ in range(CONCURRENT_SENDERS)))
    return results


async def send_valid_requests(http: httpx2.AsyncClient) -> None:
    """Send a valid request of each signal, with one record named "good"."""
    requests: dict[str, Message] = {
        "traces": trace_request(span("good")),
        "logs": log_request(log_record("good")),
        "metrics": metric_request(counter("good", number_point(1))),
    }
    for signal_name, request in requests.items():
        response = await http.post(
            f"/v1/{signal_name}", content=request.SerializeToString(), headers=PROTOBUF
        )
        assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("count", [700, pytest.param(5_400, marks=pytest.mark.long)])
def test_no_request_breaks_the_store(tmp_path: Path, count: int) -> None:
    """After many random, mostly broken requests, valid batches are still stored."""
    path = tmp_path / "telemetry.db"
    app = create_app(Intake(Writer(Store(path, 512 * MIB))))
    generator = Generator(SEED)
    cases = [*huge_cases(), *(generator.case() for _ in range(count))]

    async def run() -> Results:
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://store") as http,
        ):
            results = await send_all(http, cases)
            health = await http.get("/healthz")
            assert health.status_code == 200, health.text
            await send_valid_requests(http)
            return results

    results = asyncio.run(run())
    assert not results.unexpected, results.unexpected[:5]
    assert results.statuses.total() >= count
    assert set(results.statuses) == EXPECTED_STATUSES, "each expected status occurs"
    assert read_rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert read_rows(path, "SELECT count(*) FROM spans WHERE name = 'good'") == [(1,)]
    assert read_rows(path, "SELECT count(*) FROM lines WHERE body = 'good'") == [(1,)]
    assert read_rows(path, "SELECT value FROM points WHERE name = 'good_total'") == [(1.0,)]
