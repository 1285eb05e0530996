"""A running Grafana: the one that GRAFANA_URL names, or one of GRAFANA_HOME's, started for these tests."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.conftest import DEMO, FULL
from three_pillar_demo.stack.components import BY_NAME

URL = os.environ.get("GRAFANA_URL")
HOME = os.environ.get("GRAFANA_HOME")
HERE = Path(__file__).parent
WHY_NOT = (
    "no Grafana: name a running one in GRAFANA_URL, or a Grafana in GRAFANA_HOME and make test-full"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the stack, and a Grafana."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.stack)
            if not URL and not (HOME and FULL):
                item.add_marker(pytest.mark.skip(WHY_NOT))


@pytest.fixture(scope="session")
def grafana(request: pytest.FixtureRequest) -> str:
    """Its address, after a minute of customers; with GRAFANA_URL the stack is what that Grafana looks at."""
    if not URL:
        request.getfixturevalue("stack")  # with GRAFANA_HOME, demo up --full starts a Grafana too
    subprocess.run(
        [*DEMO, "traffic", "--rate", "4", "--for", "60s"], check=True, capture_output=True
    )
    return URL.rstrip("/") if URL else BY_NAME["grafana"].address


@pytest.fixture(scope="session")
def log(request: pytest.FixtureRequest) -> str:
    """What a Grafana that was started here has said so far; nothing where somebody else runs it."""
    return (
        "" if URL else (request.getfixturevalue("stack").state / "logs" / "grafana.log").read_text()
    )
