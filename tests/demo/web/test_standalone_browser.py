"""Tests that open the HTML file of a request in a real browser, from the disk."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from tests.demo.web.browser import CHROMIUM, REQUIRED, WHY_NOT
from tests.demo.web.conftest import StoredData
from tests.traces import TRACE

pytestmark = pytest.mark.skipif(not CHROMIUM and not REQUIRED, reason=WHY_NOT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_file_opens_from_the_disk(  # noqa: PLR0913  (fixtures and cases)
    browser: Browser,
    page: TestClient,
    busy: StoredData,
    tmp_path: Path,
    *,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    """The file is styled, fits the window, opens its rows, loads nothing, and is accessible."""
    root = busy.spans[0]
    busy.spans[0] = replace(root, attributes=root.attributes | {"http.route": "/checkout"})
    path = tmp_path / "request.html"
    path.write_bytes(page.get(f"/trace/{TRACE}/request.html").content)
    opened = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    problems: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: problems.append(message.text))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(path.as_uri())
    opened.locator("#waterfall summary").first.click()
    assert opened.locator("#waterfall dl").first.is_visible()
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    background = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert background == ("rgb(245, 246, 248)" if scheme == "light" else "rgb(20, 22, 26)")
    # The policy of the file also stops the script of axe; it is checked without the policy.
    opened.close()
    unlocked = browser.new_page(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    unlocked.goto(path.as_uri())
    results = Axe().run(unlocked)
    assert results.violations_count == 0, results.generate_report()
    unlocked.close()
    assert problems == []
    assert requests == [path.as_uri()]
