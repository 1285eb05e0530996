"""The links of Grafana in a real browser, from dashboard to trace, to logs and back."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.demo.web.browser import CHROMIUM, FLAGS, WHY_NOT
from tests.end_to_end.conftest import DEMO
from three_pillar_demo.stack.components import WEB

TIMEOUT_S = 30
FAILED_PURCHASE_LINKS = "section:has-text('Newest failed purchases') a[href*='/explore']"

pytestmark = pytest.mark.skipif(not CHROMIUM, reason=WHY_NOT)


@pytest.fixture
def page(grafana: str) -> Iterator[Page]:
    """A browser page of 1280 x 1700 pixels, on which most of a dashboard is visible."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(base_url=grafana, viewport={"width": 1280, "height": 1700})
        page.set_default_timeout(TIMEOUT_S * 1000)
        expect.set_options(timeout=TIMEOUT_S * 1000)
        yield page
        browser.close()


@pytest.mark.parametrize("dashboard", ["checkout", "pipeline", "slo"])
def test_every_panel_shows_something(page: Page, dashboard: str) -> None:
    """No panel of a dashboard has an error badge or shows "No data"."""
    page.goto(f"/d/{dashboard}")
    expect(page.locator("section").first).to_be_visible()
    page.wait_for_timeout(2000)  # every panel has sent its queries
    expect(page.locator("[aria-label='Panel loading bar']")).to_have_count(
        0, timeout=TIMEOUT_S * 1000
    )
    expect(page.get_by_text("No data")).to_have_count(0, timeout=TIMEOUT_S * 1000)
    expect(page.get_by_test_id("data-testid Panel status error")).to_have_count(0)


def test_from_a_failed_purchase_to_its_logs_and_back(page: Page) -> None:
    """A table row opens the trace, a span its logs, and a log record the trace and metrics."""
    page.goto("/d/checkout")
    row = page.locator(FAILED_PURCHASE_LINKS).first
    trace_id = re.findall(r"%22query%22%3A%22([0-9a-f]+)%22", row.get_attribute("href") or "")[0]
    row.click()
    expect(page.get_by_text(trace_id).first).to_be_visible()

    page.get_by_test_id("span-view").first.click()
    page.get_by_role("button", name="Links").click()
    page.get_by_role("menuitem", name=re.compile("[Ll]ogs")).click()
    expect(page.get_by_text(re.compile("^POST /charges")).first).to_be_visible()
    line = page.get_by_text(re.compile("^POST /checkout 50")).last
    line.click()

    metrics = page.get_by_role("link", name="Show the service's error ratio at that time")
    expect(metrics).to_have_attribute(
        "href", re.compile(r"/d/checkout\?var-service=checkout&time=\d{13}&time.window=600000")
    )
    back = page.get_by_role("link", name="Open the trace").first
    page.goto(back.get_attribute("href") or "")
    expect(page.get_by_text(trace_id).first).to_be_visible()


def test_from_the_web_ui_to_the_same_request(page: Page) -> None:
    """The web UI's page of a request links to its trace, logs and dashboards in Grafana."""
    output = subprocess.run(
        [*DEMO, "checkout", "--card", "gateway-timeout"], check=True, capture_output=True, text=True
    ).stdout
    trace_id = re.findall(r"demo follow ([0-9a-f]{32})", output)[0]
    page.goto(f"{WEB.address}/trace/{trace_id}")
    links = page.locator(".grafana-links a")
    expect(links).to_have_count(4)
    trace, logs, panel, one_request = (link.get_attribute("href") or "" for link in links.all())

    page.goto(trace)
    expect(page.get_by_text(trace_id).first).to_be_visible()
    expect(page.get_by_test_id("span-view")).to_have_count(4)
    page.goto(logs)
    for message in ("POST /checkout 500 gateway_timeout", "POST /charges 504 gateway_timeout"):
        expect(page.get_by_text(message).first).to_be_visible()
    page.goto(panel)
    expect(page.get_by_role("heading", name=re.compile("Duration")).first).to_be_visible()
    expect(page.get_by_text("No data")).to_have_count(0)
    page.goto(one_request)
    expect(page.get_by_text(trace_id).first).to_be_visible()
    expect(page.get_by_text("POST /charges 504 gateway_timeout").first).to_be_visible()
