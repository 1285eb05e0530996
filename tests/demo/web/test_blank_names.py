"""Tests that a name of which nothing can be seen makes no empty link, heading or sentence."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.demo.web.test_service_names import every_page, fill
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.query.instruments import LabelValues
from three_pillar_demo.trace_view.completeness import missing_spans
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.view import TraceView

BLANK = ("", " ", "\t", "\u00a0\u3000")
NEED_TEXT = {"a", "h1", "h2", "h3", "b", "button", "summary", "option", "title", "legend"}
"""The elements that say nothing to anybody without a text."""


class Texts(HTMLParser):
    """Collects the elements of ``NEED_TEXT`` that have no text, and no name of another kind."""

    def __init__(self, html: str) -> None:
        """Parse ``html``."""
        super().__init__()
        self.open: list[tuple[str, str, list[str]]] = []
        self.empty: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin to collect the text of an element."""
        if tag in NEED_TEXT and "aria-label" not in dict(attrs):
            self.open.append((tag, self.get_starttag_text() or "", []))

    def handle_data(self, data: str) -> None:
        """Add a text to all elements that contain it."""
        for _, _, texts in self.open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        """End an element, and keep it if it has no text."""
        if self.open and self.open[-1][0] == tag:
            _, start, texts = self.open.pop()
            if not "".join(texts).strip():
                self.empty.append(start)


@pytest.mark.parametrize("name", BLANK)
def test_a_blank_name_leaves_no_link_or_heading_empty(
    stored: StoredData, open_page: Callable[..., TestClient], name: str
) -> None:
    """On every page each link, heading and choice has a text, whatever has a blank name."""
    fill(stored, name)
    unnamed = [replace(span, name=name) for span in stored.spans]
    stored.spans = unnamed
    stored.request_spans = unnamed
    stored.logs = [*stored.logs, line(ROOT, name, service=name)]
    stored.trace_logs = [*stored.trace_logs, line(ROOT, name, service=name)]
    labels = (LabelValues(name, 2, name), LabelValues("x", 2, name))
    stored.instrument_series = replace(stored.instrument_series, labels=labels)
    pages = list(every_page(open_page))
    client = open_page()
    pages += [client.get(path).text for path in ("/logs", "/service?service=%20", "/?service=%20")]
    for html in pages:
        assert Texts(html).empty == []
    trace = " ".join(re.sub("<[^>]*>", " ", pages[1]).split())
    assert "unnamed service unnamed span" in trace


def test_a_text_without_letters_is_found() -> None:
    """The check of the other test finds an empty link and an empty heading."""
    html = "<a href='/'> <i></i></a><h2>\n</h2><a href='/'>x</a><button aria-label='x'></button>"
    assert Texts(html).empty == ["<a href='/'>", "<h2>"]


@pytest.mark.parametrize("name", BLANK)
def test_sentences_name_the_unnamed(name: str) -> None:
    """A sentence about a service or span with a blank name is whole."""
    root = span(ROOT, "", service=name, name=name, attributes={"http.response.status_code": 500})
    other = span("b" * 16, "c" * 16, service=name, name=name)
    view = TraceView(TRACE, [root, other], [], [])
    assert explain(view).startswith("unnamed service answered 500")
    parts = list(missing_spans([root, other]))
    assert "the parent of unnamed service's span unnamed span" in parts
