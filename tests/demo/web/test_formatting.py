"""Tests of how numbers are written for people."""

import time

import pytest

from three_pillar_demo.web import formatting


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.0, "1.0 s"),
        (99.94, "99.9 s"),
        (99.96, "2 min"),
        (None, "–"),  # noqa: RUF001  (the text for an unknown value)
    ],
)
def test_unit_of_a_duration_is_chosen_after_rounding(seconds: float | None, text: str) -> None:
    """A duration is never written as 1000 ms, 10.0 ms or 100.0 s."""
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (0, "0.0 %"),
        (0.0001, "0.1 %"),
        (0.125, "12.5 %"),
        (0.9999, "99.9 %"),
        (1, "100.0 %"),
    ],
)
def test_few_failures_never_look_like_none(ratio: float, text: str) -> None:
    """One failure of thousands is not 0.0 %, and one success of thousands not 100.0 %."""
    assert formatting.percentage(ratio) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (None, "–"),  # noqa: RUF001  (the en dash of the page)
        (0.0, "0.0/s"),
        (4.81, "4.8/s"),
        (0.05, "0.1/s"),
        (0.0333, "2.0/min"),
        (1e-9, "0.1/min"),
    ],
)
def test_a_rate_is_never_shown_as_zero_if_it_is_not(per_second: float | None, text: str) -> None:
    """A small rate is shown per minute, so that something is not shown as nothing."""
    assert formatting.rate(per_second) == text


def test_a_time_of_another_day_has_its_date() -> None:
    """A time of today is shown as the time of day, and an older one with its date."""
    now = time.time()
    assert formatting.moment(now) == formatting.clock(now)
    older = time.mktime((2026, 3, 9, 14, 5, 9, 0, 0, -1))
    assert formatting.moment(older) == "2026-03-09 14:05:09"
