"""Tests that values are written with their unit as people write them."""

import math

import pytest

from three_pillar_demo.web.formatting import NO_VALUE
from three_pillar_demo.web.units import formatter, tick_formatter, tick_unit, unit_text


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("By", 0.0, "0 B"),
        ("By", 512.0, "512 B"),
        ("By", 1536.0, "1.5 KiB"),
        ("By", 1023.99 * 1024, "1 MiB"),
        ("By", 200e6, "191 MiB"),
        ("By", 1e18, "888 PiB"),
        ("By", -2048.0, "-2 KiB"),
        ("MiBy", 3.0, "3 MiB"),
        ("kBy", 1.0, "1,000 B"),
        ("s", 0.0, "0 s"),
        ("s", 0.0000152, "15.2 µs"),
        ("s", 0.9996, "1 s"),
        ("s", 90.0, "90 s"),
        ("s", 600.0, "10 min"),
        ("s", 90000.0, "25 h"),
        ("s", 864000.0, "10 d"),
        ("ms", 12.5, "12.5 ms"),
        ("ms", 1500.0, "1.5 s"),
        ("us", 3.0, "3 µs"),
        ("min", 1.0, "60 s"),
        ("1", 0.25, "0.25"),
        ("", 1234.5, "1,234"),
        ("{request}", 3.0, "3"),
        ("{request}", 123456.0, "123,456"),
        ("", 12.34e6, "12.3 M"),
        ("", 1e18, "1e18"),
        ("", -2.5e20, "-2.5e20"),
        ("", 0.00001, "1e-5"),
        ("", 5e-324, "4.94e-324"),
        ("", 1.7e308, "1.7e308"),
        ("%", 35.0, "35 %"),
        ("Cel", -4.5, "-4.5 °C"),
        ("EUR", 2.0, "2 EUR"),
        ("By/s", 2048.0, "2 KiB/s"),
        ("{packet}/s", 20.0, "20.0/s"),
        ("x" * 5000, 1.0, f"1 {'x' * 15}…"),
        ("\x1b[31m", 1.0, "1 \\x1b[31m"),
    ],
)
def test_a_value_has_its_unit(unit: str, value: float, expected: str) -> None:
    """Each value is scaled to a unit that people know, with three digits that say something."""
    assert formatter(unit)(value) == expected


@pytest.mark.parametrize("unit", ["", "By", "s", "ms", "%", "1", "{request}", "EUR", "By/s"])
@pytest.mark.parametrize("per_second", [False, True])
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_value(
    unit: str, value: float | None, *, per_second: bool
) -> None:
    """NaN, infinity and an unknown value are written as no value, with every unit."""
    assert formatter(unit, per_second=per_second)(value) == NO_VALUE


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("", 4.8, "4.8/s"),
        ("{order}", 0.02, "1.2/min"),
        ("", 12345678.0, "12.3 M/s"),
        ("By", 2048.0, "2 KiB/s"),
        ("s", 0.25, "250 ms/s"),
        ("EUR", 1e15, "1e15 EUR/s"),
        ("", -1.0, "-1/s"),
    ],
)
def test_a_rate_has_its_unit_per_second(unit: str, value: float, expected: str) -> None:
    """A rate is the unit per second, and a small number of events is per minute."""
    assert formatter(unit, per_second=True)(value) == expected


def test_a_ratio_is_written_in_per_cent() -> None:
    """A utilization, or a ratio by its name, is written in per cent; another 1 is a number."""
    assert formatter("1", "system.cpu.utilization")(0.356) == "35.6 %"
    assert formatter("1", "cache_hit_ratio")(1.0) == "100 %"
    assert formatter("1", "process.threads")(12.0) == "12"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("By", "bytes"), ("{request}", "request"), ("1", ""), ("s", "s"), ("Cel", "°C"), ("{}", "")],
)
def test_a_unit_is_named_in_words(unit: str, expected: str) -> None:
    """The list of metrics names units by words, without the braces of an annotation."""
    assert unit_text(unit) == expected


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("EUR", "400 T/s"), ("x" * 50, "400 T/s"), ("By", "364 TiB/s"), ("W", "400 T W/s")],
)
def test_ticks_have_no_long_unit(unit: str, expected: str) -> None:
    """A tick of an axis leaves out a unit for which there is no room."""
    assert tick_formatter(unit, per_second=True)(400e12) == expected


@pytest.mark.parametrize("unit", ["By", "KiBy", "s", "d", "ns", "{order}"])
@pytest.mark.parametrize("largest", [0.0, 5e-324, 1e18, 1.7e308, math.inf])
def test_any_axis_has_a_unit_for_its_ticks(unit: str, largest: float) -> None:
    """However small or large the values are, the ticks are multiples of some finite number."""
    assert 0 < tick_unit(unit, largest) < math.inf


@pytest.mark.parametrize("unit", ["By", "TiBy", "s", "d", "ns", "", "%", "EUR", "By/s"])
@pytest.mark.parametrize("value", [1.7e308, -1.7e308, 5e-324, -5e-324, 1e30, 1e18])
def test_no_number_is_too_large_to_be_written(unit: str, value: float) -> None:
    """The largest and the smallest numbers have a short text in every unit."""
    for per_second in (False, True):
        assert 0 < len(formatter(unit, per_second=per_second)(value)) < 25
