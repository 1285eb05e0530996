"""The page as text: what it shows of good, broken, slow and hostile answers, and what its actions do."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from html import unescape

import httpx2
import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import FAILING, HANGING, HOST, QUESTIONS, STRANGE, Told
from tests.traces import CALL, ROOT, TRACE, line, span
from three_pillar_demo.query.interface import Exemplar, LogRecord, ServiceCall
from three_pillar_demo.stack import health
from three_pillar_demo.web.__main__ import Settings
from three_pillar_demo.web.app import MAX_BODY

Open = Callable[..., TestClient]
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}\x1b[31m\u202egnp.exe\u2066'\"&"
)
MEGABYTE = 2**20


def test_a_busy_house(busy: Told, page: TestClient) -> None:
    """The page has both services' figures, dots that lead to their request, the call with its failures, and the lines."""
    text = page.get("/?tour=0").text
    assert busy.asked
    assert text.count("4.0/s") >= 2
    assert "12.5 %" in text
    assert f'href="/trace/{TRACE}"' in text
    assert "10.0 % failed" in text
    assert "order not placed: payment: no answer within 2 s" in text
    assert re.search(r'class="dot bad"[^>]*id="dot-' + TRACE + "-checkout", text)
    assert re.search(r'class="dot"[^>]*id="dot-' + TRACE + "-payment", text)
    assert "newest trace <b>1.2 s ago" in text
    assert "newest line <b>none yet" in text
    assert "database <b>3.0 MiB" in text


def test_one_request(busy: Told, page: TestClient) -> None:
    """A request has its sentence, every span and line, its late payment, its exemplars, and its own dot on the chart."""
    busy.spans = [
        each
        if each.parent_id
        else span(ROOT, "", took=2004, error=True, attributes={"http.route": "/checkout"})
        for each in busy.spans
    ]
    busy.exemplars = [
        Exemplar(TRACE, each.value, 1_767_225_602.0, each.labels) for each in busy.exemplars
    ]
    text = unescape(page.get(f"/trace/{TRACE}").text)
    assert (
        "because its call to payment failed: ReadTimeout: no answer within 2 s; payment answered 200"
        in text
    )
    assert text.count('class="row span') == 4
    assert text.count('class="row line') == 3
    assert "went on for 1.0 s after its caller had given up" in text
    assert "in the bucket up to 2.5 s" in text
    assert 'class="dot bad mine"' in text
    assert 'class="key bucket">bucket</span> <b>1 s to 2.5 s' in text
    (place,) = re.findall(
        r'<rect class="bucket" width="100%" y="([\d.]+)%" height="([\d.]+)%"/><line class="moment"',
        text,
    )
    assert [round(float(each)) for each in place] == [17, 50]  # from 1 to 2.5 s on an axis of 3
    assert "order.amount" in text


def test_an_empty_house(page: TestClient) -> None:
    """Where nothing was told the page says so in each place, and draws no zero."""
    text = page.get("/").text
    assert text.count("Nothing in this time") == 4
    assert "<polyline" not in text
    for said in (
        "Nobody called anybody",
        "Nobody has bought on this page yet",
        "No line like that in this time",
        "1 of 5",
    ):
        assert said in text


