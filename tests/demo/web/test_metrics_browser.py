"""Tests in a real browser of the page of metrics: it works by keyboard and is refreshed."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData
from tests.demo.web.served import Visit, visits
from tests.demo.web.test_app import HOSTILE
from tests.demo.web.test_metrics_page import DURATION, MEMORY, SOLD, lines, series
from tests.traces import TRACE
from three_pillar_demo.query.instruments import GAUGE, Group, Instrument, LabelValues
from three_pillar_demo.query.interface import Exemplar

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
CHOSEN = f"/metrics?metric={DURATION.name}&by=http_route"


@pytest.fixture
def visit(browser: Browser, stored: StoredData, page: TestClient) -> Iterator[Visit]:
    """Open a page of metrics, among which some are hostile, in a window of some width."""
    services = ("shop", HOSTILE, "x" * 200)
    chosen = replace(DURATION, services=services)
    hostile = Instrument(HOSTILE, HOSTILE, GAUGE, HOSTILE, HOSTILE, services, 2)
    many = [Instrument(f"db.pool_{number}", f"db_pool_{number}", GAUGE) for number in range(60)]
    stored.instruments = [chosen, hostile, SOLD, MEMORY, *many]
    groups = [
        Group(value, lines(rate=number, p50=0.02, p95=0.3, p99=2.5))
        for number, value in enumerate(("/cart", HOSTILE, "x" * 5000, "", "/items/{id}"))
    ]
    stored.instrument_series = replace(
        series(*groups, group_count=40, unread_count=7),
        labels=(LabelValues("http_route", 5, "/cart"), LabelValues(HOSTILE, 1, "x" * 5000)),
    )
    stored.exemplars = [Exemplar(TRACE, 0.3, time.time() - 30, {"service_name": HOSTILE})]
    with visits(browser, page) as start:
        yield start


def test_a_metric_is_found_and_charted_by_keyboard(visit: Visit) -> None:
    """With the keyboard a metric is searched, chosen, split by a label, and a dot followed."""
    page = visit("/metrics")
    page.get_by_role("searchbox", name="Search metrics").focus()
    page.keyboard.type("requests")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("find=requests"))
    expect(page.locator(".instruments a")).to_have_count(1)
    for name, parameter in (
        (DURATION.name, "metric="),
        ("http_route 5", "by=http_route"),
        ("p99", "quantile=p99"),
    ):
        page.get_by_role("link", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(parameter))
    page.locator("#chart-instrument-quantiles .dot").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"/trace/{TRACE}"))


def test_folded_groups_stay_as_they_are(visit: Visit, stored: StoredData) -> None:
    """A group that the visitor has opened stays open while the page is refreshed."""
    page = visit(CHOSEN)
    group = page.locator("#instruments details", has_text="db 60")
    group.locator("summary").click()
    expect(group.get_by_role("link", name="db.pool_7", exact=True)).to_be_visible()
    stored.instruments.append(Instrument("db.pool_new", "db_pool_new", GAUGE))
    expect(page.locator("#instruments details", has_text="db 61")).to_have_count(1)
    expect(page.get_by_role("link", name="db.pool_new", exact=True)).to_be_visible()
