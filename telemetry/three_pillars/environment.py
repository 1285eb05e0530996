"""The standard ``OTEL_*`` variables: which values are obeyed, our defaults, and the refusals.

The SDK ignores many values that it does not know, some of them with a traceback. Here a value is
obeyed, or refused with a line that says what is allowed. This module imports nothing of
OpenTelemetry, so that a program can check its variables before OpenTelemetry reads them.
"""

import os
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from .settings import ConfigurationError, Settings, shown

PREFIX = "OTEL_"

PORT = r"(:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
"""A pattern for an optional port, 1 to 65535."""

HTTP_ADDRESS = rf"^https?://([\w.-]+|\[[0-9a-fA-F:]+\]){PORT}"
"""A pattern for the beginning of an address: scheme, host and port, without a user's name."""

MAX_RESOURCE_ATTRIBUTES = 64
MAX_RESOURCE_NAME_LENGTH = 255
MAX_RESOURCE_VALUE_LENGTH = 1024

DEFAULT_BATCH_SIZE = 512
"""Items in one batch, the SDK's own default."""

STABILITY_OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


def _digits(value: object) -> object:
    """Refuse a number that is not written with digits alone: ``1.0`` and ``1_000`` are int to pydantic."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("not a whole number")
    return value


def _decimal(value: object) -> object:
    """Refuse a number that is not written with digits and at most one point, like ``inf`` or ``1e3``."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]*\.?[0-9]*", value):
        raise ValueError("not a decimal number")
    return value


def _lower(value: object) -> object:
    """Return text in lower case, for the values that the SDK takes in any case."""
    return value.lower() if isinstance(value, str) else value


def _list_of(*allowed: str) -> Callable[[str], str]:
    """Return a validator of comma-separated lists whose items are all in ``allowed``."""

    def check(value: str) -> str:
        unknown = {item.strip() for item in value.split(",")} - set(allowed)
        if unknown:
            raise ValueError(f"unknown: {sorted(unknown)}")
        return value

    return check


def _resource_attributes(value: str) -> str:
    """Refuse what is not a list of ``name=value``, and what is more than Loki takes with a record."""
    pairs = value.removesuffix(",").split(",")
    if len(pairs) > MAX_RESOURCE_ATTRIBUTES:
        raise ValueError("too many attributes")
    for pair in pairs:
        name, equals, attribute = pair.partition("=")
        name_is_valid = re.fullmatch(rf"\S{{1,{MAX_RESOURCE_NAME_LENGTH}}}", name.strip())
        if not equals or not name_is_valid or len(attribute) > MAX_RESOURCE_VALUE_LENGTH:
            raise ValueError("not a list of attributes")
    return value


def _headers(value: str) -> str:
    """Refuse what the exporter would leave out, and an encoded line break, which ends a header."""
    header = r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ !#-+\--:<-\[\]-~]*"
    if not re.fullmatch(f"{header}(,{header})*,?", value) or re.search("%0[ad]", value, re.I):
        raise ValueError("not a list of headers")
    return value


def _readable_file(value: str) -> str:
    if not os.access(value, os.R_OK):
        raise ValueError("no such file")
    return value


def _regular_expressions(value: str) -> str:
    """Refuse a list with an item that ``re`` cannot compile."""
    for item in value.split(","):
        try:
            re.compile(item.strip())
        except re.error as error:
            raise ValueError(str(error)) from error
    return value


def _nothing(value: str) -> str:
    """Refuse any value."""
    raise ValueError("not supported")


WholeNumber = Annotated[int, BeforeValidator(_digits), Field(le=999_999_999)]
PositiveNumber = Annotated[WholeNumber, Field(ge=1)]
# loki.yaml lets a record have 256 pieces of metadata: the resource's and its own.
AttributeCount = Annotated[WholeNumber, Field(le=128)]
Seconds = Annotated[float, BeforeValidator(_decimal), Field(gt=0, lt=1_000_000)]
Share = Annotated[float, BeforeValidator(_decimal), Field(ge=0, le=1)]
Boolean = Annotated[Literal["true", "false"], BeforeValidator(_lower)]
Endpoint = Annotated[str, Field(pattern=rf"{HTTP_ADDRESS}(/\S*)?$")]
Protocol = Literal["http/protobuf"]
Compression = Literal["none", "gzip", "deflate"]
Headers = Annotated[str, AfterValidator(_headers)]
ReadableFile = Annotated[str, AfterValidator(_readable_file)]
Exporter = Literal["otlp", "none"]
Patterns = Annotated[str, AfterValidator(_regular_expressions)]
Nothing = Annotated[str, AfterValidator(_nothing)]

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
IN_CODE = "none: the library decides this in its code"
ONE_LIST = "none: three_pillars.EXCLUDED_PATHS holds for all three pillars"


