"""Tests that use the page in a real browser, on a running stack."""

import http.client
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.demo.web.browser import CHROMIUM, FLAGS, REQUIRED, WHY_NOT
from tests.demo.web.page_checks import accessible_controls
from tests.end_to_end.conftest import FULL, Stack
from three_pillar_demo.drills import session
from three_pillar_demo.stack import ports
from three_pillar_demo.stack.components import WEB
from three_pillar_demo.stack.state import current_process
from three_pillar_demo.web import formatting

pytestmark = [pytest.mark.stack, pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)]
WIDTHS = [320, *(pytest.param(width, marks=pytest.mark.long) for width in (390, 1280))]
"""Window widths in pixels; the narrowest is the one in which most does not fit."""
TIMEOUT_S = 30
POLL_INTERVAL_MS = 100
CLICK_MS = 5000
"""How long a page may take to be there after a click, in milliseconds, before the next click."""
TRACE_URL = re.compile("/trace/[0-9a-f]{32}$")
HOSTILE = "<script>alert(1)</script><img/src=x/onerror=alert(1)>"
BIDI = "\u202egnp.exe"
SUSPENDED = "loki" if FULL else "store"
"""The component whose process one test suspends."""

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    """One browser for all tests here; each test gets a context of its own."""
    assert stack
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open an address as a new visitor; errors and requests to other hosts fail the test."""
    problems: list[str] = []

    def check_console(message: Any) -> None:  # noqa: ANN401  (playwright's)
        if message.type in {"error", "warning"}:
            problems.append(message.text)

    def check_request(request: Any) -> None:  # noqa: ANN401  (playwright's)
        if not request.url.startswith(WEB.address):
            problems.append(f"a request to another host: {request.url}")

    def start(path: str, width: int = 1280, scheme: Any = "light") -> Page:  # noqa: ANN401  (playwright's words)
        context = browser.new_context(
            base_url=WEB.address,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(TIMEOUT_S * 1000)
        page = context.new_page()
        page.on("console", check_console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
        page.on("request", check_request)
        page.goto(path)
        return page

    expect.set_options(timeout=TIMEOUT_S * 1000)
    yield start
    for context in browser.contexts:
        context.close()
    assert problems == []


def buy(page: Page, button: str) -> Locator:
    """Press a button that sends a purchase; return the link to its trace, once it is there."""
    link = page.locator("#newest-purchase a")
    previous = link.get_attribute("href") if link.count() else "none"
    page.locator("#buy").get_by_role("button", name=button, exact=True).click()
    expect(page.locator(f"#newest-purchase a:not([href='{previous}'])")).to_be_visible()
    return link


def wait_for_refreshes(page: Page) -> None:
    """Wait until the page has fetched new data twice."""
    for _ in range(2):
        with page.expect_response(lambda response: response.request.resource_type == "fetch"):
            pass


def test_failed_purchase_leads_to_its_explanation(visit: Visit) -> None:
    """A visitor sends a purchase, filters for failed ones, opens it and reads why it failed."""
    page = visit("/?tour=0")
    buy(page, "One checkout")
    href = buy(page, "crash").get_attribute("href")
    expect(page.locator("#newest-purchase")).to_contain_text("payment_crashed")
    page.get_by_label("Service of the requests").select_option("checkout")
    page.get_by_label("failed only").check()
    expect(page).to_have_url(re.compile("service=checkout.*failed=1"))
    row = page.locator(f"#request-rows tr:has(a[href^='{href}'])")
    # The address changes before the list: until then payment's request of the trace is in it, too.
    expect(row).to_have_count(1)
    expect(row).to_contain_text("502")
    expect(row.locator(".reason")).to_contain_text("RuntimeError")
    for status in page.locator("#request-rows .mark").all_text_contents():
        assert status == "failed"
    row.get_by_role("link").click()
    explanation = page.locator("#explanation")
    expect(explanation).to_contain_text("checkout answered 502 payment_crashed because")
    expect(page.locator(".row.log")).to_have_count(3)
    for line in ("POST /charges 500 crashed", "POST /checkout 502 payment_crashed"):
        expect(page.locator(".row.log summary", has_text=line)).to_be_visible()
    expect(page.locator("#exemplars")).to_contain_text("in the bucket up to")


def test_dot_leads_to_its_trace(visit: Visit) -> None:
    """A red dot on the duration chart opens its trace, whose own chart highlights the dot."""
    page = visit("/?tour=0")
    buy(page, "gateway-timeout")
    dot = page.locator("#chart-duration-checkout .dot.bad").last
    deadline = time.monotonic() + TIMEOUT_S
    while not TRACE_URL.search(page.url):
        assert time.monotonic() < deadline, f"waited {TIMEOUT_S} s for a dot to open its trace"
        # Another dot may lie over this one, and then that one is opened. The chart moves each
        # second, so on a busy machine a click may miss all of them.
        dot.locator("circle").last.click(force=True)
        with suppress(PlaywrightTimeoutError):
            page.wait_for_url(TRACE_URL, timeout=CLICK_MS)
    trace_id = page.url.rsplit("/", 1)[1]
    chart = page.locator("#chart-duration-checkout")
    expect(chart.locator(f"[id^=dot-{trace_id}-checkout-].highlight")).to_be_attached()
    expect(page.locator("#explanation")).to_contain_text(trace_id)
    expect(page.locator("#explanation")).to_contain_text("checkout answered ")
    exemplar = page.locator("#exemplars p").filter(has_text="checkout").inner_text()
    upper_bound = float(re.findall(r"up to ([\d.]+) s", exemplar)[0])
    bound_text = formatting.without_zeros(formatting.duration(upper_bound))
    expected = re.compile(rf"bucket\s.* to {re.escape(bound_text)}\s+ended")
    expect(chart.locator(".legend")).to_contain_text(expected)


def test_late_payment_is_marked(visit: Visit) -> None:
    """Payment's bar goes on after checkout gave up, and its row says for how long."""
    page = visit("/?tour=0")
    buy(page, "slow").click()
    late = re.compile(r"went on for (1\.\d s|9\d\d ms)")
    expect(page.get_by_text(late)).to_be_visible()
    expect(page.locator("rect.late")).to_have_count(1)


