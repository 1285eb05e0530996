"""The ways into Grafana lead to what its own files have."""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.traces import TRACE
from three_pillar_demo.web import grafana

HOUR = 3_600_000


def test_the_panel_is_the_dashboard_s() -> None:
    """The panel that the link opens is the one with the durations."""
    panels = json.loads(Path("grafana/dashboards/checkout.json").read_text())["panels"]
    assert [each["title"] for each in panels if each["id"] == grafana.DURATION_PANEL] == [
        "Duration"
    ]


def test_each_way_leads_to_the_same_request() -> None:
    """Tempo's and Loki's panes ask for the trace id, in a time that has the request inside; the dashboards exist."""
    for name, way in grafana.ways(TRACE, 1000.0, 1003.0):
        address = urlsplit(way)
        query = parse_qs(address.query)
        if address.path == "/explore":
            (pane,) = json.loads(query["panes"][0]).values()
            assert TRACE in json.dumps(pane["queries"])
            assert (int(pane["range"]["from"]), int(pane["range"]["to"])) == (
                1_000_000 - HOUR,
                1_003_000 + HOUR,
            ), name
        else:
            assert Path(f"grafana/dashboards/{address.path.removeprefix('/d/')}.json").exists()
            assert int(query["from"][0]) < 1_000_000
            assert int(query["to"][0]) > 1_003_000
