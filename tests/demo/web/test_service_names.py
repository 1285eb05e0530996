"""Tests that the names of services never become CSS classes, and that ids are unique."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData, add_calls, figures
from tests.traces import CALL, CHARGE, ORDER, ROOT, TRACE, exemplar, line, span
from three_pillar_demo.query.instruments import (
    GAUGE,
    Group,
    Instrument,
    InstrumentSeries,
    LabelValues,
    Line,
)
from three_pillar_demo.query.interface import Exemplar, RedSample
from three_pillar_demo.query.service_map import ServiceMap
from three_pillar_demo.web.element_ids import UniqueIds, element_id
from three_pillar_demo.web.page_templates import WEB_FOLDER
from three_pillar_demo.web.service_classes import (
    OTHER_CLASSES,
    SHOP_CLASSES,
    distinct_service_classes,
    service_class,
)

OpenPage = Callable[..., TestClient]
STYLE_SHEET = (WEB_FOLDER / "static" / "page.css").read_text(encoding="utf-8")
USED_CLASSES = re.findall(r"\.([a-z][\w-]*)", STYLE_SHEET)
"""Every class that the style sheet gives a meaning."""
TEMPLATE_TEXTS = [path.read_text(encoding="utf-8") for path in WEB_FOLDER.glob("**/*.html")]
USED_IDS = {name for text in TEMPLATE_TEXTS for name in re.findall(r'\bid="([\w-]+)"', text)}
"""Every id that is written in a template."""
PLAIN_NAME = "shopfront"
PALETTE = {*SHOP_CLASSES.values(), *OTHER_CLASSES}


class Elements(HTMLParser):
    """Collects the classes and the ids of all elements of a page."""

    def __init__(self, html: str) -> None:
        """Parse ``html``."""
        super().__init__()
        self.classes: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the attributes ``class`` and ``id``."""
        attributes = dict(attrs)
        self.classes += (attributes.get("class") or "").split()
        if attributes.get("id") is not None:
            self.ids.append(attributes["id"] or "")


def fill(stored: StoredData, service: str) -> None:
    """Put telemetry of ``service`` and of the shop into ``stored``, with twice the same of all."""
    root = span(ROOT, "", service=service, error=True, attributes={"http.route": "/orders"})
    stored.spans = [
        root,
        span(CALL, ROOT, "CLIENT", service=service),
        span(CHARGE, CALL, service="payment"),
        span(ORDER, ROOT, "INTERNAL", service=f"{service} and more"),
    ]
    stored.request_spans = [root, root]
    record = line(ROOT, "no stock", service=service)
    other = line(CHARGE, "charged", service="checkout")
    stored.trace_logs = [record, record, other]
    stored.logs = [record, record, other, replace(other, fields={}), replace(other, fields={})]
    stored.service_map = ServiceMap(0, 0)
    for caller, callee in ((service, "payment"), ("a-b", "c"), ("a", "b-c")):
        add_calls(stored, caller, callee, calls=3, failed=1)
    of_service = exemplar(service, "/orders", 500, "0.1", 0.1)
    stored.exemplars = [of_service, replace(of_service, value=0.2, time=of_service.time + 60)]
    stored.exemplars += [
        Exemplar(
            TRACE, 0.1, time.time() - age_s, exemplar("checkout", "/checkout", 200, "1", 1).labels
        )
        for age_s in (100, 40)
    ]
    stored.services = [figures(service), figures("payment"), figures(f"{service} and more")]
    stored.routes = [figures(service), figures(service)]
    stored.red_sample = lambda timestamp: RedSample(timestamp, 4.0, 0.125, (0.2, 0.4, 2.0))
    stored.instruments = [
        Instrument(name, name, GAUGE, services=(service, "payment"))
        for name in ("orders.open", "orders_open", service)
    ]
    values = (Line("value", (1.0, 2.0)),)
    stored.instrument_series = InstrumentSeries(
        times=(time.time() - 60, time.time() - 30),
        groups=(Group(service, values), Group("payment", values)),
        series_count=2,
        labels=(LabelValues("service_name", 2, service), LabelValues("x", 1, service)),
    )


