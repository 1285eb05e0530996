"""The fast path ``export``: what is sent is what OpenTelemetry's encoder would send, redacted."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as EncodedSpan
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from tests.processes import wait_for
from tests.telemetry.receiver import Receiver, running_receiver
from three_pillars import environment
from three_pillars.export import attributes as attributes_module
from three_pillars.export import batch, drops
from three_pillars.export.batch import CountingBatchSpanProcessor
from three_pillars.export.drops import DropCounter
from three_pillars.export.encoded_batch import MAX_HEADS, BatchEncoder, EncodedItem
from three_pillars.export.encoded_export import can_send_encoded
from three_pillars.export.encoded_records import RecordEncoder
from three_pillars.export.encoded_spans import SpanEncoder
from three_pillars.export.protobuf import varint
from three_pillars.export.sanitize import is_clean, sanitized
from three_pillars.export.session import RetryingSession
from three_pillars.redaction import redact_mapping
from three_pillars.values import to_otlp_value

MAX_LENGTH = 40
"""The length, in characters, to which the spans of these tests truncate attribute values."""
EXAMPLES = [100, pytest.param(1_000, marks=pytest.mark.long)]
"""How many lists a test generates, each with one to five spans or records."""

SECRETS = (
    "Bearer abcdef123456",
    "bob@example.com",
    "4111 1111 1111 1111",
    "DE89370400440532013000",
)
TEXTS = st.one_of(
    st.sampled_from(["", "GET", "/checkout", "ok\n", "\x00", "a" * MAX_LENGTH, "é", *SECRETS]),
    st.text(max_size=50),
    st.text(st.characters(codec="ascii"), max_size=50),
)
NAMES = st.one_of(
    st.sampled_from(["http.route", "password", "api_key", "x", "", "url.path", *SECRETS]),
    st.text(min_size=1, max_size=20),
)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-300, 300),
    st.floats(),
    st.sampled_from([0, 1, -1, 0.0, 1.0, True, False, 4111111111111111, 4111111111111111.0]),
    st.booleans(),
)
LISTS = st.one_of(st.lists(TEXTS, max_size=3), st.lists(st.booleans(), max_size=3))
ATTRIBUTES = st.dictionaries(NAMES, st.one_of(TEXTS, NUMBERS, LISTS), max_size=8)
IDS = st.integers(1, 2**64 - 1)
CONTEXTS = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=IDS,
    is_remote=st.booleans(),
    trace_flags=st.just(TraceFlags(TraceFlags.SAMPLED)),
    trace_state=st.sampled_from([TraceState(), TraceState(), TraceState([("k", "v")])]),
)
LINKS = st.lists(st.builds(Link, CONTEXTS, ATTRIBUTES), max_size=2)
EVENTS = st.lists(st.tuples(TEXTS, ATTRIBUTES), max_size=2)
STATUSES = st.sampled_from(
    [None, None, Status(StatusCode.OK), Status(StatusCode.ERROR), Status(StatusCode.ERROR, "why")]
)
SCOPES = st.sampled_from(
    [
        InstrumentationScope("one", "1.0", "https://schema.example/1"),
        InstrumentationScope("two", attributes={"a": 1}),
    ]
)
RESOURCES = st.sampled_from(
    [Resource({"service.name": "a"}, "https://schema.example/2"), Resource({"b": (1, 2)})]
)


class EndedSpans(SpanProcessor):
    """Keeps the spans as the SDK hands them to processors."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep an ended span."""
        self.spans.append(span)


class CountedIds(IdGenerator):
    """Generates ids without the module ``random``, which Hypothesis would not repeat."""

    def __init__(self) -> None:
        self._ids = count(1)

    def generate_span_id(self) -> int:
        """Return the next id."""
        return next(self._ids)

    def generate_trace_id(self) -> int:
        """Return the next id."""
        return next(self._ids)


