"""Hostile and broken requests: each is answered as planned, nothing ends, and the file stays whole."""

import asyncio
import gzip
import random
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from tests.demo.local_store.conftest import (
    DELTA,
    MIB,
    NANO,
    PROTOBUF,
    as_json,
    buckets,
    counter,
    gauge,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    read,
    span,
    traces,
)
from three_pillar_demo.local_store.receiver import MAX_BODY_BYTES, create_app
from three_pillar_demo.local_store.store import Store
from three_pillar_demo.local_store.writer import Writer

CASES, SEED, AT_ONCE = 5_400, 20, 24
PLANNED = {200, 400, 413, 415}
JSON = {"content-type": "application/json"}
SIGNALS = ("traces", "logs", "metrics")
TIMES = (0, 1, NANO, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7e308, -1.7e308, 1.0)
WHOLES = (0, 1, -1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63))
COUNTS = (0, 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
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
JUNK = (
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "\\ud800", "trace_id": "'
    + b"0a" * 16
    + b'"}]}]}]}',
    b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "\\udfff\\u0000"}}]}]}]}',
    b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asDouble": "NaN"}]}}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": 1e999}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "-1"}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": '
    + b"9" * 5000
    + b"}]}]}]}",
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"kind": "SPAN_KIND_NONE", "trace_id": "zz"}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"trace_id": 7}]}]}]}',
    b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"trace_id": "abc", "spanId": "====", "flags": -1}]}]}]}',
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


