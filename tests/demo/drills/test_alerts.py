"""Alerts of a drill: the rules' own windows, made shorter, judged by promtool of the figures of that drill alone."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from three_pillar_demo.drills import alerts, catalogue

RULES = Path("config/alerts.yml").read_text()


def counted(status: str, each: int, seconds: int = 30) -> tuple[dict[str, str], list[float | None]]:
    """So many checkouts a second with that answer; nobody bought in the first two."""
    name = "http_server_request_duration_seconds_count"
    labels = {"job": "shop/checkout", "http_request_method": "POST", "http_route": "/checkout"}
    values = [None, None, *(float(each * at) for at in range(1, seconds - 1))]
    return {"__name__": name, **labels, "http_response_status_code": status}, values


def test_windows_are_shorter_and_nothing_else_is() -> None:
    """Every window and wait is so many times shorter, none is under three seconds, and limits and names stay."""
    kept = [group for group in yaml.safe_load(RULES)["groups"] if group["name"] in alerts.GROUPS]
    before = [
        rule["expr"]
        for group in kept
        for rule in group["rules"]
        if rule.get("alert") != alerts.SILENT
    ]
    after = yaml.safe_load(alerts.shrunk(RULES, 60))["groups"]
    assert [group["name"] for group in after] == [group["name"] for group in kept]
    for whole, rule in zip(
        before, (rule for group in after for rule in group["rules"]), strict=True
    ):
        assert re.sub(r"(?<=[\[:])\d+\w", "", rule["expr"]) == re.sub(r"(?<=[\[:])\d+\w", "", whole)
        assert all(
            int(seconds) >= alerts.SHORTEST for seconds in re.findall(r"\[(\d+)s", rule["expr"])
        )
    hour = next(
        rule
        for group in after
        for rule in group["rules"]
        if rule.get("record") == "slo:availability:error_ratio_rate1h"
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
def test_the_judge_is_prometheus_own(
    promtool: Path, answers: dict[str, int], expected: set[str]
) -> None:
    """Failures ring, declines do not, and nobody rings for a shop that is well."""
    assert promtool.exists()
    series = [counted(status, each) for status, each in answers.items()]
    rules = alerts.shrunk(RULES, 60)
    assert asyncio.run(alerts.judged(series, 28, rules)) == expected


@pytest.mark.full
def test_what_waits_for_a_backend_rings_too(promtool: Path) -> None:
    """A queue that grows while nothing leaves it rings, where the rules about the Collector are judged."""
    assert promtool.exists()
    series: list[alerts.Series] = [
        (
            {"__name__": "otelcol_exporter_queue_size", "exporter": "otlp_http/loki"},
            [5000.0 * at for at in range(1, 60)],
        ),
        (
            {"__name__": "otelcol_exporter_sent_log_records_total", "exporter": "otlp_http/loki"},
            [70.0] * 59,
        ),
        ({"__name__": "otelcol_process_uptime_seconds_total"}, [float(at) for at in range(59)]),
    ]
    assert asyncio.run(alerts.judged(series, 58, alerts.shrunk(RULES, 6))) == set()
    assert asyncio.run(alerts.judged(series, 58, alerts.shrunk(RULES, 6, pipeline=True))) == {
        "CollectorCannotSend"
    }


@pytest.mark.parametrize("name", catalogue.names())
def test_a_drill_rings_where_customers_are_hurt(name: str) -> None:
    """A drill whose symptom is that checkouts fail rings, one of bank cards that are declined does not."""
    drill = catalogue.load(name)
    fails = drill.symptom.ask == "red" and drill.symptom.read == "errors"
    assert not fails or drill.alerts.fire
    assert name != "declined-surge" or not drill.alerts.fire
