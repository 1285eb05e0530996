"""Tests of what the service graph says: for two services and two hundred, good and failing."""

import re
from collections.abc import Callable
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData, add_calls
from tests.traces import ROOT, span
from three_pillar_demo.query.service_map import (
    CLIENTS,
    CallCounts,
    Participant,
    ParticipantKind,
    ServiceMap,
    service,
)
from three_pillar_demo.web.formatting import NO_VALUE
from three_pillar_demo.web.service_graph import MAX_NODES, ServiceGraph, service_graph
from three_pillar_demo.web.text_width import fitting

DATABASE = Participant(ParticipantKind.DATABASE, "pg:5432", "postgresql")


def graph_html(page: TestClient) -> str:
    """Return the HTML of the service graph on the start page."""
    html = page.get("/?tour=0").text
    found = re.search(r'<section class="card calls".*?</section>', html, re.DOTALL)
    assert found
    return unescape(found[0])


def graph_of(service_map: ServiceMap) -> ServiceGraph:
    """Return the graph of a map of half a minute."""
    service_map.end = 30
    return service_graph(service_map, 0, 30)


def test_nodes_have_their_health_and_their_link(stored: StoredData, page: TestClient) -> None:
    """Each service has its rate and its share of failures, and leads to what is known of it."""
    add_calls(stored, "front", "cart & co", calls=60, failed=6)
    stored.service_map.add_calls(service("front"), DATABASE, CallCounts(3, 0))
    html = graph_html(page)
    assert "cart & co: 2.0/s, 10.0 % failed" in html
    assert 'href="/service?service=cart+%26+co"' in html
    assert "front calls pg:5432 0.1/s, none failed" in html
    assert "database · postgresql" in html


def test_participants_of_the_same_name_are_told_apart(stored: StoredData, page: TestClient) -> None:
    """A nameless service, host and database each say what they are, however often they are seen."""
    for kind, system in (("SERVICE", ""), ("HOST", ""), ("DATABASE", "redis"), ("DATABASE", "pg")):
        callee = Participant(ParticipantKind[kind], "", system)
        stored.service_map.add_calls(service("front"), callee, CallCounts(60, 0))
    for _ in range(2):
        html = graph_html(page)
        for name in ("unnamed service", "unnamed host", "redis", "pg"):
            assert f"front calls {name} 2.0/s, none failed" in html


def test_the_table_has_every_call(stored: StoredData, page: TestClient) -> None:
    """The table is as complete as the drawing: caller, callee, rate and failures of each call."""
    add_calls(stored, "front", "cart", calls=30, failed=3)
    stored.service_map.add_calls(CLIENTS, service("front"), CallCounts(60, 0))
    rows = re.findall(r"<tr id=.*?</tr>", graph_html(page), re.DOTALL)
    texts = [re.sub(r"<[^>]*>|\s+", " ", row).split() for row in rows]
    assert texts == [
        ["front", "cart", "1.0/s", "10.0", "%", NO_VALUE],
        ["clients", "front", "2.0/s", NO_VALUE, NO_VALUE],
    ]


def test_calls_that_did_not_arrive_are_red(stored: StoredData, page: TestClient) -> None:
    """The arrow to a dead service stays and is marked, and so is the service."""
    stored.service_map.add_requests("checkout", 30, 30)
    stored.service_map.add_requests("payment", 0, 0)
    calls = CallCounts(30, 30, 0, 30)
    stored.service_map.add_calls(service("checkout"), service("payment"), calls)
    html = graph_html(page)
    assert "graph-arrow lost" in html
    assert ">none arrived<" in html
    assert "payment: no requests, no call arrives" in html
    assert re.search(r'class="[^"]* unreached"', html)


@pytest.mark.parametrize(
    ("requests", "counts"),
    [
        (5, CallCounts(30, 30, 0, 30)),
        (0, CallCounts(30, 30, 0, 29)),
        (0, None),
    ],
)
def test_a_service_that_is_reached_is_not_called_dead(
    requests: int, counts: CallCounts | None
) -> None:
    """No call arrives only where none of several has, and nothing else has arrived either."""
    service_map = ServiceMap(0, 0)
    service_map.add_requests("payment", requests, 0)
    if counts:
        service_map.add_calls(service("checkout"), service("payment"), counts)
    sentences = [node.sentence for _, node in graph_of(service_map).pictures[0].nodes]
    assert [sentence for sentence in sentences if sentence.startswith("payment: ")]
    assert [sentence for sentence in sentences if "no call arrives" in sentence] == []


