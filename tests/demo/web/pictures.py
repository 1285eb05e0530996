"""Draws every state of the page: ``python -m tests.console.pictures FOLDER`` on a stack that runs, or ``make pictures``.

Customers are sent first, so that there is something to see; then each state is looked at in both widths and schemes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.demo.web.browser import CHROMIUM, FLAGS

DEMO = [sys.executable, "-m", "three_pillar_demo"]
URL = "http://127.0.0.1:8080"
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
SECONDS = 75
"""Of customers, before the first picture; a few go on coming while it is drawn."""
ACTIONS: dict[str, dict[str, Callable[[Page], None]]] = {
    "page": {
        "reading": lambda view: view.locator("#chart-duration-checkout .area").hover(
            position={"x": 200, "y": 40}
        ),
        "dot": lambda view: view.locator("#chart-duration-checkout .dot").last.focus(),
    },
    "trace-gateway-timeout": {"attributes": lambda view: view.locator("summary").nth(1).click()},
}
"""What is done in a state, for a picture more."""


def states(page: Page) -> Iterator[tuple[str, str]]:
    """Names and addresses; requests are those that are on the page now."""
    yield "first-visit", "/"
    yield "page", "/?tour=0"
    yield "failed-only", "/?tour=0&failed=1&severity=ERROR"
    yield "filtered-to-nothing", "/?tour=0&text=nobody+says+this"
    yield "an-hour", "/?tour=0&minutes=60"
    yield "stands-still", "/?tour=0&still=1"
    yield "tour-2", "/?tour=2"
    yield "tour-3", "/?tour=3"
    yield "refused", "/?minutes=7"
    yield "not-there", "/trace/" + "f" * 32
    page.goto(f"{URL}/?tour=0")
    for card in ("gateway-timeout", "slow", "crash", "declined", "ordinary", "invalid"):
        link = page.locator(f"#purchases tr:has(td:text-is('{card}')) a").first
        if link.count():
            path = (link.get_attribute("href") or "").partition("?")[0]
            yield f"trace-{card}", path
            if card == "gateway-timeout":
                yield "tour-4", f"{path}?tour=4"
                yield "tour-5", f"{path}?tour=5"


@contextmanager
def held() -> Iterator[str]:
    """A store whose process is stopped for a while, and its name."""
    told = json.loads(
        subprocess.run([*DEMO, "status", "--json"], capture_output=True, check=True).stdout
    )["components"]
    pids = {each["component"]: each["pid"] for each in told}
    name = "loki" if "loki" in pids else "store"
    os.kill(pids[name], signal.SIGSTOP)
    yield name
    os.kill(pids[name], signal.SIGCONT)


def main(folder: Path, seconds: float = SECONDS) -> None:
    """Write ``STATE-WIDTH-SCHEME.png`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(f"{URL}/?tour=0")
        page.get_by_label("Customers a second").fill("6")
        page.get_by_role("button", name="Start").click()
        page.wait_for_timeout(seconds * 1000)
        page.get_by_label("Customers a second").fill("1")
        page.get_by_role("button", name="Change").click()
        for card in (
            "crash",
            "slow",
            "declined",
            "A broken request",
            "One checkout",
            "gateway-timeout",
        ):
            page.get_by_role("button", name=card).click()
            page.wait_for_timeout(400)
        page.wait_for_timeout(4000)
        found = list(states(page))
        page.close()
        for scheme, width in product(SCHEMES, WIDTHS):
            across, down = WIDTHS[width]
            context = browser.new_context(
                viewport={"width": across, "height": down}, color_scheme=scheme
            )  # type: ignore[arg-type]
            view = context.new_page()
            for name, path in found:
                view.goto(URL + path)
                view.wait_for_timeout(1500)
                view.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
                for action, act in ACTIONS.get(name, {}).items():
                    act(view)
                    view.wait_for_timeout(300)
                    view.screenshot(
                        path=folder / f"{name}-{action}-{width}-{scheme}.png", full_page=True
                    )
            with held() as name:
                view.goto(f"{URL}/?tour=0")
                view.locator(f"#problem-{name}").wait_for(timeout=60_000)
                view.wait_for_timeout(6000)  # what was known is no longer shown
                view.screenshot(path=folder / f"down-{width}-{scheme}.png", full_page=True)
            context.close()
        last = browser.new_page(base_url=URL)
        last.goto("/?tour=0")
        last.get_by_role("button", name="Stop").click()
        browser.close()


if __name__ == "__main__":
    began = time.monotonic()
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else SECONDS)
    sys.stdout.write(f"drawn in {time.monotonic() - began:.0f} s\n")
