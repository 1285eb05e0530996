"""Tests in a real browser that every entry of a legend has a visible swatch."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData
from tests.demo.web.served import answers_of, new_context
from tests.traces import TRACE

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)
SWATCHES = """() => [...document.querySelectorAll(".key")].map((key) => {
  const swatch = getComputedStyle(key, "::before");
  const { backgroundColor, backgroundImage, forcedColorAdjust } = swatch;
  const line = document.querySelector(`polyline.${[...key.classList].slice(1).join(".")}`);
  const stroke = line ? getComputedStyle(line).stroke : "";
  return { name: key.className, backgroundColor, backgroundImage, forcedColorAdjust, stroke };
})"""
TRANSPARENT = "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("forced_colors", ["none", "active"])
def test_every_legend_entry_has_a_swatch_of_the_colour_of_its_line(
    browser: Browser,
    busy: StoredData,
    open_page: Callable[..., TestClient],
    forced_colors: Literal["none", "active"],
) -> None:
    """The legends of the shop and of a foreign service show the colours of the lines."""
    root = busy.spans[0]
    route = {"http.route": "/orders"}
    busy.spans = [replace(root, service="shopfront", attributes=root.attributes | route)]
    context = new_context(browser, answers_of(open_page()), forced_colors=forced_colors)
    page = context.new_page()
    names: set[str] = set()
    for path in ("/?tour=2", f"/trace/{TRACE}"):
        page.goto(path)
        forced = page.evaluate("matchMedia('(forced-colors: active)').matches")
        assert forced == (forced_colors == "active")
        for swatch in page.evaluate(SWATCHES):
            names |= set(swatch["name"].split())
            # In forced colours, the browser would replace a background that it may adjust.
            assert not forced or swatch["forcedColorAdjust"] == "none"
            shown = swatch["backgroundColor"] + swatch["backgroundImage"]
            assert shown != f"{TRANSPARENT}none", swatch
            if swatch["stroke"]:
                assert swatch["stroke"] in shown, swatch
    assert {"p50", "p95", "p99", "bucket", "end-time", "service-0", "service-1"} <= names
    assert names & {f"service-{number}" for number in range(2, 8)}
    context.close()
