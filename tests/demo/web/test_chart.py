"""Tests for the geometry of charts: round axes, gaps, dots, and strange values."""

import math
import random
import re
from functools import partial
from itertools import pairwise

import pytest

from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.web import chart, formatting, units
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.panels import RouteMetrics, duration_panel, rate_panel
from three_pillars.request_metrics import LATENCY_BUCKETS

START = 1_767_225_600.0
"""The start of all charts here, in seconds since the epoch: a full hour."""
LENGTH_S = 300.0
WINDOW_S = 30.0


def chart_data(
    values: list[float | None],
    exemplars: list[Exemplar] | None = None,
    highlight: chart.Highlight | None = None,
    *,
    start: float = START,
) -> chart.ChartData:
    """Return five minutes of data with one series, whose values are spread evenly."""
    intervals = max(1, len(values) - 1)
    times = [START + LENGTH_S * number / intervals for number in range(len(values))]
    return chart.ChartData(
        start,
        start + LENGTH_S,
        times,
        [chart.Series("checkout", "checkout", values)],
        exemplars or [],
        highlight,
    )


def draw(
    values: list[float | None],
    exemplars: list[Exemplar] | None = None,
    highlight: chart.Highlight | None = None,
) -> chart.Plot:
    """Return the plot of five minutes with one series."""
    data = chart_data(values, exemplars, highlight)
    return chart.draw_chart(data, formatting.duration, min_top=0.5)


def dot(at: float, value: float, status: str = "200", trace_id: str = "a" * 32) -> Exemplar:
    """Return an exemplar that was measured ``at`` seconds after ``START``."""
    labels = {"service_name": "checkout", "http_response_status_code": status}
    return Exemplar(trace_id, value, START + at, labels)


@pytest.mark.parametrize("seed", range(50))
def test_axis_is_round_and_high_enough(seed: int) -> None:
    """Any value is below the top of its axis, which has two to five round steps."""
    value = 10 ** random.Random(seed).uniform(-6, 9)  # noqa: S311  (values to try)
    top, step = chart.axis_scale(value)
    assert value <= top * (1 + 1e-9)
    assert 2 <= round(top / step) <= 5
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9)) in {1, 2, 5}


@pytest.mark.parametrize(
    ("value", "labels"),
    [(0.1, ["0", "0.2 s", "0.4 s", "0.6 s"]), (1.7, ["0", "0.5 s", "1 s", "1.5 s", "2 s"])],
)
def test_ticks_have_units_and_no_needless_digits(value: float, labels: list[str]) -> None:
    """The ticks of a duration have a unit, begin at 0, and are all different."""
    texts = [label for _, label in draw([value, value]).y_ticks]
    assert [re.sub(r"(\d)00 ms", r"0.\1 s", label) for label in texts] == labels


def test_time_axis_has_round_times() -> None:
    """Five minutes have a tick for each minute, but none so near an edge that it would be cut."""
    ticks = list(chart.time_ticks(START + 20, START + 320))
    assert [label[-2:] for _, label in ticks] == ["01", "02", "03", "04", "05"]
    assert all(50 < x < 950 for x, _ in ticks)


@pytest.mark.parametrize("seconds", [20, 29, 42, 55, 70, 100, 149, 200, 300])
def test_a_short_time_axis_has_times(seconds: float) -> None:
    """However short the time range is, at least two ticks say which times it shows."""
    assert len(list(chart.time_ticks(START + 1, START + 1 + seconds))) >= 2


@pytest.mark.parametrize("seconds", [10, 45, 300, 900, 3600, 86400])
def test_time_ticks_keep_apart(seconds: float) -> None:
    """The ticks of a long time range have enough space between them."""
    positions = [x for x, _ in chart.time_ticks(START + 1, START + 1 + seconds)]
    assert all(after - before >= 100 for before, after in pairwise(positions)) or seconds == 86400


