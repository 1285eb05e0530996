"""Tests in a real browser of what the page says when its server fails, hangs or is gone."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData
from tests.demo.web.served import TIMEOUT_S, Answer, answers_of, new_context, open_page

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
FAULTS = {
    "down": "it cannot be reached",
    "hanging": "it gave no answer in time",
    "proxy": "it answered 503",
    "other": "it answered with another page",
}
"""The ways in which a server fails, and what the page says of each."""


class Server:
    """Answers as the application does, or fails in one of the ways of ``FAULTS``.

    ``fault`` is the way, empty for none; ``methods`` are the methods of the requests that fail.
    """

    def __init__(self, answer: Answer) -> None:
        """Answer with ``answer`` at first."""
        self.answer = answer
        self.fault = ""
        self.methods = {"GET", "POST"}
        self.fetches = 0

    def __call__(self, route: Route) -> None:
        """Answer one request, or leave it without an answer."""
        self.fetches += route.request.resource_type == "fetch"
        fault = self.fault if route.request.method in self.methods else ""
        match fault:
            case "":
                self.answer(route)
            case "down":
                route.abort("connectionrefused")
            case "proxy":
                route.fulfill(status=503, body="no server is available")
            case "other":
                route.fulfill(status=200, body="<title>Sign in</title>")


@pytest.fixture
def server(busy: StoredData, page: TestClient) -> Server:
    """The web UI with recent traffic, which a test may let fail."""
    assert busy.spans
    return Server(answers_of(page))


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """A context whose requests ``server`` answers."""
    expect.set_options(timeout=TIMEOUT_S * 1000)
    context = new_context(browser, server)
    yield context
    context.unroute_all(behavior="ignoreErrors")
    context.close()


def wait_for_fetches(page: Page, server: Server, count: int) -> None:
    """Wait until the page has fetched ``count`` more times."""
    wanted = server.fetches + count
    for _ in range(TIMEOUT_S * 10):
        if server.fetches >= wanted:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"waited {TIMEOUT_S} s for {count} fetches")


def opacity(page: Page) -> float:
    """Return the opacity of the charts."""
    return float(page.locator("#charts").evaluate("e => getComputedStyle(e).opacity"))


@pytest.mark.parametrize("fault", FAULTS)
def test_old_figures_are_dated_and_dimmed(
    context: BrowserContext, server: Server, fault: str
) -> None:
    """While no new figures come, the page says why and from when the shown ones are."""
    page = open_page(context, "/?tour=0")
    wait_for_fetches(page, server, 1)
    notice = page.locator("#offline")
    expect(notice).to_be_hidden()
    assert opacity(page) == 1
    server.fault = fault
    expect(notice).to_contain_text(FAULTS[fault])
    newest = page.locator("#top").get_attribute("data-time") or ""
    assert re.fullmatch(r"\d\d:\d\d:\d\d", newest)
    expect(notice).to_contain_text(f"Those below are of {newest}.")
    assert opacity(page) < 1
    assert notice.is_visible()
    server.fault = ""
    expect(notice).to_be_hidden()
    assert opacity(page) == 1


@pytest.mark.parametrize("methods", [{"GET", "POST"}, {"POST"}], ids=["all", "forms"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_purchase_that_fails_is_told(
    context: BrowserContext, server: Server, fault: str, methods: set[str]
) -> None:
    """A button that does nothing says so, until the next one succeeds."""
    page = open_page(context, "/?tour=0")
    wait_for_fetches(page, server, 1)
    server.methods = methods
    server.fault = fault
    button = page.get_by_role("button", name="One checkout")
    button.click()
    notice = page.locator("#not-done")
    expect(notice).to_contain_text(
        f"“One checkout” was not confirmed by the web UI: {FAULTS[fault]}"
    )
    server.fault = ""
    expect(page.locator("#offline")).to_be_hidden()
    wait_for_fetches(page, server, 2)
    expect(notice).to_be_visible()
    expect(page.locator("#newest-purchase")).to_be_empty()
    button.click()
    expect(page.locator("#newest-purchase")).to_contain_text("Newest checkout")
    expect(notice).to_be_hidden()


def test_a_refused_form_says_what_is_allowed(context: BrowserContext, server: Server) -> None:
    """The reason of a refusal is shown, and the figures do not count as old."""
    page = open_page(context, "/?tour=0")
    page.locator("#stream-rate").evaluate("e => { e.type = 'text'; e.value = '1000' }")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#not-done")).to_contain_text("“Start” was not confirmed")
    expect(page.locator("#not-done")).to_contain_text("50")
    wait_for_fetches(page, server, 2)
    expect(page.locator("#offline")).to_be_hidden()


def test_a_page_that_says_not_found_is_not_called_old(
    context: BrowserContext, server: Server
) -> None:
    """The status of an invalid address is its answer, not a failure of the server."""
    page = open_page(context, "/nowhere")
    wait_for_fetches(page, server, 3)
    expect(page.locator("#offline")).to_be_hidden()
    server.fault = "down"
    expect(page.locator("#offline")).to_contain_text(FAULTS["down"])