def test_page_recovers_from_a_suspended_store(visit: Visit, stack: Stack) -> None:
    """While a store hangs the page names it and goes on, and it recovers by itself."""
    page = visit("/?tour=0")
    expect(page.locator(f"#component-{SUSPENDED}")).not_to_have_class(re.compile("bad"))
    components = json.loads(stack.demo("status", "--json").stdout)["components"]
    pids = {component["component"]: component["pid"] for component in components}
    os.kill(pids[SUSPENDED], signal.SIGSTOP)
    try:
        expect(page.locator(f"#problem-{SUSPENDED}")).to_contain_text(
            f"{SUSPENDED} is slow or hangs"
        )
        page.locator("#buy").get_by_role("button", name="One checkout").click()
        expect(page.locator("#newest-purchase")).to_contain_text("Newest checkout")
    finally:
        with suppress(ProcessLookupError):
            os.kill(pids[SUSPENDED], signal.SIGCONT)
    expect(page.locator(f"#problem-{SUSPENDED}")).to_have_count(0)
    expect(page.locator("#newest-purchase a")).to_be_visible()


def test_hostile_request_is_shown_as_text(visit: Visit) -> None:
    """Script tags and bidi controls of a request are shown as text on its trace page."""
    shop = http.client.HTTPConnection("127.0.0.1", ports.CHECKOUT.number, timeout=TIMEOUT_S)
    shop.putrequest("GET", f"/checkout?{HOSTILE}", skip_accept_encoding=True)
    shop.putheader("user-agent", f"{HOSTILE}{BIDI}".encode())
    shop.endheaders()
    trace_id = json.loads(shop.getresponse().read())["trace_id"]
    shop.close()
    page = visit(f"/trace/{trace_id}")
    page.locator(".row.span summary").first.click()
    attributes = page.locator(".row.span dl").first
    expect(attributes).to_contain_text("<script>alert(1)</script>")
    assert "\u202e" not in page.content()
    assert page.locator("img").count() == 0
    visit("/?tour=0&text=%3Cscript%3Ealert(1)%3C/script%3E")


def test_refresh_keeps_what_the_visitor_does(visit: Visit) -> None:
    """Refreshes do not lose a click, an open row, typed text, the focus or the filter."""
    page = visit("/?tour=0")
    link = buy(page, "gateway-timeout")
    search = page.get_by_label("Search logs")
    search.fill("gateway_timeout")
    expect(page).to_have_url(re.compile("text=gateway_timeout"))
    wait_for_refreshes(page)
    expect(search).to_be_focused()
    expect(search).to_have_value("gateway_timeout")
    texts = page.locator("#log-rows .text").all_text_contents()
    assert texts
    for text in texts:
        assert "gateway" in text, "a record without it in its outcome, nor in its text"
    link.hover()
    page.mouse.down()
    wait_for_refreshes(page)
    page.mouse.up()
    expect(page.locator("#explanation")).to_be_visible()
    page.locator(".row.span summary").first.click()
    wait_for_refreshes(page)
    expect(page.locator(".row.span dl").first).to_be_visible()


def test_elements_with_the_same_id_are_not_merged(visit: Visit) -> None:
    """A second element with an existing id, as of a second alert, is added and not merged."""
    script = """() => {
      const [current, fresh] = [
        "<p id=x>1</p><i>2</i>",
        "<p id=x>1</p><p id=x>3</p><i>4</i>",
      ].map((html) => {
        const element = document.createElement("div");
        element.innerHTML = html;
        return element;
      });
      return [1, 2].map(() => {
        merge(current, fresh);
        return current.innerHTML === fresh.innerHTML;
      });
    }"""
    assert visit("/?tour=0").evaluate(script) == [True, True]