class OpenTelemetryVariables(Settings):
    """The ``OTEL_*`` variables that the SDK or an instrumentation of this library reads.

    The description of a field says which values are allowed. A default here is ours where the
    SDK's own is another; a field without a default leaves the SDK's own.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, validate_default=False)

    # Which telemetry is sent.
    sdk_disabled: Boolean = Field("false", description="true or false")
    traces_exporter: Exporter = Field("otlp", description=EXPORTER)
    metrics_exporter: Exporter = Field("otlp", description=EXPORTER)
    logs_exporter: Exporter = Field("otlp", description=EXPORTER)

    # What the telemetry says of its origin.
    service_name: str | None = Field(
        None, min_length=1, max_length=255, description="at most 255 characters"
    )
    resource_attributes: Annotated[str, AfterValidator(_resource_attributes)] | None = Field(
        None,
        description="name=value, comma-separated, at most 64, values at most 1024 long",
    )
    experimental_resource_detectors: (
        Annotated[
            str, AfterValidator(_list_of("otel", "process", "os", "host", "service_instance", "*"))
        ]
        | None
    ) = Field(None, description="otel, process, os, host, service_instance")

    # Where it is sent, and how.
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

    # How long it is batched. The SDK waits 5 s with spans and 60 s with metrics, while somebody
    # who just clicked is waiting for them. The queues hold four minutes of ten checkouts a
    # second, some 30 MB, while the Collector is away.
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

    # Which traces are recorded. The SDK's default, parentbased_always_on, obeys a stranger who
    # says "not sampled", and hands out a trace id that is in no trace.
    traces_sampler: Literal[
        "always_on",
        "always_off",
        "traceidratio",
        "parentbased_always_on",
        "parentbased_always_off",
        "parentbased_traceidratio",
    ] = Field("always_on", description="always_on, always_off, traceidratio, parentbased_...")
    traces_sampler_arg: Share | None = Field(None, description="a share, 0 to 1")

    # How metrics are aggregated. Prometheus refuses deltas, or with a feature of its own loses
    # count of a series that is not reported for five minutes. The alert rules, the dashboards
    # and the local store count in buckets with explicit bounds.
    metrics_exemplar_filter: Literal["always_on", "always_off", "trace_based"] = Field(
        "trace_based", description="always_on, always_off or trace_based"
    )
    exporter_otlp_metrics_temporality_preference: Annotated[
        Literal["cumulative"], BeforeValidator(_lower)
    ] = Field("cumulative", description="cumulative")
    exporter_otlp_metrics_default_histogram_aggregation: Literal["explicit_bucket_histogram"] = (
        Field("explicit_bucket_histogram", description="explicit_bucket_histogram")
    )
    python_sdk_internal_metrics_enabled: Boolean = Field("false", description="true or false")

    # How context is carried. Without a propagator the ASGI instrumentation has no context to
    # start a span in, and every request fails.
    propagators: Annotated[str, AfterValidator(_list_of("tracecontext", "baggage"))] = Field(
        "tracecontext,baggage", description="tracecontext, baggage or both"
    )
    python_context: Literal["contextvars_context"] = Field(
        "contextvars_context", description="contextvars_context"
    )

    # Which headers of a request become attributes of its span.
    instrumentation_http_capture_headers_server_request: Patterns | None = Field(
        None, description="regular expressions"
    )
    instrumentation_http_capture_headers_server_response: Patterns | None = Field(
        None, description="regular expressions"
    )
    instrumentation_http_capture_headers_client_request: Patterns | None = Field(
        None, description="regular expressions"
    )
    instrumentation_http_capture_headers_client_response: Patterns | None = Field(
        None, description="regular expressions"
    )
    instrumentation_http_capture_headers_sanitize_fields: Patterns | None = Field(
        None, description="regular expressions"
    )

    # What the library decides in its code.
    config_file: Nothing | None = Field(None, description=IN_CODE)
    python_id_generator: Nothing | None = Field(None, description=IN_CODE)
    python_excluded_urls: Nothing | None = Field(None, description=ONE_LIST)

    @classmethod
    def _describe(cls, problem: ErrorDetails) -> str:
        field = str(problem["loc"][0])
        return _refusal(cls.variable(field), cls.model_fields[field].description or "")

    @model_validator(mode="before")
    @classmethod
    def _strip(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Remove the blanks with which a file or a form padded a value."""
        return {name: str(value).strip() for name, value in values.items()}


