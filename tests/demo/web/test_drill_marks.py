"""Tests for the marks where drills began and ended: in charts, lists and comparisons."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import unescape

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.drills import session
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.peers import Fact
from three_pillar_demo.stack import state
from three_pillar_demo.web import formatting
from three_pillar_demo.web.chart import Plot
from three_pillar_demo.web.drill_marks import (
    DrillMark,
    drill_marks,
    figures_start,
    marks_on,
    with_marks,
)

END = 1_767_225_600.0
"""The end of the chart on which marks are placed, in seconds since the epoch."""


@dataclass
class Item:
    """An item of a list that has only a time."""

    time: float


def play(*ago: session.Times) -> float:
    """Save the session of a drill after earlier ones, and return the present time.

    ``ago`` has how many seconds ago each drill began and ended, the last one's at the end.
    """
    now = time.time()
    times = [(now - started, None if ended is None else now - ended) for started, ended in ago]
    *earlier, (started_at, ended_at) = times
    runner = state.current_process()
    saved = session.DrillSession("waiting-customers", runner, started_at)
    saved.earlier_times = list(earlier)
    if ended_at:
        saved.outcome = "stopped"
        saved.ended_at = ended_at
        saved.restored_at = ended_at
    session.save(saved)
    return now


def marks(*starts_and_ends: float) -> list[DrillMark]:
    """Return marks, the newest first, the oldest of which is a beginning, and so on in turn."""
    ordered = sorted(starts_and_ends)
    return [DrillMark(ordered[number], number % 2 == 0) for number in range(len(ordered))][::-1]


def shown(rows: Sequence[float], all_marks: list[DrillMark], before: float = 0.0) -> list[float]:
    """Return the times of what a list shows, marks as negative numbers."""
    items = [Item(row) for row in rows]
    pairs = with_marks(items, all_marks, before)
    return [row.time if row else -(mark.time if mark else 0.0) for row, mark in pairs]


def test_the_times_of_drills_are_kept() -> None:
    """Each drill that begins keeps the times of those before it, also without a known end."""
    runner = state.current_process()
    with session.lock():
        session.begin("waiting-customers", runner, blind=False)
    first = session.latest()
    assert first
    session.end("stopped")
    assert session.times() == [(first.started_at, None)], "its last requests still run"
    session.restored(runner)
    with session.lock():
        session.begin("lost-sales", runner, blind=True)
        session.begin("no-sales", runner, blind=True)
    (first_start, first_end), (second_start, second_end), (_, third_end) = session.times()
    assert first_end
    assert first_start == first.started_at <= first_end <= second_start
    assert (second_end, third_end) == (None, None)
    assert session.played() == ["waiting-customers", "lost-sales", "no-sales"]


def test_a_drill_whose_process_was_killed_has_an_end() -> None:
    """A drill that nothing restores any more ended when the search for its cause did."""
    gone = state.Process(2**22 + 1, 0.0)
    session.save(session.DrillSession("lost-sales", gone, 5.0, ended_at=9.0, outcome="solved"))
    assert session.times() == [(5.0, 9.0)]
    session.restored(state.current_process())
    assert session.times() == [(5.0, 9.0)], "another process says nothing of it"


def test_a_session_without_times_is_read() -> None:
    """The session file of an earlier version, which has no times of earlier drills, is valid."""
    now = play((10, None))
    text = session.SESSION_FILE.read_text()
    fields = r',\s*"(earlier_times|restored_at)": (\[\]|null)'
    session.SESSION_FILE.write_text(re.sub(fields, "", text))
    assert "restored_at" not in session.SESSION_FILE.read_text()
    assert "earlier_times" not in session.SESSION_FILE.read_text()
    assert session.times() == [(now - 10, None)]


@pytest.mark.parametrize(("mode", "count"), [("local", 3), ("full", 3), ("view", 0)])
def test_drills_have_marks_where_they_can_run(mode: str, count: int) -> None:
    """Beginnings and ends are marks, the newest first, but not where no drill can run."""
    now = play((90, 50), (20, None))
    found = drill_marks(mode)
    assert [mark.time for mark in found] == [now - 20, now - 50, now - 90][:count]
    assert [mark.is_start for mark in found] == [True, False, True][:count]


def test_a_mark_is_above_the_first_older_row() -> None:
    """Each mark is between the rows before and after it, also above all rows, never below them."""
    assert shown([9, 7, 5], marks(6, 8)) == [9, -8, 7, -6, 5]
    assert shown([5, 4], marks(6, 7, 8)) == [-8, -7, -6, 5, 4]
    assert shown([5, 4], marks(3)) == [5, 4]
    assert shown([], marks(3)) == []


def test_a_mark_is_on_one_page_of_a_list() -> None:
    """A list of older rows leaves out the marks that the list of newer rows has."""
    assert shown([5, 4], marks(6, 8), before=7) == [-6, 5, 4]


def test_marks_are_placed_on_the_time_axis() -> None:
    """Marks in the range of a chart are at their time, each with its word."""
    plot = Plot(END - 300, END, 1.0)
    placed = marks_on(marks(END - 400, END - 150, END - 140, END - 15), plot)
    assert [round(one.x) for one in placed] == [950, 533, 500]
    assert [one.mark.label for one in placed] == ["end", "drill", "end"]


@pytest.mark.parametrize(
    ("positions", "labels"),
    [
        ([500, 533], [(533, 653), (380, 500)]),
        ([820, 950], [(830, 950), (700, 820)]),
        ([500, 600, 800], [(800, 920), (600, 720), (380, 500)]),
        ([500, 510, 520], [(520, 640), (390, 510)]),
        ([20, 40], [(40, 160)]),
    ],
)
def test_no_label_of_a_mark_covers_another(
    positions: list[int], labels: list[tuple[int, int]]
) -> None:
    """Labels of an end and of the next beginning are on two sides; one without room is out."""
    # Positions, and the start and end of each label, are in thousandths of the chart's width.
    times = [END - 1000 + position for position in positions]
    placed = marks_on(marks(*times), Plot(END - 1000, END, 1.0))
    assert len(placed) == len(positions)
    starts = [one.x if one.anchor == "start" else one.x - 120 for one in placed if one.has_label]
    assert [(round(start), round(start + 120)) for start in starts] == labels


def make_recent(stored: StoredData) -> None:
    """Let the request of ``stored`` be half a minute old, of a route that has a chart."""
    start = time.time_ns() - 30 * NANO
    route = {"http.route": "/checkout"}
    stored.spans = [
        replace(one, start=start, end=start + NANO, attributes=route) for one in stored.spans
    ]


@pytest.mark.parametrize("path", ["/?tour=0", "/service?service=checkout", f"/trace/{TRACE}"])
def test_every_chart_has_the_marks(busy: StoredData, page: TestClient, path: str) -> None:
    """A chart of which a drill's beginning is a part has a line there, with a label and a time."""
    make_recent(busy)
    without = page.get(path).text
    charts = without.count('<figure class="card chart')
    assert charts
    assert 'class="drill-line"' not in without
    now = play((60, None))
    text = page.get(path).text
    assert text.count('class="drill-line"') == charts
    assert text.count(f"<title>A drill began at {formatting.clock(now - 60)}</title>") == charts
    assert len(re.findall(r">drill</text>", text)) == charts


