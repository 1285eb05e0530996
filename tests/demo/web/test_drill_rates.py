"""Tests that rates are those of a drill from its beginning, and not of the idle time before."""

import re
import time

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from three_pillar_demo.drills import session
from three_pillar_demo.query.interface import RedSample
from three_pillar_demo.query.service_figures import ServiceRed
from three_pillar_demo.stack import state
from three_pillar_demo.web.drill_marks import DrillMark
from three_pillar_demo.web.drill_rates import since_drills

START = 1000.0
"""When the drill began, in seconds since the epoch."""
WINDOW_S = 30.0
MARKS = [DrillMark(START, is_start=True)]


def red(*rates: float | None, covered_s: float | None = None) -> ServiceRed:
    """Return the rates of a service every ten seconds, of which the second is at ``START``."""
    samples = [
        RedSample(START + 10 * (number - 1), rate, 0.5, (0.1,), covered_s)
        for number, rate in enumerate(rates)
    ]
    return ServiceRed("http.server.request.duration", WINDOW_S, tuple(samples))


def rates(result: ServiceRed) -> list[float | None]:
    """Return the rates of a result."""
    return [sample.rate for sample in result.samples]


def test_steady_traffic_of_a_drill_is_steady() -> None:
    """After an idle time, rates are divided by the time since the beginning of the drill."""
    result = since_drills(red(0.0, 0.0, 4.0, 8.0, 12.0, 12.0), MARKS)
    assert rates(result) == pytest.approx([0.0, 0.0, 12.0, 12.0, 12.0, 12.0])
    assert [sample.covered_s for sample in result.samples] == [None, None, 10, 20, None, None]
    assert {sample.errors for sample in result.samples} == {0.5}
    assert [sample.requests(WINDOW_S) for sample in result.samples[2:4]] == [120, 240]


def test_rates_begin_with_the_first_requests() -> None:
    """The time until a drill's first requests arrive is not counted."""
    result = since_drills(red(0.0, 0.0, 0.0, 4.0, 8.0), MARKS)
    assert rates(result) == pytest.approx([0.0, 0.0, 0.0, 12.0, 12.0])
    idle = red(0.0, 0.0, 0.0)
    assert since_drills(idle, MARKS) == idle


def test_a_service_with_requests_before_keeps_its_rates() -> None:
    """Requests before the drill are in the window, so that the whole window counts."""
    assert since_drills(red(5.0, 5.0, 7.0, 9.0), MARKS) == red(5.0, 5.0, 7.0, 9.0)


def test_rates_of_beginning_data_are_right_already() -> None:
    """What was divided by the time since the first data is not divided once more."""
    begun = red(None, None, 12.0, 12.0, covered_s=10.0)
    assert since_drills(begun, MARKS) == begun


def test_the_end_of_a_drill_changes_no_rate() -> None:
    """Only the beginning of a drill begins traffic."""
    idle = red(0.0, 0.0, 4.0)
    assert since_drills(idle, [DrillMark(START, is_start=False)]) == idle
    assert since_drills(idle, []) == idle


def play(seconds_ago: float) -> None:
    """Save the session of a drill that began some seconds ago."""
    started_at = time.time() - seconds_ago
    session.save(session.DrillSession("lost-sales", state.current_process(), started_at))


def test_the_charts_begin_with_the_drill(
    busy: StoredData, page: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate in the legend is that since the drill began if the shop was idle before."""
    now = 1_767_225_600.0
    monkeypatch.setattr(time, "time", lambda: now)
    busy.red_sample = lambda timestamp: RedSample(
        timestamp, 4.0 if timestamp > now - 10 else 0.0, 0.0, (0.2, 0.4, 2.0)
    )
    play(10)
    assert ">12.0/s</b>" in page.get("/?tour=0").text


@pytest.mark.parametrize(
    ("seconds_ago", "said"), [(12, "over 12 s"), (1, "over 5 s"), (100, "over 30 s")]
)
def test_the_service_graph_begins_with_the_drill(
    busy: StoredData,
    page: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    seconds_ago: float,
    said: str,
) -> None:
    """The graph has what came since the drill began, over five seconds at least."""
    assert busy.service_map.services
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    play(seconds_ago)
    graph = page.get("/?tour=0").text.split("<h2>Service graph</h2>")[1].split("</section>")[0]
    assert re.search(rf">\s*{said}\s*<", graph)
