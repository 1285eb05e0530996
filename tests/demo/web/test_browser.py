"""A person's ways through the page, in a real browser on a live stack."""

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

from tests.demo.web.browser import CHROMIUM, FLAGS, REQUIRED, WHY_NOT
from tests.end_to_end.conftest import FULL, Stack
from three_pillar_demo.drills import session
from three_pillar_demo.stack.components import WEB
from three_pillar_demo.stack.state import current_process
from three_pillar_demo.web import formatting

pytestmark = [pytest.mark.stack, pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)]
SECONDS = 30
HOSTILE = "<script>alert(1)</script><img/src=x/onerror=alert(1)>"
BIDI = "\u202egnp.exe"
STOPPED = "loki" if FULL else "store"
"""Whose process is held for a while."""

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    """One for all tests here; each gets a visitor of its own."""
    assert stack
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens an address as a new visitor; nothing may be complained of, and nothing asked of anybody else."""
    complaints: list[str] = []

    def check(request: Any) -> None:  # noqa: ANN401  (playwright's)
        if not request.url.startswith(WEB.address):
            complaints.append(f"asked elsewhere: {request.url}")

    def start(path: str, width: int = 1280, scheme: Any = "light") -> Page:  # noqa: ANN401  (playwright's words)
        context = browser.new_context(
            base_url=WEB.address,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        page.on(
            "console",
            lambda said: (
                complaints.append(said.text) if said.type in {"error", "warning"} else None
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.on("request", check)
        page.goto(path)
        return page

    expect.set_options(timeout=SECONDS * 1000)
    yield start
    for context in browser.contexts:
        context.close()
    assert complaints == []


def buy(page: Page, button: str) -> Locator:
    """Press a button of the till; the link of the new row, once its trace is there."""
    before = (
        page.locator("#purchase-rows tr").first.get_attribute("id")
        if page.locator("#purchase-rows").count()
        else ""
    )
    page.locator("#buy").get_by_role("button", name=button, exact=True).click()
    expect(page.locator(f"#purchase-rows tr:first-child:not(#{before or 'none'})")).to_be_visible()
    row = page.locator("#purchase-rows tr").first.get_attribute("id")
    link = page.locator(f"#{row} a")
    expect(link).to_be_visible()
    return link


def test_from_a_failed_purchase_to_its_reason(visit: Visit) -> None:
    """A person buys, sees the rows, has only the failed one shown, opens it, and reads why, with lines of both services."""
    page = visit("/?tour=0")
    buy(page, "One checkout")
    buy(page, "crash")
    page.get_by_role("link", name="Show failed only").click()
    expect(page.locator("#purchase-rows td.bad").first).to_have_text("payment_crashed")
    page.locator("#purchase-rows a").first.click()
    expect(page.locator("#why")).to_contain_text("checkout answered 502 payment_crashed because")
    expect(page.locator(".row.line")).to_have_count(3)
    for line in ("POST /charges 500 crashed", "POST /checkout 502 payment_crashed"):
        expect(page.get_by_text(line)).to_be_visible()
    expect(page.locator("#exemplars")).to_contain_text("in the bucket up to")


def test_from_a_dot_to_its_request(visit: Visit) -> None:
    """A red dot on the duration chart opens the request that it stands for, which has its own dot marked there."""
    page = visit("/?tour=0")
    buy(page, "gateway-timeout")
    dot = page.locator("#chart-duration-checkout .dot.bad").last
    dot.locator("circle").last.click(force=True)  # another dot may lie nearly on it, and be opened
    expect(page).to_have_url(re.compile("/trace/[0-9a-f]{32}$"))
    trace_id = page.url.rsplit("/", 1)[1]
    expect(
        page.locator(f"#chart-duration-checkout [id^=dot-{trace_id}-checkout-].mine")
    ).to_be_attached()
    expect(page.locator("#why")).to_contain_text(trace_id)
    expect(page.locator("#why")).to_contain_text("checkout answered ")
    told = page.locator("#exemplars p").filter(has_text="checkout").inner_text()
    bound = formatting.round_one(
        formatting.seconds(float(re.findall(r"up to ([\d.]+) s", told)[0]))
    )
    expect(page.locator("#chart-duration-checkout .now")).to_contain_text(
        re.compile(f"bucket .* to {re.escape(bound)} +moment")
    )


def test_a_late_payment_is_seen(visit: Visit) -> None:
    """Payment's bar goes on after checkout gave up, and its row says for how long."""
    page = visit("/?tour=0")
    buy(page, "slow").click()
    expect(
        page.get_by_text(re.compile(r"went on for 1\.\d s|went on for 9\d\d ms"))
    ).to_be_visible()
    expect(page.locator("rect.late")).to_have_count(1)


