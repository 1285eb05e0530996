"""The dashboard *Pipeline* counts each item once, with one tier of Collectors and with two."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.pipeline import SIGNALS

PANELS = {
    panel["title"]: panel
    for panel in json.loads(Path("grafana/dashboards/pipeline.json").read_text())["panels"]
}
STEP_S = 5
STEPS = 60
ACCEPTED = "otelcol_receiver_accepted_{kind}_total"
SENT = "otelcol_exporter_sent_{kind}_total"
BACKENDS = "otelcol_loadbalancer_num_backends"
ONE = [
    (ACCEPTED, "one", "", 20),
    (SENT, "one", "otlp_http/backend", 20),
]
TWO_TIERS = [
    (BACKENDS, "agent-0", "", None),
    (BACKENDS, "agent-1", "", None),
    (ACCEPTED, "agent-0", "", 15),
    (ACCEPTED, "agent-1", "", 5),
    (SENT, "agent-0", "load_balancing/gateways", 15),
    (SENT, "agent-1", "load_balancing/gateways", 5),
    (ACCEPTED, "gateway-0", "", 8),
    (ACCEPTED, "gateway-1", "", 12),
    (SENT, "gateway-0", "otlp_http/backend", 8),
    (SENT, "gateway-1", "otlp_http/backend", 12),
]
"""Collectors to which the services send 20 items a second: the metric, the instance, the exporter
or nothing, and the items a second; None for a metric that is constant."""
Series = tuple[str, str, str, int | None]


def input_series(kind: str, collectors: list[Series]) -> list[dict[str, str]]:
    """Return the series of the metrics of ``collectors`` in the notation of promtool."""
    return [
        {
            "series": f'{metric.format(kind=kind)}{{instance="{instance}", exporter="{exporter}"}}',
            "values": f"2x{STEPS}" if rate is None else f"0+{rate * STEP_S}x{STEPS}",
        }
        for metric, instance, exporter, rate in collectors
    ]


@pytest.mark.full
@pytest.mark.timeout(3600)  # Prometheus may be built first.
@pytest.mark.parametrize("title", ["Received", "Exported"])
@pytest.mark.parametrize("collectors", [ONE, TWO_TIERS], ids=["one Collector", "two tiers"])
def test_an_item_is_counted_once(
    promtool: Path, tmp_path: Path, title: str, collectors: list[Series]
) -> None:
    """Of 20 items a second, a panel shows 20, although each passes an agent and a gateway."""
    cases: list[dict[str, Any]] = []
    for kind, target in zip(SIGNALS.values(), PANELS[title]["targets"], strict=True):
        expected = {"labels": "{}", "value": 20}
        query = {
            "expr": target["expr"].replace("$__rate_interval", "1m"),
            "eval_time": "4m",
            "exp_samples": [expected],
        }
        cases.append(
            {
                "interval": f"{STEP_S}s",
                "input_series": input_series(kind, collectors),
                "promql_expr_test": [query],
            }
        )
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump({"tests": cases}))
    result = subprocess.run(
        [promtool, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
