"""Formats values with the unit of a metric, as people write them: 1.5 MiB, 20 ms, 35 %.

Units are those of UCUM (https://ucum.org/ucum), as OpenTelemetry uses them, such as ``By``, ``ms``,
``1`` and ``{request}``. A text has three significant digits.
"""

import math
from collections.abc import Callable

from three_pillar_demo.terminal import printable
from three_pillar_demo.web import formatting
from three_pillar_demo.web.formatting import NO_VALUE

Value = float | None
Formatter = Callable[[Value], str]

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""The length of each unit of time, in seconds."""
BYTES = {
    "By": 1.0,
    "kBy": 1e3,
    "MBy": 1e6,
    "GBy": 1e9,
    "TBy": 1e12,
    "KiBy": 1024.0,
    "MiBy": 1024.0**2,
    "GiBy": 1024.0**3,
    "TiBy": 1024.0**4,
}
"""The size of each unit of information, in bytes."""
SYMBOLS = {"Cel": "°C", "bit": "bit", "[degF]": "°F"}
"""How people write a unit that is not written as in UCUM."""
UNIT_WORDS = SYMBOLS | {"1": "", "By": "bytes", "us": "µs"}
"""How the list of metrics names a unit."""
DURATION_STEPS = (
    (1e-9, "ns"),
    (1e-6, "µs"),
    (1e-3, "ms"),
    (1.0, "s"),
    (60.0, "min"),
    (3600.0, "h"),
    (86400.0, "d"),
)
BYTE_NAMES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
BYTE_STEPS = tuple((1024.0**power, name) for power, name in enumerate(BYTE_NAMES))
NUMBER_STEPS = ((1.0, ""), (1e6, "M"), (1e9, "G"), (1e12, "T"))
"""The steps of a plain number; below a million it is written in full: 123,456."""
MIN_OF_LONG_UNITS = 2.0
"""How many minutes, hours or days there are at least where they are the unit."""
MAX_NUMBER = 1e15
MAX_SCALED = 1e30
"""A larger value is in the largest unit; in the smallest one, it might be beyond all numbers."""
MIN_NUMBER = 1e-4
MANY_DIGITS = 99.95
"""From here on, three significant digits are a whole number."""
MAX_TICK_UNIT = 4
"""The number of characters that one of a unit may have, to be written at each tick of an axis."""
MAX_UNIT_TEXT = 16
"""The number of characters of an unknown unit that is shown."""


def formatter(unit: str, name: str = "", *, per_second: bool = False) -> Formatter:
    """Return the function that formats values in ``unit``; None becomes ``NO_VALUE``.

    A metric without a unit whose ``name`` says that it is a utilization or a ratio is written in
    per cent. With ``per_second``, the values are a rate of the unit per second.
    """
    base = _base_formatter(unit, name)
    if not per_second:
        return base
    if base is number:
        return rate

    def rate_of_unit(value: Value) -> str:
        text = base(value)
        return text if text == NO_VALUE else f"{text}/s"

    return rate_of_unit


def tick_formatter(unit: str, name: str = "", *, per_second: bool = False) -> Formatter:
    """Return the function for the ticks of an axis, which have no room for a long unit."""
    is_long = len(formatter(unit, name)(1.0)) > MAX_TICK_UNIT
    return formatter("" if is_long else unit, name, per_second=per_second)


def tick_unit(unit: str, largest: float) -> float:
    """Return what the ticks of an axis are round multiples of, in ``unit``.

    An axis that ends at ``largest`` has ticks such as 500 KiB or 2 h, not 488 KiB or 1.94 h.
    """
    for factors, steps in ((BYTES, BYTE_STEPS), (SECONDS, DURATION_STEPS)):
        if unit in factors and math.isfinite(largest * factors[unit]):
            return _step_of(largest * factors[unit], steps)[0] / factors[unit]
    return 1.0


def unit_text(unit: str) -> str:
    """Return the unit in words, ``bytes`` or ``request``, without braces; empty for 1."""
    if unit in UNIT_WORDS:
        return UNIT_WORDS[unit]
    is_annotation = unit.startswith("{") and unit.endswith("}")
    return printable(unit[1:-1] if is_annotation else unit, MAX_UNIT_TEXT)


def number(value: Value) -> str:
    """Format a number without a unit: ``0.25``, ``1,234``, ``12.3 M``, ``1e18``."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    size = abs(value)
    if size and not MIN_NUMBER <= size < MAX_NUMBER:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return _in_steps(value, NUMBER_STEPS)


def rate(value: Value) -> str:
    """Format how often something happens: ``4.8/s``, ``1.2/min`` if seldom, ``12.3 M/s``."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    return formatting.rate(value) if 0 <= value < MANY_DIGITS else f"{number(value)}/s"


def seconds(value: Value) -> str:
    """Format a length of time: ``15 µs``, ``1.25 s``, ``3.5 h``."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    return _in_steps(value, DURATION_STEPS) if value else "0 s"


def size_in_bytes(value: Value) -> str:
    """Format a size: ``512 B``, ``1.5 MiB``."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    return _in_steps(value, BYTE_STEPS)


def percent(value: Value) -> str:
    """Format a number of per cent: ``35 %``."""
    text = number(value)
    return text if text == NO_VALUE else f"{text} %"


def _base_formatter(unit: str, name: str) -> Formatter:
    if unit in SECONDS:
        return _scaled(seconds, SECONDS[unit])
    if unit in BYTES:
        return _scaled(size_in_bytes, BYTES[unit])
    if unit == "%":
        return percent
    if unit in {"", "1"} or (unit.startswith("{") and unit.endswith("}")):
        is_ratio = unit == "1" and ("utilization" in name or name.endswith("ratio"))
        return _scaled(percent, 100.0) if is_ratio else number
    whole, _, time = unit.rpartition("/")
    if whole and time == "s":
        return formatter(whole, name, per_second=True)
    symbol = SYMBOLS.get(unit) or printable(unit, MAX_UNIT_TEXT)

    def with_symbol(value: Value) -> str:
        text = number(value)
        return text if text == NO_VALUE else f"{text} {symbol}"

    return with_symbol


def _scaled(base: Formatter, factor: float) -> Formatter:
    return lambda value: base(None if value is None else value * factor)


def _in_steps(value: float, steps: tuple[tuple[float, str], ...]) -> str:
    """Format ``value`` in the largest unit of ``steps`` of which there is at least one.

    Of minutes, hours and days there must be two. The unit is chosen after rounding: 999.6 ms are
    1 s, and never 1,000 ms.
    """
    factor, name = _step_of(value, steps)
    return f"{_digits(value / factor)} {name}".rstrip()


def _step_of(value: float, steps: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    if abs(value) > MAX_SCALED:
        return steps[-1]
    step = steps[0]
    for next_step in steps[1:]:
        least = MIN_OF_LONG_UNITS if next_step[1] in {"min", "h", "d"} else 1.0
        rounded = float(_digits(abs(value) / step[0]).replace(",", "")) * step[0]
        if rounded < least * next_step[0]:
            break
        step = next_step
    return step


def _digits(value: float) -> str:
    """Return three significant digits, or the whole number if it has more: ``1,234``."""
    if abs(value) >= MAX_NUMBER:
        return number(value)
    if abs(value) >= MANY_DIGITS:
        return f"{value:,.0f}"
    return f"{value:.3g}"
