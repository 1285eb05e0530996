"""The tour follows the visitor's own purchase, from the button to its dot and its trace."""

import asyncio
import re
import threading
import time
from collections.abc import Callable

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData, fake_checkout
from tests.traces import TRACE, exemplar
from three_pillar_demo.load import manual_traffic
from three_pillar_demo.query.interface import Exemplar

OpenPage = Callable[..., TestClient]
TIMEOUT_S = 30


def pay(page: TestClient, query: str = "?tour=2") -> str:
    """Press the button of the first step; return the address to which the answer leads."""
    answer = page.post(f"/buy{query}", data={"card": "gateway-timeout"})
    assert answer.status_code == 303
    return answer.headers["location"]


def wait_for_step(page: TestClient, address: str, expected: str) -> str:
    """Fetch ``address`` until the card of the tour contains ``expected``; return its HTML."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        card = tour_card(page, address)
        if expected in card:
            return card
        assert time.monotonic() < deadline, f"waited for {expected!r}: {card}"


def tour_card(page: TestClient, address: str) -> str:
    """Return the HTML of the tour's card at ``address``."""
    return page.get(address).text.split('id="tour"')[1].split("</section>")[0]


def dots(page: TestClient, address: str) -> dict[str, str]:
    """Return the attributes of each dot of checkout's chart, by its trace id."""
    chart = page.get(address).text.split('id="chart-duration-checkout"')[1].split("</figure>")[0]
    return {
        trace_id: attributes
        for attributes, trace_id in re.findall(r'<a (class="dot[^>]*/trace/(\w{32})[^>]*)>', chart)
    }


def failed_exemplar(trace_id: str, value: float) -> Exemplar:
    """Return an exemplar of a failed checkout of a moment ago."""
    labels = exemplar("checkout", "/checkout", 500, "5", value).labels
    return Exemplar(trace_id, value, time.time() - 1, labels)


def test_the_tour_waits_for_the_own_purchase(open_page: OpenPage) -> None:
    """The second step waits for the visitor's purchase, whatever others buy meanwhile."""
    may_answer = threading.Event()

    async def checkout(request: httpx2.Request) -> httpx2.Response:
        if b"gateway-timeout" in request.content:
            await asyncio.to_thread(may_answer.wait, TIMEOUT_S)
        return await fake_checkout(request)

    page = open_page(checkout)
    address = pay(page)
    assert re.fullmatch(r"/\?tour=2&purchase=[0-9a-f]{16}#tour", address)
    page.post("/buy", data={"card": "crash"})
    assert "Your purchase is on its way since" in tour_card(page, address)
    assert "Next" not in tour_card(page, address)
    may_answer.set()
    card = wait_for_step(page, address, "Your purchase has failed after")
    assert re.search(r'href="/\?tour=3&amp;purchase=[0-9a-f]{16}#tour">Next', card)


def test_the_tour_points_at_the_own_dot(stored: StoredData, page: TestClient) -> None:
    """The third step marks the visitor's dot, also among slower ones, and Tab reaches it."""
    address = pay(page).replace("tour=2", "tour=3")
    assert "appears in a second or two" in wait_for_step(page, address, "your purchase")
    others = [failed_exemplar(f"{number:032x}", 3.0 + number) for number in range(1, 20)]
    stored.exemplars = [failed_exemplar(TRACE, 2.0), *others]
    card = wait_for_step(page, address, "The one with the ring is your purchase")
    assert re.search(rf'href="/trace/{TRACE}\?tour=4&amp;purchase=\w+#tour">Open your dot', card)
    drawn = dots(page, address)
    assert "own" in drawn.pop(TRACE)
    assert drawn
    for attributes in drawn.values():
        assert 'tabindex="-1"' in attributes
        assert "own" not in attributes
    assert "The dot of your purchase is on the chart" in page.get(address).text
    assert TRACE not in dots(page, "/?tour=3"), "other visitors see only the slowest ones"


def test_a_purchase_without_a_dot_leads_to_its_trace(
    stored: StoredData, page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another purchase has taken the place of the dot, the step leads to the own trace."""
    address = pay(page).replace("tour=2", "tour=3")
    stored.exemplars = [failed_exemplar("b" * 32, 2.0)]
    monkeypatch.setattr(manual_traffic, "METRICS_DELAY_S", 0.0)
    card = wait_for_step(page, address, "has taken its place")
    assert f'href="/trace/{TRACE}?tour=4' in card
    assert "Open the trace of your purchase" in card


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?tour=2&purchase=0123456789abcdef", "its process was restarted"),
        ("?tour=2", "This step needs a purchase that fails"),
    ],
)
def test_an_unknown_purchase_can_be_repeated(page: TestClient, query: str, reason: str) -> None:
    """A purchase that this process does not know is no dead end: the step offers another one."""
    card = tour_card(page, f"/{query}")
    assert reason in card
    assert "Pay with gateway-timeout" in card
    assert '<form method="post" action="/buy?tour=2" data-full-load>' in card


def test_a_purchase_without_an_answer_is_said(open_page: OpenPage) -> None:
    """If checkout gives no answer, the tour says when, and offers to pay again."""

    async def checkout(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    page = open_page(checkout)
    card = wait_for_step(page, pay(page), "Checkout gave no answer at ")
    assert re.search(r"no answer at \d\d:\d\d:\d\d, so nothing could be measured", card)
    assert "Pay with gateway-timeout" in card


def test_a_purchase_that_did_not_fail_is_no_failure(open_page: OpenPage) -> None:
    """A purchase that succeeds, as with a changed shop, is not called a failed one."""

    async def checkout(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json={"outcome": "success", "trace_id": TRACE, "order_id": "o"})

    page = open_page(checkout)
    card = wait_for_step(page, pay(page), "Your purchase did not fail")
    assert "<b>success</b>" in card
    assert "has failed" not in card


def test_a_purchase_key_is_hexadecimal(page: TestClient) -> None:
    """A key that no purchase can have is refused."""
    answer = page.get("/?tour=2&purchase=<b>")
    assert answer.status_code == 422
    assert "purchase must be the key of a purchase" in answer.text


def test_the_purchase_leaves_the_address_with_the_tour(page: TestClient) -> None:
    """Outside the tour no link names the purchase."""
    address = pay(page)
    assert 'href="/?tour=0">End the tour' in tour_card(page, address)
    assert "purchase=" not in page.get("/?tour=0&purchase=0123456789abcdef").text