@st.composite
def ended_spans(draw: Callable[[st.SearchStrategy[Any]], Any]) -> ReadableSpan:
    """Generate a span as it ends in the SDK, with all that a span may have, within its limits."""
    limits = SpanLimits(max_attribute_length=MAX_LENGTH, max_span_attributes=6, max_events=1)
    ended = EndedSpans()
    provider = TracerProvider(
        ALWAYS_ON,
        draw(RESOURCES),
        shutdown_on_exit=False,
        span_limits=limits,
        id_generator=CountedIds(),
    )
    provider.add_span_processor(ended)
    parent = draw(st.one_of(st.none(), CONTEXTS))
    scope = draw(SCOPES)
    span = provider.get_tracer(
        scope.name, scope.version, scope.schema_url, scope.attributes
    ).start_span(
        draw(TEXTS),
        set_span_in_context(NonRecordingSpan(parent)) if parent else None,
        draw(st.sampled_from(SpanKind)),
        draw(ATTRIBUTES),
        draw(st.one_of(st.none(), LINKS)),
    )
    for name, attributes in draw(st.one_of(st.just([]), EVENTS)):
        span.add_event(name, attributes)
    status = draw(STATUSES)
    if status:
        span.set_status(status)
    span.end()
    return ended.spans[0]


def deterministic(message: Any) -> bytes:  # noqa: ANN401  (a message of protobuf)
    """Return ``message`` encoded field by field in order, so that equal ones are equal bytes."""
    return bytes(message.SerializeToString(deterministic=True))


@pytest.mark.parametrize("examples", EXAMPLES)
def test_spans_are_encoded_as_by_opentelemetry(examples: int) -> None:
    """Decoded field by field, encoded spans are those of the SDK's encoder after redaction."""

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(ended_spans(), min_size=1, max_size=5))
    def compare(spans: Sequence[ReadableSpan]) -> None:
        limits = {MAX_LENGTH}
        encoder = SpanEncoder(limits)
        for _ in range(2):  # the second time from the cache
            items = [
                EncodedItem(span.resource, span.instrumentation_scope, encoder.encode(span))
                for span in spans
            ]
            request = ExportTraceServiceRequest.FromString(BatchEncoder().encode(items))
            expected = encode_spans(
                [span if is_clean(span, limits) else sanitized(span, limits) for span in spans]
            )
            assert deterministic(request) == deterministic(expected)

    compare()


