"""A running Grafana: the one that GRAFANA_URL names, or one of GRAFANA_HOME's, started for these tests."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from demo.binaries import ROOT
from tests.end_to_end.conftest import poll_until, stack  # noqa: F401  (the same fixture)

URL = os.environ.get("GRAFANA_URL")
HOME = os.environ.get("GRAFANA_HOME")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the stack, and a Grafana."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.stack)
            if not URL and not HOME:
                item.add_marker(pytest.mark.skip("no Grafana: name a running one in GRAFANA_URL, or a Grafana in GRAFANA_HOME"))


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a Grafana that was started here says."""
    return tmp_path_factory.mktemp("grafana") / "log"


@pytest.fixture(scope="session")
def grafana(request: pytest.FixtureRequest, log: Path) -> Iterator[str]:
    """Its address. With GRAFANA_URL the stack is whatever that Grafana looks at, compose for example."""
    if URL:
        yield URL.rstrip("/")
        return
    request.getfixturevalue("stack")
    address = "http://127.0.0.1:3000"
    if answers(address):  # demo up has started it
        yield address
        return
    environment = {
        **os.environ,
        **{f"{name}_HOST": "127.0.0.1" for name in ("TEMPO", "LOKI", "PROMETHEUS")},
        "BIND_ADDRESS": "127.0.0.1",
        "GF_PATHS_DATA": str(log.parent / "data"),
        "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
        "GRAFANA_DASHBOARDS": str(ROOT / "grafana" / "dashboards"),
    }
    command = [f"{HOME}/bin/grafana", "server", f"--homepath={HOME}", "--config=grafana/grafana.ini"]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=out)
    try:
        poll_until(lambda: answers(address), "Grafana")
        yield address
    finally:
        process.terminate()
        process.wait(20)


def answers(address: str) -> bool:
    """Whether somebody healthy is there."""
    try:
        return httpx2.get(f"{address}/api/health", timeout=2, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.HTTPError:
        return False