def test_the_store_is_gone_and_comes_back(visit: Visit, stack: Stack) -> None:
    """While a backend hangs the strip says who, the rest of the page goes on, and it recovers by itself."""
    page = visit("/?tour=0")
    expect(page.locator(f"#part-{STOPPED}")).not_to_have_class(re.compile("bad"))
    pids = {
        each["component"]: each["pid"]
        for each in json.loads(stack.demo("status", "--json").stdout)["components"]
    }
    os.kill(pids[STOPPED], signal.SIGSTOP)
    try:
        expect(page.locator(f"#problem-{STOPPED}")).to_contain_text(f"{STOPPED} is down")
        page.locator("#buy").get_by_role("button", name="One checkout").click()
        expect(page.locator("#purchase-rows tr").first).to_be_visible()
    finally:
        with suppress(ProcessLookupError):
            os.kill(pids[STOPPED], signal.SIGCONT)
    expect(page.locator(f"#problem-{STOPPED}")).to_have_count(0)
    expect(page.locator("#purchase-rows tr:first-child a")).to_be_visible()


def test_hostile_text_stays_text(visit: Visit) -> None:
    """Script tags and bidi controls that a customer sent are shown as text in the request they came with."""
    shop = http.client.HTTPConnection("127.0.0.1", 8000, timeout=SECONDS)
    shop.putrequest("GET", f"/checkout?{HOSTILE}", skip_accept_encoding=True)
    shop.putheader("user-agent", f"{HOSTILE}{BIDI}".encode())
    shop.endheaders()
    trace_id = json.loads(shop.getresponse().read())["trace_id"]
    shop.close()
    page = visit(f"/trace/{trace_id}")
    page.locator(".row.span summary").first.click()
    expect(page.locator(".row.span dl").first).to_contain_text("<script>alert(1)</script>")
    assert "\u202e" not in page.content()
    assert page.locator("img").count() == 0
    visit("/?tour=0&text=%3Cscript%3Ealert(1)%3C/script%3E")


def test_a_refresh_takes_nothing_away(visit: Visit) -> None:
    """Across refreshes a click that is held arrives, what is open stays open, and typing, focus and filter go on."""
    page = visit("/?tour=0")
    link = buy(page, "gateway-timeout")
    search = page.get_by_label("Text that a line contains")
    search.fill("gateway_timeout")
    expect(page).to_have_url(re.compile("text=gateway_timeout"))
    refreshed(page)
    expect(search).to_be_focused()
    expect(search).to_have_value("gateway_timeout")
    for text in page.locator("#line-rows .text").all_text_contents():
        assert "gateway_timeout" in text
    link.hover()
    page.mouse.down()
    refreshed(page)
    page.mouse.up()
    expect(page.locator("#why")).to_be_visible()
    page.locator(".row.span summary").first.click()
    refreshed(page)
    expect(page.locator(".row.span dl").first).to_be_visible()


def test_two_of_one_id_stay_two(visit: Visit) -> None:
    """What comes with an id that is there already, as a second alert may, is not merged into the first one."""
    merged = """() => {
      const [old, fresh] = ["<p id=x>1</p><i>2</i>", "<p id=x>1</p><p id=x>3</p><i>4</i>"].map((html) => {
        const made = document.createElement("div");
        made.innerHTML = html;
        return made;
      });
      return [1, 2].map(() => { merge(old, fresh); return old.innerHTML === fresh.innerHTML; });
    }"""
    assert visit("/?tour=0").evaluate(merged) == [True, True]


