"""Tests for the HTML of the page: good, failing, slow and hostile data, and the forms."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import httpx2
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.testclient import TestClient

from tests.demo.web.conftest import (
    FAILING,
    HANGING,
    HOST,
    MALFORMED,
    QUERIES,
    StoredData,
    add_calls,
    figures,
    no_sample,
)
from tests.processes import POLL_INTERVAL_S
from tests.traces import CALL, ROOT, TRACE, line, span
from three_pillar_demo.query.interface import NANO, Exemplar, LogRecord, RequestFilter
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.stack import health
from three_pillar_demo.web import formatting, forms
from three_pillar_demo.web.forms import MAX_FORM_BYTES
from three_pillar_demo.web.process import Settings
from three_pillar_demo.web.process import main as run_web_ui

OpenPage = Callable[..., TestClient]
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\x1b[31m\u202egnp.exe\u2066'\"&"
)
MEGABYTE = 2**20
LONG_HOSTILE = "".join([HOSTILE for _ in range(MEGABYTE // len(HOSTILE))])
MEGABYTE_OF_X = "".ljust(MEGABYTE, "x")
MAX_PAGE_LENGTH = 200_000


def test_overview_shows_all_three_pillars(busy: StoredData, page: TestClient) -> None:
    """The overview has both services' metrics, dots with links, the service graph and the logs."""
    text = page.get("/?tour=0").text
    assert busy.queries
    assert text.count("4.0/s") >= 2
    assert "12.5 %" in text
    assert f'href="/trace/{TRACE}"' in text
    assert "10.0 % failed" in text
    assert "order not placed: payment: no answer within 2 s" in text
    assert re.search(r'class="dot bad"[^>]*id="dot-' + TRACE + "-checkout", text)
    assert re.search(r'class="dot"[^>]*id="dot-' + TRACE + "-payment", text)
    assert "newest trace <b>1.2 s ago" in text
    assert "newest log <b>none yet" in text
    assert "database <b>3.0 MiB" in text


def charts_of(page: TestClient) -> list[tuple[str, str]]:
    """Return where each chart says that its data begin, and the points of its first line."""
    figures = page.get("/?tour=0").text.split("<figure")[1:]
    since = [re.findall(r'since muted">since ([\d:]+)<', figure) for figure in figures]
    points = [re.findall(r'points="([^"]*)"', figure) for figure in figures]
    return [
        (times[0] if times else "", lines[0]) for times, lines in zip(since, points, strict=True)
    ]


def test_charts_begin_where_the_data_begin(busy: StoredData, page: TestClient) -> None:
    """After 40 s of data all charts begin with them, at the same time, and say so."""
    begin = time.time() - 40
    full = busy.red_sample
    busy.red_sample = lambda at: full(at) if at >= begin else no_sample(at)
    charts = charts_of(page)
    assert len(charts) == 4
    for since, points in charts:
        assert since
        assert since == charts[0][0]
        first, last = (
            float(point.partition(",")[0]) for point in points.split()[:: len(points.split()) - 1]
        )
        assert first == 0
        assert last > 900


@pytest.mark.parametrize(("begins_s", "request_at_percent"), [(-40, 41), (5, 5), (-400, 72)])
def test_chart_of_a_request_begins_where_the_data_begin(
    busy: StoredData, page: TestClient, begins_s: int, request_at_percent: int
) -> None:
    """The chart of a request begins with the data, but never after the request itself."""
    start = time.time_ns() - 60 * 10**9
    route = {"http.route": "/checkout"}
    busy.spans = [replace(span(ROOT, "", attributes=route), start=start, end=start + 10**9)]
    full = busy.red_sample
    begin = start / 1e9 + begins_s
    busy.red_sample = lambda at: full(at) if at >= begin else no_sample(at)
    busy.exemplars = []
    figure = page.get(f"/trace/{TRACE}").text.split('id="chart-duration-checkout"')[1]
    assert ("since muted" in figure) == (begins_s > -150)
    (x,) = re.findall(r'class="end-time" x1="([\d.]+)%"', figure)
    assert float(x) == pytest.approx(request_at_percent, abs=4)


def test_charts_show_the_whole_range_if_it_has_data(busy: StoredData, page: TestClient) -> None:
    """Charts whose data begin before the time range do not say when; neither do empty ones."""
    assert [since for since, _ in charts_of(page)] == [""] * 4
    busy.red_sample = no_sample
    busy.exemplars = []
    assert "since muted" not in page.get("/?tour=0&minutes=15").text


