"""A page in Chromium sends to the local store: OTLP in JSON, from another origin."""

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.clients import installation
from tests.clients.shops import ERROR_MESSAGE, NODE, running_shop
from tests.clients.store import ClientStore, running_store
from tests.demo.web.browser import CHROMIUM, FLAGS, WHY_NOT
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.explanation import explain

CLIENT = "page"
TIMEOUT_S = 60
POLL_INTERVAL_MS = 50
MAX_REQUESTS = 100
SENDERS = {
    "fetch": """([url, body]) => fetch(url, {
        method: 'POST', body, headers: {'content-type': 'application/json'}, keepalive: true})""",
    "XMLHttpRequest": """([url, body]) => {
        const request = new XMLHttpRequest();
        request.open('POST', url);
        request.setRequestHeader('Content-Type', 'application/json');
        request.setRequestHeader('Accept', 'application/json');
        request.send(body);
    }""",
    "sendBeacon": """([url, body]) => navigator.sendBeacon(
        url, new Blob([body], {type: 'application/json'}))""",
}
"""How the releases of OpenTelemetry's web SDK send: today by fetch, formerly by the others."""


@dataclass
class Visitor:
    """A page in the browser, the store that it sends to, and the errors in its console."""

    page: Page
    store: ClientStore
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """The open page of the web example, which a shop of Node.js serves."""
    if CHROMIUM is None:
        installation.unavailable(CLIENT, WHY_NOT)
    pages = installation.installed(
        CLIENT, installation.EXAMPLES / "web_page", installation.install_page
    )
    program = installation.installed(NODE.name, NODE.source, NODE.install)
    folder = tmp_path_factory.mktemp("page")
    with (
        running_store(folder) as store,
        running_shop(NODE, program, store, folder, PAGES=str(pages)) as shop,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_S * 1000)
        visitor = Visitor(page, store)
        page.on("console", lambda message: _record(visitor, message.type, message.text))
        page.on("pageerror", lambda error: visitor.errors.append(str(error)))
        page.goto(f"{shop.url}/?otlp={store.http}")
        yield visitor
        browser.close()


def _record(visitor: Visitor, kind: str, text: str) -> None:
    if kind == "error":
        visitor.errors.append(text)


def buy(visitor: Visitor, item: str) -> str:
    """Click on the button that buys ``item``; return the trace id once all services have sent."""
    store = visitor.store
    known = set(store.requests("shop", limit=MAX_REQUESTS))
    visitor.page.click(f"button[value={item}]")

    def whole_traces() -> list[str]:
        # The page works only while playwright is asked for something.
        visitor.page.wait_for_timeout(POLL_INTERVAL_MS)
        # The requests that load the page itself may be new, too.
        new = set(store.requests("shop", limit=MAX_REQUESTS)) - known
        return [trace_id for trace_id in new if is_whole(store.trace(trace_id))]

    store.wait_until(f"the purchase of a {item} from page to stock", whole_traces)
    [trace_id] = whole_traces()
    return trace_id


def is_whole(spans: list[Span]) -> bool:
    """Return whether all three services have sent their spans, and no span lacks its parent."""
    span_ids = {span.span_id for span in spans} | {""}
    has_all_parents = all(span.parent_id in span_ids for span in spans)
    return has_all_parents and {span.service for span in spans} == {"page", "shop", "stock"}


def test_a_purchase_is_traced_from_the_page_to_stock(visitor: Visitor) -> None:
    """The root of the trace is a span of the page, above its call of the shop."""
    spans = visitor.store.trace(buy(visitor, "teapot"))
    [root] = [span for span in spans if not span.parent_id]
    assert (root.service, root.name, root.error) == ("page", "buy teapot", False)
    by_id = {span.span_id: span for span in spans}
    [shop] = [span for span in spans if (span.service, span.kind) == ("shop", "SERVER")]
    call = by_id[shop.parent_id]
    assert (call.service, call.kind, call.parent_id) == ("page", "CLIENT", root.span_id)


def test_a_failed_purchase_is_explained(visitor: Visitor) -> None:
    """The failure has the page's exception and log record, and the trace view names the cause."""
    trace_id = buy(visitor, "unicorn")
    store = visitor.store
    store.wait_until(
        "the page's log record of the failure",
        lambda: any(record.service == "page" for record in store.view(trace_id).logs),
    )
    view = store.view(trace_id)
    [root] = [span for span in view.spans if not span.parent_id]
    assert root.exceptions == ("Error: the shop answered 500",)
    assert "page.bundle.js" in root.events[0].attributes["exception.stacktrace"]
    assert explain(view).endswith(f"because stock raised Error: {ERROR_MESSAGE}.")
    [record] = [record for record in view.logs if record.service == "page"]
    assert (record.severity, record.body) == ("ERROR", "the shop answered 500")


def test_metrics_of_the_page_are_counted(visitor: Visitor) -> None:
    """A counter of the page has its value for each item."""
    before = visitor.store.counters("page_clicks_total", "item").get(("teapot",), 0)
    buy(visitor, "teapot")
    buy(visitor, "teapot")

    def clicks() -> float:
        visitor.page.wait_for_timeout(POLL_INTERVAL_MS)
        return visitor.store.counters("page_clicks_total", "item").get(("teapot",), 0)

    visitor.store.wait_until("two more clicks", lambda: clicks() >= before + 2)


@pytest.mark.parametrize("sender", SENDERS)
def test_each_way_of_a_browser_to_send(visitor: Visitor, sender: str) -> None:
    """A log record that a page sends by fetch, XMLHttpRequest or sendBeacon is stored."""
    body = f"sent by {sender} {secrets.token_hex(4)}"
    arguments = [f"{visitor.store.http}/v1/logs", json.dumps(log_request(body))]
    visitor.page.evaluate(SENDERS[sender], arguments)

    def has_arrived() -> bool:
        visitor.page.wait_for_timeout(POLL_INTERVAL_MS)
        return any(record.body == body for record in visitor.store.logs("beacon"))

    visitor.store.wait_until(body, has_arrived)


def test_the_browser_refuses_no_answer(visitor: Visitor) -> None:
    """The console has no error but the 500 that the shop answers to the page itself."""
    buy(visitor, "unicorn")
    expected = "Failed to load resource: the server responded with a status of 500"
    assert [error for error in visitor.errors if expected not in error] == []


def log_request(body: str) -> dict[str, object]:
    """Return an export request with one log record, in the JSON of OTLP."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "beacon"}}]}
    record = {
        "timeUnixNano": str(time.time_ns()),
        "severityNumber": 9,
        "severityText": "INFO",
        "body": {"stringValue": body},
    }
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