def test_a_service_without_calls_is_drawn(stored: StoredData, page: TestClient) -> None:
    """A service that calls nobody and is called by nobody has a node."""
    stored.service_map.add_requests("nightly", 1, 0)
    html = graph_html(page)
    assert "nightly: 2.0/min" in html
    assert "All calls as a table (0)" in html


def test_two_shares_of_failures_are_explained(stored: StoredData, page: TestClient) -> None:
    """Where shares differ, the page says why, also if calls failed for the caller alone."""
    service_map = ServiceMap(0, 0)
    service_map.add_requests("payment", 10, 1)
    counts = CallCounts(10, 4, 1, 1)
    service_map.add_calls(service("checkout"), service("payment"), counts)
    stored.service_map = service_map
    text = " ".join(graph_html(page).split())
    assert "2 of the calls of checkout to payment failed for checkout alone" in text
    assert "The share at an arrow is of the calls of one caller" in text


def test_without_failures_no_share_is_explained(stored: StoredData, page: TestClient) -> None:
    """Where nothing has failed, there is no share to explain."""
    stored.service_map.add_requests("payment", 10, 0)
    stored.service_map.add_calls(service("checkout"), service("payment"), CallCounts(10, 0, 0))
    assert "The share at an arrow" not in graph_html(page)
    stored.service_map.add_requests("mail", 10, 1)
    assert graph_of(stored.service_map).has_failures


@pytest.mark.parametrize("counts", [CallCounts(10, 4, 4), CallCounts(10, 4, None)])
def test_equal_shares_of_failures_need_no_sentence(counts: CallCounts) -> None:
    """Nothing is explained if both ends agree, or if the backend does not know."""
    service_map = ServiceMap(0, 0)
    service_map.add_calls(service("checkout"), service("payment"), counts)
    assert graph_of(service_map).disagreements == []


def test_what_sends_no_spans_disagrees_with_nobody() -> None:
    """A database cannot say that a call of it was fine, so no sentence compares the two."""
    service_map = ServiceMap(0, 0)
    service_map.add_calls(service("checkout"), DATABASE, CallCounts(10, 4, 0))
    assert graph_of(service_map).disagreements == []


def many_services(count: int) -> ServiceMap:
    """Return a map in which each service but the first is called, and the last has failed."""
    service_map = ServiceMap(0, 0)
    for number in range(count):
        service_map.add_requests(f"service-{number:03}", number + 1, 0)
    for number in range(1, count):
        failed = 1 if number == count - 1 else 0
        ends = (service(f"service-{number // 3:03}"), service(f"service-{number:03}"))
        service_map.add_calls(*ends, CallCounts(count - number, failed, failed))
    return service_map


def test_two_hundred_services_are_drawn_in_part(
    stored: StoredData, open_page: Callable[..., TestClient]
) -> None:
    """Those with failures and the most calls are drawn, and the page says how many are not."""
    stored.request_spans = [span(ROOT, "")]
    stored.service_map = many_services(200)
    graph = graph_of(many_services(200))
    [wide] = graph.pictures
    assert len(wide.nodes) == MAX_NODES
    assert "service-199" in {node.name for _, node in wide.nodes}
    assert graph.not_drawn == f"{200 - MAX_NODES} nodes and {199 - len(wide.arrows)} calls"
    for mode in ("local", "view"):
        html = open_page(mode=mode).get("/?tour=0").text
        assert f"{graph.not_drawn} more not drawn" in html
        assert html.count('<tr id="call-') == 199
        assert len(html) < 250_000


def test_sixty_services_are_drawn_whole() -> None:
    """Sixty services have a node each, and no call is left out."""
    graph = graph_of(many_services(60))
    [wide] = graph.pictures
    assert len(wide.nodes) == 60
    assert len(wide.arrows) == 59
    assert graph.not_drawn == ""


