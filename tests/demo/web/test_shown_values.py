"""Tests how log records and attributes are shown, whatever their severity, escapes and types."""

import re
from dataclasses import replace
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.query.interface import SpanEvent


@pytest.mark.parametrize(
    ("text", "number", "is_red"),
    [
        ("error", 17, True),
        ("Critical", 21, True),
        ("INFO", 17, True),
        ("ERROR", 9, False),
        ("error", 0, True),
        ("Warning", 0, False),
    ],
)
def test_a_log_record_is_red_by_its_number_first(
    stored: StoredData, page: TestClient, text: str, number: int, *, is_red: bool
) -> None:
    """The list and the waterfall mark the record of an error, whatever its severity is called."""
    record = replace(line(ROOT, "no stock", severity=text), severity_number=number)
    stored.logs = [record]
    stored.spans = [span(ROOT, "")]
    stored.trace_logs = [record]
    found = re.findall(r'<li id="log-[^"]*"( class="bad")?>', page.get("/").text)
    assert found == [' class="bad"' if is_red else ""]
    [row] = re.findall(r'<div class="row log ([^"]*)"', page.get(f"/trace/{TRACE}").text)
    assert row.endswith(" bad") == is_red


def test_escape_sequences_are_removed_from_log_records(
    stored: StoredData, page: TestClient
) -> None:
    """The body of a record is shown without the colours that a program wrote for a terminal."""
    stored.logs = [line(ROOT, "\x1b[1;31mno\x1b[0m stock\x1b[K", severity="ERROR")]
    stored.trace_logs = stored.logs
    stored.spans = [span(ROOT, "", error=True)]
    for path in ("/", f"/trace/{TRACE}", f"/trace/{TRACE}/request.html"):
        text = page.get(path).text
        assert "no stock" in text
        assert "[1;31m" not in text


def test_escape_sequences_are_removed_from_spans(stored: StoredData, page: TestClient) -> None:
    """Messages, exceptions, attributes and stack traces are shown without colours of a terminal."""
    red = "\x1b[31mno\x1b[0m stock"
    exception = {"exception.type": "E", "exception.message": red, "exception.stacktrace": red}
    failed = span(
        ROOT,
        "",
        error=True,
        message=red,
        exceptions=(f"E: {red}",),
        attributes={"note": red},
        events=(SpanEvent(0, "exception", exception),),
    )
    stored.spans = [failed]
    stored.request_spans = [failed]
    stored.trace_logs = [line(ROOT, red, severity="INFO")]
    for path in ("/?tour=0", f"/trace/{TRACE}", f"/trace/{TRACE}/request.html"):
        text = page.get(path).text
        assert "no stock" in text
        assert "[31m" not in text


def test_attributes_are_shown_as_a_person_writes_them(stored: StoredData, page: TestClient) -> None:
    """Lists, maps, Booleans and absent values of spans, events and resources are JSON."""
    attributes = {
        "a.list": ["a", "b\u00fc", 1, None],
        "a.map": {"deep": [True, {"x": 1.5}]},
        "a.flag": False,
        "nothing": None,
        "a.text": "True ['a']",
        "a.number": 0.1,
    }
    event = SpanEvent(0, "event", {"event.list": ["e"]})
    resource = {"process.args": ["x", "y"]}
    stored.spans = [span(ROOT, "", attributes=attributes, resource=resource, events=(event,))]
    stored.trace_logs = [replace(line(ROOT, "text"), attributes={"log.list": ["l", True]})]
    for path in (f"/trace/{TRACE}", f"/trace/{TRACE}/request.html"):
        text = unescape(page.get(path).text)
        for shown in (
            '["a", "b\u00fc", 1, null]',
            '{"deep": [true, {"x": 1.5}]}',
            "<dd>false</dd>",
            "<dd>null</dd>",
            "<dd>True ['a']</dd>",
            "<dd>0.1</dd>",
            '<dd>["x", "y"]</dd>',
            '<dd>["e"]</dd>',
            '<dd>["l", true]</dd>',
        ):
            assert shown in text