@pytest.mark.parametrize("mood", [FAILING, STRANGE])
@pytest.mark.parametrize("question", QUESTIONS)
def test_one_question_fails(told: Told, page: TestClient, question: str, mood: str) -> None:
    """Whatever one backend does not answer, the page comes, with the rest of it, and no markup of the backend's error."""
    told.moods[question] = mood
    for path in ("/", f"/trace/{TRACE}"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert "<b>the store</b>" not in answer.text
    if question in {"red", "service_graph", "logs", "freshness"}:
        assert "is not there" in page.get("/").text or mood == STRANGE


@pytest.mark.parametrize("question", QUESTIONS)
def test_one_question_hangs(told: Told, open_page: Open, question: str) -> None:
    """A backend that does not answer in time is shown as such, and holds up nothing else."""
    told.moods[question] = HANGING
    page = open_page(patience=0.01, timeout=0.02)
    for path in ("/", f"/trace/{TRACE}"):
        assert page.get(path).status_code == 200


def test_everything_fails_and_comes_back(told: Told, page: TestClient) -> None:
    """With every question failing there is a page that says so; when they answer again, it shows that by itself."""
    told.moods = dict.fromkeys(QUESTIONS, FAILING)
    assert page.get("/").text.count("is not there") >= 4
    told.moods = {}
    deadline = time.monotonic() + 30
    while "is not there" in page.get("/").text:
        assert time.monotonic() < deadline


def test_a_component_that_is_down_is_named(
    busy: Told, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strip says who is down, in words too, and everything else is shown."""
    page = open_page()
    monkeypatch.setattr(
        health, "addresses", lambda _mode: {"payment": "http://127.0.0.1:9/healthz"}
    )
    text = page.get("/").text
    assert busy.asked
    assert "payment is down: " in text
    assert "12.5 %" in text


def test_names_that_are_looked_up_for_long_hold_up_nobody(page: TestClient) -> None:
    """With forty threads of the page busy, as with names of peers that a resolver is silent about, the next one still runs."""
    end = threading.Event()

    async def crowd() -> None:
        looked_up = [asyncio.ensure_future(asyncio.to_thread(end.wait, 60)) for _ in range(40)]
        try:
            await asyncio.wait_for(asyncio.to_thread(int), 30)
        finally:
            end.set()
            await asyncio.gather(*looked_up)

    assert page.portal
    page.portal.call(crowd)


def test_queues_are_shown_by_backend(told: Told, page: TestClient) -> None:
    """What waits in the Collector is told for each of its exporters."""
    told.queues = {("otlp_http/loki",): 17.0, ("otlp_http/tempo",): 0.0}
    text = page.get("/").text
    assert "loki <b>17</b>" in text
    assert "tempo <b>0</b>" in text


def hostile(text: str) -> Told:
    """A house where everything that can be text says ``text``."""
    said = Told()
    said.spans = [
        span(
            ROOT,
            "",
            service=text,
            name=text,
            kind=text,
            message=text,
            exceptions=(text,),
            attributes={text: text, "http.route": text},
        )
    ]
    said.trace_lines = [line(ROOT, text, service=text, severity=text, key=text)]
    said.lines = [LogRecord(time.time_ns(), text, text, text, {"trace_id": text, "span_id": text})]
    labels = dict.fromkeys(("http_request_method", "http_response_status_code", "le"), text)
    said.exemplars = [
        Exemplar(trace_id, 0.1, at, {**labels, "service_name": service, "http_route": route})
        for trace_id, service, route, at in (
            (text, "checkout", "/checkout", time.time() - 9),
            (TRACE, text, text, 1_767_225_600.5),
        )
    ]
    said.edges = [ServiceCall(text, text, 3, 1)]
    said.queues = {(text,): 1.0}
    return said


@pytest.mark.parametrize(
    "text",
    [HOSTILE, HOSTILE * (MEGABYTE // len(HOSTILE)), "\x00" * 1000, "x" * MEGABYTE],
    ids=range(4),
)
def test_whatever_is_told_is_text(told: Told, page: TestClient, text: str) -> None:
    """Markup, templates, ANSI, bidi controls and a megabyte are shown as cut, harmless text, wherever they come from."""
    told.__dict__.update(hostile(text).__dict__)
    for path in ("/", f"/trace/{TRACE}"):
        shown = page.get(path).text
        assert "<script>alert" not in shown
        assert "<img" not in shown
        assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(.{2})", shown)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", shown)
        assert len(shown) < 200_000


def test_a_huge_answer_has_a_bounded_page(told: Told, page: TestClient) -> None:
    """Thousands of exemplars and fifty of the longest lines make a page of bounded size."""
    now = time.time()
    labels = {
        "service_name": "checkout",
        "http_route": "/checkout",
        "http_response_status_code": "500",
    }
    told.exemplars = [
        Exemplar(f"{number:032x}", 0.1, now - number / 100, labels) for number in range(30_000)
    ]
    told.lines = [
        LogRecord(time.time_ns() + number, "checkout", "ERROR", "y" * MEGABYTE, {})
        for number in range(50)
    ]
    assert len(page.get("/").text) < 200_000


def test_a_huge_request_is_drawn_in_part(told: Told, page: TestClient) -> None:
    """Of ten thousand spans and as many lines the first thousand are drawn, and the page says so."""
    told.spans = [
        span(f"{number:016x}", "" if not number else f"{number // 50:016x}")
        for number in range(1, 10_000)
    ]
    told.trace_lines = [line(f"{number:016x}", "said") for number in range(1, 10_001)]
    shown = page.get(f"/trace/{TRACE}").text
    assert shown.count('<div class="row ') == 1_001  # and the head
    assert "The first 1,000 of its 19,999 spans and lines are drawn." in shown


def test_a_page_that_stands_still_does_so_when_it_is_filtered(page: TestClient) -> None:
    """The form of the filter keeps what the address says, standing still included."""
    assert (
        '<input type="hidden" name="still" value="1">' in page.get("/", params={"still": "1"}).text
    )
    assert 'name="still"' not in page.get("/").text


def test_the_filter_is_asked_as_it_is_shown(told: Told, page: TestClient) -> None:
    """Service, level and text of the address are the question's, and stand in the form."""
    shown = unescape(
        page.get("/", params={"service": "payment", "severity": "WARN", "text": 'a"b<c'}).text
    )
    assert told.wanted["service"] == "payment"
    assert told.wanted["severity"] == "WARN"
    assert told.wanted["text"] == 'a"b<c'
    assert 'value="a"b<c"' in shown
    assert "<option selected>payment" in shown


def bought(page: TestClient, **said: str) -> httpx2.Response:
    """What the till answers."""
    return page.post("/buy?minutes=15", data=said)


def rows(page: TestClient, done: Callable[[str], object]) -> str:
    """The page, once its rows are as wanted."""
    deadline = time.monotonic() + 30
    while not done(text := page.get("/?tour=0").text):
        assert time.monotonic() < deadline, text
    return text


def test_a_purchase_is_a_row_and_becomes_a_link(told: Told, page: TestClient) -> None:
    """Buying leads back to where one was; the row has its outcome at once, and its link when the trace can be read."""
    answer = bought(page, card="gateway-timeout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?minutes=15")
    text = rows(page, lambda text: '<td class="bad">gateway_timeout' in text)
    assert f'<td class="id">{TRACE[:8]}</td>' in text
    told.found = [TRACE]
    rows(page, lambda text: f'<td class="id"><a href="/trace/{TRACE}"' in text)
    assert "gateway_timeout" in page.get("/?failed=1").text


def test_a_failed_one_is_found_among_many(page: TestClient) -> None:
    """Only those that failed are shown when that is asked for."""
    bought(page, card="ordinary", count="10")
    bought(page, card="gateway-timeout")
    rows(page, lambda text: "gateway_timeout" in text and text.count("<td>success") == 10)
    assert page.get("/?failed=1").text.count("<td>success") == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/buy", {"card": "stolen"}),
        ("/buy", {}),
        ("/buy", {"card": "ordinary", "count": "11"}),
        ("/buy", {"card": "ordinary", "count": "many"}),
        ("/stream", {"rate": "51"}),
        ("/stream", {"rate": "-1"}),
        ("/stream", {"rate": "nan"}),
        ("/stream", {"rate": ""}),
    ],
)
def test_what_cannot_be_bought_is_refused(
    page: TestClient, path: str, said: dict[str, str]
) -> None:
    """A card that there is not, too many, or a rate out of bounds is refused with the reason, and nothing happens."""
    answer = page.post(path, data=said)
    assert answer.status_code == 422
    assert "Nobody has bought" in page.get("/").text


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"x" * (MAX_BODY + 1), 413), (b"card=\xff", 422), (b"&".join([b"a=1"] * 20), 422)],
)
def test_a_form_is_small(page: TestClient, body: bytes, status: int) -> None:
    """A body that no form of the page has is refused."""
    assert page.post("/buy", content=body).status_code == status