def test_gap_stays_a_gap() -> None:
    """Where values are unknown the line ends and begins again, and does not fall to zero."""
    ((_, parts),) = draw([0.1, 0.2, None, None, 0.3, 0.4]).polylines
    assert [len(part.split()) for part in parts] == [2, 2]
    assert parts[0].split()[0] == "0.0,833.3"


def test_single_value_is_visible() -> None:
    """A value between two gaps is a short line, not a point without a length."""
    ((_, parts),) = draw([None, 0.25, None]).polylines
    assert [point.partition(",")[0] for point in parts[0].split()] == ["500.0", "501.0"]


@pytest.mark.parametrize("values", [[], [None], [None, None, math.nan]])
def test_chart_without_values_is_empty(values: list[float | None]) -> None:
    """A chart without values is empty, while zeros are values."""
    assert draw(values).empty
    assert not draw([0.0, 0.0]).empty


def test_infinity_and_nan_are_left_out() -> None:
    """Infinity and NaN do not appear in lines, axes and dots."""
    exemplars = [dot(10, math.inf), dot(20, math.nan), dot(30, 0.3)]
    plot = draw([math.inf, 0.1, math.nan, 0.2], exemplars)
    assert plot.top < 1
    assert [exemplar.value for exemplar in plot.dots] == [0.3]
    assert "nan" not in str(plot.polylines)
    assert "inf" not in str(plot.polylines)


def test_dot_is_where_it_was_measured() -> None:
    """A dot is at the time and value of its exemplar, and a status from 500 on is a failure."""
    plot = draw([0.5, 2.0], [dot(150, 1.0, "504")])
    (drawn,) = plot.dots
    assert (plot.x(drawn.time), plot.y(drawn.value), chart.failed(drawn)) == (500.0, 500.0, True)


def test_few_of_many_dots_are_drawn_and_they_stay() -> None:
    """A slot has two dots at most, failures among them, and the choice stays as time goes on."""
    exemplars = [
        dot(at / 10, 0.1 + at % 7 / 10, "500" if at % 3 else "200", f"{at:032x}")
        for at in range(3000)
    ]
    dots = list(chart.select_dots(chart_data([], exemplars)))
    assert len(dots) <= 2 * chart.DOT_SLOTS
    assert {chart.failed(exemplar) for exemplar in dots} == {True, False}
    shown_later = chart.select_dots(chart_data([], exemplars, start=START + 50))
    later = {exemplar.trace_id for exemplar in shown_later}
    early = {exemplar.trace_id for exemplar in dots if exemplar.time >= START + 55}
    assert early <= later


def test_dots_stay_while_the_axis_grows() -> None:
    """A chart that begins where its data begin shows the same dots one second later."""
    exemplars = [dot(at / 4, 0.1 + at % 7 / 10, trace_id=f"{at:032x}") for at in range(1, 160)]
    shown = [
        {
            exemplar.trace_id
            for exemplar in chart.select_dots(
                chart.ChartData(START, START + length, [], [], exemplars)
            )
            if exemplar.time < START + 38
        }
        for length in (42, 43)
    ]
    assert shown[0] == shown[1]
    assert 15 <= len(shown[0]) <= chart.DOT_SLOTS


def test_highlighted_dot_is_never_left_out() -> None:
    """The dot of the highlighted request is drawn although slower ones are in its slot."""
    own = dot(100, 0.2, trace_id="b" * 32)
    others = [dot(100 + number / 100, 0.9, trace_id=f"{number:032x}") for number in range(100)]
    highlight = chart.Highlight(own.trace_id, own.time, own.value)
    drawn = draw([0.1], [own, *others], highlight).dots
    assert own.trace_id in {exemplar.trace_id for exemplar in drawn}