def test_trace_page_shows_one_request(busy: StoredData, page: TestClient) -> None:
    """A trace page has the explanation, all rows, the exemplars, and the dot on the chart."""
    root = span(ROOT, "", took=2004, error=True, attributes={"http.route": "/checkout"})
    busy.spans = [item if item.parent_id else root for item in busy.spans]
    busy.exemplars = [
        Exemplar(TRACE, item.value, 1_767_225_602.0, item.labels) for item in busy.exemplars
    ]
    text = unescape(page.get(f"/trace/{TRACE}").text)
    assert (
        "because its call to payment failed: ReadTimeout: no answer within 2 s; "
        "payment answered 200"
    ) in text
    assert text.count('class="row span') == 4
    assert text.count('class="row log') == 3
    assert "went on for 1.0 s after its caller had given up" in text
    assert "in the bucket up to 2.5 s" in text
    assert 'class="dot bad highlight"' in text
    assert 'class="key bucket">bucket</span> <b>1 s to 2.5 s' in text
    (bucket,) = re.findall(
        r'<rect class="bucket" width="100%" y="([\d.]+)%" height="([\d.]+)%"/>\s*'
        r'<line class="end-time"',
        text,
    )
    # The bucket is from 1 to 2.5 s, on an axis that ends at 3 s.
    assert [round(float(percent)) for percent in bucket] == [17, 50]
    assert "order.amount" in text


def test_page_without_telemetry_says_so(page: TestClient) -> None:
    """Without telemetry each part of the page says that it is empty, and no zero is drawn."""
    text = page.get("/").text
    assert text.count("No data in this time range") == 4
    assert "<polyline" not in text
    for message in (
        "No requests or calls",
        "No requests yet",
        "No matching logs in this time range",
        "1 of 5",
    ):
        assert message in text


@pytest.mark.parametrize("fault", [FAILING, MALFORMED])
@pytest.mark.parametrize("query", QUERIES)
def test_one_query_fails(stored: StoredData, page: TestClient, query: str, fault: str) -> None:
    """When a query fails the rest of the page is shown, and the error's markup is escaped."""
    stored.faults[query] = fault
    for path in ("/", f"/trace/{TRACE}"):
        response = page.get(path)
        assert response.status_code == 200
        assert "<b>the store</b>" not in response.text
    if query in {"service_red", "services", "service_map", "search_logs", "freshness"}:
        assert "is not there" in page.get("/").text or fault == MALFORMED


@pytest.mark.parametrize("query", QUERIES)
def test_one_query_hangs(stored: StoredData, open_page: OpenPage, query: str) -> None:
    """A query without an answer does not hold up the page."""
    stored.faults[query] = HANGING
    page = open_page(first_wait=0.01, timeout=0.02)
    for path in ("/", f"/trace/{TRACE}"):
        assert page.get(path).status_code == 200


def test_page_recovers_after_all_queries_failed(stored: StoredData, page: TestClient) -> None:
    """When every query fails the page says so, and it recovers by itself."""
    stored.faults = dict.fromkeys(QUERIES, FAILING)
    assert page.get("/").text.count("is not there") >= 4
    stored.faults = {}
    wait_for(page, lambda text: "is not there" not in text, "/")


