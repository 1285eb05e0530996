"""Tests of the list of services and of the page of one, by keyboard in a real browser."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData, add_calls, figures
from tests.demo.web.served import Visit, visits
from tests.demo.web.test_app import HOSTILE
from tests.traces import TRACE
from three_pillar_demo.query.interface import Exemplar
from three_pillar_demo.query.red_sources import ROOT_SPANS

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)


@pytest.fixture
def visit(browser: Browser, busy: StoredData, page: TestClient) -> Iterator[Visit]:
    """Open a page in a window of some width; some services have hostile names, jobs or nothing."""
    busy.services = [
        figures("checkout"),
        figures("payment", 1, 1),
        figures(HOSTILE[:200], 7, 2),
        figures("nightly", 2, 0, source=ROOT_SPANS),
        figures("only logs", 0, 0, source="", rates=()),
        *(figures(f"svc-{number:03}") for number in range(195)),
    ]
    busy.routes = [figures("POST /checkout"), figures(HOSTILE, 1, 0), figures("x" * 300)]
    busy.request_spans = busy.spans
    labels = {"service_name": "checkout", "http_response_status_code": "500"}
    busy.exemplars = [Exemplar(TRACE, 0.3, time.time() - 30, labels)]
    for caller in ("web", HOSTILE[:200]):
        add_calls(busy, caller, "checkout", calls=60, failed=6)
    with visits(browser, page) as start:
        yield start


def test_a_service_is_found_and_followed_by_keyboard(visit: Visit) -> None:
    """With the keyboard a service is searched, opened, and a dot of its chart followed."""
    page = visit("/?tour=0")
    page.get_by_role("link", name="192 more services").focus()
    page.keyboard.press("Enter")
    page.get_by_role("searchbox", name="Find services").focus()
    page.keyboard.type("CHECK")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("find=CHECK"))
    expect(page.locator(".figure-rows tbody tr")).to_have_count(1)
    page.get_by_role("link", name="checkout", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/service\?service=checkout"))
    expect(page.get_by_role("heading", name="checkout", exact=True)).to_be_visible()
    page.locator("#chart-duration-checkout .dot").last.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/trace/{TRACE}"))


def test_the_figures_are_refreshed(visit: Visit, busy: StoredData) -> None:
    """A service that appears while the page is open is in the list, without a reload."""
    page = visit("/services?find=new")
    expect(page.get_by_text("No service has such a name")).to_be_visible()
    busy.services.append(figures("new service"))
    expect(page.get_by_role("link", name="new service")).to_be_visible()
