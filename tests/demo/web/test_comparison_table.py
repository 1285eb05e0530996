"""Tests for what the page of a request says about the requests beside it."""

import re
import time
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, HANGING, StoredData
from tests.traces import ORDER, ROOT, TRACE, span
from three_pillar_demo.query.peers import Fact, Facts

VISA = Fact("checkout", "card.network", "visa")
VERSION = Fact("payment", "service.version", "0.2.0")
HOST = Fact("payment", "host.name", "b")
POD = Fact("payment", "k8s.pod.name", "c")
NODE = Fact("payment", "k8s.node.name", "d")
PATH = f"/trace/{TRACE}"
WAIT_S = 60
"""How long to wait for a newer answer, in seconds."""


@pytest.fixture
def failed(stored: StoredData) -> StoredData:
    """The data of the fake backends: a failed request, and no others."""
    resource = {fact.name: fact.value for fact in (VERSION, HOST, POD, NODE)}
    stored.spans = [
        span(ROOT, "", error=True, attributes={"card.network": "visa"}),
        span(ORDER, ROOT, "INTERNAL", service="payment", resource=resource),
    ]
    return stored


def peers(count: int, *facts: Fact) -> list[Facts]:
    """Return ``count`` other requests that say the same."""
    return [frozenset(facts) for _ in range(count)]


def text_of(page: TestClient) -> str:
    """Return the visible text of the comparison; "" if the page has none."""
    found = re.search(
        r'<section class="card" id="comparison".*?</section>', page.get(PATH).text, re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", found[0])).split()) if found else ""


def test_what_a_failure_has_is_said_in_a_row(failed: StoredData, page: TestClient) -> None:
    """Each row has an attribute, all values of the same requests, and both numbers of requests."""
    failed.peers = {
        True: peers(8, VISA, VERSION, HOST, POD, NODE),
        False: [*peers(12, VISA), *peers(128)],
    }
    text = text_of(page)
    assert (
        "9 failed and 140 successful requests POST /checkout of checkout, within 15 minutes of "
        "this one"
    ) in text
    assert "card.network = visa of checkout 9 of 9 12 of 140" in text
    assert (
        "service.version = 0.2.0 of payment the same requests: host.name, k8s.pod.name and 1 "
        "more host.name = b of payment k8s.pod.name = c of payment k8s.node.name = d of payment "
        "9 of 9 0 of 140"
    ) in text
    html = page.get(PATH).text
    search = "/?service=checkout&search=card.network%3D%22visa%22"
    assert unescape(html).count(search) == 1, "the list finds such requests by their own attributes"
    assert '<rect class="of-others" width="9%"' in html


def test_what_is_not_compared_is_said(failed: StoredData, page: TestClient) -> None:
    """Of a large request the page says that only its own span is compared."""
    said = "Only the spans of the requests themselves are compared, because with those below it"
    assert said not in text_of(page)
    failed.spans += [span(f"{number:016x}", ROOT, "INTERNAL") for number in range(100)]
    failed.peers = {True: peers(8, VISA), False: peers(40)}
    deadline = time.monotonic() + WAIT_S
    while f"{said} this one has more than 100" not in text_of(page):
        assert time.monotonic() < deadline, "waited for the comparison of the large request"


def test_too_little_to_compare_is_said(failed: StoredData, page: TestClient) -> None:
    """A page does not claim anything about a failure that is the only one."""
    failed.peers = {True: [], False: peers(140)}
    assert "1 failed and 140 successful requests" in text_of(page)
    assert "Too few to compare: it takes 3 failed requests and 10 others." in text_of(page)


def test_nothing_unusual_is_said(failed: StoredData, page: TestClient) -> None:
    """Where failed and successful requests are alike, the page says so."""
    failed.peers = {True: peers(40, VISA), False: peers(40, VISA)}
    assert "Nothing stands out: no attribute, version or instance" in text_of(page)
    assert "Numbers are compared as single values, not as ranges." in text_of(page)


def test_a_usual_success_has_no_comparison(failed: StoredData, page: TestClient) -> None:
    """The page of a request that has not failed is compared only if it was slow."""
    failed.spans = [span(ROOT, "", took=100, attributes={"card.network": "visa"})]
    failed.peers = {False: peers(40)}
    assert text_of(page) == ""


@pytest.mark.parametrize(
    ("fault", "expected", "is_fetched_again"),
    [
        (FAILING, "peer_facts: <b>the store</b> is not there", False),
        (HANGING, "no answer yet", True),
    ],
)
def test_a_comparison_that_fails_delays_nothing(
    failed: StoredData, page: TestClient, fault: str, expected: str, *, is_fetched_again: bool
) -> None:
    """Without an answer the page is there all the same, says so, and waits only for a late one."""
    failed.faults["peer_facts"] = fault
    html = page.get(PATH).text
    assert "POST /checkout" in html
    assert expected in text_of(page)
    assert ("data-refresh-from" not in html) == is_fetched_again


def test_hostile_values_stay_texts(failed: StoredData, page: TestClient) -> None:
    """Names and values of attributes are never markup, and a search is offered only if it works."""
    name = "<script>alert(1)</script>"
    value = '"><img src=x>\u202e'
    failed.spans = [span(ROOT, "", error=True, attributes={name: value})]
    failed.peers = {True: peers(9, Fact("checkout", name, value)), False: peers(40)}
    text = text_of(page)
    assert f"{name} = " in text
    assert "\u202e" not in text
    assert "<img" not in page.get(PATH).text
    assert "search=" not in page.get(PATH).text


@pytest.mark.parametrize(
    ("name", "value", "is_offered"),
    [
        ("note", "a", True),
        ("note", 'a"b', False),
        ("note", "a\u202e", False),
        ("two words", "a", False),
        ("note", "x" * 195, False),
    ],
)
def test_only_a_search_that_works_is_offered(
    failed: StoredData, page: TestClient, name: str, value: str, *, is_offered: bool
) -> None:
    """A value is a link to the requests that have it, unless the search field cannot say it."""
    failed.spans = [span(ROOT, "", error=True, attributes={name: value})]
    failed.peers = {True: peers(9, Fact("checkout", name, value)), False: peers(40)}
    assert f"{name} = " in text_of(page)
    assert ("search=" in page.get(PATH).text) == is_offered


def test_the_same_name_of_two_services_is_said_once(failed: StoredData, page: TestClient) -> None:
    """What the same requests have in several services is named once."""
    failed.spans[0] = span(ROOT, "", error=True, resource={"host.name": "b"})
    of_checkout = Fact("checkout", "host.name", "b")
    failed.peers = {True: peers(8, VERSION, HOST, of_checkout), False: peers(140)}
    assert "the same requests: host.name host.name = b of checkout" in text_of(page)


def test_the_file_has_no_comparison(failed: StoredData, page: TestClient) -> None:
    """The file of a request has what is in the request, and nothing of other requests."""
    failed.peers = {True: peers(8, VISA), False: peers(40)}
    assert 'id="comparison"' not in page.get(f"{PATH}/request.html").text
