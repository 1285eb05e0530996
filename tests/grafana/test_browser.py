"""A visitor's way through Grafana, in a real browser: dashboard, trace, log lines, trace, figures."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.demo.web.browser import CHROMIUM, FLAGS, WHY_NOT
from tests.end_to_end.conftest import DEMO
from three_pillar_demo.stack.components import WEB

SECONDS = 30
FAILED = "section:has-text('Newest failed purchases') a[href*='/explore']"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason=WHY_NOT)


@pytest.fixture
def page(grafana: str) -> Iterator[Page]:
    """An empty browser, as wide as a small laptop and tall enough for a dashboard."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = browser.new_page(base_url=grafana, viewport={"width": 1280, "height": 1700})
        found.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        yield found
        browser.close()


@pytest.mark.parametrize("board", ["checkout", "pipeline", "slo"])
def test_every_panel_shows_something(page: Page, board: str) -> None:
    """No panel has an error badge, and none says "No data"."""
    page.goto(f"/d/{board}")
    expect(page.locator("section").first).to_be_visible()
    page.wait_for_timeout(2000)  # every panel has begun to ask
    expect(page.locator("[aria-label='Panel loading bar']")).to_have_count(
        0, timeout=SECONDS * 1000
    )
    expect(page.get_by_text("No data")).to_have_count(0, timeout=SECONDS * 1000)
    expect(page.get_by_test_id("data-testid Panel status error")).to_have_count(0)


def test_from_a_failed_purchase_to_its_lines_and_back(page: Page) -> None:
    """A row opens the trace, a span its log lines of both services, a line the same trace and its service's figures."""
    page.goto("/d/checkout")
    row = page.locator(FAILED).first
    trace_id = re.findall(r"%22query%22%3A%22([0-9a-f]+)%22", row.get_attribute("href") or "")[0]
    row.click()
    expect(page.get_by_text(trace_id).first).to_be_visible()

    page.get_by_test_id("span-view").first.click()
    page.get_by_role("button", name="Links").click()
    page.get_by_role("menuitem", name=re.compile("[Ll]ogs")).click()
    expect(page.get_by_text(re.compile("^POST /charges")).first).to_be_visible()
    line = page.get_by_text(re.compile("^POST /checkout 50")).last
    line.click()

    figures = page.get_by_role("link", name="This service's errors around then")
    expect(figures).to_have_attribute(
        "href", re.compile(r"/d/checkout\?var-service=checkout&time=\d{13}&time.window=600000")
    )
    back = page.get_by_role("link", name="Open the trace").first
    page.goto(back.get_attribute("href") or "")
    expect(page.get_by_text(trace_id).first).to_be_visible()


def test_from_the_page_to_the_same_request(page: Page) -> None:
    """One request's own page leads to its trace, its lines, the panel around it and all about it, in Grafana."""
    bought = subprocess.run(
        [*DEMO, "checkout", "--card", "gateway-timeout"], check=True, capture_output=True, text=True
    ).stdout
    trace_id = re.findall(r"demo follow ([0-9a-f]{32})", bought)[0]
    page.goto(f"{WEB.address}/trace/{trace_id}")
    links = page.locator(".ways a")
    expect(links).to_have_count(4)
    trace, lines, panel, everything = (each.get_attribute("href") or "" for each in links.all())

    page.goto(trace)
    expect(page.get_by_text(trace_id).first).to_be_visible()
    expect(page.get_by_test_id("span-view")).to_have_count(4)
    page.goto(lines)
    for said in ("POST /checkout 500 gateway_timeout", "POST /charges 504 gateway_timeout"):
        expect(page.get_by_text(said).first).to_be_visible()
    page.goto(panel)
    expect(page.get_by_role("heading", name=re.compile("Duration")).first).to_be_visible()
    expect(page.get_by_text("No data")).to_have_count(0)
    page.goto(everything)
    expect(page.get_by_text(trace_id).first).to_be_visible()
    expect(page.get_by_text("POST /charges 504 gateway_timeout").first).to_be_visible()