def test_component_that_is_down_is_named(
    busy: StoredData, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status bar names a component that is down, and everything else is shown."""
    page = open_page()
    monkeypatch.setattr(
        health, "addresses", lambda _mode: {"payment": "http://127.0.0.1:9/healthz"}
    )
    text = page.get("/").text
    assert busy.queries
    assert "payment is down: " in text
    assert re.search(r"Seen first at \d\d:\d\d:\d\d\.", text)
    said = text.split('id="announcement"')[1].split("</div>")[0]
    assert re.search(r'<p id="say-problem-payment">\s*payment is down: ', said)
    assert "Seen first" not in said
    assert "12.5 %" in text


def test_slow_component_is_not_called_down(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A component whose health check has no answer in time may be busy, and is called slow."""

    async def no_answer(*_: object) -> dict[str, str]:
        return {"checkout": health.NO_ANSWER_IN_TIME, "payment": "Connection refused"}

    page = open_page()
    monkeypatch.setattr(health, "problems", no_answer)
    text = page.get("/").text
    assert "checkout is slow or hangs: no answer within 2 s." in text
    assert "checkout is down" not in text
    assert "payment is down: Connection refused." in text


def test_unexpected_exit_of_a_component_is_shown(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status bar says how a component has exited, and shows its last log line as text."""
    monkeypatch.setattr(health, "recent_exits", lambda: {"store": "has exited once: <b>full</b>"})
    text = open_page().get("/").text
    assert "store has exited once: &lt;b&gt;full&lt;/b&gt;" in text


def test_slow_dns_lookups_do_not_block_others(page: TestClient) -> None:
    """With forty threads busy, as with slow DNS lookups, another thread still runs."""
    end = threading.Event()

    async def block_threads() -> None:
        lookups = [asyncio.ensure_future(asyncio.to_thread(end.wait, 60)) for _ in range(40)]
        try:
            await asyncio.wait_for(asyncio.to_thread(int), 30)
        finally:
            end.set()
            await asyncio.gather(*lookups)

    assert page.portal
    page.portal.call(block_threads)


def test_collector_queues_are_shown_by_backend(stored: StoredData, page: TestClient) -> None:
    """The queue of each of the Collector's exporters is shown with its size."""
    stored.queue_sizes = {("otlp_http/loki",): 17.0, ("otlp_http/tempo",): 0.0}
    text = page.get("/").text
    assert "loki <b>17</b>" in text
    assert "tempo <b>0</b>" in text


def fill_with_text(stored: StoredData, text: str) -> None:
    """Put telemetry into ``stored`` whose names, messages and values are all ``text``."""
    stored.spans = [
        span(
            ROOT,
            "",
            service=text,
            name=text,
            kind=text,
            message=text,
            exceptions=(text,),
            attributes={text: text, "http.route": text},
        )
    ]
    stored.trace_logs = [line(ROOT, text, service=text, severity=text, key=text)]
    ids = {"trace_id": text, "span_id": text}
    stored.logs = [LogRecord(time.time_ns(), text, text, text, ids)]
    labels = dict.fromkeys(("http_request_method", "http_response_status_code", "le"), text)
    stored.exemplars = [
        Exemplar(trace_id, 0.1, at, {**labels, "service_name": service, "http_route": route})
        for trace_id, service, route, at in (
            (text, "checkout", "/checkout", time.time() - 9),
            (TRACE, text, text, 1_767_225_600.5),
        )
    ]
    add_calls(stored, text, text, calls=3, failed=1)
    stored.queue_sizes = {(text,): 1.0}


@pytest.mark.parametrize(
    "text", [HOSTILE, LONG_HOSTILE, "\x00" * 1000, MEGABYTE_OF_X], ids=range(4)
)
def test_telemetry_is_shown_as_text(stored: StoredData, page: TestClient, text: str) -> None:
    """Markup, templates, ANSI codes, bidi controls and a megabyte are shown as short plain text."""
    fill_with_text(stored, text)
    for path in ("/", f"/trace/{TRACE}"):
        html = page.get(path).text
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(.{2})", html)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", html)
        assert len(html) < MAX_PAGE_LENGTH


def test_page_size_is_limited(stored: StoredData, page: TestClient) -> None:
    """Thousands of exemplars and fifty of the longest log records make a page of limited size."""
    now = time.time()
    labels = {
        "service_name": "checkout",
        "http_route": "/checkout",
        "http_response_status_code": "500",
    }
    stored.exemplars = [
        Exemplar(f"{number:032x}", 0.1, now - number / 100, labels) for number in range(30_000)
    ]
    stored.logs = [
        LogRecord(time.time_ns() + number, "checkout", "ERROR", MEGABYTE_OF_X, {})
        for number in range(50)
    ]
    assert len(page.get("/").text) < MAX_PAGE_LENGTH


@pytest.mark.timeout(300)
def test_huge_trace_is_drawn_in_part(stored: StoredData, page: TestClient) -> None:
    """Of twenty thousand rows the first thousand are drawn, and the page says so."""
    stored.spans = [
        span(f"{number:016x}", f"{number // 50:016x}" if number else "")
        for number in range(1, 10_000)
    ]
    stored.trace_logs = [line(f"{number:016x}", "text") for number in range(1, 10_001)]
    # On a busy machine the first answer is that it waits.
    text = wait_for(page, lambda text: '<div class="row ' in text, f"/trace/{TRACE}", 240)
    assert text.count('<div class="row ') == 1_001  # and the heading
    assert "Only the first 1,000 of 19,999 spans and log lines are shown." in text


def test_paused_page_stays_paused_when_it_is_filtered(page: TestClient) -> None:
    """The filter's form keeps the other parameters of the address, the pause included."""
    paused = page.get("/", params={"still": "1"}).text
    assert '<input type="hidden" name="still" value="1">' in paused
    assert 'name="still"' not in page.get("/").text


def test_pause_is_offered_and_then_resume(page: TestClient) -> None:
    """A page that refreshes offers Pause, and a paused one offers Resume."""
    assert '<a class="apart" href="/?still=1">Pause</a>' in page.get("/").text
    assert '<a class="apart" href="/">Resume</a>' in page.get("/?still=1").text


def test_filter_is_applied_and_shown(stored: StoredData, page: TestClient) -> None:
    """Service, level and text of the address are passed to the query and shown in the form."""
    filters = {"service": "payment", "severity": "WARN", "text": 'a"b<c'}
    text = unescape(page.get("/", params=filters).text)
    assert stored.log_filters == [LogFilter("payment", "WARN", 'a"b<c')]
    assert 'value="a"b<c"' in text
    assert "<option selected>payment" in text


def buy(page: TestClient, **fields: str) -> httpx2.Response:
    """Submit the form that sends purchases; return the response."""
    return page.post("/buy?minutes=15", data=fields)


def wait_for(
    page: TestClient,
    is_ready: Callable[[str], object],
    path: str = "/?tour=0",
    seconds: float = 30,
) -> str:
    """Fetch ``path`` until ``is_ready`` accepts its HTML, and return the HTML."""
    deadline = time.monotonic() + seconds
    while True:
        text = page.get(path).text
        if is_ready(text):
            return text
        assert time.monotonic() < deadline, text
        time.sleep(POLL_INTERVAL_S)  # which leaves the processor to the page


def test_newest_purchase_is_announced_and_becomes_a_link(
    stored: StoredData, page: TestClient
) -> None:
    """The outcome of a purchase is announced, with a link when its trace can be read."""
    assert 'id="newest-purchase" role="status" data-hold></p>' in page.get("/").text
    response = buy(page, card="gateway-timeout")
    assert (response.status_code, response.headers["location"]) == (303, "/?minutes=15")
    text = wait_for(page, lambda text: '<b class="bad">gateway_timeout' in text)
    assert "with the card gateway-timeout:" in text
    assert "Open its trace" not in text
    stored.trace_ids = [TRACE]
    wait_for(page, lambda text: f'<a href="/trace/{TRACE}">Open its trace' in text)


def store_requests(stored: StoredData, count: int) -> None:
    """Store ``count`` requests, newest first; every tenth has failed."""
    stored.request_spans = [
        replace(
            span(
                f"{number:016x}",
                "",
                error=number % 10 == 0,
                message="" if number % 10 else "no answer",
            ),
            name=f"GET /{number}",
            end=10_000 - number,
        )
        for number in range(count)
    ]


def test_requests_are_listed(stored: StoredData, page: TestClient) -> None:
    """The list has the newest requests of all services, each with its link, and older ones."""
    store_requests(stored, 60)
    text = page.get("/?tour=0&minutes=15").text
    rows = text.split('id="request-rows"')[1].split("</table>")[0]
    assert rows.count("<tr id=") == 50
    assert rows.count('<span class="mark">failed</span>') == 5
    assert rows.count('<span class="reason">no answer</span>') == 5
    assert f'<a href="/trace/{TRACE}?minutes=15">GET /49</a>' in rows
    assert "stock" in rows
    (older,) = re.findall(r'href="([^"]*)">Older requests', text)
    text = page.get(unescape(older)).text
    rows = text.split('id="request-rows"')[1].split("</table>")[0]
    assert re.findall(r">GET /(\d+)</a>", rows) == [str(number) for number in range(50, 60)]
    assert "Older requests" not in text
    assert 'href="/?minutes=15&amp;tour=0">All requests' in text


@pytest.mark.parametrize("path", ["/?tour=0", "/service?service=checkout"])
def test_requests_ahead_of_the_clock_are_marked(
    stored: StoredData, page: TestClient, path: str
) -> None:
    """A request that is dated in the future is listed, says so, and can be left out."""
    now = time.time_ns()
    ahead, past = (
        replace(span(f"{number:016x}", ""), name=name, start=end - NANO, end=end)
        for number, (name, end) in enumerate([("ahead", now + 7200 * NANO), ("past", now - NANO)])
    )
    stored.request_spans = [ahead, past]
    text = page.get(path).text
    rows = text.split('id="request-rows"')[1].split("</table>")[0].split("</tr>")
    assert re.search(r"ahead</a>\s*<span class=\"more\">dated 1[12]\d min ahead", rows[0])
    assert "dated" not in rows[1]
    assert "1 of these is dated ahead of this machine's clock" in text
    [address] = re.findall('<a href="([^"]*)">Only those up to now', text)
    text = page.get(unescape(address)).text
    assert re.findall(r">(ahead|past)</a>", text) == ["past"]
    assert "Only those up to now" not in text


@pytest.mark.parametrize("path", ["/?tour=0", "/service?service=checkout"])
def test_what_the_search_for_requests_does_not_find_is_said(
    stored: StoredData, open_page: OpenPage, path: str
) -> None:
    """Where a backend does not find all requests, their lists say so."""
    stored.services = [figures("checkout")]
    assert "Not those of tomorrow." not in open_page().get(path).text
    stored.request_search_limit = "Not those of tomorrow."
    assert '<p class="muted">Not those of tomorrow.</p>' in open_page().get(path).text


def test_a_search_says_which_spans_it_looks_at(page: TestClient) -> None:
    """While a search is in the field, the list says that the spans below are not searched."""
    said = "not at the spans below it."
    assert said in page.get("/?tour=0&search=order.amount%3D0.5").text
    assert said not in page.get("/?tour=0&failed=1").text


def test_the_time_of_a_request_is_the_one_that_orders_the_list(
    stored: StoredData, page: TestClient
) -> None:
    """The list is ordered by the end of the requests, and its column of times has these ends."""
    noon = 1_700_000_000 * NANO
    long, short = (
        replace(span(f"{number:016x}", ""), name=name, start=noon + start, end=noon + end)
        for number, (name, start, end) in enumerate([("long", 0, 9 * NANO), ("short", NANO, NANO)])
    )
    stored.request_spans = [long, short]
    table = page.get("/?tour=0").text.split('id="request-rows"')[0].rpartition("<table>")[2]
    assert '<th class="when">ended</th>' in table
    rows = page.get("/?tour=0").text.split('id="request-rows"')[1].split("</table>")[0]
    times = re.findall(r'<td class="time when">([^<]*)</td>', rows)
    assert times == [formatting.moment(noon / NANO + seconds) for seconds in (9, 1)]


def test_requests_are_searched(stored: StoredData, page: TestClient) -> None:
    """The filters of the address are passed to the query and are shown in the form."""
    store_requests(stored, 3)
    filters = {
        "search": 'slow card.network=visa note="a <b>"',
        "service": "payment",
        "slower": "0.25",
        "failed": "1",
    }
    text = unescape(page.get("/", params=filters).text)
    assert stored.request_filter == RequestFilter(
        service="payment",
        failed=True,
        slower_than=0.25,
        attributes=(("card.network", "visa"), ("note", "a <b>")),
        text="slow",
    )
    assert 'name="search" value="slow card.network=visa note="a <b>""' in text
    assert '<option value="0.25" selected>over 250 ms</option>' in text
    assert 'value="1" checked> failed only' in text
    log_form = text.split('aria-label="Logs"')[1]
    for name, value in (("failed", "1"), ("slower", "0.25")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in log_form


def test_a_trace_id_leads_to_its_trace(page: TestClient) -> None:
    """A trace id in the search field, in any case, leads to the page of that trace."""
    response = page.get("/", params={"search": TRACE.upper(), "minutes": "15"})
    assert response.status_code == 303
    assert response.headers["location"] == f"/trace/{TRACE}?minutes=15"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/buy", {"card": "stolen"}),
        ("/buy", {}),
        ("/buy", {"card": "ordinary", "count": "11"}),
        ("/buy", {"card": "ordinary", "count": "many"}),
        ("/stream", {"rate": "51"}),
        ("/stream", {"rate": "-1"}),
        ("/stream", {"rate": "nan"}),
        ("/stream", {"rate": ""}),
    ],
)
def test_invalid_form_is_refused(page: TestClient, path: str, fields: dict[str, str]) -> None:
    """An unknown card, too many purchases and an invalid rate are refused, and nothing is sent."""
    response = page.post(path, data=fields)
    assert response.status_code == 422
    assert "Newest checkout" not in page.get("/").text


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x" * (MAX_FORM_BYTES + 1), 413), (b"card=\xff", 422), (b"&".join([b"a=1"] * 20), 422)],
)
def test_form_size_is_limited(page: TestClient, body: bytes, status: int) -> None:
    """A body that is too large, not ASCII or has too many fields is refused."""
    assert page.post("/buy", content=body).status_code == status


