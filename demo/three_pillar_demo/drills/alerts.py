"""Would the right alert have rung? Prometheus' own judge, promtool, says so of the figures that the drill really made.

An alert looks back over hours, and nobody plays for hours: the rules' windows are made ``shrink`` times shorter. The series
begin with the drill, so nothing that was played before is in them.
"""

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from three_pillar_demo.drills.catalogue import Alerts, DrillError
from three_pillar_demo.paths import ROOT
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.stack.binaries import PROMETHEUS

Series = tuple[Mapping[str, str], Sequence[float | None]]
"""Labels, and a value for each second."""

RULES = ROOT / "config" / "alerts.yml"
SHOP = "http_server_request_duration_seconds_(count|bucket)|target_info"
"""The series that the rules about customers look at."""
COLLECTOR = "otelcol_(receiver|exporter|process_uptime)_.+"
"""Those that the rules about the Collector look at. Its figures come every 5 s, so a short window has none in it."""
GROUPS = {"red", "slo", "shop"}
PIPELINE = "pipeline"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(?<=[\[:])(\d+)([smhd])(?=[:\]])")
SHORTEST = 3
"""Seconds of a window, at least: metrics come every second, and a rate is between two."""
SILENT = "ServiceSilent"
"""Needs the Collector's own figures, and twenty-five minutes."""


def shrunk(text: str, times: int, *, pipeline: bool = False) -> str:
    """The rules of ``text``, those of ``GROUPS`` and of the ``pipeline``, with windows and waits ``times`` shorter."""
    rules = yaml.safe_load(text)
    groups = [
        group
        for group in rules["groups"]
        if group["name"] in GROUPS | ({PIPELINE} if pipeline else set())
    ]
    for group in groups:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != SILENT]
        for rule in group["rules"]:
            rule["expr"] = DURATION.sub(
                lambda found: f"{_short(found[1], found[2], times)}s", rule["expr"]
            )
            if "for" in rule:
                rule["for"] = f"{_short(rule['for'][:-1], rule['for'][-1], times)}s"
    return str(yaml.safe_dump({"groups": groups}))


def _short(number: str, unit: str, times: int) -> int:
    return max(SHORTEST, round(int(number) * UNITS[unit] / times))


async def fired(backends: LgtmBackends, began: float, ended: float, wanted: Alerts) -> set[str]:
    """The names of the alerts that fired between two times, with shorter windows.

    Raises:
        BackendError: Prometheus does not answer.
        DrillError: There is no promtool, or it does not understand what it is asked.
    """
    series = await backends.series(f"{SHOP}|{COLLECTOR}" if wanted.pipeline else SHOP, began, ended)
    rules = shrunk(RULES.read_text(), wanted.shrink, pipeline=wanted.pipeline)
    return await judged([_since(*each) for each in series], round(ended - began), rules)


async def judged(series: Sequence[Series], seconds: int, rules: str) -> set[str]:
    """The alerts that ``rules`` have after so many ``seconds`` of ``series``, a value each second."""
    tool = PROMETHEUS.folder() / "promtool"
    if not tool.exists():
        raise DrillError(
            f"there is no promtool at {tool}: `demo up --full` builds it, with Prometheus"
        )
    names = [
        rule["alert"]
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    told = [
        {"series": _selector(labels), "values": " ".join(map(_value, values))}
        for labels, values in series
    ]
    asked = [{"eval_time": f"{seconds}s", "alertname": name, "exp_alerts": []} for name in names]
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test.yml"
        (Path(folder) / "rules.yml").write_text(rules)
        case = {"interval": "1s", "input_series": told, "alert_rule_test": asked}
        test.write_text(
            yaml.safe_dump(
                {"rule_files": ["rules.yml"], "evaluation_interval": "1s", "tests": [case]},
                width=10**9,
            )
        )
        process = await asyncio.create_subprocess_exec(
            tool,
            "test",
            "rules",
            test,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
    if process.returncode and "alertname:" not in said:
        raise DrillError(f"promtool: {said.strip()[:600]}")
    return set(re.findall(r"alertname: ?\"?(\w+)", said)) if process.returncode else set()


def _since(labels: Mapping[str, str], values: Sequence[float | None]) -> Series:
    """What the Collector has counted before is not the drill's: CollectorDropsData would take it for a loss of now."""
    lost = "_failed_" in labels["__name__"]
    return labels, [
        value - (values[0] or 0.0) if lost and value is not None else value for value in values
    ]


def _value(value: float | None) -> str:
    return "_" if value is None else f"{value:.15g}"


def _selector(labels: Mapping[str, Any]) -> str:
    rest = ", ".join(
        f"{name}={json.dumps(value)}" for name, value in labels.items() if name != "__name__"
    )
    return f"{labels['__name__']}{{{rest}}}"