def test_a_stream_runs_until_it_is_stopped(page: TestClient) -> None:
    """Customers come at a rate, which is shown, until that is 0."""
    assert page.post("/stream", data={"rate": "50"}).status_code == 303
    rows(page, lambda text: "50 a second, " in text and text.count("<tr id=") > 5)
    page.post("/stream", data={"rate": "0"})
    assert "a second, " not in page.get("/").text


@pytest.mark.parametrize(
    "path",
    ["/trace/zz", "/trace/" + "0" * 32, "/trace/" + "A" * 32, "/nowhere", "/docs", "/openapi.json"],
)
def test_what_is_not_there(page: TestClient, path: str) -> None:
    """An address of nothing is a page that says so."""
    answer = page.get(path)
    assert (answer.status_code, "<h1>Not here</h1>" in answer.text) == (404, True)


def test_a_bad_address_says_what_is_allowed(page: TestClient) -> None:
    """A state that there is not is refused in words, without repeating it."""
    answer = page.get("/?minutes=<b>7")
    assert answer.status_code == 422
    assert "minutes is how far back: 5, 15 or 60" in answer.text


def test_a_trace_that_is_not_there_yet(page: TestClient) -> None:
    """A request that nobody has told of is waited for."""
    assert "Not here yet" in page.get(f"/trace/{TRACE}").text


