"""Tests of sizes and positions in a real browser: of text, long names, and narrow windows."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import httpx2
import pytest
from playwright.sync_api import Browser, Page
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData, add_calls, figures, no_sample
from tests.demo.web.served import answers_of, new_context
from tests.traces import TRACE, exemplar, slow
from three_pillar_demo.query.interface import Exemplar, RedSample

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
OpenPage = Callable[..., TestClient]
WIDTHS = (1280, 768, 390, 320)
HEIGHT = 900
SIZES = {"12px", "14px", "16px", "22px"}
LONGEST_NAME = 5_000
LONG_OUTCOME = "an_outcome_that_has_forty_characters_now"

TEXTS = """() => {
  // The elements with text of their own that a visitor sees.
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true })
    && !element.closest(".visually-hidden, .skip-link, option, title");
  const hasText = (element) => [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  return [...document.body.querySelectorAll("*")].filter((e) => hasText(e) && isShown(e));
}"""
FONT_SIZES = f"() => ({TEXTS})().map((element) => getComputedStyle(element).fontSize)"
OVERRUNS = f"""() => {{
  const texts = ({TEXTS})();
  const rects = (element) => {{
    const own = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    return own.flatMap((node) => {{
      const range = document.createRange();
      range.selectNodeContents(node);
      return [...range.getClientRects()];
    }}).filter((rect) => rect.width > 1 && rect.height > 1);
  }};
  const problems = [];
  for (const element of texts) {{
    // A drawing scrolls within its card.
    if (element.closest(".graph")) continue;
    const card = (element.closest(".card") || document.body).getBoundingClientRect();
    for (const rect of rects(element)) {{
      if (rect.left < card.left - 1 || rect.right > card.right + 1) {{
        problems.push(`outside of its card: ${{element.outerHTML.slice(0, 120)}}`);
      }}
    }}
  }}
  // No text of one part of a row lies on text of another part.
  for (const row of document.querySelectorAll("li, tr, dl, .row, .head, .legend, header")) {{
    const parts = [...row.children].filter((part) => !part.matches("svg, .visually-hidden"));
    const boxes = parts.map((part) => texts.filter((e) => part.contains(e)).flatMap(rects));
    boxes.forEach((these, index) => boxes.slice(index + 1).forEach((those) => {{
      const overlap = these.some((a) => those.some((b) => a.left < b.right - 1
        && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2));
      if (overlap) problems.push(`overlapping parts: ${{row.outerHTML.slice(0, 200)}}`);
    }}));
  }}
  return problems;
}}"""
"""The texts that leave their card, and the parts of a row whose texts overlap."""

COVERED = f"""() => [...document.querySelectorAll(".new-items")].flatMap((button) => {{
  const covering = button.getBoundingClientRect();
  const others = [...({TEXTS})(), ...document.querySelectorAll("input, select")];
  return others.filter((element) => element !== button).filter((element) => {{
    const range = document.createRange();
    range.selectNodeContents(element);
    const boxes = element.matches("input, select")
      ? [element.getBoundingClientRect()] : [...range.getClientRects()];
    return boxes.some((box) => box.left < covering.right && covering.left < box.right
      && box.top < covering.bottom && covering.top < box.bottom);
  }}).map((element) => element.outerHTML.slice(0, 120));
}})"""
"""The texts and fields that a button of new items covers."""


def fill(stored: StoredData, name: str) -> None:
    """Put a failed purchase into ``stored``, in which payment, routes and values are ``name``."""

    def renamed(service: str) -> str:
        return name if service == "payment" else service

    view = slow()
    now = time.time()
    route = {"http.route": "/checkout", name: name}
    root = replace(view.spans[0], attributes=view.spans[0].attributes | route)
    stored.spans = [
        replace(span, service=renamed(span.service)) for span in [root, *view.spans[1:]]
    ]
    stored.trace_logs = [replace(record, service=renamed(record.service)) for record in view.logs]
    stored.logs = [*stored.trace_logs, replace(view.logs[0], body=name, severity="CRITICAL")]
    stored.request_spans = [
        replace(span, name=text)
        for span, text in zip(stored.spans, (name, "POST /checkout", "GET /"), strict=False)
    ]
    stored.request_spans += [stored.spans[-1]]
    stored.exemplars = [
        Exemplar(TRACE, 2.5, now - 30, exemplar(service, "/checkout", 504, "2.5", 2.0).labels)
        for service in ("checkout", name)
    ]
    add_calls(stored, "checkout", name, calls=30, failed=3)
    add_calls(stored, name, name, calls=30, failed=3)
    stored.queue_sizes = {(f"otlp_http/{name}",): 1.0}
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.125, (0.2, 0.4, 2.0))
    stored.services = [figures("checkout"), figures(name), figures(f"{name} 2", 3, 1)]
    stored.services.append(figures(f"{name} 3", 1, 1))
    stored.routes = stored.services


async def slow_outcome(_request: httpx2.Request) -> httpx2.Response:
    """Answer a purchase with a long outcome."""
    answer = {"outcome": LONG_OUTCOME, "trace_id": TRACE, "order_id": "o-1", "detail": ""}
    return httpx2.Response(500, json=answer)


def every_view(
    browser: Browser, open_web: OpenPage, widths: Iterable[int]
) -> Iterator[tuple[Page, int]]:
    """Yield a page with each view in turn, in a window of each width, with all rows open.

    A view is loaded once, because that takes most of the time, and the window is resized.
    """
    for mode, paths in (
        (
            "local",
            (
                "/?tour=0",
                "/?tour=1",
                "/?tour=3",
                "/service?service=checkout",
                "/services",
                f"/trace/{TRACE}",
                "/nowhere",
            ),
        ),
        ("view", ("/",)),
    ):
        client = open_web(slow_outcome, mode=mode)
        if mode == "local":
            client.post("/buy", data={"card": "gateway-timeout"})
        context = new_context(browser, answers_of(client))
        page = context.new_page()
        for path in paths:
            page.goto(path)
            page.evaluate("for (const row of document.querySelectorAll('details')) row.open = true")
            for width in widths:
                page.set_viewport_size({"width": width, "height": HEIGHT})
                yield page, width
        context.close()


def test_text_has_one_of_four_sizes(
    browser: Browser, busy: StoredData, open_page: OpenPage
) -> None:
    """All text is 12, 14, 16 or 22 pixels high, as the style sheet says, and none is smaller."""
    assert busy.spans
    found: set[str] = set()
    for page, width in every_view(browser, open_page, (1280, 390)):
        assert page.evaluate("getComputedStyle(document.documentElement).fontSize") == "16px"
        sizes = page.evaluate(FONT_SIZES)
        assert len(sizes) > 10
        assert set(sizes) <= SIZES, f"{page.url} in {width} pixels"
        found |= set(sizes)
    assert {"12px", "14px", "16px"} <= found


@pytest.mark.parametrize(
    "length",
    [
        LONGEST_NAME,
        *(pytest.param(length, marks=pytest.mark.long) for length in (7, 16, 40)),
    ],
)
def test_long_names_stay_within_their_place(
    browser: Browser,
    stored: StoredData,
    open_page: OpenPage,
    length: int,
) -> None:
    """A long name without a blank covers nothing, and no view is wider than the window."""
    fill(stored, "M".ljust(length, "w"))
    shown: set[tuple[str, int]] = set()
    for page, width in every_view(browser, open_page, WIDTHS):
        view = f"{page.url} in {width} pixels"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view
        assert page.evaluate(OVERRUNS) == [], view
        shown.add((page.url, width))
    assert len(shown) == 8 * len(WIDTHS)


@pytest.mark.parametrize("selector", ["#newest-purchase a", "#request-rows a"])
def test_links_to_traces_are_never_cut_off(
    browser: Browser,
    stored: StoredData,
    open_page: OpenPage,
    selector: str,
) -> None:
    """The link to a trace is within its card, and can be clicked, however long the texts are."""
    fill(stored, "M".ljust(200, "w"))
    stored.trace_ids = [TRACE]
    client = open_page(slow_outcome)
    client.post("/buy", data={"card": "gateway-timeout"})
    context = new_context(browser, answers_of(client))
    page = context.new_page()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.goto("/?tour=0")
        link = page.locator(selector).first
        link.wait_for()
        assert LONG_OUTCOME in page.locator("#newest-purchase").inner_text()
        area = page.locator(".card, .scroll").filter(has=page.locator(selector)).last
        box = link.bounding_box()
        visible = area.bounding_box()
        assert box
        assert visible
        assert visible["x"] <= box["x"], f"{width} pixels"
        last_pixel = visible["x"] + area.evaluate("e => e.clientWidth")
        assert box["x"] + box["width"] <= last_pixel, f"{width} pixels"
        # The link may have several lines, so it is clicked in the middle of its first one.
        x, y = link.evaluate(
            """link => {
              link.scrollIntoView({ block: "start" });
              const line = link.getClientRects()[0];
              return [line.x + line.width / 2, line.y + line.height / 2];
            }"""
        )
        page.mouse.click(x, y)
        page.wait_for_url(f"**/trace/{TRACE}")
    context.close()


def test_text_of_twice_the_size_loses_no_legend_entry(
    browser: Browser, stored: StoredData, open_page: OpenPage
) -> None:
    """With text at 200 % every entry of a legend is within its card, above the chart, and whole."""
    fill(stored, "shopfront-service")
    entries = 0
    for page, width in every_view(browser, open_page, (1280, 768, 390)):
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        lost = page.evaluate(
            """() => [...document.querySelectorAll(".entry")].filter((entry) => {
              const box = entry.getBoundingClientRect();
              const legend = entry.closest(".legend");
              const within = legend.getBoundingClientRect();
              const plot = entry.closest(".chart").querySelector(".plot").getBoundingClientRect();
              return box.width < 10 || box.right > within.right + 1 || box.bottom > plot.top + 1
                || box.bottom > within.bottom + 1 || legend.scrollWidth > legend.clientWidth + 1;
            }).map((entry) => entry.outerHTML)"""
        )
        assert lost == [], f"{page.url} in {width} pixels"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        entries += page.locator(".entry").count()
    assert entries > 60


@pytest.mark.parametrize("root_size", ["100%", "200%"])
def test_times_of_an_axis_do_not_overlap(
    browser: Browser, stored: StoredData, open_page: OpenPage, root_size: str
) -> None:
    """The times below a chart stay apart in every window, also to the second and in large text."""
    fill(stored, "shopfront")
    began = time.time() - 100
    sample = stored.red_sample
    stored.red_sample = lambda timestamp: (
        sample(timestamp) if timestamp > began else no_sample(timestamp)
    )
    context = new_context(browser, answers_of(open_page()))
    page = context.new_page()
    page.goto("/?tour=0")
    page.evaluate(f"document.documentElement.style.fontSize = '{root_size}'")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        axes = page.evaluate(
            """() => [...document.querySelectorAll(".plot .x")].map((axis) =>
              [...axis.querySelectorAll("text")].filter((text) => text.checkVisibility())
                .map((text) => [text.getBoundingClientRect().left,
                  text.getBoundingClientRect().right, text.textContent]))"""
        )
        assert len(axes) == 4
        for labels in axes:
            assert labels
            assert all(len(text) == len("12:34:56") for _, _, text in labels)
            gaps = [right[0] - left[1] for left, right in pairwise(labels)]
            assert min(gaps, default=1) > 0, f"{labels} in {width} pixels"
    context.close()


@pytest.mark.parametrize("path", ["/?tour=0", "/logs", "/services", "/metrics"])
def test_a_search_field_has_a_line_of_its_own_in_a_narrow_window(
    browser: Browser, busy: StoredData, open_page: OpenPage, path: str
) -> None:
    """On a phone a search field is as wide as its card, so that its hint can be read."""
    assert busy.spans
    context = new_context(browser, answers_of(open_page()))
    page = context.new_page()
    page.goto(path)
    for width in (390, 320):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        fields = page.locator("[type=search]")
        assert fields.count() > 0
        for field in fields.all():
            box = field.bounding_box()
            head = field.locator("xpath=ancestor::*[@class='head']").bounding_box()
            assert box
            assert head
            assert box["width"] == pytest.approx(head["width"], abs=1), f"{width} pixels"
    context.close()


@pytest.mark.parametrize("path", ["/?tour=0", "/logs", "/service?service=checkout"])
def test_the_button_of_new_items_covers_nothing(
    browser: Browser, busy: StoredData, open_page: OpenPage, path: str
) -> None:
    """A button that says how much is new covers no text and no control, however wide it is."""
    assert busy.spans
    context = new_context(browser, answers_of(open_page()))
    page = context.new_page()
    page.goto(f"{path}{'&' if '?' in path else '?'}still=1")
    page.evaluate(
        """for (const button of document.querySelectorAll(".new-items")) {
          button.hidden = false;
          button.textContent = `50 or more new ${button.dataset.noun}s`;
        }"""
    )
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        assert page.locator(".new-items:visible").count() >= 1
        assert page.evaluate(COVERED) == [], f"{width} pixels"
    context.close()


def test_callers_and_callees_share_the_width(
    browser: Browser, busy: StoredData, open_page: OpenPage
) -> None:
    """The two lists of calls fill their line in a wide window, and stand below each other else."""
    assert busy.spans
    context = new_context(browser, answers_of(open_page()))
    page = context.new_page()
    page.goto("/service?service=checkout")
    cards = page.locator("#callers-and-callees > .card")
    for width, columns in ((1280, 2), (768, 1), (390, 1)):
        page.set_viewport_size({"width": width, "height": HEIGHT})
        first, second = (card.bounding_box() for card in cards.all())
        whole = page.locator("#callers-and-callees").bounding_box()
        assert first
        assert second
        assert whole
        assert (first["y"] == second["y"]) == (columns == 2)
        assert second["x"] + second["width"] == pytest.approx(whole["x"] + whole["width"], abs=1)
    context.close()
