"""Rates and quantiles are Prometheus' own: worked out by its rules, and compared with its own program where that is there."""

import json
import math
import random
import subprocess
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
import yaml

from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.promql_math import (
    CounterSeries,
    Steps,
    histogram_quantile,
    red_samples,
)

EVERY = 10.0
INFINITY = math.inf


@pytest.mark.parametrize(
    ("times", "values", "end", "window", "rate"),
    [
        # Points from edge to edge: (40 - 20) over the 60 s between them; the one at the left edge itself is outside.
        pytest.param(
            [0, 30, 60, 90],
            [10, 20, 30, 40],
            90,
            90,
            30 / 90,
            id="to the left edge, where it goes on",
        ),
        # 60 s sampled, 30 s apart on average; 20 s to the start are under 33, 10 s to the end too: 20 x 90 / 60 over 90.
        pytest.param([20, 50, 80], [20, 30, 40], 90, 90, 20 * 90 / 60 / 90, id="both edges near"),
        # 70 s to the start are over 1.1 x 10: half an interval instead. 10 s to the end: to the edge.
        pytest.param([80, 90], [20, 30], 100, 100, 10 * (10 + 5 + 10) / 10 / 100, id="start far"),
        # 60 s to the end: half an interval.
        pytest.param(
            [10, 20, 30], [50, 60, 70], 90, 90, 20 * (20 + 10 + 5) / 20 / 90, id="end far"
        ),
        # It would have been zero 10 s before its first point, so it goes back 10 s, not 15.
        pytest.param(
            [15, 30, 45], [10, 25, 40], 60, 60, 30 * (30 + 10 + 15) / 30 / 60, id="not below zero"
        ),
        # 30, then reset, then 5 and 15: rises by 10 + 5 + 10.
        pytest.param([10, 20, 30, 40], [20, 30, 5, 15], 40, 40, 25 * 40 / 30 / 40, id="reset"),
        pytest.param([10, 20, 30], [7, 7, 7], 30, 30, 0.0, id="nothing happened"),
        pytest.param([10], [7], 30, 30, None, id="one point"),
        pytest.param([0, 10], [7, 9], 30, 20, None, id="none inside"),
        pytest.param([0, 10, 20], [7, 9, 10], 20, 20, 1 * 20 / 10 / 20, id="left edge outside"),
        pytest.param(
            [10, 20, 50], [7, 9, 99], 30, 30, 2 * (10 + 10 + 10) / 10 / 30, id="none after the end"
        ),
        pytest.param([], [], 30, 30, None, id="no points"),
    ],
)
def test_rate_follows_the_rules(
    times: list[float], values: list[float], end: float, window: float, rate: float | None
) -> None:
    """Extrapolation, its limits, resets and edges are those that Prometheus documents."""
    assert CounterSeries(times, values).rate(end, window) == (
        rate if rate is None else pytest.approx(rate)
    )


@pytest.mark.parametrize(
    ("begin", "rate"),
    [
        # Zero at 5: 6 events in 25 s, and half an average interval (12.5 s) on towards the end; not back before 5.
        pytest.param(5.0, 6 * (25 + 6.25) / 25 / 60, id="born inside"),
        pytest.param(0.0, 6 * (30 + 7.5) / 30 / 60, id="born at the edge"),
        # Two points, 4 events: half an interval (15 s) to the end, and back to where it would have been zero.
        pytest.param(-40.0, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="born before"),
        pytest.param(15.0, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="unknown"),
        pytest.param(None, 4 * (15 + 7.5 + 7.5) / 15 / 60, id="there were others"),
    ],
)
def test_a_new_series_counts_from_zero(begin: float | None, rate: float) -> None:
    """What is born inside the window keeps its first event; what counted before it was first heard of is no burst."""
    assert CounterSeries([15, 30], [2, 6], begin).rate(60, 60) == pytest.approx(rate)


def test_one_event_of_a_new_series_is_counted() -> None:
    """A single point of a newborn series is a rate already."""
    assert CounterSeries([50], [1], 49).rate(60, 60) == pytest.approx(1 * (1 + 0.5) / 1 / 60)


