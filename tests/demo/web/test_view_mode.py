"""The pages of the mode ``view``, in which only the store and the web UI run."""

import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, HANGING, HOST, MALFORMED, StoredData
from tests.demo.web.test_app import HOSTILE, wait_for
from tests.traces import CALL, ROOT, TRACE, line, span
from three_pillar_demo.stack import ports
from three_pillar_demo.web import first_request

OpenPage = Callable[..., TestClient]
ANSWERED = {"http.response.status_code": "500"}


@pytest.fixture
def shopfront(stored: StoredData) -> StoredData:
    """The data of the fake backends, with two requests of a service that is not of the shop."""
    failed = replace(span(ROOT, "", error=True, attributes=ANSWERED), service="shopfront")
    failed = replace(failed, name="GET /products", exceptions=("Error: database is away",))
    good = replace(failed, span_id=CALL, name="GET /health", error=False, attributes={})
    stored.request_spans = [good, failed]
    stored.spans = [failed]
    stored.logs = [replace(line(ROOT, "no stock"), service="shopfront", severity="CRITICAL")]
    return stored


@pytest.fixture
def view(open_page: OpenPage) -> TestClient:
    """A client of the web UI in the mode ``view``."""
    return open_page(mode="view")


@pytest.mark.usefixtures("shopfront")
def test_the_endpoints_stay_on_the_page(view: TestClient) -> None:
    """With telemetry, a card below the lists still says where a second service sends its own."""
    card = view.get("/").text.split('id="endpoints"')[1].split("</details>")[0]
    assert "Where to send telemetry" in card
    endpoints = re.findall(r"OTEL_EXPORTER_OTLP_ENDPOINT=(http://127\.0\.0\.1:\d+)", card)
    assert set(endpoints) == {ports.STORE.url, ports.STORE_GRPC.url}


@pytest.mark.usefixtures("stored")
def test_without_telemetry_the_page_says_where_to_send_it(view: TestClient) -> None:
    """The first page names the command to try, the store's endpoints, and what has arrived."""
    text = view.get("/").text
    assert "Waiting for the first request" in text
    assert "demo run -- COMMAND" in text
    endpoints = re.findall(r"OTEL_EXPORTER_OTLP_ENDPOINT=(http://127\.0\.0\.1:\d+)", text)
    assert set(endpoints) == {ports.STORE.url, ports.STORE_GRPC.url}
    shown = " ".join(re.sub(r"<[^>]*>", "", text).split())
    assert "Arrived so far: spans yes, log records no, metrics yes." in shown


