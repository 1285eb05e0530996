"""Tests for the bodies of log records within the waterfall: one line, and all of it when open."""

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.demo.web.test_trace_page import html_of
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.sections import CUT
from three_pillar_demo.web.trace_page import trace_page
from three_pillar_demo.web.waterfall_row import Limits, WaterfallRow

PYTHON = 'Traceback (most recent call last):\n  File "a.py", line 1\nOSError: <b>gone</b>'
JAVA = "java.lang.Error: no stock\n\tat shop.Stock.take(Stock.java:7)"
MAP = '{"message": "no stock", "item": {"id": 7}}'


def rows_of(*bodies: str, limits: Limits | None = None) -> list[WaterfallRow]:
    """Return the rows of log records with these bodies, without the row of their span."""
    logs = [line(ROOT, body, at=number) for number, body in enumerate(bodies)]
    page = trace_page(TraceView(TRACE, [span(ROOT, "")], logs, []), [], limits)
    return page.rows[1:]


@pytest.mark.parametrize(
    ("body", "text", "more_lines", "whole"),
    [
        ("charged", "charged", 0, "charged"),
        (JAVA, "java.lang.Error: no stock", 1, JAVA),
        (PYTHON, "OSError: <b>gone</b>", 2, PYTHON),
        (MAP, 'no stock item={"id": 7}', 0, '"item": {\n    "id": 7\n  }'),
        ("\x1b[31mred\x1b[0m", "red", 0, "red"),
    ],
)
def test_a_row_has_one_line_and_the_whole_body(
    body: str, text: str, more_lines: int, whole: str
) -> None:
    """The row of a log record shows the line that the lists show, and opens to the whole body."""
    (row,) = rows_of(body)
    assert row.body
    assert (row.text, row.body.more_lines) == (text, more_lines)
    assert whole in row.body.text


def test_the_page_shows_the_whole_body(stored: StoredData, page: TestClient) -> None:
    """An opened row has the lines of the body as text, and leads to all fields of the record."""
    stored.spans = [span(ROOT, "")]
    stored.trace_logs = [line(ROOT, PYTHON), line(ROOT, "", at=1)]
    text = html_of(page)
    assert f"<pre>{PYTHON}</pre>" in unescape(text)
    assert PYTHON not in text, "markup in a body is shown as text"
    assert '<i class="muted">no body</i>' in text
    keys = re.findall(r'<a href="/logs/(\d+-[0-9a-f]{12})">All fields of this record</a>', text)
    assert [key.partition("-")[0] for key in keys] == [
        str(record.time) for record in stored.trace_logs
    ]
    stored.logs = stored.trace_logs
    for key in keys:
        assert page.get(f"/logs/{key}").status_code == 200
    file = html_of(page, f"/trace/{TRACE}/request.html")
    assert f"<pre>{PYTHON}</pre>" in unescape(file)
    assert "All fields" not in file, "a file on a disk cannot lead to another page"


def test_bodies_share_the_limit_of_stack_traces() -> None:
    """A long body loses its middle, and all bodies and stack traces together have a limit."""
    limits = Limits(text=1000, all_texts=1500)
    bodies = [row.body for row in rows_of(*["begin\n" + "x" * 5000 + "\nend"] * 3, limits=limits)]
    texts = [body.text for body in bodies if body]
    assert texts[0].startswith("begin")
    assert CUT in texts[0]
    assert texts[0].endswith("end")
    assert sum(map(len, texts)) <= 1500
