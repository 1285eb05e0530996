"""The JSON of the dashboards is up to date; every panel has a description, a unit and queries."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import FOLDER, files

DASHBOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}
SOURCES = {
    source["uid"]
    for source in yaml.safe_load(
        Path("grafana/provisioning/datasources/datasources.yaml").read_text()
    )["datasources"]
}
WITHOUT_NUMBERS = {"logs", "traces", "nodeGraph"}
"""Panel types that show no numbers, and so need no unit and no thresholds."""


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dashboard name and the JSON of every panel, without the headings of rows."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield name, panel


each_panel = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{name}: {panel['title']}") for name, panel in panels()]
)


def test_the_json_is_what_the_code_writes() -> None:
    """The committed JSON equals the output of ``make dashboards``."""
    assert {path: path.read_text() for path in sorted(FOLDER.glob("*.json"))} == dict(files())


def test_the_dashboards_have_their_uids() -> None:
    """The dashboards have the uids that links, alerts and documents refer to."""
    assert (
        {dashboard["uid"] for dashboard in DASHBOARDS.values()}
        == {"checkout", "one-request", "pipeline", "slo"}
        == DASHBOARDS.keys()
    )


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap(name: str) -> None:
    """Panel ids are unique, and panels neither overlap nor exceed the width of 24 grid units."""
    panels = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    occupied_cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & occupied_cells, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        occupied_cells |= cells


@each_panel
def test_a_panel_has_title_and_description(panel: dict[str, Any]) -> None:
    """A panel has a title that fits its width, and a description of one sentence."""
    assert panel["title"]
    assert len(panel["title"]) <= panel["gridPos"]["w"] * 5 - 9
    assert re.fullmatch(r"[A-Z].{15,120}\.", panel["description"])


@each_panel
def test_numbers_have_a_unit_and_thresholds(panel: dict[str, Any]) -> None:
    """A panel with numbers has a unit, and thresholds that set its colours."""
    if panel["type"] not in WITHOUT_NUMBERS:
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert panel["type"] in {"heatmap", "table"} or defaults["thresholds"]["steps"]


@each_panel
def test_queries_name_provisioned_data_sources(panel: dict[str, Any]) -> None:
    """Each query names a provisioned data source, and has a unique name within its panel."""
    assert panel["targets"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} <= SOURCES
    names = [target["refId"] for target in panel["targets"]]
    assert len(set(names)) == len(names)


@each_panel
def test_a_number_without_events_is_zero(panel: dict[str, Any]) -> None:
    """A panel with one number shows 0 instead of "No data" if there was no event."""
    if panel["type"] == "stat":
        assert panel["fieldConfig"]["defaults"]["noValue"] == "0"


@each_panel
def test_figures_of_traces_are_of_the_stored_ones(panel: dict[str, Any]) -> None:
    """A panel whose figures come from traces says that they are those of the stored traces."""
    targets = json.dumps(panel["targets"])
    if "traces_spanmetrics_" in targets or "serviceMap" in targets:
        assert "stored" in panel["description"]


def test_links_between_dashboards_lead_somewhere() -> None:
    """Every dashboard that a dashboard, data source or alert rule links to exists."""
    texts = [path.read_text() for path in FOLDER.glob("*.json")]
    texts += [
        Path(name).read_text()
        for name in ("grafana/provisioning/datasources/datasources.yaml", "grafana/grafana.ini")
    ]
    texts += [path.read_text() for path in (Path("config/alerts.yml"),) if path.exists()]
    linked = set(re.findall(r"/d/([a-z-]+)", "\n".join(texts)))
    assert linked
    assert linked <= DASHBOARDS.keys()
