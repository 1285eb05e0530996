"""Tests in a real browser that lists hold still while they are used, and open by keyboard."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import HOST, StoredData, add_calls, figures
from tests.demo.web.served import TIMEOUT_S, answers_of, new_context, open_page
from tests.traces import ROOT, TRACE
from three_pillar_demo.drills import session
from three_pillar_demo.query.interface import NANO, LogRecord
from three_pillar_demo.stack import state

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
STACK_TRACE = "java.lang.Error: no stock\n\tat shop.Stock.take(Stock.java:7)"
HOSTILE = "<img src=x onerror=alert(1)>" + "n" * 300


def record(number: int, body: str = "") -> LogRecord:
    """Return a log record in a trace; a higher ``number`` is newer."""
    return LogRecord(
        time.time_ns() - (100 - number) * NANO,
        "web",
        "ERROR" if number % 2 else "INFO",
        body or f"record {number}",
        {"trace_id": TRACE, "span_id": ROOT, "n": str(number)},
        attributes={"number": number, HOSTILE: HOSTILE},
    )


@pytest.fixture
def context(browser: Browser, busy: StoredData, page: TestClient) -> Iterator[BrowserContext]:
    """A context that shows the web UI with recent traffic and three log records."""
    busy.logs = [record(3), record(2, STACK_TRACE), record(1)]
    expect.set_options(timeout=TIMEOUT_S * 1000)
    context = new_context(browser, answers_of(page))
    yield context
    context.unroute_all(behavior="ignoreErrors")
    context.close()


def wait_for_refreshes(page: Page) -> None:
    """Wait until the page has fetched new data twice."""
    for _ in range(2):
        with page.expect_response(lambda response: response.request.resource_type == "fetch"):
            pass


def add(stored: StoredData, *numbers: int) -> None:
    """Store further log records, the newest first."""
    stored.logs = [*(record(number) for number in numbers), *stored.logs]


@pytest.mark.parametrize("path", ["/logs", "/?tour=0"])
def test_nothing_moves_under_the_pointer(
    context: BrowserContext, busy: StoredData, path: str
) -> None:
    """The list holds still under the pointer, counts what is new, and catches up by click."""
    page = open_page(context, path)
    rows = page.locator("#log-rows li")
    button = page.locator(".new-items[data-list=logs]")
    rows.nth(1).hover()
    place = rows.nth(1).bounding_box()
    add(busy, 5, 4)
    expect(button).to_have_text("2 new log records")
    assert rows.count() == 3
    assert rows.nth(1).bounding_box() == place
    button.click()
    expect(rows.first).to_contain_text("record 5")
    expect(button).to_be_hidden()
    page.mouse.move(0, 0)
    add(busy, 6)
    expect(rows.first).to_contain_text("record 6")
    expect(button).to_be_hidden()


@pytest.mark.parametrize("answer", ["aborted", "hanging"])
def test_what_a_click_has_asked_for_comes_with_a_later_answer(
    context: BrowserContext, busy: StoredData, answer: str
) -> None:
    """A list catches up and gets the focus, though the answer to the click is late or lost."""
    page = open_page(context, "/logs")
    rows = page.locator("#log-rows li")
    button = page.locator(".new-items[data-list=logs]")
    rows.nth(1).hover()
    add(busy, 4)
    expect(button).to_have_text("1 new log record")
    button.focus()
    unanswered: list[Route] = []

    def answer_late(route: Route) -> None:
        if unanswered:
            route.fallback()
            return
        unanswered.append(route)
        if answer == "aborted":
            route.abort()

    # A refresh may be on its way. The next one is that of the key.
    with page.expect_response(lambda response: response.request.resource_type == "fetch"):
        pass
    page.route("**/*", answer_late)
    page.keyboard.press("Enter")
    expect(rows.first).to_contain_text("record 4")
    expect(rows.first.locator("summary")).to_be_focused()
    assert unanswered
    if answer == "hanging":
        unanswered[0].fallback()


def test_the_beginning_of_a_drill_is_no_new_record(
    context: BrowserContext, busy: StoredData
) -> None:
    """The row that says when a drill began does not count as a record that has come meanwhile."""
    page = open_page(context, "/logs")
    button = page.locator(".new-items[data-list=logs]")
    page.locator("#log-rows li").nth(1).hover()
    session.save(session.DrillSession("lost-sales", state.current_process(), time.time() - 50))
    add(busy, 70)
    expect(button).to_have_text("1 new log record")
    button.click()
    expect(page.locator("#log-rows li").nth(1)).to_contain_text("A drill began at")


def test_nothing_moves_below_the_focus(context: BrowserContext, busy: StoredData) -> None:
    """The list holds still while the keyboard is in it, and a key fetches what is new."""
    page = open_page(context, "/logs")
    rows = page.locator("#log-rows li")
    button = page.locator(".new-items[data-list=logs]")
    page.get_by_label("Search logs").focus()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(rows.nth(1).locator("summary")).to_be_focused()
    add(busy, 4)
    expect(button).to_have_text("1 new log record")
    expect(rows).to_have_count(3)
    button.focus()
    page.keyboard.press("Enter")
    expect(rows.first.locator("summary")).to_be_focused()
    expect(rows.first).to_contain_text("record 4")
    add(busy, 5)
    expect(button).to_be_visible()
    page.get_by_label("Search logs").focus()
    expect(rows.first).to_contain_text("record 5")


def test_a_filter_changes_the_list_under_the_pointer(
    context: BrowserContext, busy: StoredData
) -> None:
    """A list that holds still shows what the visitor has asked for in its filter."""
    page = open_page(context, "/logs")
    page.locator("#log-rows li").first.hover()
    busy.logs = busy.logs[1:2]
    page.get_by_label("Search logs").press_sequentially("java")
    expect(page.locator("#log-rows li")).to_have_count(1)
    expect(page).to_have_url("http://127.0.0.1:8080/logs?service=&severity=&text=java")


def test_the_newest_purchase_holds_still_under_the_pointer(
    context: BrowserContext, busy: StoredData, page: TestClient
) -> None:
    """While purchases run, the link to the newest one stays what it is under the pointer."""
    assert busy.trace_ids
    shown = open_page(context, "/?tour=0")
    purchase = shown.locator("#newest-purchase")
    shown.get_by_role("button", name="One checkout").click()
    expect(purchase).to_contain_text("ordinary")
    purchase.get_by_role("link").hover()
    page.post("/buy", data={"card": "crash"}, headers={"origin": f"http://{HOST}"})
    wait_for_refreshes(shown)
    expect(purchase).to_contain_text("ordinary")
    shown.get_by_label("Checkouts per second").hover()
    expect(purchase).to_contain_text("crash")


@pytest.mark.parametrize("by", ["pointer", "keyboard"])
def test_a_chart_holds_still_while_it_is_used(
    context: BrowserContext, busy: StoredData, by: str
) -> None:
    """The dot under the pointer, or with the focus, leads where it did, and the chart says so."""
    page = open_page(context, "/?tour=0")
    chart = page.locator("#chart-duration-checkout")
    dot = chart.locator(".dot")
    note = chart.locator(".held-note")
    expect(dot).to_have_attribute("href", f"/trace/{TRACE}")
    if by == "pointer":
        dot.locator("circle").last.hover()
    else:
        dot.focus()
    other = "b" * 32
    busy.exemplars = [replace(busy.exemplars[0], trace_id=other, value=2.1)]
    expect(note).to_be_visible()
    wait_for_refreshes(page)
    expect(dot).to_have_attribute("href", f"/trace/{TRACE}")
    if by == "pointer":
        page.mouse.move(0, 0)
    else:
        page.get_by_label("Checkouts per second").focus()
    expect(dot).to_have_attribute("href", f"/trace/{other}")
    expect(note).to_be_hidden()


@pytest.mark.parametrize(
    ("path", "region"),
    [
        ("/?tour=0", "#service-list"),
        ("/?tour=0", "#pictures"),
        ("/services", "#service-list"),
        ("/service?service=checkout", "#route-list"),
    ],
)
def test_links_hold_still_under_the_pointer(
    context: BrowserContext, busy: StoredData, path: str, region: str
) -> None:
    """Services, routes and the service graph stay where they are while the pointer is there."""
    busy.routes = busy.services
    page = open_page(context, path)
    expect(page.locator(region)).to_contain_text("checkout")
    page.locator(region).hover()
    busy.services = busy.routes = [figures("a-new-one"), *busy.services]
    add_calls(busy, "a-new-one", "checkout", calls=30, failed=0)
    card = page.locator(".card").filter(has=page.locator(region))
    expect(card.locator(".held-note")).to_be_visible()
    assert "a-new-one" not in page.locator(region).inner_text()
    page.mouse.move(0, 0)
    expect(page.locator(region)).to_contain_text("a-new-one")
    expect(card.locator(".held-note")).to_be_hidden()


def press_until(page: Page, key: str, target: Locator) -> int:
    """Press ``key`` until ``target`` has the focus; return how often it was pressed."""
    for count in range(1, 20):
        page.keyboard.press(key)
        if target.evaluate("element => element === document.activeElement"):
            return count
    return pytest.fail(f"{target} is not reached")


def test_a_record_is_reached_opened_and_closed_by_keyboard(
    context: BrowserContext, busy: StoredData
) -> None:
    """The first links skip the lists; Enter opens a record, and Esc closes it and leaves fields."""
    page = open_page(context, "/?tour=0")
    press_until(page, "Tab", page.get_by_role("link", name="Skip to logs"))
    page.keyboard.press("Enter")
    search = page.get_by_label("Search logs")
    assert press_until(page, "Tab", search) <= 3
    page.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    page.goto("/logs")
    details = page.locator("#log-rows details").nth(1)
    page.get_by_label("Search logs").focus()
    press_until(page, "Tab", details.locator("summary"))
    page.keyboard.press("Enter")
    expect(details.locator("pre")).to_have_text(STACK_TRACE)
    expect(details.get_by_role("link", name="Open its span")).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    add(busy, 4)
    expect(page.locator(".new-items[data-list=logs]")).to_have_text("1 new log record")
    expect(details.locator("pre")).to_be_visible()
    details.get_by_role("link", name="Open its span").focus()
    page.keyboard.press("Escape")
    expect(details.locator("pre")).to_be_hidden()
    expect(details.locator("summary")).to_be_focused()
