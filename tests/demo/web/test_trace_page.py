"""Tests for the page of one request: date, links, stack traces, failures, and its refresh."""

import re
import time
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import HOST, StoredData
from tests.demo.web.served import answers_of, new_context, open_page
from tests.processes import wait_for
from tests.traces import CALL, CHARGE, ROOT, TRACE, canonical, line, span
from three_pillar_demo.query.interface import RedSample, Span, SpanEvent, SpanLink
from three_pillar_demo.web import trace_ages
from three_pillar_demo.web.trace_page import ARRIVING_S, INCOMPLETE_S

OTHER_TRACE = "a" * 32
STACK = "Traceback (most recent call last):\n  <b>\nOSError: gone"
STATUS_ADDRESS = 'data-refresh-from="/status"'
WAIT_S = 60
"""How long to wait for a browser, in seconds."""

needs_browser = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)


@pytest.fixture
def rich(stored: StoredData) -> StoredData:
    """The data of the fake backends, with a failed request of web, which ended two minutes ago."""
    event = SpanEvent(
        span(ROOT, "").start,
        "exception",
        {"exception.type": "OSError", "exception.stacktrace": STACK},
    )
    links = (SpanLink(OTHER_TRACE, "b" * 16, {"why": "batch"}), SpanLink(TRACE, ROOT, {}))
    spans = [
        span(
            ROOT, "", service="web", name="GET /", error=True, attributes={"http.status_code": 500}
        ),
        span(CALL, ROOT, "CLIENT", service="web", name="GET", attributes={"http.url": "http://s/"}),
        span(CHARGE, CALL, at=-50, service="stock", error=True, events=(event,), links=links),
    ]
    stored.spans = moved(spans, 120)
    return stored


def moved(spans: list[Span], age_s: float) -> list[Span]:
    """Return the spans with times at which the last of them ended ``age_s`` ago."""
    offset = time.time_ns() - int(age_s * 1e9) - max(item.end for item in spans)
    return [replace(item, start=item.start + offset, end=item.end + offset) for item in spans]


def html_of(page: TestClient, path: str = f"/trace/{TRACE}") -> str:
    """Return the text of the page of the request."""
    response = page.get(path)
    assert response.status_code == 200
    return response.text


def test_the_date_is_shown(rich: StoredData, page: TestClient) -> None:
    """A request has a date beside its time, because it may be of yesterday."""
    started = time.localtime(rich.spans[0].start / 1e9)
    expected = time.strftime("on %Y-%m-%d at %H:%M:%S.", started)
    assert expected in re.sub(r"<[^>]*>", "", html_of(page))


def test_links_are_followed(rich: StoredData, page: TestClient) -> None:
    """A link to another trace is a link to its page, one to a span of this trace to its row."""
    text = html_of(page)
    assert f'<a href="/trace/{OTHER_TRACE}">' in text
    own = re.search(rf'<a href="#(s\d+-{ROOT})">', text)
    assert own
    assert f'id="{own[1]}"' in text
    file = html_of(page, f"/trace/{TRACE}/request.html")
    assert f"trace <code>{OTHER_TRACE}</code>" in file
    assert "/trace/" not in file, "a file on a disk cannot lead to another page"
    assert rich.spans[2].links


def test_a_stack_trace_keeps_its_lines(rich: StoredData, page: TestClient) -> None:
    """A stack trace is shown with its line breaks, and only as text."""
    assert rich.spans
    text = html_of(page)
    assert f"<pre>{STACK}</pre>" not in text
    assert f"<pre>{STACK}</pre>" in unescape(text)


def test_the_first_failure_is_linked(rich: StoredData, page: TestClient) -> None:
    """The sentence is followed by a link to the row of the failure that it is about."""
    text = html_of(page)
    link = re.search(r'First failure:\s*<a href="#([^"]+)">([^<]+)</a>', text)
    assert link
    assert link[1].endswith(CHARGE)
    assert f'id="{link[1]}"' in text
    assert link[2] == f"stock {rich.spans[2].name}"


