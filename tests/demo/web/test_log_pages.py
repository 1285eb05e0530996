"""Tests of the pages of log records: the list of all, one record, and the way to its span."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, StoredData
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.query.interface import NANO, LogRecord, Scope
from three_pillar_demo.query.log_search import MAX_SKIPPED, LogFilter
from three_pillar_demo.query.service_figures import Figures
from three_pillar_demo.web import log_list
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.log_row import record_key
from three_pillar_demo.web.view_state import ViewState

NOW = time.time_ns()
TRACEBACK = (
    'Traceback (most recent call last):\n  File "a.py", line 1\nKeyError: \x1b[31mx\x1b[0m\n'
)


def record(body: str = "done", seconds_ago: float = 1.0, **fields: Any) -> LogRecord:  # noqa: ANN401  (any field)
    """Return a log record of a foreign service, without a trace."""
    at = NOW - int(seconds_ago * NANO)
    return replace(LogRecord(at, "web", "INFO", body, {}, severity_number=9), **fields)


def rows(text: str) -> list[str]:
    """Return the texts of the rows of a list, without markup."""
    items = re.findall(r'<li id="log-.*?(?=<div class="details"|</li>)', text, re.DOTALL)
    return [" ".join(unescape(re.sub("<[^>]*>", " ", item)).split()) for item in items]


def test_the_filters_of_the_address_are_passed_on(stored: StoredData, page: TestClient) -> None:
    """The list and the start page search by service, level, words, attributes and end."""
    filters = {"service": "a&b", "severity": "TRACE", "text": 'no stock card="x y" n=1'}
    wanted = LogFilter("a&b", "TRACE", "no stock", (("card", "x y"), ("n", "1")))
    page.get("/logs", params=filters | {"until": "5", "skip": "2"})
    assert replace(wanted, until=5, skipped=2) in stored.log_filters
    page.get("/", params=filters)
    assert stored.log_filters[-1] == wanted
    page.get("/", params={"text": f"00-{TRACE.upper()}-b7ad6b7169203331-01"})
    assert stored.log_filters[-1] == LogFilter(text=TRACE)


def test_older_records_have_an_address(
    stored: StoredData, page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Following the link to older records shows each record once, also if times are equal."""
    monkeypatch.setattr(log_list, "MAX_RECORDS", 2)
    monkeypatch.setattr("three_pillar_demo.web.log_pages.MAX_RECORDS", 2)
    stored.logs = [record(f"n{number}", 1 + number // 4) for number in range(7)]
    path = "/logs?service=&still=1"
    found: list[str] = []
    for _ in range(5):
        text = page.get(path).text
        found += re.findall(r"\bn\d\b", " ".join(rows(text)))
        link = re.search('<a href="(/logs[^"]*)">Older log records', text)
        if not link:
            break
        path = unescape(link[1])
        assert "still=1" in path
    assert found == [f"n{number}" for number in range(7)]
    assert "Newest log records" in text
    assert "No older log records" in page.get("/logs?until=1").text


def test_too_many_records_of_one_time_end_in_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address never leaves out more records than is allowed, and the pages go on."""
    monkeypatch.setattr(log_list, "MAX_RECORDS", 2)
    state = ViewState(until=9, skip=MAX_SKIPPED - 1)
    logs = QueryResult([record(time=9), record(time=9)])
    assert log_list.older(state, logs) == "?until=8"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (TRACEBACK, "KeyError: x +2 lines"),
        ("java.lang.Error: x\n\tat a.B.c(B.java:1)\n", "java.lang.Error: x +1 line"),
        ("\n\n  first\nsecond", "first +1 line"),
        ('{"level":"info","msg":"\\u001b[1mbold\\u001b[0m","n":3}', "bold level=info n=3"),
        ('{"a":{"b":[1,true]},"c":null}', 'a={"b": [1, true]} c=null'),
        ('["x", 2]', '["x", 2]'),
        ("42", "42"),
        ("{broken", "{broken"),
        ("[" * 9_000, "[" * 299 + "…"),
        ("x" * 256 * 1024, "x" * 299 + "…"),
        ("<script>\u202e", "<script>\\u202e"),
    ],
)
def test_a_body_is_one_line_in_the_list(
    stored: StoredData, page: TestClient, body: str, shown: str
) -> None:
    """Stack traces, maps, lists and long bodies have one line, and no escape sequences."""
    stored.logs = [record(body)]
    for path in ("/logs", "/"):
        text = page.get(path).text
        [row] = rows(text)
        assert row.endswith(f"web INFO {shown}")
        assert "[31m" not in text


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"event_name": "user.signed_in"}, "user.signed_in"),
        ({"attributes": {"exception.type": "a.E", "exception.message": "m"}}, "E: m"),
        ({"fields": {"exception_type": "a.E"}}, "E"),
        ({"attributes": {"a": 1, "b": [True]}}, "a=1 b=[true]"),
        ({}, "no body"),
    ],
)
def test_a_record_without_a_body_shows_what_it_has(
    stored: StoredData, page: TestClient, fields: dict[str, Any], shown: str
) -> None:
    """An empty body is replaced by the name of the event, the exception or the attributes."""
    stored.logs = [record(" \n", **fields)]
    assert rows(page.get("/logs").text)[0].endswith(f"INFO {shown}")


@pytest.mark.parametrize(
    ("text", "number", "shown"),
    [
        ("error", 17, "error"),
        ("Critical", 21, "Critical"),
        ("INFO", 17, "ERROR"),
        ("whatever", 24, "FATAL"),
        ("ERROR", 9, "INFO"),
        ("gossip", 0, "gossip"),
        ("", 0, ""),
        ("", 13, "WARN"),
    ],
)
def test_text_and_colour_of_a_level_agree(
    stored: StoredData, page: TestClient, text: str, number: int, shown: str
) -> None:
    """The level is called as by its sender, unless that contradicts the number."""
    stored.logs = [record(severity=text, severity_number=number)]
    html = page.get("/logs").text
    assert f'<span class="level">{shown}</span>' in html
    is_red = re.search('<li id="log-[^"]*" class="bad">', html) is not None
    assert is_red == (number >= 17)


def test_a_record_ahead_of_the_clock_is_marked(stored: StoredData, page: TestClient) -> None:
    """A record that is dated in the future says so, and the list can leave it out."""
    stored.logs = [record("ahead", -7200), record("now")]
    text = page.get("/logs").text
    assert re.search(r"ahead dated 1\d\d min ahead", rows(text)[0])
    [address] = re.findall('<a href="([^"]*)">Only those up to now', text)
    [row] = rows(page.get(address).text)
    assert row.endswith("INFO now")


def test_one_record_shows_all_that_it_has(stored: StoredData, page: TestClient) -> None:
    """The page of a record has its body, fields, resource, scope and ids, and leads to its span."""
    full = record(
        '{"message":"no stock","left":[0]}',
        severity="Critical",
        severity_number=21,
        fields={"trace_id": TRACE, "span_id": ROOT},
        attributes={f"a.{n}": n for n in range(300)} | {"exception.stacktrace": TRACEBACK},
        resource={"service.version": "1.2.3", "list": ["x"]},
        scope=Scope("lib", "2", {"scope.attribute": "s"}),
        event_name="stock.checked",
        observed_time=NOW,
    )
    stored.logs = [record("another", time=full.time), full]
    text = unescape(page.get("/logs").text)
    assert '<details id="open-log-' in text
    [address] = re.findall(f'href="(/logs/{record_key(full)})"', text)
    text = unescape(page.get(address).text)
    for shown in (
        'aria-label="body">{\n  "message": "no stock",\n  "left": [\n    0\n  ]\n}</pre>',
        "<dt>a.0</dt>",
        "<dt>a.299</dt>",
        "<dt>service.version</dt>\n  <dd>1.2.3</dd>",
        '<dd>["x"]</dd>',
        "<dt>scope.attribute</dt>",
        "KeyError: x</pre>",
        f"trace id <code>{TRACE}</code>",
        "severity number <code>21</code>",
        "event name <code>stock.checked</code>",
        "scope <code>lib 2</code>",
        f'href="/trace/{TRACE}"',
        f'href="/trace/{TRACE}/span/{ROOT}"',
        f'href="/logs?text={TRACE}"',
    ):
        assert shown in text
    assert "another" not in text


def test_the_fields_of_loki_are_shown_as_what_they_are(
    stored: StoredData, page: TestClient
) -> None:
    """Of Loki, the attributes of record, resource and scope come in one list, under one heading."""
    stored.logs = [record(fields={"http_route": "/a", "trace_id": "not an id", "flags": "1"})]
    text = page.get(f"/logs/{record_key(stored.logs[0])}").text
    assert "Attributes of record, resource and scope" in text
    assert "<dt>http_route</dt>" in text
    assert "<dt>flags</dt>" not in text
    assert "/trace/" not in text


@pytest.mark.parametrize("key", ["1-000000000000", "x", f"{2**63}-000000000000", "%2e%2e"])
def test_an_unknown_record_is_not_found(stored: StoredData, page: TestClient, key: str) -> None:
    """A record that is not stored, or an invalid address, is answered with 404 and a page."""
    stored.logs = [record()]
    answer = page.get(f"/logs/{key}")
    assert answer.status_code == 404
    assert "is not stored" in answer.text or "Not found" in answer.text


def test_a_log_record_leads_to_the_row_of_its_span(stored: StoredData, page: TestClient) -> None:
    """The address of a span leads to its row, and to the page of the trace if it is not there."""
    stored.spans = [span(ROOT, "")]
    for span_id, fragment in ((ROOT, f"#s0-{ROOT}"), ("f" * 16, "")):
        answer = page.get(f"/trace/{TRACE.upper()}/span/{span_id}?still=1")
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/trace/{TRACE}?still=1{fragment}"
    assert f'id="s0-{ROOT}"' in page.get(f"/trace/{TRACE}").text


def test_what_a_search_does_not_examine_is_said(
    stored: StoredData, page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that finds few records says which ones it did not look at; others do not."""
    stored.logs = [record()]
    limit = "Only the newest records are searched."
    assert limit in page.get("/logs?text=word").text
    assert limit in page.get("/logs?text=a=b").text
    assert limit not in page.get("/logs?severity=ERROR").text
    assert limit not in page.get(f"/logs?text={TRACE}").text
    monkeypatch.setattr("three_pillar_demo.web.log_pages.MAX_RECORDS", 1)
    assert limit not in page.get("/logs?text=word").text, "the list is full"


def test_only_what_can_change_is_fetched_again(stored: StoredData, page: TestClient) -> None:
    """Older records are not fetched each second, and a link leads out of a filter alone."""
    stored.logs = [record()]
    newest = page.get("/logs").text
    older = page.get(f"/logs?until={NOW}").text
    filtered = page.get("/logs?text=a").text
    assert ["data-refresh-from" in text for text in (newest, older, filtered)] == [
        False,
        True,
        False,
    ]
    link = ">All log records</a>"
    assert [link in text for text in (newest, older, filtered)] == [False, False, True]


def test_every_service_can_be_chosen(stored: StoredData, page: TestClient) -> None:
    """A service is offered also if the newest records are of others, and the chosen one always."""
    stored.logs = [record()]
    stored.services = [Figures("rare", "", NOW / NANO - 60, NOW / NANO)]
    text = page.get("/logs?service=gone").text
    found = re.findall(r"<option( selected)?>(\w+)</option>", text)
    assert [option for option in found if option[1].islower()] == [
        (" selected", "gone"),
        ("", "rare"),
        ("", "web"),
    ]


@pytest.mark.parametrize("mode", ["local", "view"])
def test_the_start_page_shows_the_newest_few(
    stored: StoredData, open_page: Callable[..., TestClient], mode: str
) -> None:
    """The start page has few records, which lead to their traces, and leads to all of them."""
    stored.logs = [replace(line(ROOT, f"n{number}"), time=NOW - number) for number in range(20)]
    client = open_page(mode=mode)
    text = client.get("/?severity=INFO&text=x&failed=1&tour=0").text
    assert [re.sub(".* ", "", row) for row in rows(text)] == [f"n{n}" for n in range(12)]
    assert text.count(f'class="text" href="/trace/{TRACE}') == 12
    assert '<a href="/logs?severity=INFO&amp;text=x">All log records</a>' in text
    assert len(rows(client.get("/logs").text)) == 20


@pytest.mark.parametrize("path", ["/logs", "/logs/1-000000000000"])
def test_a_failing_query_is_said(stored: StoredData, page: TestClient, path: str) -> None:
    """While the store gives no answer, the pages say so and are still pages."""
    stored.faults = {"search_logs": FAILING}
    answer = page.get(path)
    assert answer.status_code == 200
    assert "is not there" in answer.text