@pytest.mark.parametrize(
    ("duration", "text"),
    [(0.0, "0 to 5 ms"), (0.25, "100 ms to 250 ms"), (2.004, "1 s to 2.5 s"), (11.0, "over 10 s")],
)
def test_request_is_in_its_bucket(duration: float, text: str) -> None:
    """A duration belongs to the first bucket whose upper bound it does not exceed."""
    low, high = chart.Highlight("b" * 32, START, duration).bucket
    assert low <= duration <= high
    assert formatting.bucket_range(low, high) == text


def test_buckets_are_those_of_the_services() -> None:
    """The page draws the bucket bounds of the services' histograms."""
    assert (0.0, *LATENCY_BUCKETS, math.inf) == chart.BUCKET_BOUNDS_S


def test_values_can_be_read() -> None:
    """The newest values and a few dozen others can be read, but gaps cannot."""
    plot = draw([None, *[0.1] * 400])
    assert len(plot.readouts) <= chart.MAX_READOUTS
    assert plot.readouts[-1][0] == 1000.0
    assert plot.readouts[-1][1].endswith("  checkout 100 ms")
    assert draw([None, None]).readouts == []


def test_an_axis_reaches_below_zero_for_negative_values() -> None:
    """Values below zero are inside the plot, the zero is a tick, and the ticks are round."""
    plot = draw([-4.5, 3.0, -0.5])
    assert plot.bottom <= -4.5
    assert [plot.y(value) for value in (plot.top, plot.bottom)] == [0, 1000]
    assert plot.y((plot.top + plot.bottom) / 2) == 500
    assert all(0 <= plot.y(value) <= 1000 for value in (-4.5, 3.0, 0.0))
    assert "0" in [text for _, text in plot.y_ticks]
    assert draw([-3.0, -2.0]).top <= 1.0


@pytest.mark.parametrize(
    "values",
    [[0.0, 0.0], [1e18, 2e18], [-1e18], [5e-324], [1.7e308, -1.7e308], [1e308], [1e-9, -1e-9], []],
)
def test_any_values_have_an_axis(values: list[float | None]) -> None:
    """Values of any size have an axis of a few finite ticks, and curves inside the plot."""
    for from_zero in (True, False):
        plot = chart.draw_chart(
            chart_data(values), formatting.duration, min_top=0.0, from_zero=from_zero
        )
        assert 2 <= len(plot.y_ticks) <= 8
        assert math.isfinite(plot.top)
        assert math.isfinite(plot.bottom)
        assert plot.bottom < plot.top
        assert all(0 <= plot.y(value) <= 1000 for value in values if value is not None)


def test_curves_that_would_be_flat_have_an_axis_without_zero() -> None:
    """Values that hardly differ fill the plot, if the chart may leave out the zero."""
    flat = chart_data([2100.0, 2110.0, 2105.0])
    plot = chart.draw_chart(flat, formatting.duration, min_top=0.0, from_zero=False)
    assert 2000 < plot.bottom <= 2100
    assert chart.draw_chart(flat, formatting.duration, min_top=0.0).bottom == 0
    steep = chart_data([100.0, 2110.0])
    assert chart.draw_chart(steep, formatting.duration, min_top=0.0, from_zero=False).bottom == 0
    equal = chart_data([7.0, 7.0])
    assert chart.draw_chart(equal, formatting.duration, min_top=0.0, from_zero=False).bottom == 0


