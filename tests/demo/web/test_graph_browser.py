"""Tests of the service graph in a real browser: accessibility, the keyboard, long names."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData, add_calls
from tests.demo.web.served import answers_of, new_context, open_page
from three_pillar_demo.query.service_map import (
    CLIENTS,
    CallCounts,
    Participant,
    ParticipantKind,
    service,
)

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
NAMES = (
    "front",
    "W".ljust(64, "W"),
    "a".ljust(200, "a"),
    "<script>alert(1)</script>",
    "支払いサービスの長い名前です",
    "أبجد هوز حطي كلمن سعفص قرشت",
    "i".ljust(64, "l"),
    "rate-limiter-of-the-second-shop",
    "UPPER-CASE-SERVICE-NAME",
    "mail",
)
OVERFLOWING = """() => [...document.querySelectorAll(".graph.wide .graph-node")].flatMap((node) => {
  const shape = node.querySelector(".shape").getBoundingClientRect();
  return [...node.querySelectorAll("text")].map((text) => text.getBoundingClientRect())
    .filter((box) => box.left < shape.left || box.right > shape.right || box.bottom > shape.bottom)
    .map(() => node.textContent);
})"""
"""The nodes whose texts are wider than their shape."""


@pytest.fixture
def graph(stored: StoredData) -> StoredData:
    """The data of services with all kinds of names, of databases and of calls that fail."""
    for number, name in enumerate(NAMES):
        add_calls(stored, NAMES[number // 3], name, calls=90, failed=number)
    stored.service_map.add_calls(CLIENTS, service("front"), CallCounts(30))
    for kind in (ParticipantKind.DATABASE, ParticipantKind.QUEUE, ParticipantKind.HOST):
        callee = Participant(kind, f"{kind.value}.shop.svc.cluster.local:5432", "a-long-product")
        stored.service_map.add_calls(service("mail"), callee, CallCounts(9, 9, 0, 9))
    return stored


def shown(browser: Browser, client: TestClient, width: int) -> Page:
    """Return the start page in a window of ``width`` pixels, with the table open."""
    page = open_page(new_context(browser, answers_of(client), width), "/?tour=0")
    page.locator("#calls summary").click()
    return page


@pytest.mark.parametrize("width", [1280, 320])
def test_the_graph_is_accessible(
    browser: Browser, graph: StoredData, open_page: Callable[..., TestClient], width: int
) -> None:
    """The checker axe finds nothing in the graph, whose texts fit, and no window is too narrow."""
    page = shown(browser, open_page(), width)
    assert graph.service_map.calls
    violations = Axe().run(page, context="#service-graph").response["violations"]
    assert [
        (item["id"], [node["html"][:200] for node in item["nodes"]]) for item in violations
    ] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OVERFLOWING) == []
    page.context.close()


def test_the_arrow_keys_lead_from_node_to_node(
    browser: Browser, graph: StoredData, open_page: Callable[..., TestClient]
) -> None:
    """Of a large graph the first node is a tab stop, and the arrow keys reach the others."""
    assert graph.service_map.calls
    page = shown(browser, open_page(), 1280)
    links = page.locator(".graph.wide a.graph-node")
    tab_stops = page.locator(".graph.wide a.graph-node:not([tabindex])")
    assert (links.count(), tab_stops.count()) == (len(NAMES), 1)
    tab_stops.focus()
    for number in range(1, len(NAMES)):
        page.keyboard.press("ArrowRight")
        assert links.nth(number).evaluate("link => link === document.activeElement")
    page.context.close()
