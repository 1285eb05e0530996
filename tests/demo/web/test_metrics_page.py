"""Tests for the page of metrics: its list, its charts by label, and hostile and failing data."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from urllib.parse import quote_plus

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, HANGING, MALFORMED, METRIC_QUERIES, StoredData
from tests.demo.web.test_app import HOSTILE, MAX_PAGE_LENGTH
from tests.traces import TRACE
from three_pillar_demo.query.instruments import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    Group,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
    LabelValues,
    Line,
)
from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.web import formatting
from three_pillar_demo.web.instrument_list import MAX_ROWS

STEPS = 60
DURATION = Instrument(
    "http.server.request.duration",
    "http_server_request_duration_seconds",
    HISTOGRAM,
    "s",
    "Duration of requests",
    ("shop", "stock"),
    4,
)
SOLD = Instrument("orders.sold", "orders_sold_total", COUNTER, "{order}", "", ("shop",), 2)
MEMORY = Instrument("process.memory.usage", "process_memory_usage_bytes", GAUGE, "By", "", ("",), 1)


def lines(**values: float) -> tuple[Line, ...]:
    """Return lines with one constant value each."""
    return tuple(
        Line(statistic.replace("_", "."), tuple(value for _ in range(STEPS)))
        for statistic, value in values.items()
    )


def series(*groups: Group, group_count: int = 0, **fields: int) -> InstrumentSeries:
    """Return series of the last five minutes; those of one group by default."""
    now = time.time()
    return InstrumentSeries(
        times=tuple(now - 5 * (STEPS - number) for number in range(STEPS)),
        groups=groups,
        group_count=group_count or len(groups),
        labels=(LabelValues("host", 1, "a"), LabelValues("http_route", 2, "/cart")),
        window=30.0,
        **({"series_count": 4} | fields),
    )


def opened(page: TestClient, path: str) -> str:
    """Return the text of a page, which must be found."""
    response = page.get(path)
    assert response.status_code == 200
    return unescape(response.text)


def test_all_instruments_are_listed(stored: StoredData, page: TestClient) -> None:
    """Each instrument has a link, its kind, its unit in words and its description."""
    stored.instruments = [DURATION, SOLD, MEMORY]
    text = opened(page, "/metrics")
    for instrument in stored.instruments:
        assert f'href="/metrics?metric={instrument.name}">{instrument.name}</a>' in text
    for shown in ("histogram, s", "counter, order", "gauge, bytes", "Duration of requests"):
        assert shown in text
    assert "<polyline" not in text


def test_the_list_has_the_number_of_series(stored: StoredData, page: TestClient) -> None:
    """Each metric has the number of its series, unless it is that of other services, too."""
    stored.instruments = [replace(DURATION, series=4_321), replace(SOLD, series=2)]
    text = " ".join(opened(page, "/metrics").split())
    assert "histogram, s, 4,321 series</span>" in text
    assert "counter, order, 2 series</span>" in text
    text = " ".join(opened(page, "/metrics?service=shop").split())
    assert "histogram, s</span>" in text
    assert "counter, order, 2 series</span>" in text


@pytest.mark.parametrize(
    ("instrument", "statistic", "expected"),
    [(SOLD, "rate", "a larger increase"), (MEMORY, "value", "a larger newest value")],
)
def test_how_the_drawn_values_were_chosen_is_said(
    stored: StoredData, page: TestClient, instrument: Instrument, statistic: str, expected: str
) -> None:
    """Of a counter the largest increases are drawn, and of a gauge the largest newest values."""
    stored.instruments = [instrument]
    stored.instrument_series = series(Group("/cart", lines(**{statistic: 1.0})), group_count=10)
    text = " ".join(opened(page, f"/metrics?metric={instrument.name}&by=http_route").split())
    assert f"9 more values of http_route</b> are not drawn: none has {expected} than" in text


def test_search_and_service_narrow_the_list(stored: StoredData, page: TestClient) -> None:
    """Words are found in names, descriptions, units and kinds; a service has its own metrics."""
    stored.instruments = [DURATION, SOLD, MEMORY]

    def listed(query: str) -> list[str]:
        return re.findall(r'href="/metrics\?[^"]*">([a-z.]+\.[a-z.]+)</a>', opened(page, query))

    assert listed("/metrics?find=REQUESTS+duration") == [DURATION.name]
    assert listed("/metrics?find=orders_sold_total") == [SOLD.name]
    assert listed("/metrics?find=counter") == [SOLD.name]
    assert listed("/metrics?service=stock") == [DURATION.name]
    assert listed("/metrics?find=nothing") == []
    assert "No matching metrics in the last 5 minutes" in opened(page, "/metrics?find=nothing")


def test_two_metrics_of_one_name_have_links_of_their_own(
    stored: StoredData, page: TestClient
) -> None:
    """Two services that send different instruments of the same name each have theirs charted."""
    stored.instruments = [
        Instrument("size", "size", GAUGE, "", "", ("shop",), 1),
        Instrument("size", "size_bytes", GAUGE, "By", "", ("stock",), 1),
    ]
    links = re.findall(r'href="(/metrics[^"]*metric=size)"', opened(page, "/metrics"))
    assert len(links) == 2
    stored.instrument_series = series(Group("", lines(value=2048.0)))
    assert "2,048" in opened(page, links[0])
    assert "2 KiB" in opened(page, links[1])


def test_without_metrics_the_page_says_so(page: TestClient) -> None:
    """Without metrics the page says that there are none, and draws nothing."""
    text = opened(page, "/metrics?minutes=15")
    assert "No service has sent metrics in the last 15 minutes." in text
    assert "<polyline" not in text


def test_an_unknown_metric_is_no_error(stored: StoredData, page: TestClient) -> None:
    """The address of a metric that is not sent any more says so, and leads to all metrics."""
    stored.instruments = [SOLD]
    text = opened(page, "/metrics?metric=gone&service=shop")
    assert re.search(r"shop has not\s+sent this metric\s+in the last 5 minutes", text)
    assert stored.instrument_query is None


def test_a_histogram_has_its_rate_its_quantiles_and_its_exemplars(
    stored: StoredData, page: TestClient
) -> None:
    """The charts of a histogram show rate and quantiles in its unit, and dots with links."""
    stored.instruments = [DURATION]
    stored.instrument_series = series(Group("", lines(rate=4.0, p50=0.02, p95=0.3, p99=2.5)))
    stored.exemplars = [Exemplar(TRACE, 0.3, time.time() - 30, {"service_name": "shop"})]
    # By the name in Prometheus, as other pages link to it.
    text = opened(page, f"/metrics?metric={DURATION.prometheus_name}")
    legend = re.findall(r'class="key ([^"]+)">([^<]+)</span> <b>([^<]+)</b>', text)
    assert [entry[1:] for entry in legend] == [
        ("all series", "4.0/s"),
        ("p50", "20 ms"),
        ("p95", "300 ms"),
        ("p99", "2.5 s"),
    ]
    assert text.count("<polyline") == 4
    assert f'href="/trace/{TRACE}"' in text
    assert re.search(r"shop: 300 ms at \d\d:\d\d:\d\d: open this trace", text)
    assert "Sum of 4 series" in text
    assert "Each value covers the 30 s before it." in text
    assert "host=a" in text


def test_a_label_makes_groups(stored: StoredData, page: TestClient) -> None:
    """By a label there is a line for each value, of rate and of one quantile, and all are named."""
    stored.instruments = [DURATION]
    stored.instrument_series = series(
        Group("/cart", lines(rate=4.0, p50=0.02, p95=0.3, p99=2.5)),
        Group("", lines(rate=3.5, p50=0.01, p95=0.1, p99=0.2)),
        Group("/few", lines(rate=3.0, p50=0.01, p95=0.1, p99=0.2)),
        group_count=10,
    )
    text = opened(page, f"/metrics?metric={DURATION.name}&by=http_route&quantile=p99")
    assert stored.instrument_query is not None
    assert (stored.instrument_query.by, stored.instrument_query.kind) == ("http_route", HISTOGRAM)
    assert "Measurements by http_route" in text
    assert "p99 by http_route" in text
    assert re.search(r"/cart</span> <b>4.0/s</b>", text)
    assert re.search(r"/cart</span> <b>2.5 s</b>", text)
    assert re.search(r"without http_route</span> <b>200 ms</b>", text)
    # Three measurements a second are fewer than a hundred in the 30 s that a value covers.
    assert f"/few</span> <b>{formatting.NO_VALUE}</b>" in text
    expected = (
        "7 more values of http_route</b> are not drawn: none has more measurements than these 3."
    )
    assert expected in " ".join(text.split())
    assert re.search(r'by=http_route&quantile=p99"\s+aria-current="true">p99', text)
    assert re.search(r'by=http_route[^"]*" aria-current="true">http_route', text)


def test_quantiles_need_enough_measurements_while_the_data_begin(
    stored: StoredData, page: TestClient
) -> None:
    """Nineteen measurements in the five seconds since the data began have no p95."""
    stored.instruments = [DURATION]
    found = series(Group("", lines(rate=19 / 5, p50=0.02, p95=0.3, p99=2.5)))
    stored.instrument_series = replace(found, begin=found.times[-1] - 5)
    text = opened(page, f"/metrics?metric={DURATION.name}")
    assert re.search(r'p50">p50</span> <b>20 ms</b>', text)
    assert re.search(rf'p95">p95</span> <b>{formatting.NO_VALUE}</b>', text)


def test_ticks_of_a_small_rate_are_in_the_unit_of_its_legend(
    stored: StoredData, page: TestClient
) -> None:
    """A rate that is written per minute has ticks per minute, all of them right."""
    stored.instruments = [SOLD]
    stored.instrument_series = series(Group("", lines(rate=0.033)))
    text = opened(page, "/metrics?metric=orders.sold")
    assert "<b>2.0/min</b>" in text
    axis = text.split('<svg class="y"')[1].split("</svg>")[0]
    ticks = [tick.strip() for tick in re.findall(r">([^<]+)</text>", axis)]
    assert ticks == ["0", "0.5/min", "1/min", "1.5/min", "2/min"]


def test_every_line_of_many_groups_can_be_told_apart(stored: StoredData, page: TestClient) -> None:
    """Twelve groups have twelve different combinations of colour and dashes."""
    stored.instruments = [SOLD]
    groups = [Group(f"/{number}", lines(rate=number)) for number in range(12)]
    stored.instrument_series = series(*groups)
    text = opened(page, "/metrics?metric=orders.sold&by=http_route")
    classes = re.findall(r'<polyline class="([^"]+)"', text)
    assert len(classes) == len(set(classes)) == 12


def test_a_summary_has_the_quantiles_of_its_sender(stored: StoredData, page: TestClient) -> None:
    """A summary shows whichever quantiles were sent, each with a legend."""
    stored.instruments = [Instrument("gc", "gc_seconds", SUMMARY, "s", "", ("jvm",), 1)]
    stored.instrument_series = series(Group("", lines(rate=2.0, p50=0.02, p99_9=0.3)))
    text = opened(page, "/metrics?metric=gc")
    assert re.search(r'p50">p50</span> <b>20 ms</b>', text)
    assert re.search(r'p99">p99.9</span> <b>300 ms</b>', text)


def test_any_number_of_quantiles_is_drawn_within_bounds(
    stored: StoredData, page: TestClient
) -> None:
    """Of five hundred quantiles some are drawn, the lowest and the highest among them."""
    stored.instruments = [Instrument("gc", "gc_seconds", SUMMARY, "s", "", ("jvm",), 1)]
    many = tuple(Line(f"p{number / 5:g}", (1.0,) * STEPS) for number in range(501))
    stored.instrument_series = series(Group("", (Line("rate", (1.0,) * STEPS), *many)))
    text = opened(page, "/metrics?metric=gc").partition("chart-instrument-quantiles")[2]
    legend = re.findall(r'class="key ([^"]+)">([^<]+)</span>', text)
    assert len(legend) == len({css_class for css_class, _ in legend}) == 12
    assert (legend[0][1], legend[-1][1]) == ("p0", "p100")


@pytest.mark.parametrize(
    ("value", "expected"), [(0.25, "25 %"), (1.0000000000000002, "100 %"), (20.0, "20")]
)
def test_only_what_is_a_ratio_is_in_per_cent(
    stored: StoredData, page: TestClient, value: float, expected: str
) -> None:
    """Prometheus calls every gauge with the unit 1 a ratio; one with values over 1 is none."""
    name = "pool_count_ratio"
    stored.instruments = [Instrument(name, name, GAUGE, "1", "", ("shop",), 1)]
    stored.instrument_series = series(Group("", lines(value=value)))
    assert f"<b>{expected}</b>" in opened(page, f"/metrics?metric={name}")


def test_the_exemplar_of_a_counter_is_at_the_bottom(stored: StoredData, page: TestClient) -> None:
    """The exemplar of a counter is a dot on the time axis, as its value is no rate."""
    stored.instruments = [SOLD]
    stored.instrument_series = series(Group("", lines(rate=4.0)))
    stored.exemplars = [Exemplar(TRACE, 4.0, time.time() - 30, {"service_name": "shop"})]
    text = opened(page, "/metrics?metric=orders.sold")
    assert re.search(r'class="hit-area" cx="[\d.]+%" cy="100.0%"', text)
    assert re.search(r"<title>\s*shop at \d\d:\d\d:\d\d: open this trace", text)


def test_too_few_points_are_explained(stored: StoredData, page: TestClient) -> None:
    """A counter with one point has no curve, and the page says what it needs."""
    stored.instruments = [SOLD]
    stored.instrument_series = InstrumentSeries(series_count=1)
    text = opened(page, "/metrics?metric=orders.sold")
    assert "The series has too few points for a curve so far; a rate needs two." in text


def test_two_hundred_instruments_stay_readable(stored: StoredData, page: TestClient) -> None:
    """Beside a chart, many instruments are folded by their first word, the chosen one's open."""
    names = [f"{word}.client.size_{number}" for word in ("db", "jvm") for number in range(100)]
    stored.instruments = [Instrument(name, name, GAUGE) for name in [*names, "alone"]]
    text = opened(page, "/metrics?metric=jvm.client.size_7")
    groups = re.findall(r'<details id="group-\w+"( open)?>\s*<summary>(\w+) ', text)
    assert groups == [("", "db"), (" open", "jvm"), ("", "others")]
    assert text.count("<li id=") == 201
    assert "<details" not in opened(page, "/metrics").partition("<main")[2]


