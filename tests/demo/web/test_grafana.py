"""Tests that the links into Grafana match the provisioned dashboards."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.traces import TRACE
from three_pillar_demo.web import grafana

HOUR_MS = 3_600_000


def test_panel_id_is_that_of_the_duration_panel() -> None:
    """The link to a panel opens the panel Duration of the dashboard."""
    panels = json.loads(Path("grafana/dashboards/checkout.json").read_text())["panels"]
    titles = [panel["title"] for panel in panels if panel["id"] == grafana.DURATION_PANEL]
    assert titles == ["Duration"]


def test_each_link_leads_to_the_same_request() -> None:
    """Explore queries the trace id around the request, and the dashboards exist."""
    for name, path in grafana.links(TRACE, 1000.0, 1003.0):
        address = urlsplit(path)
        query = parse_qs(address.query)
        if address.path == "/explore":
            (pane,) = json.loads(query["panes"][0]).values()
            assert TRACE in json.dumps(pane["queries"])
            time_range = (int(pane["range"]["from"]), int(pane["range"]["to"]))
            assert time_range == (1_000_000 - HOUR_MS, 1_003_000 + HOUR_MS), name
        else:
            dashboard = address.path.removeprefix("/d/")
            assert Path(f"grafana/dashboards/{dashboard}.json").exists()
            assert int(query["from"][0]) < 1_000_000
            assert int(query["to"][0]) > 1_003_000
