"""Tests in a real browser of what a person does on the page of a request: collapse and copy."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import HOST, StoredData
from tests.demo.web.served import TIMEOUT_S, answers_of, new_context
from tests.traces import CHARGE, ORDER, TRACE, span
from three_pillar_demo.query.peers import Fact

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
PATH = f"/trace/{TRACE}"
Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser, busy: StoredData, page: TestClient) -> Iterator[Visit]:
    """Open the page of the slow purchase in a window of some width, with or without scripts."""
    assert busy.spans
    expect.set_options(timeout=TIMEOUT_S * 1000)

    def start(width: int = 1280, *, scripts: bool = True) -> Page:
        if scripts:
            context = new_context(browser, answers_of(page), width)
            context.grant_permissions(
                ["clipboard-read", "clipboard-write"], origin=f"http://{HOST}"
            )
        else:
            context = browser.new_context(base_url=f"http://{HOST}", java_script_enabled=False)
            context.route("**/*", answers_of(page))
        opened = context.new_page()
        opened.goto(PATH)
        return opened

    yield start
    for context in browser.contexts:
        context.unroute_all(behavior="ignoreErrors")
        context.close()


def test_rows_are_collapsed_by_keyboard(visit: Visit) -> None:
    """Arrow keys go from row to row, collapse and expand, and the focus stays where it was."""
    page = visit()
    rows = page.locator("#waterfall .row:not(.headrow)")
    expect(rows).to_have_count(7)
    summaries = page.locator("#waterfall summary")
    summaries.nth(0).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(summaries.nth(2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(rows).to_have_count(5)
    assert "toggle=" in page.url
    expect(summaries.nth(2)).to_be_focused()
    expect(page.get_by_role("button", name="2 rows below POST", expanded=False)).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(rows).to_have_count(7)
    expect(page.get_by_role("button", expanded=False)).to_have_count(0)


@pytest.mark.parametrize("answer", ["aborted", "hanging"])
def test_rows_are_collapsed_by_a_later_answer(visit: Visit, answer: str) -> None:
    """Rows are collapsed although the first request for them fails, or a refresh overtakes it."""
    page = visit()
    unanswered: list[Route] = []

    def answer_late(route: Route) -> None:
        if unanswered or "toggle=" not in route.request.url:
            route.fallback()
            return
        unanswered.append(route)
        if answer == "aborted":
            route.abort()

    page.route("**/*", answer_late)
    expect(page.locator("#waterfall .row:not(.headrow)")).to_have_count(7)
    # Of a finished request the status bar alone is refreshed.
    expect(page.locator("[data-refresh-from]")).to_have_count(1)
    page.get_by_role("button", name="2 rows below POST", expanded=True).click()
    expect(page.locator("#waterfall .row:not(.headrow)")).to_have_count(5)
    assert unanswered
    if answer == "hanging":
        unanswered[0].fallback()


def test_a_copy_is_said(visit: Visit, busy: StoredData) -> None:
    """A button copies what is beside it, says so, and tells a screen reader what was copied."""
    order = busy.spans[1]
    added = {"order.size_bytes": 2048, "order.note": "x" * 5000}
    busy.spans[1] = replace(order, attributes=order.attributes | added)
    page = visit()
    button = page.get_by_role("button", name="Copy the command")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_text("copied")
    expect(page.get_by_role("status").filter(has_text="the command copied")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == f"demo follow {TRACE}"
    expect(button).to_have_text("copy")
    page.locator("#waterfall summary").nth(1).click()
    for name, value in {
        "order.currency": "EUR",
        "order.size_bytes": "2048",
        "span id": ORDER,
        "the beginning of order.note": "x" * 399 + "…",
    }.items():
        page.get_by_role("button", name=f"Copy {name}", exact=True).click()
        expect(page.locator("#copied")).to_have_text(f"{name} copied")
        assert page.evaluate("navigator.clipboard.readText()") == value
    page.evaluate("refresh(fetchPage(location.href, 60000), true)")
    expect(page.get_by_role("button", name="Copy span id", exact=True)).to_be_visible()


def test_a_copy_that_fails_is_said(visit: Visit) -> None:
    """Where the browser has no clipboard for the page, the button does not claim to have copied."""
    page = visit()
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy the trace id").click()
    expect(page.locator("#copied")).to_contain_text("the trace id not copied")


def test_without_scripts_rows_collapse_and_nothing_copies(visit: Visit) -> None:
    """Without scripts the buttons that collapse work, and those that could not are not shown."""
    page = visit(scripts=False)
    assert page.get_by_role("button", name="Copy").count() == 0
    page.get_by_role("button", name="4 rows below place order").click()
    assert page.locator("#waterfall .row:not(.headrow)").count() == 3
    assert page.locator(".row:target .collapsed").is_visible()
    page.get_by_role("link", name="Expand all").click()
    assert page.locator("#waterfall .row:not(.headrow)").count() == 7


def test_the_minimap_is_used_by_keyboard(visit: Visit, busy: StoredData) -> None:
    """Tab reaches the minimap once, the arrow keys its parts, and Enter the row of a part."""
    many = [span(f"{number:016x}", CHARGE, "INTERNAL", at=number) for number in range(100)]
    busy.spans = [*busy.spans, *many]
    page = visit()
    bands = page.locator(".band")
    expect(bands).to_have_count(18)
    bands.first.focus()
    for _ in range(9):
        page.keyboard.press("ArrowDown")
    expect(bands.nth(9)).to_be_focused()
    page.keyboard.press("Enter")
    target = page.locator(".row:target")
    expect(target).to_be_in_viewport()
    below = target.bounding_box()
    picture = page.locator(".minimap").bounding_box()
    assert below
    assert picture
    assert below["y"] >= picture["y"] + picture["height"], "the row is not behind the minimap"
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("width", [1280, 320])
def test_a_collapsed_trace_is_accessible(visit: Visit, busy: StoredData, width: int) -> None:
    """Collapsed, compared and opened, axe finds nothing, and the page fits the window."""
    network = {"card.network": "visa " * 30}
    busy.spans[0] = replace(busy.spans[0], attributes=network)
    fact = Fact("checkout", "card.network", network["card.network"])
    busy.peers = {
        True: [frozenset({fact}) for _ in range(9)],
        False: [frozenset() for _ in range(50)],
    }
    page = visit(width)
    page.locator("button.fold").nth(2).click()
    expect(page.locator(".collapsed")).to_have_count(1)
    expect(page.locator("#comparison td")).to_have_count(2)
    page.locator("#waterfall summary").nth(1).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
