"""Evaluates the alert rules on the series that a drill produced, with promtool.

The rules look back over hours but a drill lasts minutes, so their windows are divided by the number
``shrink`` of the drill's file. The series begin with the fault of the drill, so that no rate
includes an earlier drill.
"""

import asyncio
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from three_pillar_demo.drills.catalogue import DrillError, ExpectedAlerts
from three_pillar_demo.paths import ROOT
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.stack.binaries import PROMETHEUS

Series = tuple[Mapping[str, str], Sequence[float | None]]
"""The labels of a Prometheus series, and its value at each second; None where it has no sample."""

RULES = ROOT / "config" / "alerts.yml"
"""The file with the alert rules."""
SHOP_METRICS = "http_server_request_duration_seconds_(count|bucket)|target_info"
"""A regular expression for the names of the metrics that the rules in ``SHOP_GROUPS`` use."""
COLLECTOR_METRICS = "otelcol_(receiver|exporter|process_uptime)_.+"
"""A regular expression for the names of the metrics that the rules in ``PIPELINE_GROUP`` use.

The Collector reports its metrics only every 5 s. A drill with ``alerts.pipeline`` therefore needs a
small ``shrink``, so that each window still contains samples.
"""
SHOP_GROUPS = {"red", "slo", "shop"}
"""The rule groups about the two services; they are evaluated for every drill."""
PIPELINE_GROUP = "pipeline"
"""The rule group about the Collector; only for drills that set ``alerts.pipeline``."""
SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WINDOW = re.compile(r"(?<=[\[:])(\d+)([smhd])(?=[:\]])")
"""Matches a window in a PromQL expression, such as the ``5m`` of ``[5m]``."""
MIN_WINDOW_S = 3
"""The shortest window, in seconds: metrics arrive every second, and a rate needs two samples."""
EXCLUDED_ALERT = "ServiceSilent"
"""The alert that is never evaluated here: it needs 25 minutes of the Collector's metrics."""


def shrink_rules(text: str, factor: int, *, pipeline: bool = False) -> str:
    """Return the rules of ``SHOP_GROUPS`` as YAML, with windows and ``for`` divided by ``factor``.

    ``text`` is the YAML of all rules. With ``pipeline`` the rules about the Collector are included.
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
    """Divide the windows and the ``for`` of ``rule`` by ``factor``, in place."""

    def shorter(window: re.Match[str]) -> str:
        return f"{_shrink_duration(window[1], window[2], factor)}s"

    rule["expr"] = WINDOW.sub(shorter, rule["expr"])
    if "for" in rule:
        rule["for"] = f"{_shrink_duration(rule['for'][:-1], rule['for'][-1], factor)}s"


def _shrink_duration(number: str, unit: str, factor: int) -> int:
    """Return a duration divided by ``factor``, in seconds, but at least ``MIN_WINDOW_S``.

    ``number`` and ``unit`` are the duration, such as ``5`` and ``m``.
    """
    return max(MIN_WINDOW_S, round(int(number) * SECONDS_PER_UNIT[unit] / factor))


async def fired_alerts(
    backends: LgtmBackends, start: float, end: float, expected: ExpectedAlerts
) -> set[str]:
    """Return the names of the alerts that fire at ``end``, judged by the metrics since ``start``.

    Both times are in seconds since the epoch. The windows of the rules are divided by
    ``expected.shrink``.

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
    """Return the names of the alerts that fire ``seconds`` seconds after the start of ``series``.

    ``rules`` is the YAML of the alert rules. promtool tests that no alert fires at that moment; its
    output names the alerts that do.

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
    """Return a promtool test (YAML), which fails if an alert of ``rules`` fires at one moment.

    The moment is ``seconds`` seconds after the start of ``series``.
    """
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
    """Make a failure counter of the Collector start at 0; return any other series unchanged.

    The first value counts the failures from before the drill, so it is subtracted from each value.
    Otherwise the alert CollectorDropsData would take these failures for a loss during the drill.
    """
    if "_failed_" not in labels["__name__"]:
        return labels, values
    return labels, [None if value is None else value - (values[0] or 0.0) for value in values]


def _sample(value: float | None) -> str:
    """Return one value in promtool's notation; ``_`` stands for None, a missing sample."""
    return "_" if value is None else f"{value:.15g}"


def _selector(labels: Mapping[str, Any]) -> str:
    """Return the metric name and the labels of a series as ``name{label="value", ...}``."""
    pairs = [f"{name}={quoted(value)}" for name, value in labels.items() if name != "__name__"]
    return f"{labels['__name__']}{{{', '.join(pairs)}}}"
