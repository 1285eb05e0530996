"""Shows the pages of the web UI with the fake backends in a real browser, without a port.

The browser's requests are answered by the application in this process. A test may answer them
otherwise, as a server that is down, hangs or fails would.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from starlette.testclient import TestClient

from tests.demo.web.conftest import HOST

TIMEOUT_S = 60
"""How long a test waits for what it expects; a busy machine takes a while."""
NOT_FROM_BROWSER = {"host", "content-length", "accept-encoding", "connection"}
"""The names of the headers that belong to the connection, not to the request."""
Answer = Callable[[Route], None]
ForcedColors = Literal["none", "active"]


def answers_of(client: TestClient) -> Answer:
    """Return a function that answers a request of the browser as the application does."""

    def answer(route: Route) -> None:
        request = route.request
        address = urlsplit(request.url)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in NOT_FROM_BROWSER and not name.startswith(":")
        }
        response = client.request(
            request.method,
            f"{address.path}?{address.query}" if address.query else address.path,
            headers=headers,
            content=request.post_data_buffer or b"",
            follow_redirects=True,  # the redirect of a request that a test answers is not routed
        )
        route.fulfill(
            status=response.status_code, headers=dict(response.headers), body=response.content
        )

    return answer


def new_context(
    browser: Browser, answer: Answer, width: int = 1280, forced_colors: ForcedColors = "none"
) -> BrowserContext:
    """Return a context whose every request ``answer`` answers."""
    context = browser.new_context(
        base_url=f"http://{HOST}",
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
        forced_colors=forced_colors,
    )
    context.set_default_timeout(TIMEOUT_S * 1000)
    context.route("**/*", answer)
    return context


def open_page(context: BrowserContext, path: str) -> Page:
    """Return a page of ``context`` that shows ``path``."""
    page = context.new_page()
    page.goto(path)
    return page


Visit = Callable[..., Page]
"""Opens a path of the web UI, in a window of some width, and returns its page."""


@contextmanager
def visits(browser: Browser, client: TestClient) -> Iterator[Visit]:
    """Yield a function that opens pages of the application; they are closed at the end."""
    expect.set_options(timeout=TIMEOUT_S * 1000)

    def start(path: str, width: int = 1280) -> Page:
        return open_page(new_context(browser, answers_of(client), width), path)

    yield start
    for context in browser.contexts:
        context.unroute_all(behavior="ignoreErrors")
        context.close()