def test_a_success_has_no_failure_to_link(rich: StoredData, page: TestClient) -> None:
    """Where nothing has failed, there is no link to a failure."""
    rich.spans = [replace(item, error=False) for item in rich.spans]
    assert "First failure" not in html_of(page)


def test_clock_skew_is_said(rich: StoredData, page: TestClient) -> None:
    """A request that begins before its call is explained by the clocks of the two services."""
    assert rich.spans
    expected = "Clock skew: the clock of stock is 50 ms or more behind web's"
    assert expected in unescape(html_of(page))


def test_times_are_adjusted_on_request(rich: StoredData, page: TestClient) -> None:
    """An address shows the times by one clock, each moved row says by how much, and a link back."""
    assert rich.spans
    as_sent = html_of(page)
    assert f'<a href="/trace/{TRACE}?adjust=1">Adjust the times</a>' in as_sent
    assert ">adjusted +" not in as_sent
    text = html_of(page, f"/trace/{TRACE}?adjust=1")
    assert "The times below are adjusted:\n      stock +50 ms." in text
    assert text.count(">adjusted +50 ms<") == 1
    assert re.search(rf'<div class="row span [^"]* adjusted bad" id="s2-{CHARGE}"', text)
    assert f'<a href="/trace/{TRACE}">Show the times as they were sent</a>' in text
    assert "Clock skew: the clock of stock is 50 ms or more behind" in unescape(text)
    assert "adjust=1" not in re.findall(r"<header.*?</header>", text, re.DOTALL)[0]
    file = html_of(page, f"/trace/{TRACE}/request.html")
    assert "Adjust the times" not in file
    assert "Clock skew" in file


@pytest.mark.parametrize("parents", [{ROOT: ROOT}, {ROOT: CALL, CALL: ROOT}])
def test_a_trace_without_a_root_has_a_heading_and_a_date(
    stored: StoredData, page: TestClient, parents: dict[str, str]
) -> None:
    """Where every span is its own ancestor, the page still says what it is, and when it was."""
    stored.spans = [
        span(span_id, parent_id, service="web", name="GET /")
        for span_id, parent_id in parents.items()
    ]
    text = html_of(page)
    assert "<h1>web GET /</h1>" in text
    assert '<time datetime="2026-01-01T' in text


@needs_browser
def test_a_wrong_clock_is_not_in_the_colour_of_failures(
    browser: Browser, stored: StoredData, page: TestClient
) -> None:
    """What is said about the time of a span is no failure, so it is not red."""
    hour_ms = 3_600_000
    stored.spans = [
        span(ROOT, "", error=True, message="broken"),
        span(CALL, ROOT, "CLIENT"),
        span(CHARGE, CALL, at=-hour_ms, service="stock"),
    ]
    context = new_context(browser, answers_of(page))
    opened = open_page(context, f"/trace/{TRACE}?still=1")
    colour = "element => getComputedStyle(element).color"
    failure = opened.get_by_text("broken", exact=True).evaluate(colour)
    for text in ("ends 60 min before its caller began", "Clock skew: the clock of stock is 60 min"):
        assert opened.get_by_text(text).evaluate(colour) != failure
    context.close()


def test_clocks_that_agree_need_no_adjustment(stored: StoredData, page: TestClient) -> None:
    """Where no clock is wrong, nothing is offered, and the address changes nothing."""
    stored.spans = moved([span(ROOT, ""), span(CALL, ROOT, "CLIENT")], 60)
    assert "Adjust the times" not in html_of(page)
    assert "adjusted" not in html_of(page, f"/trace/{TRACE}?adjust=1")