NESTED = st.recursive(
    st.one_of(st.none(), TEXTS, NUMBERS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def emitted_records(draw: Callable[[st.SearchStrategy[Any]], Any]) -> ReadWriteLogRecord:
    """Generate a log record as the processor gets it, sanitized."""
    fields = to_otlp_value(draw(st.dictionaries(NAMES, NESTED, max_size=8)))
    context = draw(st.one_of(st.none(), CONTEXTS))
    record = LogRecord(
        timestamp=draw(st.one_of(st.none(), IDS)),
        observed_timestamp=draw(IDS),
        context=set_span_in_context(NonRecordingSpan(context)) if context else None,
        severity_text=draw(st.sampled_from([None, "INFO", "ERROR"])),
        severity_number=draw(st.sampled_from([None, *SeverityNumber])),
        body=redact_mapping({"body": to_otlp_value(draw(st.one_of(TEXTS, NESTED)))})["body"],
        attributes=redact_mapping(fields),
        event_name=draw(st.sampled_from([None, None, "event"])),
    )
    return ReadWriteLogRecord(record, draw(RESOURCES), draw(SCOPES))


# An attribute with an empty name is dropped by the SDK.
@pytest.mark.filterwarnings("ignore::opentelemetry.sdk._logs.LogRecordDroppedAttributesWarning")
@pytest.mark.parametrize("examples", EXAMPLES)
def test_records_are_encoded_as_by_opentelemetry(examples: int) -> None:
    """Decoded field by field, encoded log records are those of the SDK's encoder."""

    @settings(max_examples=examples, deadline=None)
    @given(st.lists(emitted_records(), min_size=1, max_size=5))
    def compare(records: Sequence[ReadWriteLogRecord]) -> None:
        encoder = RecordEncoder()
        for _ in range(2):
            items = [
                EncodedItem(record.resource, record.instrumentation_scope, encoder.encode(record))  # type: ignore[arg-type]
                for record in records
            ]
            request = ExportLogsServiceRequest.FromString(BatchEncoder().encode(items))
            readable = [
                ReadableLogRecord(
                    record.log_record,
                    record.resource,  # type: ignore[arg-type]
                    record.instrumentation_scope,
                    record.limits,
                )
                for record in records
            ]
            assert deterministic(request) == deterministic(encode_logs(readable))

    compare()


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_are_those_of_protobuf(number: int) -> None:
    """A varint is what protobuf writes, for the whole range of int64 and for edges."""
    for each in (number, abs(number) % 5000, 2**63 - 1, -1):
        message = EncodedSpan.Event(dropped_attributes_count=abs(each) % 2**32)
        assert message.SerializeToString() in {b"", b"\x20" + varint(abs(each) % 2**32)}
        assert len(varint(each)) == (10 if each < 0 else max(1, math.ceil(each.bit_length() / 7)))


def test_equal_numbers_of_different_types_stay_apart() -> None:
    """The equal values 1, True and 1.0 are encoded as an integer, a boolean and a double."""
    ended = EndedSpans()
    provider = TracerProvider()
    provider.add_span_processor(ended)
    encoder = SpanEncoder(set())
    for value in (1, True, 1.0, 1, True, 1.0):
        provider.get_tracer("scope").start_span("s", attributes={"value": value}).end()
        [attribute] = EncodedSpan.FromString(encoder.encode(ended.spans[-1])).attributes
        kind = attribute.value.WhichOneof("value")
        assert kind == {int: "int_value", bool: "bool_value", float: "double_value"}[type(value)]
        assert getattr(attribute.value, kind) == value


def test_caches_are_bounded_and_hold_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many values there are, the caches stay small, and no secret is kept in them."""
    monkeypatch.setattr(attributes_module, "MAX_CACHED", 10)
    ended = EndedSpans()
    provider = TracerProvider()
    provider.add_span_processor(ended)
    encoder = SpanEncoder(set())
    batches = BatchEncoder()
    for number in range(200):
        values: dict[str, str | int] = {
            f"name-{number}": f"value-{number}",
            "number": number,
            "user": SECRETS[number % 4],
        }
        provider.get_tracer(f"scope-{number}").start_span(f"s-{number}", attributes=values).end()
        span = ended.spans[-1]
        data = encoder.encode(span)
        batches.encode([EncodedItem(span.resource, span.instrumentation_scope, data)])
    caches = vars(encoder._attributes)  # noqa: SLF001
    sizes = [len(cache) for cache in caches.values() if isinstance(cache, dict)]
    assert len(sizes) == 3
    assert min(sizes) > 0
    assert max(sizes) <= 10
    assert not any(secret in str(caches) for secret in SECRETS)
    assert len(batches._heads) <= MAX_HEADS  # noqa: SLF001


class CountedResource(Resource):
    """A resource that counts how often its hash is computed, which takes microseconds."""

    hashes = 0

    def __hash__(self) -> int:
        """Return the hash, and count it."""
        self.hashes += 1
        return super().__hash__()


def test_a_batch_does_not_hash_the_resource_of_every_item() -> None:
    """Spans of two scopes in turn, like those of a server and a client, cost no hash for each."""
    resource = CountedResource({"service.name": "a"})
    scopes = [InstrumentationScope("server"), InstrumentationScope("client")]
    items = [EncodedItem(resource, scopes[number % 2], b"") for number in range(100)]
    request = ExportTraceServiceRequest.FromString(BatchEncoder().encode(items))
    [spans] = request.resource_spans
    assert [len(scope_spans.spans) for scope_spans in spans.scope_spans] == [50, 50]
    assert resource.hashes < len(items) / 5


# --- The way through the processor and the exporter ---


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Run a receiver, which is the one that exporters send to."""
    with running_receiver() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield running


class Pipeline:
    """A tracer provider with the batch processor."""

    def __init__(self, *, encodes_at_end: bool = True) -> None:
        self.session = RetryingSession()
        self.drops = DropCounter("traces")
        self.processor = CountingBatchSpanProcessor(
            self.session, self.drops, environment.validate(), encodes_at_end=encodes_at_end
        )
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(self.processor)

    def make_span(self, name: str, **attributes: Any) -> None:  # noqa: ANN401
        """Start and end one span."""
        self.provider.get_tracer("test").start_span(name, attributes=attributes).end()

    def shut_down(self) -> None:
        """Shut down as a service does."""
        self.session.shutdown.set()
        self.provider.shutdown()


@pytest.mark.parametrize("encodes_at_end", [True, False])
def test_a_request_that_is_too_large_is_dropped(
    receiver: Receiver, *, encodes_at_end: bool
) -> None:
    """A batch over ``max_request_size`` is counted as lost, with and without the fast path."""
    pipeline = Pipeline(encodes_at_end=encodes_at_end)
    pipeline.processor.span_exporter._max_request_size = 1000  # noqa: SLF001
    pipeline.make_span("too large", text="x" * 1000)
    wait_for("the drop", lambda: pipeline.drops.dropped == {"failed": 1})
    pipeline.make_span("small")
    wait_for("the small one", lambda: receiver.span_names == ["small"])
    pipeline.shut_down()


def test_the_queue_is_limited_by_bytes(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that do not fit into the bytes of the queue are counted as lost; then it has room."""
    monkeypatch.setattr(drops, "MAX_QUEUED_BYTES", 5000)
    receiver.responding.clear()
    pipeline = Pipeline()
    pipeline.make_span("first")
    wait_for("the first batch to be in flight", lambda: receiver.request_times)
    for number in range(10):
        pipeline.make_span(f"large {number}", text="x" * 2000)
    assert pipeline.drops.dropped == {"queue_full": 8}
    assert 4000 < pipeline.drops.queued_bytes <= 5000
    receiver.responding.set()
    wait_for("those that fit", lambda: len(receiver.span_names) == 3)
    pipeline.make_span("last", text="x" * 4000)
    wait_for("the last one", lambda: "last" in receiver.span_names)
    pipeline.shut_down()
    assert pipeline.drops.queued_bytes == pipeline.drops.queued == 0


def test_one_span_that_cannot_be_encoded_costs_no_other(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span that OpenTelemetry's encoder refuses is counted as lost, and the others arrive."""
    pipeline = Pipeline()
    monkeypatch.setattr(SpanEncoder, "_encode_any", lambda *_: 1 / 0)
    pipeline.make_span("a list", values=["one"])
    pipeline.make_span("good")
    wait_for("the good one", lambda: receiver.span_names == ["good"])
    assert pipeline.drops.dropped == {"failed": 1}
    pipeline.shut_down()


@pytest.mark.parametrize("part", ["_client", "_metrics", "_max_request_size", "_shutdown"])
def test_a_changed_exporter_is_noticed(part: str, caplog: pytest.LogCaptureFixture) -> None:
    """If a private part of the exporter is gone, encoded batches are not used, with a warning."""
    exporter = OTLPSpanExporter()
    assert can_send_encoded(exporter)
    assert not caplog.messages
    delattr(exporter, part)
    assert not can_send_encoded(exporter)
    assert caplog.messages == ["fast path export is off, because the OTLP exporter has changed"]


@pytest.mark.parametrize("able", [True, False])
def test_spans_arrive_with_a_changed_exporter(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, able: bool
) -> None:
    """Spans are sent redacted, with the exporter as it is and as if it had changed."""
    monkeypatch.setattr(batch, "can_send_encoded", lambda _: able)
    pipeline = Pipeline()
    pipeline.make_span("bob@example.com")
    wait_for("the span", lambda: receiver.span_names == ["[email]"])
    pipeline.shut_down()
    assert pipeline.drops.undelivered() == 0
