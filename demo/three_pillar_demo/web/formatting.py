"""Numbers and moments as a person reads them, in as many characters each time, so that nothing jumps."""

import re
import time

UNITS = (
    (0.01, 1000, 1, "ms"),
    (1.0, 1000, 0, "ms"),
    (100.0, 1, 1, "s"),
    (float("inf"), 1 / 60, 0, "min"),
)
"""Under so many seconds: times what, with how many digits, of which unit."""


def seconds(value: float | None) -> str:
    """A duration, in the unit that suits it: ``163 ms``, ``2.0 s``, ``3 min``."""
    if value is None:
        return "–"  # noqa: RUF001  (a dash of a digit's width)
    _, scale, digits, unit = next((each for each in UNITS if value < each[0]), UNITS[-1])
    return f"{value * scale:.{digits}f} {unit}"


def ratio(value: float | None) -> str:
    """A share: ``12.5 %``."""
    return seconds(None) if value is None else f"{value * 100:.1f} %"


def rate(value: float | None) -> str:
    """How many a second: ``4.8/s``."""
    return seconds(None) if value is None else f"{value:.1f}/s"


def round_one(said: str) -> str:
    """A number with a unit without the digits that a round one does not need: ``2 s``, ``0``."""
    short = re.sub(r"\.0+(?=\D)", "", said)
    return "0" if re.match(r"0 |0/", short) else short


def between(low: float, high: float) -> str:
    """The bounds of a bucket of durations: ``250 ms to 500 ms``."""
    least = round_one(seconds(low))
    return f"over {least}" if high == float("inf") else f"{least} to {round_one(seconds(high))}"


def size(octets: float) -> str:
    """Bytes: ``13.2 MiB``."""
    return f"{octets / 1024**2:.1f} MiB"


def clock(at: float, *, fine: bool = False) -> str:
    """A moment of the day where this process runs; ``fine`` with milliseconds."""
    said = time.strftime("%H:%M:%S", time.localtime(at))
    return f"{said}.{int(at % 1 * 1000):03}" if fine else said


def age(value: float | None) -> str:
    """How long ago something was told."""
    return (
        "none yet"
        if value is None
        else f"{max(value, 0.0):.1f} s ago"
        if value < UNITS[2][0]
        else f"{seconds(value)} ago"
    )
