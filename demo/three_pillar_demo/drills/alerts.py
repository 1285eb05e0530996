"""Evaluates the alert rules on the series that a drill produced, with promtool.

The rules look back over hours but a drill lasts minutes, so their windows are made ``shrink`` times
shorter. The series begin with the drill, so they hold nothing from earlier drills.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from three_pillar_demo.drills.catalogue import DrillError, ExpectedAlerts
from three_pillar_demo.paths import ROOT
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.stack.binaries import PROMETHEUS

Series = tuple[Mapping[str, str], Sequence[float | None]]
"""Labels, and one value for each second."""

RULES = ROOT / "config" / "alerts.yml"
SHOP_METRICS = "http_server_request_duration_seconds_(count|bucket)|target_info"
"""The series that the rules about the shop use."""
COLLECTOR_METRICS = "otelcol_(receiver|exporter|process_uptime)_.+"
"""The series that the rules about the Collector use.

The Collector reports every 5 s, so a very short window holds none of its samples.
"""
SHOP_GROUPS = {"red", "slo", "shop"}
PIPELINE_GROUP = "pipeline"
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WINDOW = re.compile(r"(?<=[\[:])(\d+)([smhd])(?=[:\]])")
MIN_WINDOW_S = 3
"""The shortest window: metrics arrive every second, and a rate needs two samples."""
EXCLUDED_ALERT = "ServiceSilent"
"""This alert needs the Collector's own metrics and 25 minutes."""


def shrink_rules(text: str, factor: int, *, pipeline: bool = False) -> str:
    """Return the rules of the shop as YAML, with windows and ``for`` ``factor`` times shorter.

    With ``pipeline`` the rules about the Collector are included.
    """
    groups = []
    for group in yaml.safe_load(text)["groups"]:
        if group["name"] not in SHOP_GROUPS and not (pipeline and group["name"] == PIPELINE_GROUP):
            continue
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != EXCLUDED_ALERT]
        for rule in group["rules"]:
            _shrink_rule(rule, factor)
        groups.append(group)
    return str(yaml.safe_dump({"groups": groups}))


def _shrink_rule(rule: dict[str, Any], factor: int) -> None:
    """Make the windows and the ``for`` of ``rule`` shorter, in place."""

    def shorter(window: re.Match[str]) -> str:
        return f"{_shrink_duration(window[1], window[2], factor)}s"

    rule["expr"] = WINDOW.sub(shorter, rule["expr"])
    if "for" in rule:
        rule["for"] = f"{_shrink_duration(rule['for'][:-1], rule['for'][-1], factor)}s"


def _shrink_duration(number: str, unit: str, factor: int) -> int:
    return max(MIN_WINDOW_S, round(int(number) * SECONDS_PER_UNIT[unit] / factor))


async def fired_alerts(
    backends: LgtmBackends, start: float, end: float, expected: ExpectedAlerts
) -> set[str]:
    """Return the names of the alerts that fired between two times, with shorter windows.

    Raises:
        BackendError: Prometheus does not answer.
        DrillError: promtool is missing, or cannot evaluate the rules.
    """
    metrics = f"{SHOP_METRICS}|{COLLECTOR_METRICS}" if expected.pipeline else SHOP_METRICS
    series = await backends.values_by_second(metrics, start, end)
    rules = shrink_rules(RULES.read_text(), expected.shrink, pipeline=expected.pipeline)
    return await evaluate_rules(
        [_without_earlier_failures(labels, values) for labels, values in series],
        round(end - start),
        rules,
    )


async def evaluate_rules(series: Sequence[Series], seconds: int, rules: str) -> set[str]:
    """Return the alerts of ``rules`` that fire after ``seconds`` of ``series``.

    promtool runs a rule test that expects each alert not to fire, and names those that do.

    Raises:
        DrillError: promtool is missing, or cannot evaluate the rules.
    """
    tool = PROMETHEUS.folder() / "promtool"
    if not tool.exists():
        raise DrillError(
            f"there is no promtool at {tool}: `make binaries` builds it, with Prometheus"
        )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yml").write_text(rules)
        test = Path(folder) / "test.yml"
        test.write_text(_rule_test(series, seconds, rules))
        process = await asyncio.create_subprocess_exec(
            tool,
            "test",
            "rules",
            test,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    if process.returncode == 0:
        return set()
    if "alertname:" not in output:
        raise DrillError(f"promtool: {output.strip()[:600]}")
    return set(re.findall(r"alertname: ?\"?(\w+)", output))


def _rule_test(series: Sequence[Series], seconds: int, rules: str) -> str:
    """Return the YAML of a promtool test in which no alert of ``rules`` may fire."""
    alert_names = [
        rule["alert"]
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    case = {
        "interval": "1s",
        "input_series": [
            {"series": _selector(labels), "values": " ".join(map(_sample, values))}
            for labels, values in series
        ],
        "alert_rule_test": [
            {"eval_time": f"{seconds}s", "alertname": name, "exp_alerts": []}
            for name in alert_names
        ],
    }
    document = {"rule_files": ["rules.yml"], "evaluation_interval": "1s", "tests": [case]}
    # The width keeps the samples of a series on one line.
    return str(yaml.safe_dump(document, width=10**9))


def _without_earlier_failures(labels: Mapping[str, str], values: Sequence[float | None]) -> Series:
    """Let the Collector's failure counters begin at 0.

    A series that starts above 0 would look to CollectorDropsData like a loss during the drill.
    """
    if "_failed_" not in labels["__name__"]:
        return labels, values
    return labels, [None if value is None else value - (values[0] or 0.0) for value in values]


def _sample(value: float | None) -> str:
    """Return one value in promtool's notation, where ``_`` is a missing sample."""
    return "_" if value is None else f"{value:.15g}"


def _selector(labels: Mapping[str, Any]) -> str:
    """Return the series name and labels as ``name{label="value", ...}``."""
    pairs = [f"{name}={json.dumps(value)}" for name, value in labels.items() if name != "__name__"]
    return f"{labels['__name__']}{{{', '.join(pairs)}}}"
