"""Tests that services of one view differ in colour, and keep their colours over refreshes."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData, add_calls, figures
from tests.traces import ROOT, line, span
from three_pillar_demo.query.interface import RedSample
from three_pillar_demo.web.service_classes import (
    MAX_REMEMBERED,
    PALETTE_SIZE,
    ServiceColours,
    service_class,
)

CROWD = [f"service-{number:03}" for number in range(200)]
ALIKE = [name for name in CROWD if service_class(name) == service_class(CROWD[0])]
"""Services that would all have the same colour if each was alone."""


@pytest.mark.parametrize("names", [ALIKE[:8], ALIKE, ["payment", *ALIKE], CROWD])
def test_the_first_services_differ(names: Sequence[str]) -> None:
    """As many services as there are colours can be told apart; the others share them evenly."""
    classes = ServiceColours().of(names)
    assert list(classes) == list(names)
    assert len({classes[name] for name in names[:PALETTE_SIZE]}) == PALETTE_SIZE
    counts = Counter(classes.values()).values()
    assert max(counts) - min(counts) <= 1 or "payment" in names


def test_services_keep_their_colours_when_others_come_and_go() -> None:
    """A service that comes later takes a free colour, whatever its name, and has it next time."""
    colours = ServiceColours()
    before = colours.of(ALIKE[4:8])
    more = colours.of(ALIKE[:8])
    assert {name: more[name] for name in before} == before
    assert colours.of(ALIKE[5:8]) == {name: before[name] for name in ALIKE[5:8]}
    assert colours.of(ALIKE[:8]) == more
    for name in CROWD:
        colours.of([name, "checkout"])
    assert colours.of(["checkout", "payment"]) == {"checkout": "service-0", "payment": "service-1"}
    colours.of(map(str, range(2 * MAX_REMEMBERED)))
    assert len(colours.remembered) == MAX_REMEMBERED


def charted(html: str) -> dict[str, str]:
    """Return the class of each service in the legend of the chart of requests."""
    chart = re.search(r'id="chart-rate".*?</figcaption>', html, re.DOTALL)
    assert chart
    pairs = re.findall(r'class="key (service-\d)">([^<]+)</span>', chart[0])
    return {name: css_class for css_class, name in pairs}


def drawn(html: str) -> dict[str, str]:
    """Return the class of each service in the service graph."""
    nodes = re.findall(
        r'class="graph-node of-service (service-\d)[^"]*" id="node-wide-([\w-]+)"', html
    )
    return {name: css_class for css_class, name in nodes}


@pytest.mark.parametrize("mode", ["local", "view"])
def test_no_two_services_of_a_chart_have_the_same_colour(
    stored: StoredData, open_page: Callable[..., TestClient], mode: str
) -> None:
    """Charts and graph tell their services apart among 200, and a refresh changes no colour."""
    stored.request_spans = [span(ROOT, "", service=name) for name in ALIKE[:3]]
    stored.services = [figures(name, requests=10, failed=0) for name in CROWD]
    stored.services += [figures(f"{name}-busy", requests=5000) for name in ALIKE[:2]]
    for name in ALIKE[1:4]:
        add_calls(stored, ALIKE[0], name, calls=10, failed=0)
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.125, (0.2, 0.4, 2.0))
    client = open_page(mode=mode)
    html = client.get("/?tour=0").text
    lines = charted(html)
    nodes = drawn(html)
    assert len(lines) == len(set(lines.values())) == 4
    assert len(nodes) == len(set(nodes.values())) == 4
    stored.services.insert(0, figures("a", requests=9000))
    add_calls(stored, "a", ALIKE[0], calls=10, failed=0)
    html = client.get("/?tour=0&minutes=15").text
    kept = charted(html)
    assert "a" in kept
    assert all(kept[name] == lines[name] for name in kept if name in lines)
    assert {name: css_class for name, css_class in drawn(html).items() if name in nodes} == nodes


@pytest.mark.parametrize("path", ["/logs", "/services", "/?tour=0"])
def test_services_of_a_list_differ(stored: StoredData, page: TestClient, path: str) -> None:
    """In lists of log records, requests and services two services have two colours."""
    names = ALIKE[:4]
    stored.services = [figures(name) for name in names]
    stored.request_spans = [span(ROOT, "", service=name) for name in names]
    stored.logs = [line(ROOT, "text", service=name) for name in names]
    html = page.get(path).text
    assert html.count(names[0]) > 1
    found = set(
        re.findall(r'class="(?:service|key) (service-\d)">(?:<a[^>]*>)?(service-\d+)<', html)
    )
    assert {name for _, name in found} >= set(names)
    assert len({css_class for css_class, name in found if name in names}) == len(names)