def test_a_small_graph_has_a_drawing_for_narrow_windows() -> None:
    """The shop is drawn from left to right, and from top to bottom with the same nodes."""
    service_map = ServiceMap(0, 0)
    service_map.add_calls(CLIENTS, service("checkout"), CallCounts(60))
    service_map.add_calls(service("checkout"), service("payment"), CallCounts(60))
    wide, tall = graph_of(service_map).pictures
    assert (wide.name, tall.name) == ("wide", "tall")
    assert tall.drawing.width < 270 < wide.drawing.width
    assert [node for _, node in tall.nodes] == [node for _, node in wide.nodes]


def test_three_services_side_by_side_fit_a_phone(stored: StoredData, page: TestClient) -> None:
    """Narrower boxes show three callees in a phone; with more, the page says how to see them."""
    for name in ("cart", "catalog", "mail"):
        add_calls(stored, "front", name, calls=30, failed=3)
    graph = graph_of(stored.service_map)
    assert [picture.name for picture in graph.pictures] == ["wide", "tall"]
    assert graph.pictures[1].drawing.width <= 350
    assert "scroll it sideways" not in graph_html(page)
    for name in ("stock", "rates"):
        add_calls(stored, "front", name, calls=30, failed=3)
    assert [picture.name for picture in graph_of(stored.service_map).pictures] == ["wide"]


def test_a_graph_wider_than_a_phone_says_how_to_see_it(
    stored: StoredData, page: TestClient
) -> None:
    """Where no drawing fits a phone, a sentence below it says that it can be scrolled."""
    for number in range(5):
        add_calls(stored, "front", f"callee {number}", calls=30, failed=3)
    assert "scroll it sideways" in graph_html(page)


def test_the_drawing_does_not_depend_on_the_numbers_of_calls() -> None:
    """Other numbers leave every node where it is, so that the drawing does not jump."""
    places = []
    for factor in (1, -1):
        service_map = ServiceMap(0, 0)
        # Which call closes the cycle of b and c must not depend on the order of the calls.
        for number, (caller, callee) in enumerate((("a", "b"), ("a", "c"), ("b", "c"), ("c", "b"))):
            counts = CallCounts(100 + factor * number)
            service_map.add_calls(service(caller), service(callee), counts)
        [wide] = [item for item in graph_of(service_map).pictures if item.name == "wide"]
        places.append({node.name: box for box, node in wide.nodes})
    assert places[0] == places[1]


def test_few_nodes_are_tab_stops(stored: StoredData, page: TestClient) -> None:
    """Of a large graph one node is a tab stop; the table has links to all of them."""
    stored.service_map = many_services(30)
    drawing, table = graph_html(page).split("<details")
    assert drawing.count('<a class="graph-node') == 30
    assert drawing.count('tabindex="-1"') == 29
    assert table.count("<a href") == 58


def test_the_page_says_which_spans_the_graph_is_about(stored: StoredData, page: TestClient) -> None:
    """The length and the age of the time range are shown, and whether spans were too many."""
    stored.service_map.add_requests("front", 1, 0)
    assert re.search(r"over 30 s\s*</p>", graph_html(page))
    service_map = ServiceMap(80, 90, notes=("Tempo does not say.",))
    service_map.add_requests("front", 1, 0)
    graph = service_graph(service_map, 70, 100)
    assert (graph.seconds, graph.age_s, graph.is_shortened) == (10, 10, True)
    assert graph.notes == ("Tempo does not say.",)


def test_a_graph_for_its_rows_is_not_drawn() -> None:
    """Where only the calls are shown, as on the page of a service, no picture is made."""
    service_map = many_services(30)
    service_map.end = 30
    drawn = service_graph(service_map, 0, 30)
    undrawn = service_graph(service_map, 0, 30, is_drawn=False)
    assert drawn.pictures
    assert undrawn.pictures == []
    assert undrawn.rows == drawn.rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("checkout", "checkout"),
        ("M".ljust(40, "W"), "MWWWWWWW…"),
        ("支払いサービスの長い名前です", "支払いサービスの…"),
        ("i".ljust(24, "l"), "i".ljust(24, "l")),
        ("a\x1bb", "a\\x1bb"),
        ("", ""),
    ],
)
def test_a_name_is_cut_to_its_width(text: str, expected: str) -> None:
    """A name is cut by the width of its letters, and has no control characters."""
    assert fitting(text, 120) == expected