@pytest.mark.parametrize(
    ("unit", "largest", "expected"),
    [
        ("By", 1.3e6, ["0 B", "0.5 MiB", "1 MiB", "1.5 MiB"]),
        ("By", 700.0 * 1024, ["0 B", "200 KiB", "400 KiB", "600 KiB", "800 KiB"]),
        ("KiBy", 1500.0, ["0 B", "0.5 MiB", "1 MiB", "1.5 MiB"]),
        ("s", 9000.0, ["0 s", "1 h", "2 h", "3 h"]),
        ("ms", 1400.0, ["0 s", "500 ms", "1 s", "1.5 s"]),
        ("{order}", 1400.0, ["0", "500", "1,000", "1,500"]),
    ],
)
def test_ticks_are_round_in_their_unit(unit: str, largest: float, expected: list[str]) -> None:
    """The ticks of sizes and of long times are round in the unit in which they are written."""
    plot = chart.draw_chart(
        chart_data([0.0, largest]),
        units.formatter(unit),
        min_top=0.0,
        ticks=chart.Ticks(units.formatter(unit), partial(units.tick_unit, unit)),
    )
    shown = {"0.5 MiB": "512 KiB", "1 h": "60 min", "0 B": "0", "0 s": "0"}
    assert [text for _, text in plot.y_ticks] == [shown.get(text, text) for text in expected]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (0.011, ["0", "0.2/min", "0.4/min", "0.6/min", "0.8/min"]),
        (0.033, ["0", "0.5/min", "1/min", "1.5/min", "2/min"]),
        (0.12, ["0", "0.05/s", "0.1/s", "0.15/s"]),
        (4.8, ["0", "2/s", "4/s", "6/s"]),
        (1400.0, ["0", "500/s", "1,000/s", "1,500/s"]),
        (0.0, ["0", "0.5/s", "1/s"]),
    ],
)
def test_the_axis_of_a_rate_is_as_high_as_the_rate(highest: float, expected: list[str]) -> None:
    """A service with few requests has a visible curve, and ticks in the unit of its legend."""
    samples = [RedSample(START + at, rate, None, ()) for at, rate in ((0, 0.0), (9, highest))]
    panel = rate_panel({"checkout": QueryResult(samples)}, (START, START + LENGTH_S), {})
    assert [text for _, text in panel.plot.y_ticks] == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0021, "3 ms"), (0.0004, "1 ms"), (0.3, "300 ms"), (None, "600 ms")],
)
def test_the_axis_of_durations_is_as_high_as_the_durations(
    seconds: float | None, expected: str
) -> None:
    """The curves of a fast service fill the chart; without any the axis has an ordinary end."""
    sample = RedSample(START, 9.0, 0.0, (seconds, seconds, seconds))
    metrics = RouteMetrics("checkout", "", QueryResult([sample]), WINDOW_S, (), "checkout")
    panel = duration_panel(metrics, (START, START + LENGTH_S))
    assert panel.plot.y_ticks[-1][1] == expected


@pytest.mark.parametrize(
    ("requests", "supported"),
    [(1, 0), (2, 1), (19, 1), (20, 2), (99, 2), (100, 3), (0, 0), (None, 0)],
)
def test_a_chart_has_no_quantile_of_too_few_requests(requests: int | None, supported: int) -> None:
    """Of fewer than 20 requests there is no p95, and of fewer than 100 no p99."""
    rate = None if requests is None else requests / WINDOW_S
    sample = RedSample(START, rate, 0.0, (0.1, 0.2, 0.3))
    metrics = RouteMetrics("checkout", "", QueryResult([sample]), WINDOW_S, (), "checkout")
    panel = duration_panel(metrics, (START, START + LENGTH_S))
    values = [entry.value for entry in panel.legend]
    assert values[:supported] == ["100 ms", "200 ms", "300 ms"][:supported]
    assert set(values[supported:]) <= {formatting.NO_VALUE}
    assert sum(bool(parts) for _, parts in panel.plot.polylines) == supported


def test_a_quantile_needs_enough_requests_while_the_data_begin() -> None:
    """A rate over the five seconds since the data began does not stand for a whole window."""
    sample = RedSample(START, 19 / 5, 0.0, (0.1, 0.2, 0.3), covered_s=5.0)
    metrics = RouteMetrics("checkout", "", QueryResult([sample]), WINDOW_S, (), "checkout")
    panel = duration_panel(metrics, (START, START + LENGTH_S))
    values = [entry.value for entry in panel.legend]
    assert values == ["100 ms", formatting.NO_VALUE, formatting.NO_VALUE]