def test_the_newest_mark_of_a_chart_is_drawn_last(busy: StoredData, page: TestClient) -> None:
    """The line of an older mark does not cross the label of a newer one."""
    assert busy.services
    now = play((90, 65), (60, None))
    chart = page.get("/?tour=0").text.split('<figure class="card chart')[1]
    titles = re.findall(r'<g class="drill-line">\s*<title>(.*?)</title>', chart)
    assert titles == [
        f"A drill began at {formatting.clock(now - 90)}",
        f"The drill ended at {formatting.clock(now - 65)}",
        f"A drill began at {formatting.clock(now - 60)}",
    ]


def list_of(page: TestClient, path: str, rows: str) -> str:
    """Return the visible text of the list with the id ``rows``."""
    html = page.get(path).text.split(f'id="{rows}"')[1]
    html = re.split("</tbody>|</ol>", html)[0]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.mark.parametrize("path", ["/?tour=0", "/service?service=checkout"])
def test_requests_of_before_a_drill_are_separate(
    stored: StoredData, page: TestClient, path: str
) -> None:
    """A row says when the drill began, between the requests before and after it."""
    now = play((20, None))
    times = (now - 5, now - 50)
    stored.request_spans = [
        replace(span(ROOT, "", name=f"request {number}"), start=int(at * NANO), end=int(at * NANO))
        for number, at in enumerate(times)
    ]
    text = list_of(page, path, "request-rows")
    began = f"A drill began at {formatting.clock(now - 20)}"
    assert re.search(f"request 0 .*{began} .*request 1", text)