def test_linked_traces_are_named_at_the_top(rich: StoredData, page: TestClient) -> None:
    """The traces to which any span has links are links above the rows: five, and how many more."""
    links = tuple(SpanLink(f"{number:032x}", "b" * 16, {}) for number in range(1, 9))
    rich.spans[0] = replace(rich.spans[0], links=links * 2)
    text = re.sub(r"\s+", " ", html_of(page).partition('id="waterfall"')[0])
    assert "Linked traces:" in text
    assert text.count('<a href="/trace/0000') == 5
    assert "and 4 more" in text


def test_a_row_leads_to_its_resource(rich: StoredData, page: TestClient) -> None:
    """A row has its ids, and a link to the resource in the list of services."""
    assert rich.spans
    text = html_of(page)
    assert f"parent span id <code>{ROOT}</code>" in text
    assert '<a href="#resource-1">resource of web</a>' in text
    assert '<div id="resource-1">' in text


def test_a_finished_request_is_not_fetched_again(rich: StoredData, page: TestClient) -> None:
    """A complete request that has ended names the status bar as what is fetched from then on."""
    assert rich.spans
    assert STATUS_ADDRESS in html_of(page)
    status = html_of(page, "/status?minutes=15")
    assert "component-store" in status
    assert 'id="request"' not in status


@pytest.mark.parametrize("age_s", [1, ARRIVING_S - 15])
def test_a_young_request_is_fetched_again(rich: StoredData, page: TestClient, age_s: float) -> None:
    """As long as more of a request may arrive, its page is fetched each second."""
    rich.spans = moved(rich.spans, age_s)
    assert STATUS_ADDRESS not in html_of(page)