@pytest.mark.parametrize(
    ("share", "buckets", "value"),
    [
        # 5 of 10 lie under 0.1, 9 under 1: the eighth lies three quarters up between them.
        pytest.param(
            0.8, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.1 + 0.9 * 3 / 4, id="between two bounds"
        ),
        pytest.param(0.25, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.05, id="first bucket begins at zero"),
        pytest.param(0.5, {0.1: 5, 1.0: 9, INFINITY: 10}, 0.1, id="on a bound"),
        pytest.param(0.95, {0.1: 5, 1.0: 9, INFINITY: 10}, 1.0, id="beyond the last bound"),
        pytest.param(0.5, {-1.0: 5, 1.0: 9, INFINITY: 9}, -1.0, id="first bound negative"),
        pytest.param(0.5, {0.1: 0, 1.0: 0, INFINITY: 4}, 1.0, id="all beyond"),
        pytest.param(
            0.5, {0.1: 0, 1.0: 4, INFINITY: 4}, 0.1 + 0.9 * 2 / 4, id="first bucket empty"
        ),
        # Sums of different layouts: 4 under 0.5 are 4 under 1 as well.
        pytest.param(0.5, {0.5: 4, 1.0: 3, INFINITY: 8}, 0.5, id="not monotonic"),
        pytest.param(0.5, {0.1: 0, INFINITY: 0}, None, id="nothing"),
        pytest.param(0.5, {INFINITY: 4}, None, id="no bounds"),
        pytest.param(0.5, {0.1: 4}, None, id="no infinity"),
        pytest.param(0.5, {}, None, id="no buckets"),
        pytest.param(0.0, {0.1: 0, 1.0: 4, INFINITY: 4}, None, id="the zeroth of an empty first"),
        pytest.param(1.0, {0.1: 4, 1.0: 4, INFINITY: 4}, 0.1, id="all of it"),
    ],
)
def test_quantile_follows_the_rules(
    share: float, buckets: dict[float, float], value: float | None
) -> None:
    """Interpolation and its edges are those that Prometheus documents; what it calls NaN is None."""
    assert histogram_quantile(share, buckets) == (value if value is None else pytest.approx(value))


BOUNDS = [0.1, 0.5, 1.0]
Point = tuple[float, list[int]]


def rows(
    number: int, status: str, points: list[Point], born: float = -1.0, start: float = -1.0
) -> list[Any]:
    """A series as the store gives it: moments, and what came into each bucket so far."""
    labels, bounds = json.dumps({"http_response_status_code": status}), json.dumps(BOUNDS)
    return [
        (
            number,
            labels,
            bounds,
            int(born * NANO),
            int(at * NANO),
            int(start * NANO),
            sum(told),
            json.dumps(told),
        )
        for at, told in points
    ]


def test_red_joins_the_series_of_a_route() -> None:
    """Rates add up over series, errors are the share of 5xx, and quantiles come from all buckets together."""
    good = rows(1, "200", [(10, [0, 0, 0, 0]), (20, [3, 0, 0, 0]), (30, [6, 0, 0, 0])])
    bad = rows(2, "504", [(10, [0, 0, 0, 0]), (20, [0, 1, 0, 0]), (30, [0, 2, 0, 0])])
    [one] = red_samples([*good, *bad], Steps(30, 30, 5, 30), (0.5, 0.95))
    # From zero at 10: nothing before it. 8 events in 20 s, over a window of 30.
    assert one.rate == pytest.approx(8 / 30)
    assert one.errors == pytest.approx(0.25)
    assert list(one.quantiles) == pytest.approx([0.1 * 4 / 6, 0.1 + 0.4 * (7.6 - 6) / 2])


def test_red_knows_nothing_of_an_empty_route() -> None:
    """Without points everything is unknown; with points and no event the rate is zero and the rest unknown."""
    assert [
        (each.rate, each.errors, each.quantiles)
        for each in red_samples([], Steps(0, 10, 5, 60), (0.5,))
    ] == [(None, None, (None,))] * 3
    idle = rows(1, "200", [(10, [1, 0, 0, 0]), (20, [1, 0, 0, 0])])
    [one] = red_samples(idle, Steps(20, 20, 5, 20), (0.5,))
    assert (one.rate, one.errors, one.quantiles) == (0.0, None, (None,))