def test_a_slow_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body whose bytes drip in is refused after a time limit, however small it is."""
    monkeypatch.setattr(forms, "BODY_TIMEOUT_S", 0.2)

    async def drip() -> dict[str, object]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def read() -> None:
        request = Request({"type": "http", "method": "POST", "headers": []}, drip)
        await forms.read_body(request, MAX_FORM_BYTES)

    with pytest.raises(HTTPException) as refused:
        asyncio.run(read())
    assert refused.value.status_code == 408
    assert refused.value.headers == {"Connection": "close"}


def test_stream_runs_until_it_is_stopped(page: TestClient) -> None:
    """Purchases are sent at the given rate, which is shown, until the rate is 0."""
    assert page.post("/stream", data={"rate": "50"}).status_code == 303
    text = wait_for(page, lambda text: "50 per second, " in text and "Newest checkout" in text)
    assert 'id="newest-purchase" role=' not in text, "it changes too often to be read out"
    page.post("/stream", data={"rate": "0"})
    assert " per second, " not in page.get("/").text


@pytest.mark.parametrize(
    "path",
    ["/trace/zz", "/trace/" + "0" * 32, "/nowhere", "/docs", "/openapi.json"],
)
def test_unknown_path_is_not_found(page: TestClient, path: str) -> None:
    """An unknown path is answered with 404 and a page that says so."""
    response = page.get(path)
    assert (response.status_code, "<h1>Not found</h1>" in response.text) == (404, True)


def test_invalid_address_says_what_is_allowed(page: TestClient) -> None:
    """An invalid parameter is refused with the allowed values, without repeating it."""
    response = page.get("/?minutes=<b>7")
    assert response.status_code == 422
    assert "<h1>Invalid request</h1>" in response.text
    assert "minutes must be 5, 15 or 60" in response.text


def test_trace_that_has_not_arrived_is_awaited(page: TestClient) -> None:
    """The page of an unknown trace says that it has not arrived yet."""
    assert "has not arrived yet" in page.get(f"/trace/{TRACE}").text


@pytest.mark.parametrize(
    ("age_s", "message"), [(1, "Waiting for: "), (100, "Missing after 30 s: ")]
)
def test_missing_parts_are_awaited_for_half_a_minute(
    stored: StoredData, page: TestClient, age_s: float, message: str
) -> None:
    """A missing span is awaited for half a minute, and counts as missing afterwards."""
    start = time.time_ns() - int(age_s * 1e9)
    orphan = span(CALL, "elsewhere", "INTERNAL")
    stored.spans = [
        replace(item, start=start, end=start + 1000) for item in (span(ROOT, ""), orphan)
    ]
    assert message in page.get(f"/trace/{TRACE}").text


def test_tour_is_shown_on_the_first_visit(page: TestClient) -> None:
    """A visitor who has ended the tour sees it again only on request."""
    assert "1 of 5" in page.get("/").text
    without_tour = page.get("/?tour=0").text
    assert "of 5" not in without_tour
    assert '<div id="guide" data-refresh></div>' in without_tour, "it takes up no space"
    assert "of 5" not in page.get("/").text
    assert "3 of 5" in page.get("/?tour=3").text


def test_tour_leads_from_the_dot_to_the_explanation(busy: StoredData, page: TestClient) -> None:
    """Step 3 links the red dot to step 4, which leads to step 5 and to the end."""
    assert busy.exemplars
    assert f'href="/trace/{TRACE}?tour=4"' in page.get("/?tour=3").text
    assert 'href="?tour=5#tour"' in page.get(f"/trace/{TRACE}?tour=4").text
    assert 'href="/?tour=0"' in page.get(f"/trace/{TRACE}?tour=5").text


def test_grafana_is_linked_only_where_it_runs(
    busy: StoredData, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trace page has links into Grafana only when Grafana is healthy."""
    busy.spans = [span(ROOT, "", attributes={"http.route": "/checkout"})]
    page = open_page()
    assert "Open in Grafana" not in page.get(f"/trace/{TRACE}").text

    async def grafana_is_healthy(*_: object) -> dict[str, str]:
        return {"grafana": ""}

    monkeypatch.setattr(health, "problems", grafana_is_healthy)
    text = unescape(open_page().get(f"/trace/{TRACE}").text)
    assert "Open in Grafana" in text
    assert text.count("http://127.0.0.1:3000/explore?") == 2
    assert "http://127.0.0.1:3000/d/checkout?" in text


