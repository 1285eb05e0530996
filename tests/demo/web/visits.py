"""Shows the web UI of real backends in a real browser, and checks one view after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from starlette.testclient import TestClient

from tests.demo.web.conftest import HOST, fake_checkout
from tests.demo.web.page_checks import problems_of
from tests.demo.web.served import answers_of, new_context
from three_pillar_demo.drills import session
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.stack import health
from three_pillar_demo.web.app import create_app

MAX_OPENED = 6
"""The number of rows of a list that are opened; the others look the same."""


@dataclass
class Visit:
    """A page of the browser, the application that it shows, and what its console has said."""

    page: Page
    client: TestClient
    console: list[str] = field(default_factory=list)

    def record(self, message: ConsoleMessage) -> None:
        """Keep an error or a warning, unless it is that a page was answered with an error."""
        if message.type in {"error", "warning"} and "responded with a status" not in message.text:
            self.console.append(message.text)

    def problems(self, path: str) -> list[str]:
        """Return what is wrong with the view at ``path``, after one refresh of it."""
        self.page.goto(path)
        self.page.evaluate("document.body.dataset.paused = ''")
        self.page.evaluate(
            """(count) => [...document.querySelectorAll("details")].slice(0, count)
              .forEach((details) => { details.open = true; })""",
            MAX_OPENED,
        )
        # Until what the rows fetch when they open is there.
        expect(self.page.locator("details[open][data-content]")).to_have_count(0)
        self.page.evaluate("refresh()")
        found = [*problems_of(self.page), *self.console]
        self.console.clear()
        return found


@contextmanager
def served(backends: Backends, folder: Path, mode: str) -> Iterator[TestClient]:
    """Yield a client of the web UI of ``backends``, in ``mode``, with a fake checkout.

    ``folder`` has the files of a drill, and what the checkout of the stack has is not asked for.
    """
    checkout = httpx2.MockTransport(fake_checkout)
    app = create_app(
        backends,
        mode,
        {HOST, "inside:8080/alerts"},
        "http://127.0.0.1:3000",
        httpx2.AsyncClient(transport=checkout, base_url="http://shop"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "addresses", lambda _mode: {})
        patch.setattr(session, "SESSION_FILE", folder / "session.json")
        patch.setattr(session, "LOCK_FILE", folder / "session.lock")
        with TestClient(app, base_url=f"http://{HOST}", client=("127.0.0.1", 50_000)) as client:
            yield client


@contextmanager
def visiting(browser: Browser, client: TestClient) -> Iterator[Visit]:
    """Yield a page of the browser that shows the application of ``client``."""
    context = new_context(browser, answers_of(client))
    visit = Visit(context.new_page(), client)
    visit.page.on("console", visit.record)
    visit.page.on("pageerror", lambda error: visit.console.append(str(error)))
    visit.page.on("dialog", lambda dialog: visit.console.append(f"a dialog: {dialog.message}"))
    yield visit
    context.unroute_all(behavior="ignoreErrors")
    context.close()
