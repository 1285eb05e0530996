"""Tests in a real browser of a drill's form: the draft of an answer, its keyboard, its views."""

import time
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData
from tests.demo.web.served import TIMEOUT_S, answers_of, new_context, open_page
from tests.traces import TRACE
from three_pillar_demo.drills import session
from three_pillar_demo.drills.catalogue import load
from three_pillar_demo.stack import state

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
NARROW = 320


@pytest.fixture
def opened(
    browser: Browser,
    busy: StoredData,
    page: TestClient,
) -> Iterator[Page]:
    """The overview in a narrow window, during a drill whose player has been paged."""
    assert busy.spans
    now = time.time()
    runner = state.current_process()
    session.save(session.DrillSession("waiting-customers", runner, now - 90, paged_at=now - 65))
    expect.set_options(timeout=TIMEOUT_S * 1000)
    context = new_context(browser, answers_of(page), width=NARROW)
    yield open_page(context, "/?tour=0")
    context.unroute_all(behavior="ignoreErrors")
    context.close()


def test_the_draft_of_an_answer_is_kept(opened: Page) -> None:
    """What is chosen stays while hints arrive and other pages are read, and can be sent there."""
    opened.get_by_label("What").select_option("payment")
    opened.get_by_label("Where").select_option("visa")
    opened.get_by_role("button", name="Show a hint").press("Enter")
    expect(opened.locator("#drill-hint-1")).to_be_visible()
    expect(opened.get_by_label("What")).to_have_value("payment")
    opened.goto(f"/trace/{TRACE}")
    expect(opened.locator("#drill-answer")).to_be_hidden()
    opened.locator("#drill > summary").press("Enter")
    expect(opened.get_by_label("Where")).to_have_value("visa")
    expect(opened.get_by_label("Why")).to_have_value("")
    opened.get_by_label("Why").select_option("wrong-clock")
    opened.get_by_role("button", name="Answer").press("Enter")
    expect(opened.locator("#drill-part-3")).to_have_text("Why is wrong: a host's clock is wrong")
    assert opened.url.endswith(f"/trace/{TRACE}")
    expect(opened.locator("#drill-answer")).to_be_visible()
    expect(opened.locator("#say-drill")).to_contain_text("You have been paged at ")
    opened.get_by_label("Why").select_option("slow-gateway")
    opened.get_by_role("button", name="Answer").press("Enter")
    pain = load("waiting-customers").pain
    expect(opened.locator("#alert-inbox")).to_contain_text(f"{pain}: solved after 1 min")


def test_a_drill_fits_the_window_and_is_accessible(opened: Page) -> None:
    """On both kinds of view the drill fits 320 px, and axe finds nothing."""
    for path in ("/?tour=0", f"/trace/{TRACE}"):
        opened.goto(path)
        if opened.locator("#drill > summary").count():
            opened.locator("#drill > summary").click()
        expect(opened.locator("#drill-answer")).to_be_visible()
        assert opened.evaluate("document.documentElement.scrollWidth") <= NARROW
        assert Axe().run(opened).violations_count == 0, Axe().run(opened).generate_report()
