"""The dashboards' JSON is what grafana/build.py writes, and every panel says what it shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import FOLDER, files

BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
SOURCES = {
    each["uid"]
    for each in yaml.safe_load(
        Path("grafana/provisioning/datasources/datasources.yaml").read_text()
    )["datasources"]
}
WORDS = {"logs", "traces", "nodeGraph"}
"""Panels without numbers of their own."""


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel that is not a row's heading."""
    for name, board in BOARDS.items():
        for panel in board["panels"]:
            if panel["type"] != "row":
                yield name, panel


each_panel = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{name}: {panel['title']}") for name, panel in panels()]
)


def test_the_json_is_what_the_code_writes() -> None:
    """Whoever changes the code runs ``make dashboards``, and nobody edits the JSON."""
    assert {path: path.read_text() for path in sorted(FOLDER.glob("*.json"))} == dict(files())


def test_there_are_four() -> None:
    """They have the addresses that links, alerts and documents use."""
    assert (
        {board["uid"] for board in BOARDS.values()}
        == {"checkout", "one-request", "pipeline", "slo"}
        == BOARDS.keys()
    )


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_is_there_twice(name: str) -> None:
    """Ids are unique, no panel covers another, and none is wider than the page."""
    found = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


@each_panel
def test_it_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A title that fits, and one sentence for who does not know the panel."""
    assert panel["title"]
    assert len(panel["title"]) <= panel["gridPos"]["w"] * 5 - 9
    assert re.fullmatch(r"[A-Z].{15,120}\.", panel["description"])


@each_panel
def test_its_numbers_have_a_unit_and_limits(panel: dict[str, Any]) -> None:
    """Seconds, bytes or shares are told apart, and colours have a meaning."""
    if panel["type"] not in WORDS:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert panel["type"] in {"heatmap", "table"} or defaults["thresholds"]["steps"]


@each_panel
def test_it_asks_data_sources_by_their_fixed_uids(panel: dict[str, Any]) -> None:
    """Every question names one of the provisioned data sources and has a name of its own."""
    assert panel["targets"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} <= SOURCES
    names = [target["refId"] for target in panel["targets"]]
    assert len(set(names)) == len(names)


@each_panel
def test_what_has_not_happened_is_zero(panel: dict[str, Any]) -> None:
    """A big number never says "No data": without events it is 0."""
    if panel["type"] == "stat":
        assert panel["fieldConfig"]["defaults"]["noValue"] == "0"


def test_links_between_dashboards_lead_somewhere() -> None:
    """An address in a dashboard, a data source or an alert names a dashboard that there is."""
    texts = [path.read_text() for path in FOLDER.glob("*.json")]
    texts += [
        Path(name).read_text()
        for name in ("grafana/provisioning/datasources/datasources.yaml", "grafana/grafana.ini")
    ]
    texts += [path.read_text() for path in (Path("config/alerts.yml"),) if path.exists()]
    named = set(re.findall(r"/d/([a-z-]+)", "\n".join(texts)))
    assert named
    assert named <= BOARDS.keys()
