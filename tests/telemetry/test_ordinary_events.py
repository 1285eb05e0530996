"""The fast path ``log``: the same lines and log records as without it."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from functools import cache
from typing import Any, Self

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.instrumentation.structlog import StructlogProcessor
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as EncodedRecord
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tests.processes import wait_for
from tests.telemetry.receiver import Receiver, running_receiver
from tests.telemetry.test_encoded_export import NAMES, NUMBERS, SECRETS, TEXTS, deterministic
from three_pillars import environment, logs
from three_pillars.export.batch import CountingBatchLogRecordProcessor
from three_pillars.export.drops import DropCounter
from three_pillars.export.encoded_events import SEVERITIES, EventEncoder
from three_pillars.export.session import RetryingSession
from three_pillars.variables import OpenTelemetryVariables

TIME_NS = 1_800_000_000_123_456_789
ORDINARY = {
    "http.route": "/checkout",
    "http.response.status_code": 200,
    "seconds": 0.25,
    "ok": True,
}


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """After each test, restore the configuration of ``logging`` and structlog."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    level = root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@cache
def variables() -> OpenTelemetryVariables:
    """Return the variables of this process; to validate them takes 4 ms."""
    return environment.validate()


class Queue(CountingBatchLogRecordProcessor):
    """A batch processor that keeps encoded log records instead of sending them."""

    def __init__(self) -> None:
        super().__init__(RetryingSession(), DropCounter("logs"), variables())
        self.records: list[EncodedRecord] = []

    def enqueue(self, data: bytes, *_: object) -> None:
        """Decode and keep a record."""
        self.records.append(EncodedRecord.FromString(data))


class Pipeline:
    """structlog as the library configures it, with a queue that keeps the records."""

    def __init__(self, *, fast: bool, limits: LogRecordLimits | None = None) -> None:
        self.queue = Queue()
        self.provider = LoggerProvider(shutdown_on_exit=False, log_record_limits=limits)
        self.provider.add_log_record_processor(self.queue)
        self.stdout = io.StringIO()
        with contextlib.redirect_stdout(self.stdout):
            logs.configure(self.provider, self.queue if fast else None)
        self.processors = structlog.get_config()["processors"]

    def __enter__(self) -> Self:
        """Do nothing: the pipeline works from the beginning."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread of the queue."""
        self.provider.shutdown()

    def log(self, level: str, event: dict[str, Any], span_context: SpanContext) -> str:
        """Handle ``event`` as a logger does, and return its line on stdout."""
        result: Any = dict(event)
        with trace.use_span(NonRecordingSpan(span_context)):
            for processor in self.processors:
                result = processor(None, level, result)
        return str(result)


def without_times(record: EncodedRecord) -> bytes:
    """Return ``record`` without its two times, after a check that they agree."""
    assert 0 <= record.observed_time_unix_nano - record.time_unix_nano < 60 * 10**9
    record.ClearField("time_unix_nano")
    record.ClearField("observed_time_unix_nano")
    return deterministic(record)


EVENTS = st.dictionaries(
    st.one_of(NAMES, st.sampled_from(["timestamp", "exception", "exc_info", "level"])),
    st.one_of(TEXTS, NUMBERS, st.none(), st.lists(TEXTS, max_size=2)),
    max_size=6,
)


# An attribute with an empty name is dropped by the SDK.
@pytest.mark.filterwarnings("ignore::opentelemetry.sdk._logs.LogRecordDroppedAttributesWarning")
@pytest.mark.parametrize("examples", [100, pytest.param(1_000, marks=pytest.mark.long)])
def test_events_are_handled_as_by_the_other_processors(examples: int) -> None:
    """Any event gives the same line and the same record as without the fast path."""

    @settings(max_examples=examples, deadline=None)
    @given(
        st.sampled_from([*SEVERITIES, "made-up"]),
        TEXTS,
        EVENTS,
        st.sampled_from([0, 1, 2**128 - 1]),
        st.sampled_from([None, 4, 20]),
    )
    @example("info", "no name", {"": ""}, 1, None)
    @example("info", "not finite", {"a": float("inf"), "b": float("nan")}, 1, None)
    def compare(
        level: str, text: str, fields: dict[str, Any], trace_id: int, limit: int | None
    ) -> None:
        limits = LogRecordLimits(max_log_record_attributes=limit, max_attribute_length=limit)
        context = SpanContext(
            trace_id, min(trace_id, 2**64 - 1), is_remote=False, trace_flags=TraceFlags(1)
        )
        event = {**fields, "event": text}
        lines: list[list[Any]] = []
        records: list[bytes] = []
        for fast in (True, False):
            with Pipeline(fast=fast, limits=limits) as pipeline:
                line = json.loads(pipeline.log(level, event, context))
                assert line.pop("timestamp").endswith("Z")
                lines.append(list(line.items()))
                records += map(without_times, pipeline.queue.records)
        assert str(lines[0]) == str(lines[1])
        assert len(records) == 2
        assert records[0] == records[1]

    compare()


