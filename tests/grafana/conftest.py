"""A running Grafana: the one at GRAFANA_URL, or the one in GRAFANA_HOME, started by the stack."""

import os
import subprocess

import pytest

from tests.end_to_end.conftest import DEMO, FULL
from three_pillar_demo.stack.components import BY_NAME

URL = os.environ.get("GRAFANA_URL")
HOME = os.environ.get("GRAFANA_HOME")
SKIP_REASON = (
    "no Grafana: name a running one in GRAFANA_URL, or a Grafana in GRAFANA_HOME and make test-real"
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test of this folder with ``stack``, and skip it if there is no Grafana."""
    item.add_marker(pytest.mark.stack)
    if not URL and not (HOME and FULL):
        item.add_marker(pytest.mark.skip(SKIP_REASON))


@pytest.fixture(scope="session")
def grafana(request: pytest.FixtureRequest) -> str:
    """The URL of a running Grafana whose stack has had a minute of traffic."""
    if not URL:
        request.getfixturevalue("stack")  # with GRAFANA_HOME, demo up --full starts Grafana as well
    subprocess.run(
        [*DEMO, "traffic", "--rate", "4", "--for", "60s"], check=True, capture_output=True
    )
    return URL.rstrip("/") if URL else BY_NAME["grafana"].address


@pytest.fixture(scope="session")
def log(request: pytest.FixtureRequest) -> str:
    """The log of Grafana if the stack started it; empty for the one at GRAFANA_URL."""
    if URL:
        return ""
    stack = request.getfixturevalue("stack")
    return str((stack.state / "logs" / "grafana.log").read_text())
