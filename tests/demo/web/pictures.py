"""Takes screenshots of every state of the page: ``python -m tests.demo.web.pictures FOLDER``.

The stack must be running. Traffic is sent first, so that there is something to see. Then each
state is shown in both widths and colour schemes. ``make pictures`` runs this.
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
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.demo.web.browser import CHROMIUM, FLAGS
from three_pillar_demo.stack import ports

DEMO = [sys.executable, "-m", "three_pillar_demo"]
URL = ports.WEB.url
WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
TRAFFIC_S = 75
"""How long traffic is sent before the first screenshot, in seconds."""
CARDS = ("gateway-timeout", "slow", "crash", "declined", "ordinary", "invalid")
ACTIONS: dict[str, dict[str, Callable[[Page], None]]] = {
    "page": {
        "reading": lambda page: page.locator("#chart-duration-checkout .area").hover(
            position={"x": 200, "y": 40}
        ),
        "dot": lambda page: page.locator("#chart-duration-checkout .dot").last.focus(),
    },
    "trace-gateway-timeout": {"attributes": lambda page: page.locator("summary").nth(1).click()},
}
"""Actions on a page before a further screenshot, by the name of the state and of the action."""


def states(page: Page) -> Iterator[tuple[str, str]]:
    """Yield the name and the address of each state of the page that is photographed.

    The traces are those of purchases that ``page`` sends.
    """
    yield "first-visit", "/"
    yield "page", "/?tour=0"
    yield "failed-only", "/?tour=0&failed=1&severity=ERROR"
    yield "no-matching-logs", "/?tour=0&text=nobody+says+this"
    yield "an-hour", "/?tour=0&minutes=60"
    yield "metrics", "/metrics"
    yield "metric-by-label", "/metrics?metric=http_server_request_duration_seconds&by=service_name"
    yield "paused", "/?tour=0&still=1"
    yield "tour-2", "/?tour=2"
    yield "tour-3", "/?tour=3"
    yield "refused", "/?minutes=7"
    yield "unknown-trace", "/trace/" + "f" * 32
    page.goto(f"{URL}/?tour=0")
    paths = {card: _buy(page, card) for card in CARDS}
    for card, path in paths.items():
        yield f"trace-{card}", path
        if card == "gateway-timeout":
            yield "tour-4", f"{path}?tour=4"
            yield "tour-5", f"{path}?tour=5"


def _buy(page: Page, card: str) -> str:
    """Send a purchase with this card, and return the path of its trace."""
    names = {"ordinary": "One checkout", "invalid": "invalid request"}
    page.locator("#buy").get_by_role("button", name=names.get(card, card), exact=True).click()
    link = page.locator(f"#newest-purchase:has-text('with the card {card}') a")
    link.wait_for()
    return (link.get_attribute("href") or "").partition("?")[0]


@contextmanager
def suspended_store() -> Iterator[str]:
    """Suspend the process of a store until the end of the block; yield the name of the store."""
    status = subprocess.run([*DEMO, "status", "--json"], capture_output=True, check=True).stdout
    components = json.loads(status)["components"]
    pids = {component["component"]: component["pid"] for component in components}
    name = "loki" if "loki" in pids else "store"
    os.kill(pids[name], signal.SIGSTOP)
    try:
        yield name
    finally:
        os.kill(pids[name], signal.SIGCONT)


def send_traffic(page: Page, seconds: float) -> None:
    """Send steady traffic, and then a purchase of each kind."""
    page.goto(f"{URL}/?tour=0")
    page.get_by_label("Checkouts per second").fill("6")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_timeout(seconds * 1000)
    page.get_by_label("Checkouts per second").fill("1")
    page.get_by_role("button", name="Change").click()
    for button in (
        "crash",
        "slow",
        "declined",
        "invalid request",
        "One checkout",
        "gateway-timeout",
    ):
        page.get_by_role("button", name=button).click()
        page.wait_for_timeout(400)
    page.wait_for_timeout(4000)


def take_all(
    browser: Browser, folder: Path, width: str, scheme: Scheme, named_paths: list[tuple[str, str]]
) -> None:
    """Write the screenshots of all states into ``folder``, in one width and colour scheme.

    ``named_paths`` has the names and addresses of the states.
    """
    window_width, window_height = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": window_width, "height": window_height}, color_scheme=scheme
    )
    page = context.new_page()

    def take(name: str) -> None:
        page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)

    for state, path in named_paths:
        page.goto(URL + path)
        page.wait_for_timeout(1500)
        take(state)
        for action, act in ACTIONS.get(state, {}).items():
            act(page)
            page.wait_for_timeout(300)
            take(f"{state}-{action}")
    with suspended_store() as store:
        page.goto(f"{URL}/?tour=0")
        page.locator(f"#problem-{store}").wait_for(timeout=60_000)
        page.wait_for_timeout(6000)  # until earlier results are no longer shown
        take("down")
    context.close()


def main(folder: Path, seconds: float = TRAFFIC_S) -> None:
    """Write each screenshot into ``folder`` as ``STATE-WIDTH-SCHEME.png``.

    ``seconds`` is how long traffic is sent before the first screenshot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        send_traffic(page, seconds)
        named_paths = list(states(page))
        page.close()
        for scheme, width in product(SCHEMES, WIDTHS):
            take_all(browser, folder, width, scheme, named_paths)
        page = browser.new_page(base_url=URL)
        page.goto("/?tour=0")
        page.get_by_role("button", name="Stop").click()
        browser.close()


if __name__ == "__main__":
    started = time.monotonic()
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else TRAFFIC_S)
    sys.stdout.write(f"finished in {time.monotonic() - started:.0f} s\n")
