"""The SDK gets this library's defaults, or the values of ``OTEL_*`` variables instead."""

import os
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from three_pillars import ConfigurationError, environment
from three_pillars.export.batch import CountingBatchLogRecordProcessor, CountingBatchSpanProcessor
from three_pillars.export.drops import DropCounter
from three_pillars.export.session import RetryingSession
from three_pillars.providers import logger_provider, tracer_provider

EMPTY = Resource({})


@pytest.fixture(autouse=True)
def no_variables() -> Iterator[None]:
    """Unset every ``OTEL_*`` variable during the test, and restore ``os.environ`` afterwards."""
    original_environment = dict(os.environ)
    for name in original_environment:
        if name.startswith("OTEL_"):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(original_environment)


def span_with(value: str) -> ReadableSpan:
    """Return an ended span of the library's tracer provider, with the attribute name=``value``."""
    provider = tracer_provider(EMPTY, environment.validate())
    span = provider.get_tracer("test").start_span("span", attributes={"name": value})
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


@pytest.mark.parametrize(
    ("variables", "length"),
    [
        ({}, 8192),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10"}, 10),
        ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20"}, 20),
        (
            {
                "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "10",
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20",
            },
            20,
        ),
    ],
)
def test_span_attributes_have_a_length_limit(variables: dict[str, str], length: int) -> None:
    """Span attributes are truncated to 8192 characters unless a variable sets another length."""
    os.environ.update(variables)
    attributes = span_with("x" * 10_000).attributes
    assert attributes
    assert len(str(attributes["name"])) == length


@pytest.mark.parametrize(
    ("variables", "length"),
    [({}, 8192), ({"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20"}, 20)],
)
def test_log_record_attributes_have_a_length_limit(variables: dict[str, str], length: int) -> None:
    """Log record attributes are limited to 8192 characters unless their own variable is set."""
    os.environ.update(variables)
    provider = logger_provider(EMPTY, environment.validate())
    limits = provider._log_record_limits  # noqa: SLF001  (no record shows it)
    assert limits.max_log_record_attribute_length == length


@pytest.mark.parametrize(
    ("sampler", "is_recording"),
    [("", True), ("always_on", True), ("always_off", False), ("parentbased_always_off", False)],
)
def test_every_trace_is_recorded_unless_a_sampler_is_set(
    sampler: str,
    is_recording: bool,  # noqa: FBT001
) -> None:
    """Every span is recorded unless OTEL_TRACES_SAMPLER names a sampler that drops it."""
    os.environ["OTEL_TRACES_SAMPLER"] = sampler
    provider = tracer_provider(EMPTY, environment.validate())
    assert provider.get_tracer("test").start_span("span").is_recording() is is_recording


@pytest.mark.parametrize(("value", "size"), [("", 8192), ("1024", 1024)])
def test_queues_hold_8192_items(value: str, size: int) -> None:
    """The export queues hold 8192 spans and 8192 log records unless variables set other sizes."""
    os.environ["OTEL_BSP_MAX_QUEUE_SIZE"] = value
    os.environ["OTEL_BLRP_MAX_QUEUE_SIZE"] = value
    variables = environment.validate()
    span_drops = DropCounter("traces")
    record_drops = DropCounter("logs")
    spans = CountingBatchSpanProcessor(RetryingSession(), span_drops, variables)
    records = CountingBatchLogRecordProcessor(RetryingSession(), record_drops, variables)
    assert (span_drops.queue_size, record_drops.queue_size) == (size, size)
    spans.shutdown()  # type: ignore[no-untyped-call]
    records.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("OTEL_PYTHON_REQUESTS_EXCLUDED_URLS", "health", "none"),
        ("OTEL_PYTHON_TRACER_CONFIGURATOR", "theirs", "none"),
        ("OTEL_SOMETHING_NEW", "two\nlines", "text in UTF-8, in one line"),
        ("OTEL_SOMETHING_NEW", "half \udcff", "text in UTF-8, in one line"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1_000", "a whole number, 1 or more"),
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "1.0", "a whole number, at most 128"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1e3", "a number of seconds, over 0"),
        ("OTEL_SDK_DISABLED", "yes", "true or false"),
    ],
)
def test_value_that_the_sdk_reads_differently_is_refused(
    name: str, value: str, allowed: str
) -> None:
    """A value is refused if the SDK would ignore it or read it differently from pydantic."""
    os.environ[name] = value
    with pytest.raises(ConfigurationError) as raised:
        environment.validate()
    (line,) = raised.value.problems
    assert line.startswith(f"{name}=")
    assert f": allowed is {allowed}" in line


def test_unknown_variable_is_left_alone() -> None:
    """An ``OTEL_*`` variable that this library does not know is neither refused nor changed."""
    os.environ["OTEL_SOMETHING_NEW"] = "a value"
    environment.prepare()
    assert os.environ["OTEL_SOMETHING_NEW"] == "a value"


def test_our_defaults_are_not_written_into_the_environment() -> None:
    """``prepare()`` sets no variable except OTEL_SEMCONV_STABILITY_OPT_IN."""
    environment.prepare()
    written = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    assert written == {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