def test_a_list_without_end_is_cut(stored: StoredData, page: TestClient) -> None:
    """Of ten thousand instruments the page lists some, and says how many it does not."""
    stored.instruments = [Instrument(f"m{number}", f"m{number}", GAUGE) for number in range(10_000)]
    text = opened(page, "/metrics")
    assert text.count("<li id=") == MAX_ROWS
    assert f"{10_000 - MAX_ROWS:,} more: search for one" in text
    assert len(text) < MAX_PAGE_LENGTH


@pytest.mark.parametrize("name", [HOSTILE, "x" * 400, "温度", "main", "a b&c=d#e?f", "\u202e"])
def test_hostile_names_are_text(stored: StoredData, page: TestClient, name: str) -> None:
    """Any name, unit, label and value is shown as text, and the link of the name leads to it."""
    long_value = name * (5000 // len(name))
    stored.instruments = [Instrument(name, name, GAUGE, name, name, (name,), 3)]
    stored.instrument_series = InstrumentSeries(
        times=(time.time() - 60, time.time() - 30),
        groups=(Group(long_value, (Line("value", (-1e18, 1e18)),)), Group("", ())),
        group_count=2,
        series_count=3,
        labels=(LabelValues(name, 2, long_value), LabelValues("other", 1, long_value)),
        window=30.0,
    )
    stored.exemplars = [Exemplar(TRACE, 1e18, time.time() - 30, {"service_name": long_value})]
    raw = page.get("/metrics").text
    [address] = re.findall(r'<a href="(/metrics\?metric=[^"]+)"', raw)
    text = page.get(f"{unescape(address)}&by={quote_plus(name[:250])}").text
    assert "<polyline" in text
    for shown in (raw, text):
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        # A field of the form has the name as it is, which nobody sees.
        visible = re.sub(r' value="[^"]*"', "", shown)
        assert "\x1b" not in visible
        assert "\u202e" not in visible
        assert len(shown) < MAX_PAGE_LENGTH


@pytest.mark.parametrize("fault", [FAILING, HANGING, MALFORMED])
@pytest.mark.parametrize("query", METRIC_QUERIES)
def test_a_query_that_goes_wrong_is_named(
    stored: StoredData, open_page: Callable[..., TestClient], query: str, fault: str
) -> None:
    """When one query fails or hangs, the rest of the page is shown, with the reason as text."""
    stored.instruments = [SOLD]
    stored.instrument_series = series(Group("", lines(rate=4.0)))
    stored.faults[query] = fault
    page = open_page(first_wait=0.05, timeout=0.1) if fault == HANGING else open_page()
    response = page.get("/metrics?metric=orders.sold")
    assert response.status_code == 200
    assert "<b>the store</b>" not in response.text
    expected = {FAILING: "is not there", HANGING: "no answer", MALFORMED: "KeyError"}[fault]
    assert expected in response.text
    assert ("4.0/s" in response.text) == (query == "instrument_exemplars")


@pytest.mark.parametrize(
    "query", ["minutes=7", "quantile=42", f"metric={'x' * 600}", f"by={'x' * 300}"]
)
def test_a_state_that_cannot_be_is_refused(page: TestClient, query: str) -> None:
    """A value that is not allowed gets an answer that says which values are."""
    response = page.get(f"/metrics?{query}")
    assert response.status_code == 422
    assert f"{query.partition('=')[0]} must be" in response.text


def test_prometheus_says_what_it_does_not_keep(
    stored: StoredData, open_page: Callable[..., TestClient]
) -> None:
    """Over Prometheus the page says why there are no descriptions, over the store it does not."""
    stored.instruments = [SOLD]
    assert "Prometheus keeps neither" not in opened(open_page(), "/metrics")
    stored.is_prometheus = True
    assert "Prometheus keeps neither" in opened(open_page(), "/metrics")


@pytest.mark.parametrize("mode", ["local", "view"])
def test_every_page_leads_to_the_metrics(open_page: Callable[..., TestClient], mode: str) -> None:
    """The navigation of the overview, of a trace and of the page itself has the metrics."""
    page = open_page(mode=mode)
    for path in ("/", f"/trace/{TRACE}", "/metrics"):
        assert re.search(r'<a href="/metrics[^"]*"[^>]*>Metrics</a>', page.get(path).text)
    for address in re.findall(r'<a href="(/[a-z]*)"', page.get("/metrics").text):
        assert page.get(address).status_code == 200


def test_the_state_of_the_page_is_in_its_address(stored: StoredData, page: TestClient) -> None:
    """Time range, pause, search and label are kept by each link, and the search form."""
    stored.instruments = [SOLD]
    stored.instrument_series = series(Group("", lines(rate=4.0)))
    state = "minutes=15&service=shop&still=1&metric=orders.sold&by=host&find=orders"
    text = opened(page, f"/metrics?{state}")
    assert "data-paused" in text
    assert f'href="/metrics?{state.replace("15", "60")}"' in text
    assert 'name="metric" value="orders.sold"' in text
    assert 'name="find" value="orders"' in text
    assert stored.instrument_query is not None
    assert isinstance(stored.instrument_query, InstrumentQuery)
    assert (stored.instrument_query.service, stored.instrument_query.by) == ("shop", "host")
    assert 'href="/?minutes=15&service=shop&still=1"' in text
