"""Types of environment variables: each refuses the text that OpenTelemetry would not obey.

A type is an annotation of a field in ``variables.py``. Its validator is a small named function
where neither a type of Python nor a pattern says enough. Its errors have no text, because the
message to the user is the description of the field.
"""

import os
import re
from collections.abc import Callable
from typing import Annotated, Literal, Never

from pydantic import AfterValidator, BeforeValidator, Field

PORT = r"(:([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5]))?"
"""A pattern for an optional port, 1 to 65535."""

HTTP_ADDRESS = rf"^https?://([\w.-]+|\[[0-9a-fA-F:]+\]){PORT}"
"""A pattern for the beginning of an address: scheme, host and port, without user and password."""

HEADER = r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ !#-+\--:<-\[\]-~]*"
"""A pattern for one header, in the encoding of W3C baggage that OTLP exporters read."""

MAX_RESOURCE_ATTRIBUTES = 64
MAX_RESOURCE_NAME_LENGTH = 255
MAX_RESOURCE_VALUE_LENGTH = 1024


def check_digits(value: object) -> object:
    """Refuse a number with other characters than digits: pydantic reads ``1.0`` and ``1_0``."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError
    return value


def check_decimal(value: object) -> object:
    """Refuse a number with more than digits and one point: pydantic reads ``inf`` and ``1e3``."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]*\.?[0-9]*", value):
        raise ValueError
    return value


def to_lower(value: object) -> object:
    """Return text in lower case, for a value that OpenTelemetry obeys in any case."""
    return value.lower() if isinstance(value, str) else value


def list_of(*allowed: str) -> Callable[[str], str]:
    """Return a validator of comma-separated lists whose items are all in ``allowed``."""

    def check_list(value: str) -> str:
        items = {item.strip() for item in value.split(",")}
        if not items <= set(allowed):
            raise ValueError
        return value

    return check_list


def check_resource_attributes(value: str) -> str:
    """Refuse what is no list of ``name=value``, and more than Loki accepts with a log record."""
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
    """Refuse what the exporter would leave out, and an encoded line break, which ends a header."""
    if not re.fullmatch(f"{HEADER}(,{HEADER})*,?", value):
        raise ValueError
    if re.search("%0[ad]", value.lower()):
        raise ValueError
    return value


def check_readable(value: str) -> str:
    """Refuse the name of a file that this process cannot read."""
    if not os.access(value, os.R_OK):
        raise ValueError
    return value


def check_patterns(value: str) -> str:
    """Refuse a comma-separated list with an item that is not a regular expression."""
    for item in value.split(","):
        try:
            re.compile(item.strip())
        except re.error as error:
            raise ValueError from error
    return value


def refuse(_value: str) -> Never:
    """Refuse every value."""
    raise ValueError


WholeNumber = Annotated[int, BeforeValidator(check_digits), Field(le=999_999_999)]
PositiveNumber = Annotated[WholeNumber, Field(ge=1)]
AttributeCount = Annotated[WholeNumber, Field(le=128)]
"""Loki, as this repository configures it, accepts 256 entries: the resource and the record."""
Seconds = Annotated[float, BeforeValidator(check_decimal), Field(gt=0, lt=1_000_000)]
Ratio = Annotated[float, BeforeValidator(check_decimal), Field(ge=0, le=1)]
Boolean = Annotated[Literal["true", "false"], BeforeValidator(to_lower)]
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
