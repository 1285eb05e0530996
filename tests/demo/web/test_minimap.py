"""Tests for the small picture of all rows of a large trace."""

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import ROOT, TRACE, line, span
from three_pillar_demo.trace_view.view import TraceView
from three_pillar_demo.web.minimap import MAX_BANDS, MIN_ROWS
from three_pillar_demo.web.trace_page import TracePage, trace_page
from three_pillar_demo.web.waterfall_row import Limits


def page_of(count: int, failed: set[int] | None = None) -> TracePage:
    """Return the page of a trace of ``count`` spans, of which some have failed."""
    spans = [
        span(
            f"{number:016x}",
            f"{0:016x}" if number else "",
            at=number,
            took=count,
            service=f"s{number % 3}",
            error=number in (failed or set()),
        )
        for number in range(count)
    ]
    return trace_page(TraceView(TRACE, spans, [], []), [], Limits(rows=20_000))


def lines_of(page: TracePage) -> dict[str, list[str]]:
    """Return the lines of the minimap by the CSS class that draws them."""
    assert page.minimap
    return {name: re.findall(r"M[^M]*", data) for name, data in page.minimap.paths}


@pytest.mark.parametrize(("count", "is_there"), [(MIN_ROWS - 1, False), (MIN_ROWS, True)])
def test_only_a_large_trace_has_a_minimap(count: int, *, is_there: bool) -> None:
    """A trace that one screen shows needs no minimap."""
    assert bool(page_of(count).minimap) == is_there


def test_each_row_is_a_line_at_its_place() -> None:
    """There is one line for each row, from top to bottom, in the colour of its service."""
    page = page_of(60)
    lines = lines_of(page)
    assert sum(len(of_class) for of_class in lines.values()) == 60
    assert set(lines) == {row.css_class for row in page.rows}
    first = page.rows[0]
    assert lines[first.css_class][0] == f"M0 0.5h{first.bar[1] if first.bar else 0:.0f}"
    last = page.rows[-1]
    assert lines[last.css_class][-1].split()[1].startswith("59.5h")


def test_a_short_span_can_be_seen() -> None:
    """A span of no duration is as wide as a log record; a longer one is as wide as its bar."""
    children = [span(f"{number:016x}", ROOT, "INTERNAL", took=0, at=500) for number in range(1, 50)]
    lines = lines_of(
        trace_page(TraceView(TRACE, [span(ROOT, "", took=1000), *children], [], []), [])
    )
    texts = [text for of_class in lines.values() for text in of_class]
    assert "M0 0.5h1000" in texts
    assert sum(text.startswith("M500 ") and text.endswith("h4") for text in texts) == 49


def test_failures_are_drawn_above_the_others() -> None:
    """The lines of failed rows are red, and come last, so that nothing hides them."""
    page = page_of(60, {0, 31})
    lines = lines_of(page)
    assert list(lines)[-1] == "bad"
    assert [line.split()[1].partition("h")[0] for line in lines["bad"]] == ["0.5", "31.5"]


@pytest.mark.parametrize("count", [MIN_ROWS, 41, 3000])
def test_bands_cover_all_rows(count: int) -> None:
    """The links cover all rows, each once, and there are few of them."""
    page = page_of(count)
    assert page.minimap
    bands = page.minimap.bands
    assert len(bands) <= MAX_BANDS
    assert sum(band.count for band in bands) == count
    assert [band.first for band in bands[1:]] == [band.first + band.count for band in bands[:-1]]
    assert [band.key for band in bands] == [page.rows[band.first].key for band in bands]


def test_a_band_with_a_failure_leads_to_it() -> None:
    """The link of a part leads to its first failed row, and says how many there are."""
    page = page_of(100, {7, 8})
    assert page.minimap
    band = page.minimap.bands[1]
    assert (band.label, band.key) == ("Rows 6 to 10, 2 failed", page.rows[7].key)
    assert page.minimap.bands[2].label == "Rows 11 to 15"


def test_log_records_are_in_the_minimap() -> None:
    """A log record has a short line, also if there are no spans."""
    view = TraceView(TRACE, [], [line(ROOT, str(number), at=number) for number in range(50)], [])
    lines = lines_of(trace_page(view, []))
    assert sum(len(of_class) for of_class in lines.values()) == 50
    texts = [text for of_class in lines.values() for text in of_class]
    assert all(text.endswith("h4") for text in texts)
    positions = [int(re.findall(r"M(\d+) ", text)[0]) for text in texts]
    assert positions == sorted(positions)
    assert positions[0] == 0
    assert positions[25] == pytest.approx(1000 * 25 / 49, abs=1)


@pytest.mark.parametrize("path", ["", "/request.html"])
def test_the_page_and_the_file_have_it(stored: StoredData, page: TestClient, path: str) -> None:
    """Each link of the minimap leads to a row of its page; in a file Tab reaches all of them."""
    children = [span(f"{number:016x}", ROOT, "INTERNAL", at=number) for number in range(99)]
    stored.spans = [span(ROOT, ""), *(replace(child, error=True) for child in children)]
    text = page.get(f"/trace/{TRACE}{path}").text
    keys = re.findall(r'<a class="band" href="#([^"]*)"', text)
    assert len(keys) == MAX_BANDS
    assert all(f'id="{key}"' in text for key in keys)
    areas = re.findall(r'<rect width="1000" y="(\d+)" height="(\d+)"/>', text)
    assert [int(y) for y, _ in areas] == [5 * number for number in range(MAX_BANDS)]
    assert {height for _, height in areas} == {"5"}
    in_tab_order = MAX_BANDS if path else 1
    assert len(re.findall(r'<a class="band" href="[^"]*">', text)) == in_tab_order