@pytest.mark.parametrize("path", ["/?tour=0", "/logs", "/service?service=checkout"])
def test_log_records_of_before_a_drill_are_separate(
    stored: StoredData, page: TestClient, path: str
) -> None:
    """Two rows say when the last drill ended and the next one began."""
    now = play((100, 60), (20, None))
    stored.logs = [
        replace(line(ROOT, f"record {number}"), time=int(at * NANO))
        for number, at in enumerate((now - 5, now - 50, now - 90))
    ]
    text = list_of(page, path, "log-rows")
    began = f"A drill began at {formatting.clock(now - 20)}"
    ended = f"The drill ended at {formatting.clock(now - 60)}"
    assert re.search(f"record 0 .*{began} .*record 1 .*{ended} .*record 2", text)


@pytest.mark.parametrize("path", ["/?tour=0", "/services", "/service?service=checkout"])
def test_figures_begin_with_the_drill(busy: StoredData, page: TestClient, path: str) -> None:
    """The figures of services and routes leave out what was before the drill, and say so."""
    now = play((60, None))
    text = page.get(path).text
    assert f"since the drill began at {formatting.clock(now - 60)}" in text
    assert "in the last 5 minutes" not in text
    queries = {"services", "routes"} if "checkout" in path else {"services"}
    assert {query for query, start in busy.figure_starts if start == now - 60} == queries


@pytest.mark.parametrize("path", ["/?tour=0", "/services", "/service?service=checkout"])
def test_figures_of_long_after_a_drill_are_of_all_minutes(
    busy: StoredData, page: TestClient, path: str
) -> None:
    """The figures are those of the last minutes if no drill began in them."""
    now = play((400, 350))
    text = page.get(path).text
    assert "since the drill began" not in text
    assert "in the last 5 minutes" in text
    assert all(start >= now - 300 for _, start in busy.figure_starts)
    assert len({query for query, _ in busy.figure_starts}) == len(busy.figure_starts)


def test_a_service_that_was_seen_before_the_drill_stays_in_the_list(
    busy: StoredData, page: TestClient
) -> None:
    """A service without requests since the drill began is listed without those of before."""
    now = play((60, None))
    busy.services = [replace(busy.services[0], name="stock", end=now - 90)]
    assert "stock no requests" in list_of(page, "/services", "service-list")


@pytest.mark.parametrize(("began_ago", "expected_ago"), [(None, 300), (400, 300), (60, 60), (1, 5)])
def test_figures_cover_some_seconds(began_ago: float | None, expected_ago: float) -> None:
    """Figures begin with the newest drill in their time range, and cover at least five seconds."""
    all_marks = [] if began_ago is None else marks(END - began_ago)
    assert figures_start(all_marks, END, 300) == END - expected_ago


def test_a_file_of_one_request_has_no_marks(busy: StoredData, page: TestClient) -> None:
    """What leaves this machine does not say when drills were played here."""
    make_recent(busy)
    play((60, None))
    html = page.get(f"/trace/{TRACE}/request.html").text
    assert '<figure class="card chart' in html
    assert 'class="drill-line"' not in html


@pytest.mark.parametrize(
    ("ago", "breaks"),
    [
        ([(60, None)], [60]),
        ([(90, 70), (10, None)], [70, 10]),
        ([(4000, 3000)], []),
    ],
)
def test_a_comparison_does_not_leave_the_drill(
    stored: StoredData, page: TestClient, ago: list[session.Times], breaks: list[float]
) -> None:
    """What is unusual is looked for within the drill, or between drills, and the page says so."""
    now = play(*ago)
    visa = Fact("checkout", "card.network", "visa")
    start = int((now - 30) * NANO)
    failed = span(ROOT, "", error=True, attributes={"card.network": "visa"})
    stored.spans = [replace(failed, start=start, end=start + NANO)]
    stored.peers = {True: [frozenset([visa])] * 8, False: [frozenset()] * 40}
    moments = " and ".join(formatting.clock(now - seconds) for seconds in breaks)
    said = f", but not beyond {moments}, when a drill began or ended:" if breaks else ":"
    text = " ".join(unescape(page.get(f"/trace/{TRACE}").text).split())
    assert f"within 15 minutes of this one{said}" in text
