"""The rules of config/alerts.yml on live data: they have no errors, and their metrics exist."""

import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.end_to_end.conftest import Stack, wait_until
from three_pillar_demo.query.http_clients import HttpClients
from three_pillar_demo.stack.components import BY_NAME

RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load(Path("config/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = sorted({rule["record"] for rule in RULES if "record" in rule})
ALERTS = {rule["alert"]: rule["expr"] for rule in RULES if "alert" in rule}
METRIC = re.compile(
    r"\b(?:(?:http|checkout|payment|otelcol|target)_\w+|(?:slo|job_route|job_route_le|collector):[\w:]+)(?=[\s{\[()]|$)"
)
ABSENT_WHEN_HEALTHY = re.compile(
    r"otelcol_exporter_(?:send_failed|enqueue_failed)_\w+|collector:exporter_lost_items:sum"
)
"""Matches metrics of lost items, which do not exist until the first loss."""
URL = HttpClients().urls["prometheus"]
pytestmark = pytest.mark.full


def has_series(metric: str) -> bool:
    """Return whether Prometheus has a series of ``metric`` in the last ten minutes."""
    response = httpx2.get(
        f"{URL}/api/v1/query",
        params={"query": f"last_over_time({metric}[10m])"},
        timeout=20,
        trust_env=False,
    )
    assert response.is_success, response.text
    return bool(response.json()["data"]["result"])


@pytest.fixture(scope="module")
def traffic_start(stack: Stack) -> float:
    """The time (epoch, in seconds) at which half a minute of mixed traffic began."""
    began = time.time()
    stack.demo(
        "traffic",
        "--rate",
        "4",
        "--for",
        "30s",
        "--card-mix",
        "ordinary=7,declined=1,gateway-timeout=1,slow=1",
    )
    return began


def test_every_rule_is_evaluated_without_an_error(traffic_start: float) -> None:
    """Prometheus has exactly the rules of the file and evaluates each of them without an error."""
    assert traffic_start

    def is_evaluated() -> bool:
        groups = httpx2.get(f"{URL}/api/v1/rules", timeout=20, trust_env=False).json()["data"][
            "groups"
        ]
        rules = [rule for group in groups for rule in group["rules"]]
        assert sorted(rule["name"] for rule in rules) == sorted(
            rule.get("record") or rule["alert"] for rule in RULES
        )
        assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
        return all(rule["health"] == "ok" for rule in rules)

    wait_until(is_evaluated, "every rule to be evaluated")


@pytest.mark.timeout(300)
def test_a_firing_alert_is_shown_in_the_web_ui(traffic_start: float) -> None:
    """An alert about failing purchases reaches the web UI through Alertmanager."""
    assert traffic_start

    def is_shown() -> bool:
        return (
            "CheckoutAvailabilityBurnFast"
            in httpx2.get(BY_NAME["web"].address, timeout=20, trust_env=False).text
        )

    wait_until(is_shown, "the alert in the web UI", 240)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_has_data(traffic_start: float, name: str) -> None:
    """A recording rule has data after traffic, unless it counts lost items."""
    assert traffic_start
    if not ABSENT_WHEN_HEALTHY.fullmatch(name):
        wait_until(lambda: has_series(name), f"data of {name}")


@pytest.mark.parametrize("name", ALERTS)
def test_the_metrics_of_an_alert_exist(traffic_start: float, name: str) -> None:
    """Each metric in the expression of an alert exists, so that no wrong name keeps it silent."""
    assert traffic_start
    metrics = set(METRIC.findall(ALERTS[name]))
    assert metrics
    for metric in metrics:
        if not ABSENT_WHEN_HEALTHY.fullmatch(metric):
            wait_until(lambda metric=metric: has_series(metric), f"data of {metric}")  # type: ignore[misc]