def refreshed(page: Page) -> None:
    """Wait until the page has asked twice more."""
    for _ in range(2):
        with page.expect_response(lambda answer: answer.request.resource_type == "fetch"):
            pass


def test_a_stream_is_started_and_stopped(visit: Visit) -> None:
    """Customers come at the chosen rate, rows and rate move, and stop when told."""
    page = visit("/?tour=0")
    page.get_by_label("Customers a second").fill("50")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#streaming")).to_contain_text("50 a second")
    expect(page.locator("#purchase-rows tr")).to_have_count(50)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#streaming")).to_have_count(0)
    expect(page.locator("#edge-checkout-payment")).to_contain_text("/s")


def test_values_can_be_read_by_keyboard_and_mouse(visit: Visit) -> None:
    """A chart's value at a moment is told on hover, and with the arrow keys."""
    page = visit("/?tour=0")
    buy(page, "One checkout")
    slider = page.get_by_label("Read Requests at a moment")
    slider.focus()
    page.keyboard.press("End")
    said = page.locator("#said-rate")
    expect(said).to_contain_text(re.compile(r"\d\d:\d\d:\d\d  checkout"))
    newest = said.text_content()
    page.keyboard.press("ArrowLeft")
    expect(said).not_to_have_text(newest or "")
    page.locator("#chart-errors .area").hover()
    expect(page.locator("#said-errors")).to_contain_text("checkout")


def test_the_tour_by_keyboard_alone(visit: Visit) -> None:
    """A newcomer gets from the first visit to the sentence that says why, without a mouse, and is not shown the tour again."""
    page = visit("/")
    for name in (
        r"Pay with gateway-timeout",
        r"Next: which request\?",
        r"Open the newest red dot",
        r"Next: why\?",
    ):
        press(page, name)
    expect(page.locator("#why.ring")).to_contain_text(" because ")
    press(page, "Done")
    expect(page.locator("#tour")).to_have_count(0)
    page.goto("/")
    expect(page.locator("#buy")).to_be_visible()
    expect(page.locator("#tour")).to_have_count(0)


def press(page: Page, name: str) -> None:
    """Tab to what is called ``name`` and press Enter."""
    wanted = page.locator("#tour").get_by_text(re.compile(name))
    expect(wanted).to_be_visible()
    for _ in range(40):
        page.keyboard.press("Tab")
        if wanted.evaluate("each => each === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda address: address != before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visit: Visit, scheme: str) -> None:
    """The page, the tour and a request have no fault that axe knows of, in either scheme."""
    page = visit("/?tour=3", scheme=scheme)
    path = buy(page, "gateway-timeout").get_attribute("href") or ""
    for address in ("/?tour=3", path):
        page.goto(address)
        found = Axe().run(page).response["violations"]
        assert [
            (each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found
        ] == []


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(visit: Visit, width: int) -> None:
    """At either width the page scrolls down only."""
    page = visit("/?tour=1", width=width)
    path = buy(page, "crash").get_attribute("href") or ""
    for address in ("/?tour=1", "/?tour=3", path):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [390, 1280])
def test_the_pager_is_no_wider_than_the_window(visit: Visit, stack: Stack, width: int) -> None:
    """A drill's form, with the longest of its reasons, fits too, and axe finds nothing in it."""
    played = session.DrillSession(
        "slow-bank", current_process(), time.time() - 60, paged_at=time.time() - 40, hints_given=3
    )
    notes = stack.state / "drill" / "session.json"
    notes.parent.mkdir(mode=0o700, exist_ok=True)
    notes.write_text(json.dumps(asdict(played)))
    try:
        page = visit("/?tour=0", width=width)
        expect(page.locator("#drill-answer")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert Axe().run(page).violations_count == 0
    finally:
        notes.unlink()
