"""Formats numbers and times for people.

The width of a text is nearly constant, so that the page does not move when a value changes.
"""

import math
import re
import time
from dataclasses import dataclass

from three_pillar_demo.terminal import printable, without_ansi

NO_VALUE = "–"  # noqa: RUF001  (an en dash is as wide as a digit)
"""The text for an unknown value."""


@dataclass(frozen=True)
class DurationUnit:
    """The unit for durations of which the rounded text is below ``limit`` seconds.

    ``factor`` converts seconds to the unit, and ``digits`` are shown after the decimal point.
    """

    limit: float
    factor: float
    digits: int
    name: str

    def rounded(self, seconds: float) -> float:
        """Return the number that is shown for ``seconds``, in this unit."""
        return round(seconds * self.factor, self.digits)


DURATION_UNITS = (
    DurationUnit(limit=0.01, factor=1000, digits=1, name="ms"),
    DurationUnit(limit=1.0, factor=1000, digits=0, name="ms"),
    DurationUnit(limit=100.0, factor=1, digits=1, name="s"),
    DurationUnit(limit=math.inf, factor=1 / 60, digits=0, name="min"),
)
"""The units for durations, from short to long."""
MIN_PER_SECOND = 0.05
"""The smallest rate per second that is shown per second."""
MIN_PER_MINUTE = 0.1
"""The smallest rate per minute that is shown; a smaller one is shown as this one."""
MIN_PERCENT = 0.1
"""The smallest percentage, other than none, that is shown; a smaller one is shown as this one."""
MAX_AGE_IN_SECONDS = 100.0
"""The number of seconds from which an age is shown in minutes."""


def duration(seconds: float | None) -> str:
    """Format a duration in a suitable unit: ``163 ms``, ``2.0 s``, ``3 min``.

    The unit is chosen after rounding: 999.6 ms become ``1.0 s`` and never ``1000 ms``.
    None becomes ``NO_VALUE``.
    """
    if seconds is None:
        return NO_VALUE
    unit = DURATION_UNITS[-1]
    for candidate in DURATION_UNITS:
        if candidate.rounded(seconds) < candidate.limit * candidate.factor:
            unit = candidate
            break
    return f"{seconds * unit.factor:.{unit.digits}f} {unit.name}"


def signed_duration(seconds: float) -> str:
    """Format a difference of two times with its sign: ``+3.0 s``."""
    return f"{'-' if seconds < 0 else '+'}{duration(abs(seconds))}"


def percentage(ratio: float | None) -> str:
    """Format a ratio from 0 to 1 as a percentage: ``12.5 %``; None becomes ``NO_VALUE``.

    A ratio that is neither none nor all never looks like it: ``0.1 %`` and ``99.9 %`` are the ends.
    """
    if ratio is None:
        return NO_VALUE
    percent = ratio * 100
    if 0 < percent < 100:  # noqa: PLR2004  (per cent)
        percent = min(max(percent, MIN_PERCENT), 100 - MIN_PERCENT)
    return f"{percent:.1f} %"


def rate(per_second: float | None) -> str:
    """Format a rate: ``4.8/s``, or ``1.2/min`` if it is small; None becomes ``NO_VALUE``.

    A rate that is not zero never looks like zero.
    """
    if per_second is None:
        return NO_VALUE
    if per_second == 0 or per_second >= MIN_PER_SECOND:
        return f"{per_second:.1f}/s"
    return f"{max(per_second * 60, MIN_PER_MINUTE):.1f}/min"


def without_zeros(text: str) -> str:
    """Shorten a formatted round number: ``2.0 s`` becomes ``2 s``, and ``0.0 ms`` becomes ``0``."""
    shorter = re.sub(r"\.0+(?=\D)", "", text)
    if re.match(r"0 |0/", shorter):
        return "0"
    return shorter


def bucket_range(low: float, high: float) -> str:
    """Format the bounds of a histogram bucket, given in seconds: ``250 ms to 500 ms``.

    A bucket without an upper bound becomes ``over 10 s``.
    """
    low_text = without_zeros(duration(low))
    if high == math.inf:
        return f"over {low_text}"
    return f"{low_text} to {without_zeros(duration(high))}"


def mebibytes(size: float) -> str:
    """Format a number of bytes in mebibytes: ``13.2 MiB``."""
    return f"{size / 1024**2:.1f} MiB"


def printable_lines(text: object, limit: int) -> str:
    """Return ``text`` with its line breaks, cut after ``limit``, without control characters.

    The escape sequences that a program wrote for a terminal are left out.
    """
    plain = without_ansi(str(text))
    shown = "\n".join(printable(line, limit + 1) for line in plain[: limit + 1].splitlines())
    return f"{shown[: limit - 1]}…" if len(plain) > limit else shown


def clock(timestamp: float, *, milliseconds: bool = False) -> str:
    """Format a time in seconds since the epoch as the local time of day: ``14:05:09``.

    With ``milliseconds``, the result is ``14:05:09.123``.
    """
    text = time.strftime("%H:%M:%S", time.localtime(timestamp))
    if milliseconds:
        return f"{text}.{int(timestamp % 1 * 1000):03}"
    return text


def date(timestamp: float) -> str:
    """Format a time in seconds since the epoch as the local date: ``2026-01-31``."""
    return time.strftime("%Y-%m-%d", time.localtime(timestamp))


def moment(timestamp: float, *, milliseconds: bool = False) -> str:
    """Format a time in seconds since the epoch as the local time, with the date if not today.

    The result is ``14:05:09``, or ``2026-01-31 14:05:09``; with ``milliseconds``, it has these too.
    """
    text = clock(timestamp, milliseconds=milliseconds)
    if date(timestamp) == date(time.time()):
        return text
    return f"{date(timestamp)} {text}"


def age(seconds: float | None) -> str:
    """Format an age in seconds: ``1.2 s ago``; None becomes ``none yet``."""
    if seconds is None:
        return "none yet"
    if seconds < MAX_AGE_IN_SECONDS:
        return f"{max(seconds, 0.0):.1f} s ago"
    return f"{duration(seconds)} ago"
