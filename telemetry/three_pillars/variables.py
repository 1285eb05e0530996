"""The ``OTEL_*`` variables that are read, with their types, defaults and allowed values."""

import os
from typing import Any

from pydantic import Field, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from .settings import Settings, shown
from .variable_types import (
    AttributeCount,
    Boolean,
    Compression,
    Endpoint,
    ExemplarFilter,
    Exporter,
    Headers,
    HistogramAggregation,
    Off,
    Patterns,
    PositiveNumber,
    Propagators,
    Protocol,
    Ratio,
    ReadableFile,
    Refused,
    ResourceAttributes,
    ResourceDetectors,
    RuntimeContext,
    Sampler,
    Seconds,
    Temporality,
    WholeNumber,
)

DEFAULT_BATCH_SIZE = 512
"""The most spans or log records in one batch; it is the SDK's own default."""

MILLISECONDS = "a whole number, 1 or more (milliseconds)"
ITEMS = "a whole number, 1 or more (spans or log records)"
COUNT = "a whole number, at most 128"
LENGTH = "a whole number (characters)"
SECONDS = "a number of seconds, over 0"
ENDPOINT = "like http://host:4318"
COMPRESSION = "none, gzip or deflate"
HEADERS = "name=value, comma-separated"
FILE = "a file that can be read"
EXPORTER = "otlp or none"
PATTERNS = "regular expressions"
IN_CODE = "none: the library decides this in its code"
ONE_LIST = "none: three_pillars.EXCLUDED_PATHS holds for all three pillars"