class Chance(random.Random):
    """A fixed seed's choices, as messages."""

    def bits(self, body: bytes) -> bytes:
        """Some bits turned."""
        mine = bytearray(body)
        for _ in range(self.randrange(1, 8)):
            mine[self.randrange(len(mine))] ^= 1 << self.randrange(8)
        return bytes(mine)

    def cut(self, body: bytes) -> bytes:
        """Its beginning, or its end, or itself twice."""
        at = self.randrange(len(body))
        return self.choice([body[:at], body[at:], body[:at] + body, body + body[:at]])

    def spliced(self, body: bytes) -> bytes:
        """Some bytes replaced by others."""
        at = self.randrange(len(body))
        return body[:at] + self.randbytes(self.randrange(1, 40)) + body[at + self.randrange(40) :]

    def value(self, depth: int = 0) -> AnyValue:  # noqa: PLR0911  (one for each kind)
        """Any attribute's value, at times deep."""
        match self.randrange(8 if depth < 4 else 5):
            case 0:
                return AnyValue(string_value=self.choice(TEXTS))
            case 1:
                return AnyValue(int_value=self.choice(WHOLES))
            case 2:
                return AnyValue(double_value=self.choice(FLOATS))
            case 3:
                return AnyValue(bytes_value=self.randbytes(self.randrange(20)))
            case 4:
                return AnyValue()
            case 5:
                return AnyValue(
                    array_value=ArrayValue(
                        values=[self.value(depth + 1) for _ in range(self.randrange(4))]
                    )
                )
            case 6:
                return AnyValue(kvlist_value=KeyValueList(values=self.pairs(depth + 1)))
        return self.deep(self.choice([5, 20, 30]))

    def deep(self, levels: int) -> AnyValue:
        """Lists in lists."""
        found = AnyValue(string_value="bottom")
        for _ in range(levels):
            found = AnyValue(array_value=ArrayValue(values=[found]))
        return found

    def pairs(self, depth: int = 0) -> list[KeyValue]:
        """Some attributes, with a name of ours among them at times."""
        names = (
            *TEXTS,
            "service.name",
            "service.instance.id",
            "http.response.status_code",
            "order.id",
            "le",
        )
        return [
            KeyValue(key=self.choice(names), value=self.value(depth))
            for _ in range(self.randrange(5))
        ]

    def message(self, signal: str) -> Message:
        """A request that can be decoded, of the oddest records."""
        made: Any
        match signal:
            case "traces":
                made = traces(
                    *(self.span() for _ in range(self.randrange(4))), service=self.choice(TEXTS)
                )
                about = made.resource_spans[0]
            case "logs":
                made = logs(
                    *(self.line() for _ in range(self.randrange(4))), service=self.choice(TEXTS)
                )
                about = made.resource_logs[0]
            case _:
                made = metrics(
                    *(self.metric() for _ in range(self.randrange(4))), service=self.choice(TEXTS)
                )
                about = made.resource_metrics[0]
        about.resource.attributes.extend(self.pairs())
        return made

    def span(self) -> Any:  # noqa: ANN401  (generated code)
        """A span."""
        made = span(self.choice(TEXTS), attributes=self.pairs(), error=self.random() < 0.5)
        odd: dict[str, tuple[Any, ...]] = {
            "start_time_unix_nano": TIMES,
            "end_time_unix_nano": TIMES,
            "trace_id": IDS,
        }
        odd |= {
            "span_id": IDS,
            "parent_span_id": IDS,
            "kind": (-(2**31), -1, 0, 2, 3, 77, 2**31 - 1),
        }
        for name, values in odd.items():
            if self.random() < 0.4:
                setattr(made, name, self.choice(values))
        for _ in range(self.randrange(3)):
            made.events.add(
                name=self.choice(TEXTS), time_unix_nano=self.choice(TIMES), attributes=self.pairs()
            )
        return made

    def line(self) -> Any:  # noqa: ANN401  (as above)
        """A log record."""
        made = line(
            self.choice(TEXTS),
            attributes=self.pairs(),
            trace_id=self.choice(IDS),
            span_id=self.choice(IDS),
        )
        made.severity_number = self.choice((-(2**31), -1, 0, 24, 25, 2**31 - 1))  # type: ignore[assignment]
        made.severity_text = self.choice(TEXTS)
        made.body.CopyFrom(self.value())
        if self.random() < 0.5:
            made.time_unix_nano, made.observed_time_unix_nano = (
                self.choice(TIMES),
                self.choice(TIMES),
            )
        return made

    def metric(self) -> Any:  # noqa: ANN401  (as above)
        """A metric of any kind; those of few names meet their like again, also as deltas."""
        name, how = self.choice((*TEXTS, "same", "same", "same")), self.choice((0, 1, 2, DELTA, 77))
        known = point(
            self.choice(FLOATS), attributes=self.pairs(), flags=self.choice((0, 0, 0, 1, 2**32 - 1))
        )
        if self.random() < 0.5:
            known.as_int = self.choice(WHOLES)
        if self.random() < 0.5:
            known.time_unix_nano, known.start_time_unix_nano = (
                self.choice(TIMES),
                self.choice(TIMES),
            )
        if self.random() < 0.3:
            return gauge(name, known)
        if self.random() < 0.3:
            return counter(name, known, temporality=how, monotonic=self.random() < 0.5)
        told = buckets(
            [self.randrange(3), self.choice((0, 1, 2**62)), 1],
            total=self.choice(FLOATS),
            attributes=self.pairs()[:1],
        )
        if self.random() < 0.4:
            told.count = self.choice(COUNTS)
        if self.random() < 0.3:
            told.bucket_counts.append(self.choice(COUNTS))
        if self.random() < 0.3:
            told.explicit_bounds[:] = [self.choice(FLOATS), self.choice(FLOATS)]
        ids = {"trace_id": self.choice(IDS), "span_id": self.choice(IDS)}
        told.exemplars.append(
            Exemplar(as_double=self.choice(FLOATS), time_unix_nano=self.choice(TIMES), **ids)
        )  # type: ignore[arg-type]
        made = histogram(name, told, temporality=how, unit=self.choice(TEXTS))
        if self.random() < 0.1:
            made.exponential_histogram.data_points.add(count=1)
        elif self.random() < 0.1:
            made.summary.data_points.add(count=1)
        return made

    def case(self) -> tuple[str, bytes, dict[str, str]]:  # noqa: PLR0911  (as above)
        """A signal, a body and its headers."""
        signal = self.choice(SIGNALS)
        message = self.message(signal)
        body, headers = message.SerializeToString() or b"\x0a\x00", dict(PROTOBUF)
        kind = self.randrange(12)
        if kind in {0, 1}:
            return signal, body, headers
        if kind in {2, 3, 4}:
            return signal, self.choice([self.bits, self.cut, self.spliced])(body), headers
        if kind == 5:
            return signal, self.randbytes(self.randrange(400)), headers
        if kind == 6:
            mangle: list[Callable[[bytes], bytes]] = [
                self.bits,
                self.cut,
                self.spliced,
                lambda it: it,
                gzip.compress,
            ]
            return (
                signal,
                self.choice(mangle)(gzip.compress(body, 1)),
                headers | {"content-encoding": "gzip"},
            )
        if kind == 7:
            wrong = [
                {"content-type": "text/html"},
                {"content-encoding": "br"},
                {"content-encoding": "gzip"},
                {"content-type": ""},
            ]
            return signal, body, headers | self.choice(wrong)
        if kind == 8:
            return signal, self.choice(JUNK), JSON
        text = as_json(message)
        return (
            signal,
            text if kind == 9 else self.choice([self.bits, self.cut, self.spliced])(text),
            JSON,
        )


