"""A chart's geometry: round axes, gaps that stay gaps, dots at their place, and nothing that a strange value can break."""

import math
import random
import re
from itertools import pairwise

import pytest

from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.web import chart, formatting
from three_pillars.request_metrics import LATENCY_BUCKETS

START = 1_767_225_600.0
"""A round hour."""
SECONDS = 300.0


def draw(
    values: list[float | None],
    exemplars: list[Exemplar] | None = None,
    mine: chart.Mine | None = None,
) -> chart.Plot:
    """A chart of five minutes with one line."""
    times = [START + SECONDS * number / max(1, len(values) - 1) for number in range(len(values))]
    lines = [chart.Line("checkout", "checkout", values)]
    return chart.draw(
        START,
        START + SECONDS,
        times,
        lines,
        formatting.seconds,
        least=0.5,
        exemplars=exemplars or [],
        mine=mine,
    )


def dot(at: float, value: float, status: str = "200", trace_id: str = "a" * 32) -> Exemplar:
    """An exemplar, ``at`` seconds after the start."""
    return Exemplar(
        trace_id,
        value,
        START + at,
        {"service_name": "checkout", "http_response_status_code": status},
    )


@pytest.mark.parametrize("seed", range(50))
def test_an_axis_is_round_and_reaches(seed: int) -> None:
    """Any value fits under the top of its axis, which has two to five parts of 1, 2 or 5 times a power of ten."""
    value = 10 ** random.Random(seed).uniform(-6, 9)  # noqa: S311  (values to try)
    top, step = chart.ceiling(value)
    assert value <= top * (1 + 1e-9)
    assert 2 <= round(top / step) <= 5
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9)) in {1, 2, 5}


@pytest.mark.parametrize(
    ("value", "labels"),
    [(0.1, ["0", "0.2 s", "0.4 s", "0.6 s"]), (1.7, ["0", "0.5 s", "1 s", "1.5 s", "2 s"])],
)
def test_ticks_have_units_and_no_needless_digits(value: float, labels: list[str]) -> None:
    """The ticks of a duration say their unit, once each, from 0 up."""
    found = [label for _, label in draw([value, value]).y_ticks]
    assert [re.sub(r"(\d)00 ms", r"0.\1 s", label) for label in found] == labels


def test_time_has_round_moments() -> None:
    """Five minutes have a tick a minute, none where its words would be cut."""
    ticks = list(chart.time_ticks(START + 20, START + 320))
    assert [label[-2:] for _, label in ticks] == ["01", "02", "03", "04", "05"]
    assert all(50 < x < 950 for x, _ in ticks)


@pytest.mark.parametrize("seconds", [10, 45, 300, 900, 3600, 86400])
def test_ticks_of_time_have_room(seconds: float) -> None:
    """However long the time, its ticks keep apart from each other."""
    places = [x for x, _ in chart.time_ticks(START + 1, START + 1 + seconds)]
    assert all(after - before >= 100 for before, after in pairwise(places)) or seconds == 86400


def test_a_gap_is_a_gap() -> None:
    """Where nothing is known the line ends and begins again; it does not fall to zero."""
    ((_, parts),) = draw([0.1, 0.2, None, None, 0.3, 0.4]).polylines
    assert [len(part.split()) for part in parts] == [2, 2]
    assert parts[0].split()[0] == "0.0,833.3"


def test_a_lone_value_can_be_seen() -> None:
    """A value between two gaps is a short line, not a point without a length."""
    ((_, parts),) = draw([None, 0.25, None]).polylines
    assert [point.partition(",")[0] for point in parts[0].split()] == ["500.0", "501.0"]


@pytest.mark.parametrize("values", [[], [None], [None, None, math.nan]])
def test_nothing_is_drawn_as_nothing(values: list[float | None]) -> None:
    """Without a value the chart is empty, and says so; zeros are values."""
    assert draw(values).empty
    assert not draw([0.0, 0.0]).empty


def test_strange_values_do_no_harm() -> None:
    """Infinity and NaN are left out of lines, axes and dots."""
    plot = draw(
        [math.inf, 0.1, math.nan, 0.2], [dot(10, math.inf), dot(20, math.nan), dot(30, 0.3)]
    )
    assert plot.top < 1
    assert [each.value for each in plot.dots] == [0.3]
    assert "nan" not in str(plot.polylines)
    assert "inf" not in str(plot.polylines)


def test_a_dot_lies_where_it_was_measured() -> None:
    """An exemplar's place is its moment and value, and 500 or more is a failure."""
    plot = draw([0.5, 2.0], [dot(150, 1.0, "504")])
    (found,) = plot.dots
    assert (plot.x(found.time), plot.y(found.value), chart.failed(found)) == (500.0, 500.0, True)


def test_of_many_dots_few_are_drawn_and_they_stay() -> None:
    """At most two dots share a fortieth of the time, failures are among them, and time going by changes no choice."""
    many = [
        dot(at / 10, 0.1 + at % 7 / 10, "500" if at % 3 else "200", f"{at:032x}")
        for at in range(3000)
    ]
    shown = list(chart.thin(many, START, START + SECONDS))
    assert len(shown) <= 2 * chart.LANES
    assert {chart.failed(each) for each in shown} == {True, False}
    later = {each.trace_id for each in chart.thin(many, START + 50, START + 50 + SECONDS)}
    early = {each.trace_id for each in shown if each.time >= START + 55}
    assert early <= later


def test_my_own_dot_is_never_left_out() -> None:
    """Of the request that is looked at, the dot is there among slower ones."""
    mine = dot(100, 0.2, trace_id="b" * 32)
    many = [dot(100 + each / 100, 0.9, trace_id=f"{each:032x}") for each in range(100)]
    about = chart.Mine(mine.trace_id, mine.time, mine.value)
    assert mine.trace_id in {each.trace_id for each in draw([0.1], [mine, *many], about).dots}


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0 to 5 ms"), (0.25, "100 ms to 250 ms"), (2.004, "1 s to 2.5 s"), (11.0, "over 10 s")],
)
def test_a_request_lies_in_its_bucket(value: float, said: str) -> None:
    """A duration belongs to the bucket whose upper bound it does not pass, as Prometheus counts."""
    low, high = chart.Mine("b" * 32, START, value).bucket
    assert low <= value <= high
    assert formatting.between(low, high) == said


def test_the_buckets_are_those_that_are_counted_in() -> None:
    """The page draws the bounds that the services' histograms have."""
    assert (0.0, *LATENCY_BUCKETS, math.inf) == chart.BOUNDS


def test_values_can_be_read_off() -> None:
    """The newest moment and a few dozen others can be read, each with every line's value; gaps cannot."""
    plot = draw([None, *[0.1] * 400])
    assert len(plot.reads) <= chart.READS
    assert plot.reads[-1][0] == 1000.0
    assert plot.reads[-1][1].endswith("  checkout 100 ms")
    assert draw([None, None]).reads == []
