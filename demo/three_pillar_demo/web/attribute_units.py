"""Says what the number of an attribute is, for a person: its size in KiB, or its duration in s.

Only names whose unit is known have a hint: those that OpenTelemetry defines, and those that end
with their unit.
"""

import re

from three_pillar_demo.web import formatting

SIZE = re.compile(
    r"^http\.(request|response)\.size$|(body|envelope|file)[._]size$|compressed_size$"
    r"|content_length(_uncompressed)?$|[._]bytes$"
)
"""Names of attributes that are a number of bytes."""
DURATION_UNITS = {
    "s": re.compile(r"[._](s|secs|seconds)$"),
    "ms": re.compile(r"[._](ms|millis|milliseconds)$"),
    "us": re.compile(r"[._](us|micros|microseconds)$"),
    "ns": re.compile(r"[._](ns|nanos|nanoseconds)$"),
}
"""Names of attributes that end with the unit of a duration, by the unit."""
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB")
KIBI = 1024
NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?")


def value_hint(name: str, value: str) -> str:
    """Return the value of an attribute in a unit for people; "" if that is not known, or the same.

    ``value`` is its text: ``value_hint("http.request.body.size", "204800")`` is ``200 KiB``.
    """
    if not NUMBER.fullmatch(value):
        return ""
    number = float(value)
    if SIZE.search(name):
        return _size(number)
    for unit, pattern in DURATION_UNITS.items():
        if pattern.search(name):
            text = formatting.without_zeros(formatting.duration(number * SECONDS[unit]))
            return "" if text == "0" or text.endswith(f" {unit}") else text
    return ""


def _size(number: float) -> str:
    text = ""
    for unit in SIZE_UNITS:
        if number < KIBI:
            break
        number /= KIBI
        text = f"{number:.3g} {unit}"
    return text
