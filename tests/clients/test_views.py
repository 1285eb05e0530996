"""Every view of the web UI, in a real browser, of what the shops in four languages have sent."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, expect, sync_playwright

from tests.clients import installation
from tests.clients.shops import ERROR_MESSAGE, Visit, bought
from tests.demo.web import visits
from tests.demo.web.browser import CHROMIUM, FLAGS, WHY_NOT
from three_pillar_demo.query.interface import Span
from three_pillar_demo.query.local import LocalBackends

DURATION = "http.server.request.duration"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests here."""
    if CHROMIUM is None:
        installation.unavailable("page", WHY_NOT)
    expect.set_options(timeout=TIMEOUT_S * 1000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def shown(
    visit: Visit, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[visits.Visit]:
    """A page of the web UI, without the demo's own shop, on the store of each client in turn."""
    folder = tmp_path_factory.mktemp("web")
    backends = LocalBackends(visit.store.process.path, visit.store.http)
    with (
        visits.served(backends, folder, "view") as client,
        visits.visiting(browser, client) as shown,
    ):
        yield shown


def opened(shown: visits.Visit, path: str) -> Locator:
    """Check the view at ``path`` as every view is checked; return its main part."""
    assert shown.problems(path) == []
    return shown.page.locator("main")


def server_span(visit: Visit, service: str, *, failed: bool) -> Span:
    """Return the SERVER span of a service in the request that succeeded, or in the failed one."""
    [span] = [
        span
        for span in bought(visit, failed=failed).spans
        if (span.service, span.kind) == (service, "SERVER")
    ]
    return span


def test_a_failed_request_is_explained(visit: Visit, shown: visits.Visit) -> None:
    """The page of the failed request has its name, its reason, both services and all that is."""
    root = server_span(visit, "shop", failed=True)
    main = opened(shown, f"/trace/{root.trace_id}")
    expect(main.locator("h1")).to_have_text(f"shop {root.name}")
    expected = f"shop answered 500 because stock {visit.client.reason}."
    expect(main.locator(".sentence")).to_have_text(expected)
    expect(main.locator(".first-failure")).to_contain_text("stock")
    names = main.locator("#waterfall .row.span .service").all_text_contents()
    assert set(names) == {"shop", "stock"}
    expect(main.locator("#services summary")).to_have_count(2)
    for lost in ("Waiting for", "Missing after", "Clock skew", "given up"):
        expect(main).not_to_contain_text(lost)


def test_a_successful_request_is_described(visit: Visit, shown: visits.Visit) -> None:
    """The page of the successful request has the log record in its place, and nothing is red."""
    root = server_span(visit, "shop", failed=False)
    main = opened(shown, f"/trace/{root.trace_id}")
    # After it the sentence may name the slowest part.
    expect(main.locator(".sentence")).to_contain_text("shop answered 200; stock answered 200")
    record = main.locator("#waterfall .row.log").filter(has_text="only 1 teapot left")
    expect(record).to_have_count(1)
    expect(main.locator(".row.bad, .mark, #comparison")).to_have_count(0)


def test_the_overview(visit: Visit, shown: visits.Visit) -> None:
    """The start page lists the requests with name, status and reason, and draws the call."""
    failed = server_span(visit, "shop", failed=True)
    main = opened(shown, "/")
    for service in ("shop", "stock"):
        expect(main.locator("#service-list").get_by_role("link", name=service)).to_be_visible()
    row = main.locator(f"#request-rows tr:has(a[href^='/trace/{failed.trace_id}'])").filter(
        has=main.page.locator("td.service", has_text="shop")
    )
    expect(row).to_have_count(1)
    expect(row.get_by_role("link")).to_have_text(failed.name)
    expect(row).to_contain_text("500")
    expect(row.locator(".mark")).to_have_text("failed")
    expect(row.locator(".reason")).to_contain_text(ERROR_MESSAGE)
    expect(main.locator("#newest-failure .sentence")).to_contain_text(visit.client.reason)
    expect(main.locator("#edge-shop-stock").first).to_be_attached()
    expect(main.locator("#log-rows")).to_contain_text("only 1 teapot left")


def test_the_services(visit: Visit, shown: visits.Visit) -> None:
    """Both services have their figures from the histogram of their SDK, their route and calls."""
    expect(opened(shown, "/services").locator("tbody tr")).to_have_count(2)
    for failed_span, title, other in (
        (server_span(visit, "shop", failed=True), "Calls", "stock"),
        (server_span(visit, "stock", failed=True), "Called by", "shop"),
    ):
        service = failed_span.service
        main = opened(shown, f"/service?service={service}")
        expect(main.locator("h1")).to_have_text(service)
        expect(main).to_contain_text("2 requests")
        expect(main).to_contain_text(f"its histogram {DURATION}")
        calls = main.get_by_role("region", name=title, exact=True)
        expect(calls.get_by_role("link", name=other)).to_be_visible()
        routes = main.get_by_role("region", name="Routes").locator("tbody tr")
        expect(routes).to_have_count(1)
        expect(routes).to_contain_text(str(failed_span.attributes.get("http.route", "GET")))
        expect(routes).to_contain_text("1 of 2")


def test_the_log_records(visit: Visit, shown: visits.Visit) -> None:
    """The warning is in the list with its level, and its own page leads to its request."""
    request = server_span(visit, "shop", failed=False)
    main = opened(shown, "/logs?text=only+1+teapot+left")
    row = main.locator("#log-rows li")
    expect(row).to_have_count(1)
    expect(row.locator(".text")).to_contain_text("only 1 teapot left")
    expect(row.locator(".service")).to_have_text("stock")
    expect(row.locator(".level")).to_have_text(re.compile("^WARN(ING)?$", re.IGNORECASE))
    listed = shown.client.get("/logs?text=only+1+teapot+left").text
    [address] = re.findall(r'data-content="(/logs/[^"]+)"', listed)
    record = opened(shown, address)
    expect(record.locator("pre").first).to_contain_text("only 1 teapot left")
    to_trace = record.get_by_role("link", name="Open its trace")
    expect(to_trace).to_have_attribute("href", f"/trace/{request.trace_id}")


def test_the_metrics(visit: Visit, shown: visits.Visit) -> None:
    """The durations of each service are an instrument with its unit, of the kind that it sends."""
    assert visit.client.name
    instruments = opened(shown, "/metrics").locator(".instruments li").filter(has_text=DURATION)
    expect(instruments.first).to_be_visible()
    for service in ("shop", "stock"):
        main = opened(shown, f"/metrics?metric={DURATION}&service={service}&by=http_route")
        expect(main.locator("#instrument h2").first).to_have_text(DURATION)
        expect(main.locator("#instrument")).to_contain_text("histogram, in s")
        senders = main.get_by_role("region", name="The chosen metric").get_by_role("link")
        expect(senders.filter(has_text=service)).to_be_visible()
        route = str(server_span(visit, service, failed=True).attributes.get("http.route", ""))
        expect(main.locator("#instrument .legend").first).to_contain_text(route)