@pytest.mark.parametrize(
    ("ago", "said"), [(1, "Not here yet: "), (100, "Not here after half a minute: ")]
)
def test_what_is_missing_is_waited_for_only_so_long(
    told: Told, page: TestClient, ago: float, said: str
) -> None:
    """The other end of a call may still come for half a minute; afterwards nobody is told to wait for it."""
    start = time.time_ns() - int(ago * 1e9)
    call = span(CALL, ROOT, "CLIENT", attributes={"http.response.status_code": "200"})
    told.spans = [replace(each, start=start, end=start + 1000) for each in (span(ROOT, ""), call)]
    assert said in page.get(f"/trace/{TRACE}").text


def test_the_tour_is_for_the_first_visit(page: TestClient) -> None:
    """Whoever ends the tour is not shown it again, unless they ask."""
    assert "1 of 5" in page.get("/").text
    assert "of 5" not in page.get("/?tour=0").text
    assert "of 5" not in page.get("/").text
    assert "3 of 5" in page.get("/?tour=3").text


def test_the_tour_leads_from_the_dot_to_the_sentence(busy: Told, page: TestClient) -> None:
    """Step 3 has the red dot as a link into step 4, which leads to 5 and out."""
    assert busy.exemplars
    assert f'href="/trace/{TRACE}?tour=4"' in page.get("/?tour=3").text
    assert 'href="?tour=5"' in page.get(f"/trace/{TRACE}?tour=4").text
    assert 'href="/?tour=0"' in page.get(f"/trace/{TRACE}?tour=5").text


def test_into_grafana_only_where_it_runs(
    busy: Told, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links into Grafana are there when it answers, with the request's id, and not otherwise."""
    busy.spans = [span(ROOT, "", attributes={"http.route": "/checkout"})]
    page = open_page()
    assert "In Grafana" not in page.get(f"/trace/{TRACE}").text

    async def up(*_: object) -> dict[str, str]:
        return {"grafana": ""}

    monkeypatch.setattr(health, "problems", up)
    text = unescape(open_page().get(f"/trace/{TRACE}").text)
    assert text.count("http://127.0.0.1:3000/explore?") == 2
    assert "http://127.0.0.1:3000/d/checkout?" in text


def test_reading_off_is_json(busy: Told, page: TestClient) -> None:
    """What a chart's read-out is made of comes through the markup unharmed."""
    assert busy.reds
    found = re.findall(r'data-read="([^"]*)"', page.get("/").text)
    assert len(found) == 4
    assert all("checkout 4.0/s  payment 4.0/s" in each for each in json.loads(unescape(found[0])))


def test_who_is_waited_for_is_no_failure(told: Told, open_page: Open) -> None:
    """An answer that is only late is told without the colour of failure."""
    told.moods = dict.fromkeys(QUESTIONS, HANGING)
    text = open_page(patience=0.01, timeout=30.0).get("/").text
    assert text.count("no answer yet") >= 7
    assert re.search(r'class="mode">local</b>\s*<span>no answer yet</span>', text)
    assert "Nobody called anybody" not in text
    assert '<p class="problem">' not in text


def test_what_is_not_known_is_not_nobody(told: Told, open_page: Open) -> None:
    """Where no call arrived and the rates are awaited still, nobody is said to have called."""
    told.moods = {"red": HANGING}
    text = open_page(patience=0.01, timeout=30.0).get("/").text
    assert "No answer" in text
    assert "Nobody called anybody" not in text


def test_blank_settings_are_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces are no setting, and no name to be asked by; further names are, between commas."""
    for name in ("PORT", "BIND", "HOSTS", "GRAFANA_URL"):
        monkeypatch.setenv(f"WEB_{name}", "  ")
    names = Settings().names()
    assert names == {HOST, "localhost:8080", "[::1]:8080"}
    monkeypatch.setenv("WEB_HOSTS", "Page.test:8080, ,other.test")
    assert Settings().names() == names | {"page.test:8080", "other.test"}
