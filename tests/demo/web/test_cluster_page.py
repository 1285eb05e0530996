"""The pages on a cluster: many components, and traces that are sampled."""

import re
import time
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from tests.demo.web.conftest import StoredData
from tests.traces import ROOT, span
from three_pillar_demo.query.service_map import CLIENTS, CallCounts, ServiceMap, service
from three_pillar_demo.stack import health, state
from three_pillar_demo.stack.components import CLUSTER, FULL, MODES, WEB
from three_pillar_demo.stack.state import CLUSTER_MODE, Process, Run

NAMES = {mode: [component.name for component in MODES[mode]] for mode in MODES}
OpenPage = Callable[..., TestClient]


def shown(html: str) -> str:
    """Return the text of a page in one line."""
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


@pytest.fixture(autouse=True)
def _graph(stored: StoredData) -> None:
    """Store one request, and a graph with one call."""
    stored.request_spans = [span(ROOT, "")]
    stored.service_map = ServiceMap(0, 0)
    stored.service_map.add_calls(CLIENTS, service("checkout"), CallCounts(60, 6, 6))


def page_with(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, mode: str, *down: str) -> str:
    """Return the start page of a stack whose components are all up, except ``down``."""

    async def problems(_http: object, mode: str) -> dict[str, str]:
        return {name: "gone" if name in down else "" for name in NAMES[mode]}

    monkeypatch.setattr(health, "problems", problems)
    client = open_page(mode=mode)
    deadline = time.monotonic() + 10
    while 'class="component' not in (html := client.get("/?tour=0").text.split("</header>")[0]):
        assert time.monotonic() < deadline, "waited 10 s for the health of the components"
    return html


def test_components_that_are_up_are_counted(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status bar of a cluster says how many are up, and names those that are not."""
    header = page_with(open_page, monkeypatch, CLUSTER_MODE, "kafka", "loki-2")
    counted = re.search(r"(\d+) of (\d+) components up", shown(header))
    assert counted
    assert int(counted[1]) == int(counted[2]) - 2 >= len(CLUSTER) - 3
    assert "kafka down" in shown(header)
    assert "loki-2 down" in shown(header)
    assert "tempo-querier" not in header


def test_few_components_are_listed(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine each component has its mark in the status bar."""
    header = page_with(open_page, monkeypatch, "full")
    assert "components up" not in shown(header)
    for component in set(FULL) - {WEB}:
        assert f"● {component.name} up" in shown(header)


def test_a_sampled_graph_says_so(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where traces are sampled, the graph says that its rates are those of the kept traces."""
    sentence = "This graph counts the traces that it keeps"
    assert sentence not in shown(open_page(mode="full").get("/?tour=0").text)
    run = Run(Process(1, 0.0), 0.0, CLUSTER_MODE, tail_sampling={"TAIL_SAMPLING_PERCENTAGE": "10"})
    monkeypatch.setattr(state, "running", lambda: run)
    assert sentence in shown(open_page(mode=CLUSTER_MODE).get("/?tour=0").text)