def test_stream_is_started_and_stopped(visit: Visit) -> None:
    """A stream sends purchases at the chosen rate until it is stopped."""
    page = visit("/?tour=0")
    page.get_by_label("Checkouts per second").fill("50")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#streaming")).to_contain_text("50 per second")
    expect(page.locator("#request-rows tr")).to_have_count(50)
    expect(page.get_by_role("link", name="Older requests")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#streaming")).to_have_count(0)
    expect(page.locator("#edge-checkout-payment")).to_contain_text("/s")


def test_values_are_read_with_keyboard_and_mouse(visit: Visit) -> None:
    """A chart shows its values at a time on hover and with the arrow keys."""
    page = visit("/?tour=0")
    buy(page, "One checkout")
    slider = page.get_by_label("Values of Requests over time")
    slider.focus()
    page.keyboard.press("End")
    readout = page.locator("#readout-rate")
    expect(readout).to_contain_text(re.compile(r"\d\d:\d\d:\d\d  checkout"))
    newest = readout.text_content()
    page.keyboard.press("ArrowLeft")
    expect(readout).not_to_have_text(newest or "")
    page.locator("#chart-errors .area").hover()
    expect(page.locator("#readout-errors")).to_contain_text("checkout")


def test_tour_by_keyboard(visit: Visit) -> None:
    """By keyboard, and by names of the accessibility tree, a visitor takes the tour, and once."""
    page = visit("/")
    for control, target in (
        (r"Pay with gateway-timeout", r"^heading 1 of 5"),
        (r"Next: which request\?", r"^heading Error ratio$"),
        (
            r"Open your dot|Open the trace of your purchase",
            r"^link checkout failed after .*: open this trace$",
        ),
        (r"Next: why\?", r"^DisclosureTriangle payment POST /charges .* failed"),
        (r"Done", r"^heading checkout POST /checkout$"),
    ):
        press(page, control, target)
    expect(page.locator("#tour")).to_have_count(0)
    page.goto("/")
    expect(page.locator("#buy")).to_be_visible()
    expect(page.locator("#tour")).to_have_count(0)


def is_named(page: Page, pattern: str) -> bool:
    """Return whether a control or heading has a role and a name like ``pattern``."""
    found = accessible_controls(page)
    return any(re.search(pattern, f"{role} {name}") for role, name, _ in found)


def press(page: Page, name: str, target: str) -> None:
    """Reach the control of the tour called ``name`` with Tab, and press Enter.

    Meanwhile something is called ``target`` after the word for its role.
    """
    control = page.locator("#tour").get_by_text(re.compile(name))
    expect(control).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if control.evaluate("element => element === document.activeElement"):
            break
    expect(control).to_be_focused()
    deadline = time.monotonic() + TIMEOUT_S
    while not is_named(page, target):
        assert time.monotonic() < deadline, f"nothing is called {target}"
        page.wait_for_timeout(POLL_INTERVAL_MS)
    [(role, said)] = [(role, said) for role, said, focus in accessible_controls(page) if focus]
    assert role in {"button", "link"}
    assert re.search(name, said)
    previous_url = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != previous_url)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_page_is_accessible(visit: Visit, scheme: str) -> None:
    """The accessibility checker axe finds no violation in either colour scheme."""
    page = visit("/?tour=3", scheme=scheme)
    trace_path = buy(page, "gateway-timeout").get_attribute("href") or ""
    for path in ("/?tour=3", trace_path):
        page.goto(path)
        violations = Axe().run(page).response["violations"]
        assert [
            (violation["id"], [node["html"][:200] for node in violation["nodes"]][:3])
            for violation in violations
        ] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_the_window(visit: Visit, width: int) -> None:
    """The page does not scroll sideways in a narrow or wide window."""
    page = visit("/?tour=1", width=width)
    trace_path = buy(page, "crash").get_attribute("href") or ""
    for path in ("/?tour=1", "/?tour=3", trace_path):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_alert_inbox_fits_the_window(visit: Visit, stack: Stack, width: int) -> None:
    """A drill's form fits the window and has no accessibility violation."""
    now = time.time()
    drill_session = session.DrillSession(
        "waiting-customers", current_process(), now - 60, paged_at=now - 40, hints_given=3
    )
    file = stack.state / "drill" / session.SESSION_FILE.name
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(json.dumps(asdict(drill_session)))
    try:
        page = visit("/?tour=0", width=width)
        expect(page.locator("#drill-answer")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert Axe().run(page).violations_count == 0
    finally:
        file.unlink()
