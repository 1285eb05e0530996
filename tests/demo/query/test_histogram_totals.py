"""Tests that adding up series of the same times changes none of their totals."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

from three_pillar_demo.query.histogram_totals import (
    SeriesPoints,
    Totals,
    first_points,
    totals_of,
)

METRIC = "http_server_request_duration_seconds"
START = 100.0
BORN = 50.0
Point = tuple[float, float, int, float | None, str | None]


def series(
    counts: Sequence[int],
    *,
    status: int = 200,
    starts: Sequence[float] = (BORN, BORN, BORN),
    sums: Sequence[float | None] = (1.0, 2.0, 4.0),
    first_time: float = START - 10,
) -> SeriesPoints:
    """Return a series of one process with a point each 20 seconds from ``first_time`` on.

    If that is after ``START``, the first of these points is the first one ever.
    """
    born = first_time if first_time > START else BORN
    points: list[Point] = [
        (first_time + 20 * number, begin, count, total, f"[{count}, 0]")
        for number, (begin, count, total) in enumerate(zip(starts, counts, sums, strict=True))
    ]
    labels = {"job": "shop/cart", "http_route": "/a", "http_response_status_code": str(status)}
    return SeriesPoints(METRIC, "histogram", labels, "[1.0]", born, points)


ORDINARY = series([10, 30, 70])
OTHER = series([1, 2, 3])
FAILED = series([5, 5, 9], status=500)
RESTARTED = series([40, 2, 3], starts=(BORN, START, START))
RESTARTED_UNSEEN = series([4, 5, 6], starts=(BORN, START + 5, START + 5))
WITHOUT_SUM = series([7, 8, 9], sums=(None, None, None))
NEW = series([2, 4, 6], status=404, first_time=START + 10)
ALL = [ORDINARY, OTHER, FAILED, RESTARTED, RESTARTED_UNSEEN, WITHOUT_SUM, NEW]


def totals(*members: SeriesPoints) -> Totals:
    """Return the totals of some of the series, which are judged beside all others."""
    return totals_of(members, first_points(ALL, START), START)


def figures(found: Totals) -> dict[str, Any]:
    """Return what can be compared."""
    return {
        "requests": found.requests,
        "failed": found.failed,
        "seconds": found.seconds,
        "has_sums": found.has_sums,
        "increases": {key: count for key, count in sorted(found.increases.items()) if count},
    }


@pytest.mark.parametrize(
    ("one", "increases", "failed", "seconds"),
    [
        (ORDINARY, {(90, 110): 20, (110, 130): 40}, 0, 3.0),
        (FAILED, {(110, 130): 4}, 4, 3.0),
        (RESTARTED, {(100, 110): 2, (110, 130): 1}, 0, 4.0),
        (RESTARTED_UNSEEN, {(105, 110): 5, (110, 130): 1}, 0, 4.0),
        (WITHOUT_SUM, {(90, 110): 1, (110, 130): 1}, 0, 0.0),
        (NEW, {(110, 110): 2, (110, 130): 2, (130, 150): 2}, 0, 4.0),
    ],
)
def test_each_series_counts_its_increases(
    one: SeriesPoints, increases: dict[tuple[float, float], int], failed: int, seconds: float
) -> None:
    """A series counts what was added since its first point, or since zero if that is known."""
    found = figures(totals(one))
    assert found["increases"] == increases
    assert found["requests"] == sum(increases.values())
    assert found["failed"] == failed
    assert found["seconds"] == pytest.approx(seconds)
    assert found["has_sums"] is (one is not WITHOUT_SUM)


@pytest.mark.parametrize("pair", [*combinations(ALL, 2), tuple(ALL)])
def test_series_of_the_same_times_are_added(pair: Sequence[SeriesPoints]) -> None:
    """The totals of several series are the sums of their own, whatever restarts beside them."""
    expected = Totals()
    for one in pair:
        found = totals(one)
        expected.requests += found.requests
        expected.failed += found.failed
        expected.seconds += found.seconds
        expected.has_sums = expected.has_sums and found.has_sums
        for between, count in found.increases.items():
            expected.add_increase(*between, count)
    assert figures(totals(*pair)) == figures(expected)
