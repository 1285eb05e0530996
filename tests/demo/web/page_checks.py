"""Checks of a page in a real browser that hold for every view, whatever it shows."""

from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

Scheme = Literal["light", "dark"]
HEIGHT = 900
CONTROLS = {
    "button",
    "checkbox",
    "combobox",
    "DisclosureTriangle",
    "heading",
    "link",
    "searchbox",
    "slider",
    "spinbutton",
    "textbox",
}
"""The roles of Chromium's accessibility tree that a person meets by name."""
MAX_EXAMPLES = 5
"""The number of elements that a finding of axe names."""
WIDTHS: tuple[tuple[int, Scheme], ...] = ((1280, "light"), (320, "dark"))
"""The windows in which axe runs, with their colour scheme.

axe needs half a second for the colours of one view, so it does not run in all four combinations.
That is enough because no colour depends on the width, which a test of the style sheet says.
"""
RUN_AXE = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)"
SAME_COLOURS = """() => {
  // What is drawn in the colour of the background, which forced colours have replaced.
  const canvas = getComputedStyle(document.documentElement).backgroundColor;
  return [...document.querySelectorAll("main :is(polyline, path, circle, rect, line)")]
    .filter((shape) => shape.checkVisibility() && !shape.closest("defs"))
    .filter((shape) => {
      const { fill, stroke } = getComputedStyle(shape);
      const colours = [fill, stroke].filter((colour) => /^rgb\\(/.test(colour));
      return colours.length > 0 && colours.every((colour) => colour === canvas);
    }).map((shape) => shape.outerHTML.slice(0, 120));
}"""


def violations(page: Page) -> list[str]:
    """Return the rules that axe finds violated on the page, with elements."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(RUN_AXE)
    return [
        f"{item['id']}: {[node['html'][:160] for node in item['nodes'][:MAX_EXAMPLES]]}"
        for item in found
    ]


def accessible_controls(page: Page) -> list[tuple[str, str, bool]]:
    """Return the controls and headings of the accessibility tree: role, name, and if focused."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (role, node.get("name", {}).get("value", ""), _is_focused(node))
        for node in nodes
        if not node["ignored"]
        if (role := node["role"]["value"]) in CONTROLS
    ]


def _is_focused(node: dict[str, Any]) -> bool:
    properties = {item["name"]: item["value"].get("value") for item in node.get("properties", [])}
    return properties.get("focused") is True


def unnamed_controls(page: Page) -> list[str]:
    """Return the controls and headings whose name has no visible character."""
    return [
        f"a {role} without a name"
        for role, name, _ in accessible_controls(page)
        if not any(character.isprintable() and not character.isspace() for character in name)
    ]


def overflow(page: Page, width: int) -> list[str]:
    """Return how wide the page is, if it is wider than a window of ``width`` pixels."""
    page.set_viewport_size({"width": width, "height": HEIGHT})
    drawn = page.evaluate("document.documentElement.scrollWidth")
    return [f"{drawn} pixels wide in a window of {width}"] if drawn > width else []


def problems_of(page: Page) -> list[str]:
    """Return what is wrong with a page, which is resized and changes its colours meanwhile.

    In a wide and a narrow window, light and dark, axe must find nothing. Each control must have a
    name, and the page must not scroll sideways, with text of twice the size neither. In forced
    colours no drawing may vanish.
    """
    found = unnamed_controls(page)
    for width, scheme in WIDTHS:
        found += overflow(page, width)
        page.emulate_media(color_scheme=scheme)
        found += violations(page)
    page.emulate_media(forced_colors="active")
    found += [f"vanishes in forced colours: {shape}" for shape in page.evaluate(SAME_COLOURS)]
    page.emulate_media(forced_colors="none")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    for width in (390, 1280):
        found += [f"with text at 200 %, {text}" for text in overflow(page, width)]
    page.evaluate("document.documentElement.style.fontSize = ''")
    return found