def test_readouts_are_json(busy: StoredData, page: TestClient) -> None:
    """The readouts of a chart survive as JSON in an attribute."""
    assert busy.spans
    readouts = re.findall(r'data-readouts="([^"]*)"', page.get("/").text)
    assert len(readouts) == 4
    texts = json.loads(unescape(readouts[0]))
    assert all("checkout 4.0/s  payment 4.0/s" in text for text in texts)


def test_pending_query_is_no_failure(stored: StoredData, open_page: OpenPage) -> None:
    """A query that still runs is shown as pending, not in the style of a failure."""
    stored.faults = dict.fromkeys(QUERIES, HANGING)
    text = open_page(first_wait=0.01, timeout=30.0).get("/").text
    assert text.count("no answer yet") >= 7
    assert re.search(r'class="mode">local</b>\s*<span>no answer yet</span>', text)
    assert "No calls" not in text
    assert '<p class="problem">' not in text


def test_unknown_rate_is_not_shown_as_no_calls(stored: StoredData, open_page: OpenPage) -> None:
    """While the rates are pending the service graph does not claim that there were no calls."""
    stored.faults = {"service_red": HANGING}
    text = open_page(first_wait=0.01, timeout=30.0).get("/").text
    assert "No answer" in text
    assert "No calls" not in text