def bombs() -> list[tuple[str, bytes, dict[str, str]]]:
    """The few that are huge: as they come, unpacked, or in depth."""
    packed = PROTOBUF | {"content-encoding": "gzip"}
    deep = b""
    for _ in range(5_000):
        deep = b"\x0a" + varint(len(deep)) + deep
    twice = zlib.compress(bytes(50 * MIB), wbits=31)
    huge = logs(line("x" * (3 * MIB))).SerializeToString()
    many = traces(
        span(attributes=[each for number in range(30_000) for each in pairs(**{f"k{number}": 1})])
    ).SerializeToString()
    return [
        ("traces", bytes(MAX_BODY_BYTES + 1), PROTOBUF),
        ("logs", gzip.compress(bytes(300 * MIB), 1), packed),
        ("metrics", twice, packed),
        ("traces", deep, PROTOBUF),
        ("logs", huge, PROTOBUF),
        ("traces", many, PROTOBUF),
    ]


def varint(number: int) -> bytes:
    """As protobuf writes lengths."""
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def test_no_input_breaks_it(tmp_path: Path) -> None:
    """Over five thousand broken requests get planned answers, the file stays whole, and a good batch is stored after them."""
    path = tmp_path / "telemetry.db"
    app = create_app(Writer(Store(path, 512 * MIB)))
    chance = Chance(SEED)
    cases = [*bombs(), *(chance.case() for _ in range(CASES))]
    unplanned: list[tuple[int, str, bytes, str]] = []
    answers: Counter[int] = Counter()

    async def send_all() -> None:
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://it") as http,
        ):
            left = iter(cases)

            async def sender() -> None:
                for signal, body, headers in left:
                    answer = await http.post(f"/v1/{signal}", content=body, headers=headers)
                    answers[answer.status_code] += 1
                    if answer.status_code not in PLANNED:
                        unplanned.append((answer.status_code, signal, body[:2000], answer.text))

            await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
            health = await http.get("/healthz")
            assert health.status_code == 200, health.text
            good: list[tuple[str, Message]] = [
                ("traces", traces(span("good"))),
                ("logs", logs(line("good"))),
                ("metrics", metrics(counter("good", point(1)))),
            ]
            for signal, message in good:
                answer = await http.post(
                    f"/v1/{signal}", content=message.SerializeToString(), headers=PROTOBUF
                )
                assert (answer.status_code, answer.content) == (200, b"")

    asyncio.run(send_all())
    assert not unplanned, unplanned[:5]
    assert answers.total() >= 5_000
    assert set(answers) == PLANNED, "each planned answer was given"
    assert read(path, "PRAGMA integrity_check") == [("ok",)]
    assert read(path, "SELECT count(*) FROM spans WHERE name = 'good'") == [(1,)]
    assert read(path, "SELECT count(*) FROM lines WHERE body = 'good'") == [(1,)]
    assert read(path, "SELECT value FROM points WHERE name = 'good_total'") == [(1.0,)]
