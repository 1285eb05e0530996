"""The rules of alerts.yml on live data: each is evaluated without an error, and what it looks at is there."""

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
RIGHTLY_EMPTY = re.compile(
    r"otelcol_exporter_(?:send_failed|enqueue_failed)_\w+|collector:exporter_lost_items:sum"
)
"""Nothing is lost in a healthy house, and these counters begin with their first event."""
URL = HttpClients().urls["prometheus"]
pytestmark = pytest.mark.full


def series(metric: str) -> bool:
    """Whether Prometheus has any, now or in the last minutes."""
    found = httpx2.get(
        f"{URL}/api/v1/query",
        params={"query": f"last_over_time({metric}[10m])"},
        timeout=20,
        trust_env=False,
    )
    assert found.is_success, found.text
    return bool(found.json()["data"]["result"])


@pytest.fixture(scope="module")
def customers(stack: Stack) -> float:
    """Half a minute of customers, some of whom fail; when they came."""
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


def test_every_rule_is_evaluated_without_an_error(customers: float) -> None:
    """Prometheus has loaded exactly these rules, has evaluated each since the customers came, and none failed."""
    assert customers

    def evaluated() -> bool:
        groups = httpx2.get(f"{URL}/api/v1/rules", timeout=20, trust_env=False).json()["data"][
            "groups"
        ]
        rules = [rule for group in groups for rule in group["rules"]]
        assert sorted(rule["name"] for rule in rules) == sorted(
            rule.get("record") or rule["alert"] for rule in RULES
        )
        assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
        return all(rule["health"] == "ok" for rule in rules)

    wait_until(evaluated, "every rule to be evaluated")


@pytest.mark.timeout(300)
def test_a_rule_that_fires_is_on_the_page(customers: float) -> None:
    """Customers whose purchases fail wake somebody: the page of alerts.yml has gone through Alertmanager and rings."""
    assert customers

    def rings() -> bool:
        return (
            "CheckoutAvailabilityBurnFast"
            in httpx2.get(BY_NAME["web"].address, timeout=20, trust_env=False).text
        )

    wait_until(rings, "the page to ring", 240)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recording_rule_has_data(customers: float, name: str) -> None:
    """What it records is there once customers have come."""
    assert customers
    if not RIGHTLY_EMPTY.fullmatch(name):
        wait_until(lambda: series(name), f"data of {name}")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_looks_at_something_that_is_there(customers: float, name: str) -> None:
    """Every metric in its expression is in Prometheus, so that its silence means health and not a name nobody sends."""
    assert customers
    metrics = set(METRIC.findall(ALERTS[name]))
    assert metrics
    for metric in metrics:
        if not RIGHTLY_EMPTY.fullmatch(metric):
            wait_until(lambda metric=metric: series(metric), f"data of {metric}")  # type: ignore[misc]