def every_page(open_page: OpenPage) -> Iterator[str]:
    """Yield the HTML of every kind of page, each of a new process of the web UI."""
    for mode, paths in (
        ("local", ("/?tour=0", f"/trace/{TRACE}", f"/trace/{TRACE}/request.html")),
        (
            "view",
            (
                "/",
                "/metrics?metric=orders.open&by=service_name",
                "/services",
                "/service?service=payment",
            ),
        ),
    ):
        client = open_page(mode=mode)
        for path in paths:
            response = client.get(path)
            assert response.status_code == 200
            yield response.text


def classes_of(html: str) -> Counter[str]:
    """Return how often each class is used; all classes of the palette count as one."""
    return Counter("PALETTE" if name in PALETTE else name for name in Elements(html).classes)


@pytest.mark.parametrize(
    "service",
    [
        "main",
        "card",
        "bad",
        "skip-link",
        "unseen",
        "row log",
        "checkout main",
        " ".join(USED_CLASSES),
    ],
)
def test_the_name_of_a_service_is_never_its_class(
    stored: StoredData, open_page: OpenPage, service: str
) -> None:
    """A service called like any class of the style sheet has the classes of any other service."""
    expected: list[Counter[str]] = []
    found: list[Counter[str]] = []
    for name, classes in ((PLAIN_NAME, expected), (service, found)):
        fill(stored, name)
        classes += [classes_of(html) for html in every_page(open_page)]
    assert len(expected) == 7
    assert found == expected
    assert all({"payment", "checkout", PLAIN_NAME}.isdisjoint(classes) for classes in expected)


@pytest.mark.parametrize(
    "service",
    ["main", "rate", "rows", "head", "a b", "", "x".ljust(5000, "x"), "<i>", "\ud800"],
)
def test_ids_are_unique_on_every_page(
    stored: StoredData, open_page: OpenPage, service: str
) -> None:
    """No id is used twice or has a blank, whatever services are called and records repeat."""
    fill(stored, service)
    for html in every_page(open_page):
        ids = Elements(html).ids
        assert [name for name, count in Counter(ids).items() if count > 1] == []
        assert [name for name in ids if not re.fullmatch(r"[\w-]+", name)] == []


def test_no_id_made_from_names_is_one_of_a_template() -> None:
    """The first word of an id made from names begins no id that a template writes itself."""
    kinds = {kind for text in TEMPLATE_TEXTS for kind in re.findall(r'unique_id\("(\w+)"', text)}
    assert {"edge", "component", "log", "dot"} <= kinds
    assert USED_IDS
    # The key of an alert is a digest, and the id of a log record has three parts.
    allowed = {"alert-inbox", "log-rows"}
    taken = [name for name in USED_IDS - allowed if name.split("-")[0] in kinds]
    assert taken == []


def test_different_names_have_different_ids() -> None:
    """Names that contain the separator, are long, or differ at their end make different ids."""
    names: list[tuple[Any, ...]] = [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a", "b", "c"),
        ("a b c",),
        ("x" * 64,),
        ("x" * 65,),
        ("",),
        ("_",),
    ]
    assert len({element_id("edge", *parts) for parts in names}) == len(names)
    assert element_id("edge", "checkout", "payment") == "edge-checkout-payment"
    unique_ids = UniqueIds()
    found = [unique_ids.next("log", 5, "abc") for _ in range(3)]
    assert found == ["log-5-abc", "log-5-abc_2", "log-5-abc_3"]


def test_every_class_of_the_palette_has_a_colour() -> None:
    """The style sheet sets the colour of each class of the palette, and no two are the same."""
    colours = []
    for css_class in sorted(PALETTE):
        assert f".{css_class} {{\n  --service-color: var(--{css_class});\n}}" in STYLE_SHEET
        colours += re.findall(rf"--{css_class}: (.*);", STYLE_SHEET)
    assert len(set(colours)) == len(PALETTE) == 8


def test_services_of_one_page_have_different_colours() -> None:
    """The shop keeps its classes, and up to six other services of a trace have one each."""
    names = [f"service {number}" for number in range(6)]
    classes = distinct_service_classes(["payment", *names, "checkout"])
    assert len(set(classes.values())) == 8
    assert (classes["checkout"], classes["payment"]) == ("service-0", "service-1")
    assert service_class("checkout") == "service-0"
    assert {service_class(str(number)) for number in range(200)} == set(OTHER_CLASSES)