def test_the_first_request_is_named(
    stored: StoredData, view: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request after an empty page is shown and announced with its link, for a while."""
    assert "Waiting for the first request." in announcement(view)
    first = replace(span(ROOT, ""), service="shopfront", name="GET /<b>", start=time.time_ns())
    second = replace(first, span_id=CALL, name="GET /second")
    stored.request_spans = [second, first]
    text = wait_for(view, lambda text: "shopfront is sending" in text)
    assert '<section class="card callout arrived" id="first-request"' in text, "it is green"
    card = text.split('id="first-request"')[1].split("</section>")[0]
    assert f'<a href="/trace/{TRACE}">GET /&lt;b&gt;</a>' in card
    assert "✓" in card
    assert "failed" not in card
    assert "shopfront is sending. Its first request has arrived." in announcement(view)
    assert "Waiting for the first request" not in text
    monkeypatch.setattr(first_request, "SHOWN_FOR_S", 0.0)
    assert "is sending" not in view.get("/").text


def test_a_first_request_that_failed_is_said(stored: StoredData, view: TestClient) -> None:
    """The card of the first request does not hide that it has failed."""
    view.get("/")
    stored.request_spans = [replace(span(ROOT, "", error=True), service="shopfront")]
    text = wait_for(view, lambda text: "shopfront is sending" in text)
    card = text.split('id="first-request"')[1].split("</section>")[0]
    assert '<b class="bad">failed</b>' in card


def test_the_first_request_is_the_one_that_began_first(
    stored: StoredData, view: TestClient
) -> None:
    """A request that ends, or arrives, after the requests that it causes is still the first."""
    view.get("/")
    inner = replace(span(CALL, ""), service="stock", name="GET /stock", start=2, end=3)
    outer = replace(span(ROOT, ""), service="shopfront", name="GET /", start=1, end=4)
    stored.request_spans = [inner]
    wait_for(view, lambda text: "stock is sending" in text)
    stored.request_spans = [outer, inner]
    text = wait_for(view, lambda text: "shopfront is sending" in text)
    assert "Its first request:" in text


def test_none_of_many_requests_is_called_the_first(stored: StoredData, view: TestClient) -> None:
    """If more requests than a list have come meanwhile, the page claims of none to be the first."""
    view.get("/")
    stored.request_spans = [
        replace(span(f"{number:016x}", ""), service="shopfront") for number in range(60)
    ]
    text = wait_for(view, lambda text: "shopfront is sending" in text)
    assert "A request of it:" in text
    assert "first request" not in text.lower()


def test_a_failure_ahead_of_the_clock_does_not_hide_the_others(
    shopfront: StoredData, view: TestClient
) -> None:
    """The newest failure is one up to now, if there is one."""
    [_, failed] = shopfront.request_spans
    ahead = replace(failed, name="GET /ahead", end=time.time_ns() + 3600 * 10**9)
    shopfront.request_spans = [ahead, failed]
    card = view.get("/").text.split('id="newest-failure"')[1].split("</section>")[0]
    assert "GET /products" in card


@pytest.mark.usefixtures("shopfront")
def test_requests_from_before_are_not_the_first(view: TestClient) -> None:
    """A page that has never been empty names no first request."""
    assert "is sending" not in view.get("/").text


def test_a_filter_that_finds_nothing_is_not_waiting(
    shopfront: StoredData, view: TestClient
) -> None:
    """A search without a result does not say that nothing has ever arrived."""
    shopfront.request_spans = [replace(shopfront.request_spans[0], error=False)]
    shopfront.logs = []
    text = view.get("/?failed=1").text
    assert "No matching requests" in text
    assert "Waiting for the first request" not in text


def announcement(view: TestClient) -> str:
    """Return what a screen reader reads out of the start page."""
    text = view.get("/").text.split('id="say-page"')[1]
    return text.partition(">")[2].partition("<")[0]


@pytest.mark.usefixtures("shopfront")
def test_the_page_shows_the_requests_of_any_service(view: TestClient) -> None:
    """The list has the requests of a service that the demo does not know, each with its link."""
    text = view.get("/").text
    assert "Waiting for the first request" not in text
    for name in ("GET /products", "GET /health"):
        assert re.search(rf'<a href="/trace/{TRACE}">{name}</a>', text)
    assert text.count('<span class="mark">failed</span>') == 1
    assert "<option>shopfront</option>" in text
    # A severity in the spelling of Python is that of a failure too.
    assert re.search(r'<li id="log-[^"]*" class="bad">', text)


@pytest.mark.usefixtures("shopfront")
def test_the_page_explains_the_newest_failure(view: TestClient) -> None:
    """The newest failed request is on top, with the sentence that says why it failed."""
    text = view.get("/").text
    card = text.split('id="newest-failure"')[1].split("</section>")[0]
    assert "GET /products" in card
    assert "shopfront answered 500 because" in card


def test_only_failed_requests_are_shown(shopfront: StoredData, view: TestClient) -> None:
    """The list can be limited to the failed requests."""
    assert 'name="failed"' in view.get("/").text
    rows = view.get("/?failed=1").text.split('id="request-rows"')[1]
    assert "GET /products" in rows
    assert "GET /health" not in rows
    assert shopfront.queries


@pytest.mark.usefixtures("busy")
def test_the_mode_view_has_no_shop(view: TestClient) -> None:
    """No page shows the shop's buttons or the tour, and no purchase can be made."""
    text = view.get("/").text
    for part in ('action="/buy', 'action="/stream', "tour=", "checkout is down"):
        assert part not in text
    for path in ("/buy", "/stream"):
        answer = view.post(path, data={"card": "ordinary"}, headers={"origin": f"http://{HOST}"})
        assert answer.status_code == 404
    assert view.get(f"/trace/{TRACE}").status_code == 200


@pytest.mark.parametrize("fault", [FAILING, HANGING, MALFORMED])
@pytest.mark.parametrize("query", ["search_requests", "search_logs", "trace", "freshness"])
def test_one_failing_query_leaves_the_rest_of_the_page(
    shopfront: StoredData, open_page: OpenPage, query: str, fault: str
) -> None:
    """A query that fails or hangs costs its own part of the page, and no other."""
    shopfront.faults[query] = fault
    answer = open_page(mode="view", first_wait=0.2, timeout=0.5).get("/")
    assert answer.status_code == 200
    if query != "search_requests":
        assert "GET /products" in answer.text
    if query != "search_logs":
        assert "no stock" in answer.text
    assert "Waiting for the first request" not in answer.text


def test_hostile_telemetry_is_only_text(shopfront: StoredData, view: TestClient) -> None:
    """Names and messages that contain markup or control characters are shown as text."""
    hostile = replace(shopfront.request_spans[1], service=HOSTILE, name=HOSTILE)
    shopfront.request_spans = [hostile]
    shopfront.logs = [replace(shopfront.logs[0], service=HOSTILE, body=HOSTILE)]
    shopfront.spans = [hostile]
    text = view.get("/").text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "49" not in re.sub(r"<[^>]*>", "", text.split('id="requests"')[1].split("</table>")[0])