def test_blank_settings_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blank settings count as unset, and WEB_HOSTS adds comma-separated names."""
    for name in ("PORT", "BIND", "HOSTS", "GRAFANA_URL"):
        monkeypatch.setenv(f"WEB_{name}", "  ")
    names = Settings().names()
    assert names == {HOST, "localhost:8080", "[::1]:8080"}
    monkeypatch.setenv("WEB_HOSTS", "Page.test:8080, ,other.test")
    assert Settings().names() == names | {
        "page.test:8080",
        "https://page.test:8080",
        "other.test",
        "https://other.test",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?minutes=7",
        "/nowhere",
        "/status",
        "/healthz",
        "/buy",
        "/static/page.css",
        f"/trace/{TRACE}",
        f"/trace/{TRACE.upper()}",
        f"/trace/{TRACE}/request.html",
        f"/trace/{TRACE}/otlp.jsonl",
    ],
)
def test_head_is_answered_as_get_without_a_body(
    busy: StoredData, page: TestClient, path: str
) -> None:
    """HEAD of every address has the status and the headers of GET, and no body."""
    assert busy.spans
    head = page.head(path)
    get = page.get(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers.keys() == get.headers.keys()
    assert head.headers["content-security-policy"] == get.headers["content-security-policy"]
    assert page.head(path, headers={"host": "evil.test"}).status_code == 421


def test_a_trace_id_is_accepted_in_any_case(busy: StoredData, page: TestClient) -> None:
    """An address with capital letters leads to the one address of the trace."""
    assert busy.spans
    for written in (TRACE.upper(), TRACE[:8] + TRACE[8:].upper()):
        response = page.get(f"/trace/{written}?minutes=15")
        assert (response.status_code, response.headers["location"]) == (
            307,
            f"/trace/{TRACE}?minutes=15",
        )
    assert page.get(f"/trace/{'G' * 32}").status_code == 404
    assert page.get(f"/trace/{TRACE.upper()}/request.html").status_code == 200


def test_an_unknown_address_says_so(page: TestClient) -> None:
    """A page that does not exist is answered with a sentence, not with a status alone."""
    response = page.get("/nowhere")
    assert response.status_code == 404
    assert "There is no page with this address." in response.text


def test_a_wrong_sampling_rule_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The web UI does not start with a share that the gateways cannot have, and says so."""
    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", "101")
    assert run_web_ui() == 2
    assert "TAIL_SAMPLING_PERCENTAGE=101" in capsys.readouterr().err