def test_a_request_that_is_dated_ahead_is_finished_as_well(
    rich: StoredData, page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a request whose sender's clock is ahead does not wait for its time."""
    rich.spans = moved(rich.spans, -3600)
    assert STATUS_ADDRESS not in html_of(page)
    later = time.time() + ARRIVING_S + 1
    monkeypatch.setattr(trace_ages, "time", SimpleNamespace(time=lambda: later))
    assert STATUS_ADDRESS in html_of(page)


def test_only_some_traces_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many traces that are dated ahead do not fill the memory."""
    monkeypatch.setattr(trace_ages, "MAX_TRACES", 2)
    ages = trace_ages.TraceAges()
    for trace_id in ("a", "b", "a", "c"):
        ages.age(trace_id, time.time() + 3600)
    assert list(ages.first_seen) == ["a", "c"]


@pytest.mark.parametrize(
    ("age_s", "is_finished"), [(ARRIVING_S + 30, False), (INCOMPLETE_S + 30, True)]
)
def test_an_incomplete_request_is_fetched_for_minutes(
    rich: StoredData, page: TestClient, age_s: float, *, is_finished: bool
) -> None:
    """A request with missing parts is fetched for ten minutes, which an outage may take."""
    orphan = span("orphan", "gone", "INTERNAL", service="web")
    rich.spans = moved([*rich.spans, orphan], age_s)
    assert (STATUS_ADDRESS in html_of(page)) == is_finished


@pytest.mark.parametrize(("age_s", "has_chart"), [(1, True), (60, False)])
def test_a_chart_without_data_goes(
    stored: StoredData, page: TestClient, age_s: float, *, has_chart: bool
) -> None:
    """The chart of a service that sends no durations is awaited, and then left out."""
    stored.spans = moved([span(ROOT, "", attributes={"http.route": "/checkout"})], age_s)
    assert ("Duration of checkout" in html_of(page)) == has_chart


@pytest.mark.parametrize(("age_s", "is_finished"), [(60, False), (300, True)])
def test_a_chart_is_fetched_until_it_is_full(
    stored: StoredData, page: TestClient, age_s: float, *, is_finished: bool
) -> None:
    """The chart of the durations around a request grows for some minutes after it."""
    root = span(ROOT, "", attributes={"http.route": "/checkout"})
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.0, (0.2, 0.4, 2.0))
    stored.spans = moved([root], age_s)
    stored.trace_logs = [canonical(ROOT, "checkout", 200, "success")]
    assert (STATUS_ADDRESS in html_of(page)) == is_finished


def test_a_large_request_is_not_fetched_for_its_chart(stored: StoredData, page: TestClient) -> None:
    """A request of many rows is fetched until it is complete, and no longer."""
    root = span(ROOT, "", attributes={"http.route": "/checkout"})
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.0, (0.2, 0.4, 2.0))
    children = [span(f"{number:016x}", ROOT, "INTERNAL") for number in range(200)]
    stored.spans = moved([root, *children], 60)
    stored.trace_logs = [canonical(ROOT, "checkout", 200, "success")]
    assert STATUS_ADDRESS in html_of(page)


def test_a_request_that_has_not_arrived_is_fetched_again(page: TestClient) -> None:
    """The page of a trace without spans is fetched until there are some."""
    assert STATUS_ADDRESS not in html_of(page)


def test_what_is_left_out_is_said(stored: StoredData, page: TestClient) -> None:
    """A large trace says how many rows are left out, where, and how many there are in the file."""
    children = [span(f"{number:016x}", ROOT, "INTERNAL", at=number / 100) for number in range(3000)]
    children[-1] = replace(children[-1], error=True)
    stored.spans = moved([span(ROOT, "", took=1), *children], 60)
    # On a busy machine the first answer is that it waits.
    wait_for("the page of the trace", lambda: "left out here" in html_of(page), WAIT_S)
    text = html_of(page)
    assert "Only 1,000 of 3,001 spans and log lines are shown" in text
    assert "2,001 rows are left out here" in text
    assert "The HTML file shows up to 20,000." in text
    assert f"-{2999:016x}" in text


@needs_browser
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.long)])
def test_a_browser_fetches_a_finished_request_once(
    browser: Browser, rich: StoredData, page: TestClient, *, width: int
) -> None:
    """After the page of a finished request, a browser fetches the status bar; rows stay open."""
    rich.trace_logs = [line(CHARGE, "x" * 400, service="stock", exception_stacktrace="y" * 2000)]
    deep = [span(f"d{n}", f"d{n - 1}" if n else CHARGE, "INTERNAL", service="s") for n in range(40)]
    rich.spans = moved([*rich.spans, *deep], 120)
    paths: list[str] = []

    def answer(route: Route) -> None:
        paths.append(route.request.url.partition(HOST)[2])
        response = page.get(route.request.url)
        route.fulfill(
            status=response.status_code, body=response.content, headers=dict(response.headers)
        )

    context = browser.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    opened = context.new_page()
    opened.route("**/*", answer)
    opened.goto(f"http://{HOST}/trace/{TRACE}")
    summary = opened.locator("#waterfall summary")
    for number in range(summary.count()):
        summary.nth(number).click()
    assert opened.locator("#waterfall pre").first.is_visible()
    deadline = time.monotonic() + WAIT_S
    while paths.count("/status") < 2:
        assert time.monotonic() < deadline, "waited for two refreshes of the status bar"
        opened.wait_for_timeout(100)
    assert paths.count(f"/trace/{TRACE}") == 1
    assert opened.locator("#waterfall pre").first.is_visible()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    for box in opened.locator("#waterfall .row").all():
        bounds = box.bounding_box()
        assert bounds
        assert bounds["x"] + bounds["width"] <= width
    table = opened.get_by_role("table", name="Spans and log lines")
    assert table.get_by_role("row").count() == len(rich.spans) + len(rich.trace_logs) + 1
    assert table.get_by_role("columnheader", name="Spans and log lines").is_visible()
    opened.locator(".first-failure a").click()
    assert opened.locator(".row:target").is_visible()
    results = Axe().run(opened)
    assert results.violations_count == 0, results.generate_report()
    context.close()


def test_status_is_cheap(rich: StoredData, page: TestClient) -> None:
    """The status bar needs no query of a trace."""
    rich.queries.clear()
    html_of(page, "/status")
    assert not {"trace", "trace_logs", "red", "exemplars"} & set(rich.queries)
