"""The ``OTEL_*`` variables reach the SDK: our defaults, and what the environment has instead."""

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
    """Unset every ``OTEL_*`` variable, and put the environment back afterwards."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("OTEL_"):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


def span_with(value: str) -> ReadableSpan:
    """Return a span of the library's tracer provider with an attribute."""
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
    """Attributes of spans are cut at 8192 characters unless the environment says otherwise."""
    os.environ.update(variables)
    attributes = span_with("x" * 10_000).attributes
    assert attributes
    assert len(str(attributes["name"])) == length


@pytest.mark.parametrize(
    ("variables", "length"),
    [({}, 8192), ({"OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20"}, 20)],
)
def test_log_record_attributes_have_a_length_limit(variables: dict[str, str], length: int) -> None:
    """Attributes of log records have the same limit, and their own variable."""
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
    """Without a sampler in the environment every span is recorded."""
    os.environ["OTEL_TRACES_SAMPLER"] = sampler
    provider = tracer_provider(EMPTY, environment.validate())
    assert provider.get_tracer("test").start_span("span").is_recording() is is_recording


@pytest.mark.parametrize(("value", "size"), [("", 8192), ("1024", 1024)])
def test_queues_hold_8192_items(value: str, size: int) -> None:
    """The queues of spans and log records have our default size unless it is set."""
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
    """A value that pydantic accepts, and the SDK does not, is refused as well."""
    os.environ[name] = value
    with pytest.raises(ConfigurationError) as raised:
        environment.validate()
    (line,) = raised.value.problems
    assert line.startswith(f"{name}=")
    assert f": allowed is {allowed}" in line


def test_unknown_variable_is_left_alone() -> None:
    """A variable that this library does not know is neither refused nor changed."""
    os.environ["OTEL_SOMETHING_NEW"] = "a value"
    environment.prepare()
    assert os.environ["OTEL_SOMETHING_NEW"] == "a value"


def test_our_defaults_are_not_written_into_the_environment() -> None:
    """Our defaults go to the SDK as arguments; only the stable conventions are written."""
    environment.prepare()
    written = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    assert written == {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
