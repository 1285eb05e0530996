"""Tests of the lists and pages of services: honest figures, bounds, colours and addresses."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, FakeBackends, StoredData, add_calls, figures
from tests.demo.web.test_app import wait_for
from tests.traces import TRACE, exemplar, line, span
from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.query.red_sources import ROOT_SPANS, SPANS
from three_pillar_demo.query.service_figures import Figures
from three_pillar_demo.query.service_map import (
    CallCounts,
    Participant,
    ParticipantKind,
    service,
)
from three_pillar_demo.web import cache
from three_pillar_demo.web.cache import QueryCache, QueryResult
from three_pillar_demo.web.figure_rows import figure_row, sparkline
from three_pillar_demo.web.formatting import NO_VALUE
from three_pillar_demo.web.service_charts import charted_services, dot_text
from three_pillar_demo.web.service_list_state import ServiceListState
from three_pillar_demo.web.service_pages import MAX_ROUTES_SHOWN
from three_pillar_demo.web.services import (
    MAX_ON_OVERVIEW,
    PAGE_SIZE,
    address_of_service,
    addresses_from,
    overview_rows,
    page_rows,
)
from three_pillar_demo.web.view_state import MAX_SERVICE_NAME, ViewState

OpenPage = Callable[..., TestClient]
HOSTILE = '<script>alert(1)</script>"&?x=1#%00 '


def cells(html: str, name: str) -> list[str]:
    """Return the texts of the cells of the row of a service or route."""
    [row] = [row for row in re.findall(r'<tr id="figures-.*?</tr>', html, re.DOTALL) if name in row]
    texts = re.findall(r"<td.*?</td>", row, re.DOTALL)
    return [re.sub(r"\s+", " ", re.sub(r"<.*?>", "", text)).strip() for text in texts]


@pytest.mark.parametrize(
    ("requests", "failed", "expected"),
    [
        (1, 0, ("1", "", "250 ms")),
        (1, 1, ("1", "1 of 1", "250 ms")),
        (3, 1, ("3", "1 of 3", f"200 ms {NO_VALUE} {NO_VALUE}")),
        (20, 5, ("20", "25.0 %", f"200 ms 400 ms {NO_VALUE}")),
        (100, 0, ("100", "", "200 ms 400 ms 2.0 s")),
        (12_345, 1, ("12,345", "0.1 %", "200 ms 400 ms 2.0 s")),
        (0.9, 0.9, ("1", "1 of 1", "250 ms")),
        (0, 0, ("0", "", f"{NO_VALUE} {NO_VALUE} {NO_VALUE}")),
    ],
)
def test_a_figure_says_what_its_requests_support(
    requests: float, failed: float, expected: tuple[str, str, str]
) -> None:
    """One request has a duration, not three percentiles; a few have counts, not percentages."""
    row = figure_row(figures("web", requests, failed), "/service")
    durations = row.only_duration or " ".join(row.durations)
    assert (row.requests, row.errors, durations) == expected
    assert row.note == ("" if requests else "no requests")
    assert (row.rate == NO_VALUE) == (requests == 0)


def test_a_service_without_requests_has_no_figures() -> None:
    """A service that sends log records alone has no zeros, and a job is marked as one."""
    row = figure_row(figures("logs", 0, 0, source="", rates=()), "")
    assert (row.note, row.requests, row.lines) == ("no requests", "", ())
    assert figure_row(figures("job", 2, 0, source=ROOT_SPANS), "").note == "job"


def test_a_sparkline_has_gaps_and_ends_at_its_edges() -> None:
    """Unknown rates are gaps, a single one is visible, and zero is not drawn as a peak."""
    lines = sparkline([0.0, 2.0, None, 1.0])
    assert len(lines) == 2
    assert lines[0] == "0.0,18.5 33.3,1.5"
    assert lines[1] == "99.0,10.0 101.0,10.0"
    assert sparkline([0.0, 0.0]) == ["0.0,18.5 100.0,18.5"]
    assert sparkline([]) == sparkline([None, None]) == []


def test_two_hundred_services_are_bounded() -> None:
    """The overview lists some, failing ones first, by name, and says how many more there are."""
    found = QueryResult([figures(f"svc-{number:03}", number, 0) for number in range(200)])
    assert found.value
    found.value[7] = figures("svc-007", 7, 3)
    found.value[198] = figures("svc-198", 198, 1)
    rows = overview_rows(found, ViewState(minutes=15))
    names = [row.name for row in rows.rows]
    assert names[:2] == ["svc-007", "svc-198"]
    others = [f"svc-{number}" for number in range(199 - MAX_ON_OVERVIEW + 2, 200)]
    assert names[2:] == [name for name in others if name != "svc-198"]
    assert (rows.more, rows.address) == (200 - MAX_ON_OVERVIEW, "/services?minutes=15")


def test_the_list_is_ordered_found_and_paged() -> None:
    """Each order, a part of a name in any case, and each page give the right services."""
    found = QueryResult(
        [
            figures("Api", 10, 0, quantiles=(0.1, 0.2, 0.3)),
            figures("batch", 500, 1, quantiles=(1.0, 2.0, 3.0)),
            figures("cart", 30, 15, quantiles=(0.1, None, None)),
        ]
    )
    for sort, expected in (
        ("name", ["Api", "batch", "cart"]),
        ("rate", ["batch", "cart", "Api"]),
        ("errors", ["cart", "batch", "Api"]),
        ("slow", ["batch", "Api", "cart"]),
    ):
        state = ServiceListState.parse({"sort": sort})
        assert [row.name for row in page_rows(found, state).rows] == expected
    assert [row.name for row in page_rows(found, ServiceListState(find="A")).rows] == [
        "Api",
        "batch",
        "cart",
    ]
    assert [row.name for row in page_rows(found, ServiceListState(find="api")).rows] == ["Api"]
    many = QueryResult([figures(f"svc-{number:03}") for number in range(PAGE_SIZE * 2 + 1)])
    second = page_rows(many, ServiceListState(page=2))
    assert (second.before, len(second.rows), second.more) == (PAGE_SIZE, PAGE_SIZE, 1)
    last = page_rows(many, ServiceListState(page=99))
    assert [row.name for row in last.rows] == [f"svc-{PAGE_SIZE * 2:03}"]


def test_charts_are_of_the_busiest_services() -> None:
    """The shop comes first, then the busiest of the others, by name; those without requests not."""
    found = [figures(f"svc-{number}", 100 + number) for number in range(9)]
    found.append(figures("only logs", 0, 0, source=""))
    assert charted_services(found, ("checkout", "payment")) == [
        "checkout",
        "payment",
        "svc-7",
        "svc-8",
    ]
    assert charted_services(found, ()) == ["svc-7", "svc-8", "svc-5", "svc-6"]
    assert charted_services([], ()) == []


def test_the_overview_learns_its_services(busy: StoredData, open_page: OpenPage) -> None:
    """A foreign service is in the list, in the charts and in the filters, beside the shop."""
    busy.services = [*busy.services, figures("shopfront", 3, 1)]
    text = open_page().get("/?tour=0").text
    assert cells(text, "shopfront") == [
        "shopfront",
        "",
        "0.6/min",
        "1 of 3",
        "200 ms",
        NO_VALUE,
        NO_VALUE,
        "3",
    ]
    for panel in ("rate", "errors"):
        chart = text.split(f'id="chart-{panel}"')[1].split("</figcaption>")[0]
        assert re.findall(r'class="key service-\d">(\w+)<', chart) == [
            "checkout",
            "payment",
            "shopfront",
        ]
    assert text.count("<option>shopfront</option>") == 2
    assert '<a href="/services">all services</a>' in text
    busy.services += [figures(f"svc-{number}", 3, 0) for number in range(20)]
    text = open_page().get("/?tour=0&minutes=15").text
    assert '<a href="/services?minutes=15">15 more services</a>' in text
    busy.request_spans = busy.spans
    view = open_page(mode="view").get("/").text
    assert 'href="/service?service=shopfront"' in view
    assert view.count('id="chart-') == 4


def test_colours_on_a_page_are_distinct_and_the_same_everywhere(
    busy: StoredData, page: TestClient
) -> None:
    """Two services whose preferred colour is the same get two, also in requests and logs."""
    names = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    busy.services = [figures(name) for name in names]
    busy.request_spans = [
        span(f"{number:016x}", "", service=name) for number, name in enumerate(names, 1)
    ]
    busy.logs = [
        line(f"{number:016x}", "done", service=name) for number, name in enumerate(names, 1)
    ]
    text = page.get("/?tour=0").text
    classes = {
        name: set(re.findall(rf'class="(?:key|service) (service-\d)">(?:<a [^>]*>)?{name}<', text))
        for name in names
    }
    assert all(len(found) == 1 for found in classes.values())
    assert len(set.union(*classes.values())) == len(names)


@pytest.mark.parametrize(("rate", "covered_s"), [(1 / 30, None), (1 / 5, 5.0)])
def test_one_request_is_not_three_percentiles(
    busy: StoredData, page: TestClient, rate: float, covered_s: float | None
) -> None:
    """The legend of a chart says that there was one request, with the duration of its dot."""
    now = time.time()
    busy.red_sample = lambda timestamp: RedSample(timestamp, rate, 0.0, (0.1, 0.2, 0.3), covered_s)
    labels = exemplar("checkout", "/checkout", 200, "0.5", 0.123).labels
    busy.exemplars = [Exemplar(TRACE, 0.123, now - 10, labels)]
    text = page.get("/?tour=0").text
    chart = text.split('id="chart-duration-checkout"')[1].split("</figcaption>")[0]
    assert re.sub(r"<[^>]*>|\s+", " ", chart.split("legend")[1]).split()[1:5] == [
        "1",
        "request",
        "123",
        "ms",
    ]
    assert "p95" not in chart.split("legend")[1]


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"http_response_status_code": "200"}, "cart answered 200 in 25 ms"),
        ({"http_status_code": "503", "error_type": "x"}, "cart answered 503 in 25 ms"),
        ({"rpc_grpc_status_code": "0"}, "cart answered 0 in 25 ms"),
        ({"error_type": "ERROR"}, "cart failed after 25 ms: ERROR"),
        ({"error_type": ""}, "cart: 25 ms"),
    ],
)
def test_a_dot_says_how_its_request_ended(labels: dict[str, str], text: str) -> None:
    """A dot has the status of old and new HTTP and of RPC, and none that nobody has sent."""
    assert dot_text(Exemplar(TRACE, 0.025, 0.0, {"service_name": "cart", **labels})) == text


@pytest.mark.parametrize("mode", ["local", "view"])
def test_a_service_has_a_page(busy: StoredData, open_page: OpenPage, mode: str) -> None:
    """The page has the source, charts with dots, routes, callers, callees, requests and logs."""
    busy.routes = [
        figures("POST /checkout", 90, 9, rates=(1.0, 2.0)),
        figures("GET no route", 1, 0),
    ]
    busy.request_spans = [span("a" * 16, "", service="checkout", name="POST /checkout")]
    add_calls(busy, "web", "checkout", calls=60, failed=6)
    text = unescape(open_page(mode=mode).get("/service?service=checkout").text)
    assert "1,200 requests in the last 5 minutes" in text
    assert "come from its histogram http.server.request.duration" in text
    assert text.count('<figure class="card chart') == 3
    assert f'href="/trace/{TRACE}' in text
    assert cells(text, "POST /checkout")[2:4] == ["0.3/s", "10.0 %"]
    assert cells(text, "GET no route")[4] == "1 request, 250 ms"
    assert 'href="/?service=checkout&search=http.route%3D%22%2Fcheckout%22"' in text
    called_by = text.split('aria-label="Called by"')[1].split("</section>")[0]
    assert 'href="/service?service=web"' in called_by
    assert "10.0 % failed" in called_by
    calls = text.split('aria-label="Calls"')[1].split("</section>")[0]
    assert 'href="/service?service=payment"' in calls
    assert "A call has failed if a span of it has the status ERROR." in text
    assert 'id="request-rows"' in text
    assert 'id="log-rows"' in text
    assert busy.log_filters[-1].service == "checkout"
    assert busy.request_filter.service == "checkout"


def test_callers_are_bounded_and_of_this_service(busy: StoredData, page: TestClient) -> None:
    """Of many callers the first twenty are shown, with the number of others; a namesake is none."""
    for number in range(25):
        add_calls(busy, f"web-{number}", "checkout", calls=60, failed=0)
    database = Participant(ParticipantKind.DATABASE, "checkout", "redis")
    busy.service_map.add_calls(service("other"), database, CallCounts(5, 0, 0))
    text = page.get("/service?service=checkout").text
    called_by = text.split('aria-label="Called by"')[1].split("</section>")[0]
    assert called_by.count("<li ") == 20
    assert ">5 more<" in called_by
    assert "other" not in text.split('aria-label="Called by"')[1].split('id="what-fails"')[0]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (SPANS, "come from its SERVER and CONSUMER spans, because it sends no histogram"),
        (ROOT_SPANS, "come from its spans without a parent, because it receives no requests"),
        ("http.server.duration", "come from its histogram http.server.duration"),
        ("", "No request is known in the last 5 minutes"),
    ],
)
def test_the_page_says_where_its_figures_come_from(
    busy: StoredData, page: TestClient, source: str, sentence: str
) -> None:
    """Each source of the rate, errors and durations is named on the page of the service."""
    busy.services = [figures("job", 0 if not source else 9, 0, source=source)]
    assert sentence in page.get("/service?service=job").text


@pytest.mark.usefixtures("stored")
def test_a_service_of_which_nothing_is_known_is_not_found(page: TestClient) -> None:
    """A name without any record has no page; without a name there is none either."""
    answer = page.get("/service?service=no%3Csuch&minutes=15")
    assert answer.status_code == 404
    assert 'Nothing is known of a service "no<such"' in unescape(answer.text)
    assert "no call from the last 15 minutes" in answer.text
    assert "no<such" not in answer.text
    assert page.get("/service").status_code == 422
    assert "the name of a service" in page.get("/service?service=").text


@pytest.mark.parametrize(
    "known_by", ["services", "routes", "request_spans", "logs", "caller", "an error"]
)
def test_a_service_of_which_anything_is_known_has_a_page(
    stored: StoredData, page: TestClient, known_by: str
) -> None:
    """Any record of a service is enough, and a query without an answer proves nothing."""
    match known_by:
        case "services":
            stored.services = [figures("gone", 0, 0, source="")]
        case "routes":
            stored.routes = [figures("GET /")]
        case "request_spans":
            stored.request_spans = [span("a" * 16, "", service="gone")]
        case "logs":
            stored.logs = [line("a" * 16, "done", service="gone")]
        case "caller":
            stored.service_map.add_calls(service("gone"), service("other"), CallCounts(1, 0, 0))
        case _:
            stored.faults["search_requests"] = FAILING
    answer = page.get("/service?service=gone")
    assert answer.status_code == 200
    assert "No request is known" in answer.text


@pytest.mark.parametrize("name", [HOSTILE, " leading", "a/../b", "%2e%2e", "ä\U0001f600", "x y"])
def test_a_hostile_name_has_an_address(stored: StoredData, page: TestClient, name: str) -> None:
    """The link of any name leads to the page of exactly this service, and its text is text."""
    stored.services = [figures(name)]
    text = page.get("/services").text
    [address] = re.findall(r'href="(/service\?[^"]*)"', text)
    html = page.get(unescape(address)).text
    assert "1,200 requests" in html
    assert "<script>alert" not in html + text


def test_a_name_that_is_too_long_has_no_address() -> None:
    """A name over the limit is listed without a link."""
    assert address_of_service("x".ljust(MAX_SERVICE_NAME, "x"), ViewState())
    assert not address_of_service("x".ljust(MAX_SERVICE_NAME + 1, "x"), ViewState())
    assert not address_of_service("", ViewState())


def test_many_routes_are_bounded(busy: StoredData, page: TestClient) -> None:
    """A service with hundreds of routes shows the busiest, and says how many more there are."""
    busy.routes = [figures(f"GET /{number}") for number in range(120)]
    text = page.get("/service?service=checkout").text
    assert text.count('<tr id="figures-') == MAX_ROUTES_SHOWN
    assert "70 more routes with fewer requests" in text


@pytest.mark.parametrize("path", ["/?tour=0&minutes=15", "/services?minutes=15"])
def test_the_lists_say_what_has_failed(stored: StoredData, page: TestClient, path: str) -> None:
    """Whoever sees another share in the graph learns what the list counts, and since when."""
    stored.services = [figures("checkout", 100, 0)]
    assert "Failed in the last" not in page.get(path).text
    stored.services = [figures("checkout", 100, 7)]
    text = wait_for(page, lambda text: "Failed in the last 15 minutes" in text, path)
    assert "a status from 500 to 599" in text


def test_the_list_of_all_services_pages(stored: StoredData, page: TestClient) -> None:
    """The page of all services links to the next and previous page, and keeps its state."""
    stored.services = [figures(f"svc-{number:03}") for number in range(200)]
    text = page.get("/services?minutes=15&sort=errors&page=2").text
    assert "51 to 100 of 200" in text
    assert 'href="/services?minutes=15&amp;sort=errors&amp;page=3"' in text
    assert 'href="/services?minutes=15&amp;sort=errors"' in text
    assert "No service has such a name" in page.get("/services?find=nobody").text
    assert page.get("/services?sort=size").status_code == 422


def test_addresses_in_the_graph_keep_the_filters_of_their_page() -> None:
    """A node leads to the page of its own service, over the time range of the page it is on."""
    hour = addresses_from(ViewState(minutes=60, tour=2, before=7))
    quarter = addresses_from(ViewState(minutes=15, failed=True))
    for _ in range(2):
        assert hour("cart") == "/service?minutes=60&service=cart"
        assert hour("stock") == "/service?minutes=60&service=stock"
        assert quarter("cart") == "/service?minutes=15&service=cart&failed=1"


def test_a_service_whose_clock_is_ahead_is_not_one_without_requests(
    stored: StoredData, page: TestClient
) -> None:
    """The lists and the page of a service say that all of it is dated ahead, and how far."""
    nothing: dict[str, Any] = {"requests": 0, "failed": 0, "source": "", "rates": ()}
    stored.services = [
        figures("early", **nothing, ahead=7200.0),
        figures("skewed", **nothing, ahead=2.0),
        figures("idle", **nothing),
    ]
    for address in ("/services", "/?tour=0"):
        notes = re.findall(
            r'<span class="muted">(no requests|dated[^<]*)</span>', page.get(address).text
        )
        assert sorted(notes) == ["dated 120 min ahead", "no requests", "no requests"]
    sentences = {
        name: " ".join(page.get(f"/service?service={name}").text.split())
        for name in ("early", "skewed", "idle")
    }
    ahead = "is dated ahead of this machine's clock, the newest 120 min."
    assert [name for name, text in sentences.items() if ahead in text] == ["early"]
    for name in ("skewed", "idle"):
        assert "No request is known in the last 5 minutes." in sentences[name]


@pytest.fixture
def due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each visit run its queries again, and wait for them."""
    get = QueryCache.get

    async def get_new(
        queries: QueryCache,
        key: Hashable,
        query: Callable[[], Awaitable[Any]],
        *_: float | None,
    ) -> QueryResult[Any]:
        return await get(queries, key, query, lifetime=0.0)

    monkeypatch.setattr(QueryCache, "get", get_new)
    monkeypatch.setattr(cache, "REST_FACTOR", 0.0)
    monkeypatch.setattr(cache, "REFRESH_WAIT_S", 30.0)