REFUSED_SUFFIXES = {
    "_EXCLUDED_URLS": ONE_LIST,
    "_CONFIGURATOR": IN_CODE,
    "_PROVIDER": IN_CODE,
}
"""Ends of ``OTEL_PYTHON_*`` variables; each instrumentation and each signal has its own."""


def prepare() -> OpenTelemetryVariables:
    """Validate the ``OTEL_*`` variables, and put them into ``os.environ`` as OpenTelemetry needs them.

    ``install()`` calls this. A program whose ``main`` turns refusals into one line calls it
    before it imports FastAPI: OTEL_PROPAGATORS and OTEL_PYTHON_CONTEXT are read while
    OpenTelemetry is imported, which FastAPI does, and that import raises on an unknown value.

    Raises:
        ConfigurationError: Values cannot be obeyed; there is one line for each variable.
    """
    variables = validate()
    # The SDK and the exporters read the environment themselves, where a blank or a padded value
    # is not what the specification says it is.
    for name in _names():
        value = os.environ.pop(name).strip()
        if value:
            os.environ[name] = value
    # Read when the first instrumentation starts, and there is no parameter for it. The old
    # conventions put the client's Host header on metrics, where a stranger could make series
    # without end, so the stable HTTP conventions are always chosen.
    chosen = os.environ.get(STABILITY_OPT_IN, "").split(",")
    others = [convention for convention in chosen if convention and "http" not in convention]
    os.environ[STABILITY_OPT_IN] = ",".join(["http", *others])
    return variables


def validate() -> OpenTelemetryVariables:
    """Return the ``OTEL_*`` variables, with our defaults for those that are unset or blank.

    Raises:
        ConfigurationError: Values cannot be obeyed; there is one line for each variable.
    """
    problems: list[str] = []
    try:
        variables = OpenTelemetryVariables.load()
    except ConfigurationError as error:
        problems += error.problems
    else:
        problems += _batch_problems(variables)
    refused = {problem.partition("=")[0] for problem in problems}
    for name in _names():
        if name not in refused:
            problems += _other_problems(name, os.environ[name].strip())
    if problems:
        raise ConfigurationError(problems)
    return variables


def _names() -> list[str]:
    return sorted(name for name in os.environ if name.startswith(PREFIX))


def _refusal(name: str, allowed: str) -> str:
    """Return the line that refuses the value of a variable."""
    value = os.environ.get(name, "").strip()
    return f"{name}={shown(value, secret=name.endswith('HEADERS'))}: allowed is {allowed}"


def _batch_problems(variables: OpenTelemetryVariables) -> list[str]:
    """Refuse batches that are larger than their queue: the SDK raises on them."""
    problems = []
    for processor in ("bsp", "blrp"):
        batch = f"{processor}_max_export_batch_size"
        queue = f"{processor}_max_queue_size"
        if getattr(variables, batch) > getattr(variables, queue):
            changed = batch if batch in variables.model_fields_set else queue
            problems.append(
                _refusal(
                    variables.variable(changed),
                    f"a batch ({DEFAULT_BATCH_SIZE} by default) no greater than its queue (8192)",
                )
            )
    return problems


def _other_problems(name: str, value: str) -> list[str]:
    """Refuse what no field can: variables of open-ended names, and text that no record can carry."""
    if not value:
        return []
    for suffix, allowed in REFUSED_SUFFIXES.items():
        if name.startswith("OTEL_PYTHON_") and name.endswith(suffix):
            return [_refusal(name, allowed)]
    if not value.isprintable():
        return [_refusal(name, "text in UTF-8, in one line")]
    return []