def test_red_of_a_new_route_has_its_first_request() -> None:
    """One failed request on a new route is a rate, an error ratio of one, and a quantile."""
    first = rows(1, "503", [(50, [0, 1, 0, 0])], born=50, start=49)
    [one] = red_samples(first, Steps(60, 60, 5, 60), (0.5,))
    assert one.rate == pytest.approx(1.5 / 60)
    assert one.errors == 1.0
    assert list(one.quantiles) == pytest.approx([0.1 + 0.4 / 2])


class Chance(random.Random):
    """A fixed seed's series: with resets, gaps and silence."""

    def told(self, width: int, count: int) -> list[list[int] | None]:
        """What came into ``width`` buckets by each of ``count`` moments; None is a gap."""
        found: list[list[int] | None] = []
        now, busy = [self.randrange(20) for _ in range(width)], self.random()
        for _ in range(count):
            if self.random() < 0.08:
                now = [0] * width
            now = [each + (self.randrange(9) if self.random() < busy else 0) for each in now]
            found.append(None if self.random() < 0.2 else list(now))
        return found


def notation(told: list[list[int] | None], at: int) -> str:
    """The running totals of one bucket as promtool's files have them."""
    return " ".join("_" if each is None else str(list(accumulate(each))[at]) for each in told)


@pytest.mark.full
@pytest.mark.timeout(3600)  # the build
def test_prometheus_itself_comes_to_the_same(promtool: Path, tmp_path: Path) -> None:
    """Over a hundred random series with resets and gaps, Prometheus' own program finds no other rate, ratio or quantile."""
    chance, groups = Chance(3), []
    for _ in range(60):
        series = {"200": chance.told(4, 30), "500": chance.told(4, 30)}
        points = {
            status: [(EVERY * at, each) for at, each in enumerate(told) if each is not None]
            for status, told in series.items()
        }
        found = [
            row
            for number, status in enumerate(points)
            for row in rows(number, status, points[status])
        ]
        window = chance.choice([20.0, 35.0, 60.0, 120.0])
        begin = chance.choice([20.0, 25.0, 31.0, 60.0])
        shares = (0.5, 0.95)
        over = f"[{window:.0f}s]"
        tests: list[dict[str, Any]] = []
        for each in red_samples(found, Steps(begin, 300.0, 17.0, window), shares):
            at = f"{each.time * 1000:.0f}ms"
            tests.append(expect(f"sum(rate(it_count{over}))", at, each.rate))
            ratio = f'(sum(rate(it_count{{status="500"}}{over})) / sum(rate(it_count{over})))'
            if each.rate and each.errors:
                tests.append(expect(ratio, at, each.errors))
            for share, value in zip(shares, each.quantiles, strict=True):
                wanted = value if value is not None or each.rate is None else math.nan
                tests.append(
                    expect(
                        f"histogram_quantile({share}, sum by (le) (rate(it_bucket{over})))",
                        at,
                        wanted,
                    )
                )
        inputs = [
            {
                "series": f'it_bucket{{status="{status}", le="{bound}"}}',
                "values": notation(told, at),
            }
            for status, told in series.items()
            for at, bound in enumerate([*BOUNDS, "+Inf"])
        ]
        inputs += [
            {"series": f'it_count{{status="{status}"}}', "values": notation(told, 3)}
            for status, told in series.items()
        ]
        groups.append(
            {"interval": f"{EVERY:.0f}s", "input_series": inputs, "promql_expr_test": tests}
        )
    file = tmp_path / "arithmetic.test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "10s", "tests": groups}))
    ended = subprocess.run(
        [promtool, "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[:3000]


def expect(query: str, at: str, value: float | None) -> dict[str, Any]:
    """One thing that Prometheus is asked, and what it is to answer."""
    if (
        value is not None
    ):  # the last digits depend on the order of additions; NaN alone is not itself
        query = (
            f"{query} != bool {query}"
            if math.isnan(value)
            else f"abs({query} - {value!r}) < bool 1e-12"
        )
    samples = [] if value is None else [{"labels": "{}", "value": 1}]
    return {"expr": query, "eval_time": at, "exp_samples": samples}