class OpenTelemetryVariables(Settings):
    """The ``OTEL_*`` variables that this library, the SDK or an instrumentation reads.

    The description of a field says which values are allowed. The default None stands for the SDK's
    own default; where another default differs from the SDK's, a comment says why.
    """

    model_config = SettingsConfigDict(env_prefix="OTEL_", validate_default=False)

    # Which telemetry is sent.
    sdk_disabled: Boolean = Field("false", description="true or false")
    traces_exporter: Exporter = Field("otlp", description=EXPORTER)
    metrics_exporter: Exporter = Field("otlp", description=EXPORTER)
    logs_exporter: Exporter = Field("otlp", description=EXPORTER)

    # The resource.
    service_name: str | None = Field(
        None, min_length=1, max_length=255, description="at most 255 characters"
    )
    resource_attributes: ResourceAttributes | None = Field(
        None,
        description="name=value, comma-separated, at most 64, values at most 1024 long",
    )
    experimental_resource_detectors: ResourceDetectors | None = Field(
        None, description="otel, process, os, host, service_instance"
    )

    # Where telemetry is sent, and how.
    exporter_otlp_endpoint: Endpoint | None = Field(None, description=ENDPOINT)
    exporter_otlp_traces_endpoint: Endpoint | None = Field(None, description=ENDPOINT)
    exporter_otlp_metrics_endpoint: Endpoint | None = Field(None, description=ENDPOINT)
    exporter_otlp_logs_endpoint: Endpoint | None = Field(None, description=ENDPOINT)
    exporter_otlp_protocol: Protocol = Field("http/protobuf", description="http/protobuf")
    exporter_otlp_traces_protocol: Protocol | None = Field(None, description="http/protobuf")
    exporter_otlp_metrics_protocol: Protocol | None = Field(None, description="http/protobuf")
    exporter_otlp_logs_protocol: Protocol | None = Field(None, description="http/protobuf")
    exporter_otlp_timeout: Seconds | None = Field(None, description=SECONDS)
    exporter_otlp_traces_timeout: Seconds | None = Field(None, description=SECONDS)
    exporter_otlp_metrics_timeout: Seconds | None = Field(None, description=SECONDS)
    exporter_otlp_logs_timeout: Seconds | None = Field(None, description=SECONDS)
    exporter_otlp_compression: Compression | None = Field(None, description=COMPRESSION)
    exporter_otlp_traces_compression: Compression | None = Field(None, description=COMPRESSION)
    exporter_otlp_metrics_compression: Compression | None = Field(None, description=COMPRESSION)
    exporter_otlp_logs_compression: Compression | None = Field(None, description=COMPRESSION)
    exporter_otlp_headers: Headers | None = Field(None, description=HEADERS)
    exporter_otlp_traces_headers: Headers | None = Field(None, description=HEADERS)
    exporter_otlp_metrics_headers: Headers | None = Field(None, description=HEADERS)
    exporter_otlp_logs_headers: Headers | None = Field(None, description=HEADERS)
    exporter_otlp_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_traces_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_metrics_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_logs_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_client_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_traces_client_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_metrics_client_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_logs_client_certificate: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_client_key: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_traces_client_key: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_metrics_client_key: ReadableFile | None = Field(None, description=FILE)
    exporter_otlp_logs_client_key: ReadableFile | None = Field(None, description=FILE)

    # How long telemetry is batched. The SDK's own delays are 5 s for spans and 60 s for metrics,
    # too long for a user who looks for a request just made. The queues keep four minutes of ten
    # requests a second, some 30 MB, while the Collector is away.
    bsp_schedule_delay: PositiveNumber = Field(1000, description=MILLISECONDS)
    bsp_export_timeout: PositiveNumber | None = Field(None, description=MILLISECONDS)
    bsp_max_queue_size: PositiveNumber = Field(8192, description=ITEMS)
    bsp_max_export_batch_size: PositiveNumber = Field(DEFAULT_BATCH_SIZE, description=ITEMS)
    blrp_schedule_delay: PositiveNumber | None = Field(None, description=MILLISECONDS)
    blrp_export_timeout: PositiveNumber | None = Field(None, description=MILLISECONDS)
    blrp_max_queue_size: PositiveNumber = Field(8192, description=ITEMS)
    blrp_max_export_batch_size: PositiveNumber = Field(DEFAULT_BATCH_SIZE, description=ITEMS)
    metric_export_interval: PositiveNumber = Field(1000, description=MILLISECONDS)
    metric_export_timeout: PositiveNumber | None = Field(None, description=MILLISECONDS)

    # How much one span or log record may hold.
    attribute_count_limit: AttributeCount | None = Field(None, description=COUNT)
    # Loki refuses an entry over 64 KiB of metadata, and what is refused is not sent again.
    attribute_value_length_limit: WholeNumber = Field(8192, description=LENGTH)
    span_attribute_count_limit: WholeNumber | None = Field(None, description="a whole number")
    span_attribute_value_length_limit: WholeNumber | None = Field(None, description=LENGTH)
    span_event_count_limit: WholeNumber | None = Field(None, description="a whole number")
    span_link_count_limit: WholeNumber | None = Field(None, description="a whole number")
    event_attribute_count_limit: WholeNumber | None = Field(None, description="a whole number")
    link_attribute_count_limit: WholeNumber | None = Field(None, description="a whole number")
    logrecord_attribute_count_limit: AttributeCount | None = Field(None, description=COUNT)
    logrecord_attribute_value_length_limit: WholeNumber | None = Field(None, description=LENGTH)

    # Which traces are recorded. The SDK's default, parentbased_always_on, does not record a
    # request whose caller set the flag "not sampled"; the response would name a trace that does
    # not exist.
    traces_sampler: Sampler = Field(
        "always_on", description="always_on, always_off, traceidratio, parentbased_..."
    )
    traces_sampler_arg: Ratio | None = Field(None, description="a share, 0 to 1")

    # How metrics are aggregated. Prometheus refuses delta temporality; with its experimental
    # support it forgets a series that is not reported for five minutes. The alert rules, the
    # dashboards and the local store need buckets with explicit bounds.
    metrics_exemplar_filter: ExemplarFilter = Field(
        "trace_based", description="always_on, always_off or trace_based"
    )
    exporter_otlp_metrics_temporality_preference: Temporality = Field(
        "cumulative", description="cumulative"
    )
    exporter_otlp_metrics_default_histogram_aggregation: HistogramAggregation = Field(
        "explicit_bucket_histogram", description="explicit_bucket_histogram"
    )
    python_sdk_internal_metrics_enabled: Boolean = Field("false", description="true or false")

    # How context is propagated. Without a propagator the ASGI instrumentation has no context to
    # start a span in, and every request fails.
    propagators: Propagators = Field(
        "tracecontext,baggage", description="tracecontext, baggage or both"
    )
    python_context: RuntimeContext = Field("contextvars_context", description="contextvars_context")

    # Which headers of a request become attributes of its span.
    instrumentation_http_capture_headers_server_request: Patterns | None = Field(
        None, description=PATTERNS
    )
    instrumentation_http_capture_headers_server_response: Patterns | None = Field(
        None, description=PATTERNS
    )
    instrumentation_http_capture_headers_client_request: Patterns | None = Field(
        None, description=PATTERNS
    )
    instrumentation_http_capture_headers_client_response: Patterns | None = Field(
        None, description=PATTERNS
    )
    instrumentation_http_capture_headers_sanitize_fields: Patterns | None = Field(
        None, description=PATTERNS
    )

    # A span would be named after any method that a client invents, and so would the series that
    # Tempo makes of span names.
    python_instrumentation_http_capture_all_methods: Off = Field("false", description="false")

    # What the library decides in its code.
    config_file: Refused | None = Field(None, description=IN_CODE)
    python_id_generator: Refused | None = Field(None, description=IN_CODE)
    python_excluded_urls: Refused | None = Field(None, description=ONE_LIST)

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return ``values`` as texts without leading and trailing blanks."""
        return {name: str(value).strip() for name, value in values.items()}

    @classmethod
    def _describe(cls, problem: ErrorDetails) -> str:
        field = str(problem["loc"][0])
        return refusal(cls.variable(field), cls.model_fields[field].description or "")


def refusal(name: str, allowed: str) -> str:
    """Return the error line for the variable ``name``: its value and what is ``allowed``.

    The value is replaced by ``...`` if ``name`` ends in HEADERS, because headers may hold
    credentials.
    """
    value = os.environ.get(name, "").strip()
    is_secret = name.endswith("HEADERS")
    return f"{name}={shown(value, secret=is_secret)}: allowed is {allowed}"
