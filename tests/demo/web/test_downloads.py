"""Tests for the files of a request: the HTML page that needs no server, and the OTLP JSON."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, StoredData
from tests.traces import CHARGE, ROOT, TRACE, line, span
from three_pillar_demo.query.interface import SpanEvent

HTML = f"/trace/{TRACE}/request.html"
OTLP = f"/trace/{TRACE}/otlp.jsonl"
FORBIDDEN_TAGS = {"script", "link", "iframe", "img", "object", "embed", "form", "base", "input"}
"""Elements that load something, run something or send something."""


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        """Parse ``page``."""
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep an element."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


@pytest.mark.usefixtures("busy")
def test_the_file_needs_nothing_else(page: TestClient) -> None:
    """The file has no script and no address, and its policy allows only its own style sheet."""
    html = page.get(HTML).text
    elements = Elements(html)
    assert not FORBIDDEN_TAGS & {tag for tag, _ in elements.tags}
    for _, attributes in elements.tags:
        assert not {"src", "style"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in html
    assert "@import" not in html
    [policy] = [
        attributes["content"]
        for tag, attributes in elements.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    style = re.search("<style>(.*)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_the_file_has_the_whole_request(page: TestClient, busy: StoredData) -> None:
    """Explanation, spans, log lines of both services and attributes are in the file."""
    text = Elements(page.get(HTML).text).text
    for record in busy.trace_logs:
        assert record.body in text
    for stored_span in busy.spans:
        assert stored_span.name in text
    assert "answered 504" in text
    assert "PaymentError: payment: no answer within 2 s" in text
    assert "url.full" in text


@pytest.mark.usefixtures("busy")
def test_the_file_is_offered_as_a_download(page: TestClient) -> None:
    """The page links to both files, which a browser saves under a name with the trace id."""
    links = [
        attributes
        for tag, attributes in Elements(page.get(f"/trace/{TRACE}").text).tags
        if tag == "a" and "download" in attributes
    ]
    assert [link["href"] for link in links] == [HTML, OTLP]
    for path, name, media_type in (
        (HTML, f"trace-{TRACE}.html", "text/html; charset=utf-8"),
        (OTLP, f"trace-{TRACE}.otlp.jsonl", "application/x-ndjson"),
    ):
        response = page.get(path)
        assert response.status_code == 200
        assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert response.headers["content-type"] == media_type
        assert response.headers["cache-control"] == "no-store"


def test_the_otlp_file_has_all_records(page: TestClient, busy: StoredData) -> None:
    """The OTLP file has one line of spans and one of log records, with all of both services."""
    spans, logs = (json.loads(text) for text in page.get(OTLP).text.splitlines())
    found_spans = [
        found
        for resource in spans["resourceSpans"]
        for scope in resource["scopeSpans"]
        for found in scope["spans"]
    ]
    assert len(found_spans) == len(busy.spans)
    services = {
        resource["resource"]["attributes"][0]["value"]["stringValue"]
        for resource in logs["resourceLogs"]
    }
    assert services == {"checkout", "payment"}


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("path", [HTML, OTLP])
def test_access_checks_apply(page: TestClient, path: str) -> None:
    """Another site cannot read the files, and an unknown Host header is refused."""
    other_site = {"origin": "http://evil.example"}
    assert page.get(path, headers=other_site).status_code == 403
    embedded = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert page.get(path, headers=embedded).status_code == 403
    assert page.get(path, headers={"host": "evil.example"}).status_code == 421


@pytest.mark.parametrize("path", [HTML, OTLP])
def test_a_trace_that_is_not_stored_is_not_found(page: TestClient, path: str) -> None:
    """A trace without telemetry, and an invalid id, give 404 and no file."""
    assert page.get(path).status_code == 404
    assert page.get(path.replace(TRACE, "xyz")).status_code == 404


@pytest.mark.parametrize("path", [HTML, OTLP])
def test_a_store_that_does_not_answer_is_no_empty_file(
    page: TestClient, busy: StoredData, path: str
) -> None:
    """If the trace cannot be read, the answer is 503 with the reason."""
    busy.faults["trace"] = FAILING
    response = page.get(path)
    assert response.status_code == 503
    assert "the store" in response.text


def test_metrics_that_fail_cost_only_the_chart(page: TestClient, busy: StoredData) -> None:
    """If the metrics cannot be queried, the file says so in the place of the chart."""
    root = busy.spans[0]
    busy.spans[0] = replace(root, attributes=root.attributes | {"http.route": "/checkout"})
    busy.faults["red"] = FAILING
    text = Elements(page.get(HTML).text).text
    assert "answered 504" in text
    assert "red: <b>the store</b> is not there" in text


def test_texts_cannot_become_markup(page: TestClient, stored: StoredData) -> None:
    """Names, values, services and texts with markup are shown as text in the file."""
    evil = '</style><script>alert(1)</script><img src=x onerror=alert(1)>"'
    stored.spans = [
        span(
            ROOT,
            "",
            service=evil,
            name=evil,
            message=evil,
            error=True,
            attributes={evil: evil},
            resource={"service.name": evil, evil: evil},
            events=(SpanEvent(0, evil, {evil: evil}),),
        )
    ]
    stored.trace_logs = [line(ROOT, evil, service=evil, severity=evil)]
    elements = Elements(page.get(HTML).text)
    assert not FORBIDDEN_TAGS & {tag for tag, _ in elements.tags}
    assert elements.text.count("<script>alert(1)") >= 5


def test_stack_traces_are_whole(page: TestClient, stored: StoredData) -> None:
    """A stack trace is in the file with all its lines, and with control characters escaped."""
    frames = "\n".join(f'  File "shop.py", line {number}, in order\x1b' for number in range(200))
    event = SpanEvent(0, "exception", {"exception.stacktrace": frames})
    stored.spans = [span(ROOT, "", events=(event,))]
    html = page.get(HTML).text
    assert frames.replace("\x1b", r"\x1b") in Elements(html).text


def test_a_large_trace_is_whole(page: TestClient, stored: StoredData) -> None:
    """A trace of more spans than the page draws is complete in the file."""
    stored.spans = [span(ROOT, "")]
    stored.spans += [span(f"{number:016x}", ROOT, "INTERNAL", at=number) for number in range(3_000)]
    stored.spans.append(span(CHARGE, ROOT, "INTERNAL", at=5_000, name="the last span"))
    html = page.get(HTML).text
    assert "the last span" in html
    assert "Only the first" not in html
