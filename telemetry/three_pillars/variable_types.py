"""Types of the ``OTEL_*`` variables: each refuses the values that OpenTelemetry would ignore.

The fields in ``variables.py`` are annotated with these types. A type that needs more than a Python
type or a pattern has a validator function. The functions raise ValueError without a text, because
the error message contains the description of the field instead.
"""

import os
import re
from collections.abc import Callable
from typing import Annotated, Literal, Never

from pydantic import AfterValidator, BeforeValidator, Field

PORT = r"(:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
"""Pattern of an optional colon and port, 1 to 65535."""

HTTP_ADDRESS = rf"^https?://([\w.-]+|\[[0-9a-fA-F:]+\]){PORT}"
"""Pattern of the beginning of a URL: scheme, host and optional port, without user and password."""

HEADER = r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ !#-+\--:<-\[\]-~]*"
"""Pattern of one header as OTLP exporters read it: ``name=value``, the value percent-encoded."""

MAX_RESOURCE_ATTRIBUTES = 64
MAX_RESOURCE_NAME_LENGTH = 255
MAX_RESOURCE_VALUE_LENGTH = 1024


def check_digits(value: object) -> object:
    """Return ``value``; raise ValueError for a text with characters other than ASCII digits.

    Pydantic alone would accept ``1.0`` and ``1_0`` as whole numbers.
    """
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError
    return value


def check_decimal(value: object) -> object:
    """Return ``value``; raise ValueError for a text that is not digits with at most one point.

    Pydantic alone would accept ``inf`` and ``1e3`` as numbers.
    """
    if isinstance(value, str) and not re.fullmatch(r"[0-9]*\.?[0-9]*", value):
        raise ValueError
    return value


def to_lower(value: object) -> object:
    """Return ``value`` in lower case, for variables that OpenTelemetry reads case-insensitively."""
    return value.lower() if isinstance(value, str) else value


def list_of(*allowed: str) -> Callable[[str], str]:
    """Return a validator for a list, which is a comma-separated text.

    The validator raises ValueError if an item of the list is not in ``allowed``.
    """

    def check_list(value: str) -> str:
        items = {item.strip() for item in value.split(",")}
        if not items <= set(allowed):
            raise ValueError
        return value

    return check_list


def check_resource_attributes(value: str) -> str:
    """Return ``value``; raise ValueError if it is not a comma-separated list of ``name=value``.

    Raise ValueError also if the list, a name or a value is longer than Loki accepts: the constants
    ``MAX_RESOURCE_*`` are these limits.
    """
    pairs = value.removesuffix(",").split(",")
    if len(pairs) > MAX_RESOURCE_ATTRIBUTES:
        raise ValueError
    for pair in pairs:
        name, equals, attribute = pair.partition("=")
        if not equals or not re.fullmatch(r"\S+", name.strip()):
            raise ValueError
        too_long = len(name.strip()) > MAX_RESOURCE_NAME_LENGTH
        if too_long or len(attribute) > MAX_RESOURCE_VALUE_LENGTH:
            raise ValueError
    return value


def check_headers(value: str) -> str:
    """Return ``value``; raise ValueError if it is no comma-separated list of ``name=value``.

    The OTLP exporter would leave out a malformed item. An encoded line break (``%0a``, ``%0d``) is
    refused as well, because it would end the HTTP header.
    """
    if not re.fullmatch(f"{HEADER}(,{HEADER})*,?", value):
        raise ValueError
    if re.search("%0[ad]", value.lower()):
        raise ValueError
    return value


def check_readable(value: str) -> str:
    """Return ``value``, the path of a file; raise ValueError if this process cannot read it."""
    if not os.access(value, os.R_OK):
        raise ValueError
    return value


def check_patterns(value: str) -> str:
    """Return ``value``; raise ValueError if an item of it is not a regular expression.

    ``value`` is a comma-separated list.
    """
    for item in value.split(","):
        try:
            re.compile(item.strip())
        except re.error as error:
            raise ValueError from error
    return value


def refuse(_value: str) -> Never:
    """Raise ValueError for every value, because the variable must not be set."""
    raise ValueError


WholeNumber = Annotated[int, BeforeValidator(check_digits), Field(le=999_999_999)]
PositiveNumber = Annotated[WholeNumber, Field(ge=1)]
AttributeCount = Annotated[WholeNumber, Field(le=128)]
"""A limit for the number of attributes of one log record: a whole number up to 128.

Loki, as this repository configures it, accepts 256 entries for the attributes of the resource and
of the record together.
"""
Seconds = Annotated[float, BeforeValidator(check_decimal), Field(gt=0, lt=1_000_000)]
Ratio = Annotated[float, BeforeValidator(check_decimal), Field(ge=0, le=1)]
Boolean = Annotated[Literal["true", "false"], BeforeValidator(to_lower)]
Off = Annotated[Literal["false"], BeforeValidator(to_lower)]
Exporter = Literal["otlp", "none"]
Endpoint = Annotated[str, Field(pattern=rf"{HTTP_ADDRESS}(/\S*)?$")]
Protocol = Literal["http/protobuf"]
Compression = Literal["none", "gzip", "deflate"]
Headers = Annotated[str, AfterValidator(check_headers)]
ReadableFile = Annotated[str, AfterValidator(check_readable)]
ResourceAttributes = Annotated[str, AfterValidator(check_resource_attributes)]
ResourceDetectors = Annotated[
    str, AfterValidator(list_of("otel", "process", "os", "host", "service_instance", "*"))
]
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
ExemplarFilter = Literal["always_on", "always_off", "trace_based"]
Temporality = Annotated[Literal["cumulative"], BeforeValidator(to_lower)]
HistogramAggregation = Literal["explicit_bucket_histogram"]
Propagators = Annotated[str, AfterValidator(list_of("tracecontext", "baggage"))]
RuntimeContext = Literal["contextvars_context"]
Patterns = Annotated[str, AfterValidator(check_patterns)]
Refused = Annotated[str, AfterValidator(refuse)]