@pytest.mark.usefixtures("due_at_once")
@pytest.mark.parametrize(("address", "charted"), [("/?tour=0", 3), ("/service?service=cart", 1)])
def test_charts_do_not_wait_for_the_list_of_services(
    stored: StoredData,
    page: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    charted: int,
) -> None:
    """A visitor waits for the next list of services and for the next charts at the same time."""
    stored.services = [figures("cart")]
    page.get(address)
    stored.queries.clear()

    async def services(_backends: FakeBackends, *_: float) -> list[Figures]:
        deadline = time.monotonic() + 3
        while stored.queries.count("service_red") < charted:
            assert time.monotonic() < deadline, "the charts wait for the list"
            await asyncio.sleep(0.01)
        return stored.services

    monkeypatch.setattr(FakeBackends, "services", services, raising=False)
    html = page.get(address).text
    assert stored.queries.count("service_red") == charted
    assert "the charts wait for the list" not in html


@pytest.mark.usefixtures("due_at_once")
def test_charts_are_of_the_newest_list_of_services(stored: StoredData, page: TestClient) -> None:
    """Where other services are the busiest now, the charts are of these at once."""
    for names in (("a", "b"), ("c", "d")):
        stored.services = [figures(name) for name in names]
        html = page.get("/?tour=0").text
        chart = re.search(r'id="chart-rate".*?</figure>', html, re.DOTALL)
        assert chart
        entries = re.findall(r'class="entry"><span class="key [^"]*">([^<]*)<', chart[0])
        assert entries == ["checkout", "payment", *names]
