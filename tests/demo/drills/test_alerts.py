"""The alert rules with shorter windows, as promtool evaluates them on the metrics of one drill."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from three_pillar_demo.drills import alerts, catalogue

RULES = Path("config/alerts.yml").read_text()
WINDOW_LENGTH = r"(?<=[\[:])\d+\w"


def checkout_counter(
    status: str, per_second: int, seconds: int = 30
) -> tuple[dict[str, str], list[float | None]]:
    """Return the counter of checkouts answered with ``status``, which grows by ``per_second``.

    The series has a value for each of ``seconds`` seconds; the first two are missing.
    """
    labels = {
        "__name__": "http_server_request_duration_seconds_count",
        "job": "shop/checkout",
        "http_request_method": "POST",
        "http_route": "/checkout",
        "http_response_status_code": status,
    }
    values = [float(per_second * second) for second in range(1, seconds - 1)]
    return labels, [None, None, *values]


def test_only_windows_are_shortened() -> None:
    """Windows in the rules are divided by 60 but not below 3 s, and nothing else changes."""
    original_groups = [
        group for group in yaml.safe_load(RULES)["groups"] if group["name"] in alerts.SHOP_GROUPS
    ]
    original_expressions = [
        rule["expr"]
        for group in original_groups
        for rule in group["rules"]
        if rule.get("alert") != alerts.EXCLUDED_ALERT
    ]
    groups = yaml.safe_load(alerts.shrink_rules(RULES, 60))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [group["name"] for group in groups] == [group["name"] for group in original_groups]
    for original, rule in zip(original_expressions, rules, strict=True):
        assert re.sub(WINDOW_LENGTH, "", rule["expr"]) == re.sub(WINDOW_LENGTH, "", original)
        windows = re.findall(r"\[(\d+)s", rule["expr"])
        assert all(int(seconds) >= alerts.MIN_WINDOW_S for seconds in windows)
    hour = next(
        rule for rule in rules if rule.get("record") == "slo:availability:error_ratio_rate1h"
    )
    assert "[60s]" in hour["expr"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"200": 9, "500": 6}, {"CheckoutAvailabilityBurnFast", "CheckoutAvailabilityBurnSlow"}),
        (
            {"200": 9, "503": 6},
            {"CheckoutAvailabilityBurnFast", "CheckoutAvailabilityBurnSlow", "PaymentUnreachable"},
        ),
        ({"200": 9, "402": 60}, set()),
        ({"200": 9}, set()),
    ],
)
def test_promtool_evaluates_the_shortened_rules(
    promtool: Path, answers: dict[str, int], expected: set[str]
) -> None:
    """With shorter windows, server errors fire alerts, and declined cards fire none."""
    assert promtool.exists()
    series = [checkout_counter(status, per_second) for status, per_second in answers.items()]
    rules = alerts.shrink_rules(RULES, 60)
    assert asyncio.run(alerts.evaluate_rules(series, 28, rules)) == expected


@pytest.mark.full
def test_a_growing_export_queue_fires(promtool: Path) -> None:
    """A growing queue of the Collector fires an alert only if its rules are included."""
    assert promtool.exists()
    series: list[alerts.Series] = [
        (
            {"__name__": "otelcol_exporter_queue_size", "exporter": "otlp_http/loki"},
            [5000.0 * second for second in range(1, 60)],
        ),
        (
            {"__name__": "otelcol_exporter_sent_log_records_total", "exporter": "otlp_http/loki"},
            [70.0] * 59,
        ),
        (
            {"__name__": "otelcol_process_uptime_seconds_total"},
            [float(second) for second in range(59)],
        ),
    ]
    shop_rules = alerts.shrink_rules(RULES, 6)
    all_rules = alerts.shrink_rules(RULES, 6, pipeline=True)
    assert asyncio.run(alerts.evaluate_rules(series, 58, shop_rules)) == set()
    assert asyncio.run(alerts.evaluate_rules(series, 58, all_rules)) == {"CollectorCannotSend"}


@pytest.mark.parametrize("name", catalogue.names())
def test_failing_checkouts_fire_an_alert(name: str) -> None:
    """A drill whose symptom is failing checkouts expects an alert, and ``worried-bank`` none."""
    drill = catalogue.load(name)
    checkouts_fail = drill.symptom.ask == "red" and drill.symptom.read == "errors"
    assert not checkouts_fail or drill.alerts.fire
    assert name != "worried-bank" or not drill.alerts.fire