def test_the_times_agree() -> None:
    """The record has the time of the line, in microseconds, and was observed at that moment."""
    with Pipeline(fast=True) as pipeline:
        line = json.loads(
            pipeline.log("info", ORDINARY | {"event": "e"}, trace.INVALID_SPAN_CONTEXT)
        )
        (record,) = pipeline.queue.records
        parsed = StructlogProcessor(pipeline.provider)._translate(line)  # type: ignore[no-untyped-call]  # noqa: SLF001
    assert parsed.timestamp
    assert abs(parsed.timestamp - record.time_unix_nano) < 1000, "their own rounding is coarser"
    assert record.time_unix_nano % 1000 == 0
    assert 0 <= record.observed_time_unix_nano - record.time_unix_nano < 1000


def test_an_ordinary_event_takes_the_fast_path() -> None:
    """The encoder takes an ordinary event, and leaves unusual ones and secrets to the others."""
    encoder = EventEncoder(LogRecordLimits())
    event = ORDINARY | {"event": "GET /checkout 200 success", "level": "info"}
    assert encoder.encode(event, TIME_NS, trace.INVALID_SPAN_CONTEXT)
    unusual: list[dict[str, Any]] = [
        {"level": "made-up"},
        {"event": 1},
        {"exc_info": True},
        {"exception": "x"},
        {"list": []},
        {"none": None},
        {"text": "x" * 300},
        {"password": 5},
        {"number": 4111111111111111},
        *({"text": secret} for secret in SECRETS),
        *({"event": secret} for secret in SECRETS),
        {f"name-{number}": 1 for number in range(200)},
    ]
    for change in unusual:
        assert not encoder.encode(event | change, TIME_NS, trace.INVALID_SPAN_CONTEXT), change


def test_processors_that_are_added_later_get_every_event() -> None:
    """If the application adds a processor to the provider, both get the events from then on."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    with Pipeline(fast=True) as pipeline:
        pipeline.provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        pipeline.log("info", ORDINARY | {"event": "e"}, trace.INVALID_SPAN_CONTEXT)
    assert len(exporter.get_finished_logs()) == len(pipeline.queue.records) == 1


def test_a_changed_sdk_takes_the_other_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the loggers of the SDK have changed, events are handled as before, with one warning."""

    def get_changed_logger(name: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        logger = get_logger(name, *arguments, **options)
        vars(logger).pop("_log_record_limits", None)
        return logger

    with Pipeline(fast=True) as pipeline, monkeypatch.context() as patch:
        get_logger = pipeline.provider.get_logger
        patch.setattr(pipeline.provider, "get_logger", get_changed_logger)
        logs.configure(pipeline.provider, pipeline.queue)
    warning = json.loads(capsys.readouterr().out)
    assert warning["event"].startswith("fast path log is off, because the OpenTelemetry SDK has")
    assert len(structlog.get_config()["processors"]) > len(pipeline.processors)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Run a receiver, which is the one that exporters send to."""
    with running_receiver() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "50")
        yield running


def test_events_arrive_in_their_order(receiver: Receiver) -> None:
    """Ordinary and other events arrive redacted, in the order in which they were logged."""
    provider = LoggerProvider(shutdown_on_exit=False)
    queue = CountingBatchLogRecordProcessor(
        RetryingSession(), DropCounter("logs"), environment.validate()
    )
    provider.add_log_record_processor(queue)
    with contextlib.redirect_stdout(io.StringIO()):
        logs.configure(provider, queue)
    log = structlog.get_logger()
    with TracerProvider().get_tracer("test").start_as_current_span("span"):
        for text in ("one", "to bob@example.com", "three"):
            log.info(text, **ORDINARY)
    wait_for("all three", lambda: len(receiver.log_bodies) == 3)
    assert receiver.log_bodies == ["one", "to [email]", "three"]
    provider.shutdown()
    assert queue.drops.undelivered() == 0
