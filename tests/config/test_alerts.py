"""The alert rules: Prometheus accepts them, they fire as intended, and each is in the runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from three_pillar_demo.all_commands import app
from three_pillars.request_metrics import LATENCY_BUCKETS

RULES = Path("config/alerts.yml")
CASES = Path("tests/config/alerts.test.yml")
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
RULES_OF_ALL_GROUPS: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES_OF_ALL_GROUPS if "alert" in rule}
TESTS: list[dict[str, Any]] = yaml.safe_load(CASES.read_text())["tests"]
RUNBOOK = Path("docs/how-to/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
TELEMETRY_REFERENCE = Path("docs/reference/telemetry.md").read_text()
DASHBOARDS = {"/d/checkout", "/d/one-request", "/d/pipeline", "/d/slo"}


def run_promtool(promtool: Path, *arguments: str) -> str:
    """Run promtool; return its output if it fails, or an empty string if it succeeds."""
    completed = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    return completed.stdout + completed.stderr if completed.returncode else ""


@pytest.mark.full
@pytest.mark.timeout(3600)  # Prometheus may be built first.
def test_prometheus_accepts_its_configuration_and_the_rules(promtool: Path) -> None:
    """Promtool reports no error and no lint warning in prometheus.yml and the rules it names."""
    assert not run_promtool(
        promtool, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"
    )
    assert str(RULES) in yaml.safe_load(Path("prometheus.yml").read_text())["rule_files"]


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_each_alert_fires_when_it_should_and_only_then(promtool: Path) -> None:
    """Promtool passes every test case in tests/config/alerts.test.yml."""
    assert not run_promtool(promtool, "test", "rules", str(CASES))


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_all_annotations(name: str) -> None:
    """Each alert has severity, summary, description, and links to a dashboard and the runbook."""
    annotations = ALERTS[name]["annotations"]
    assert ALERTS[name]["labels"]["severity"] in {"page", "ticket"}
    assert 0 < len(annotations["summary"]) <= 90
    assert len(annotations["description"]) > len(annotations["summary"])
    assert annotations["dashboard"] in DASHBOARDS
    assert annotations["runbook"] == f"docs/how-to/runbook.md#{name.lower()}"
    assert set(annotations) == {"summary", "description", "dashboard", "runbook"}


def test_runbook_has_one_section_for_each_alert() -> None:
    """The runbook has exactly one section for each alert, in the order of the rules."""
    assert list(SECTIONS) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_runbook_section_is_complete(name: str) -> None:
    """Each section of the runbook has severity, effect on customers, causes and all steps."""
    section = SECTIONS[name]
    assert section.strip().startswith(f"A {ALERTS[name]['labels']['severity']}")
    parts = ["For customers", "Look at first", "Usual causes", "Do", "Rehearse"]
    assert re.findall(r"\*\*([^*]+):\*\*", section) == parts
    assert f"`{ALERTS[name]['annotations']['dashboard']}`" in section


def test_links_inside_the_runbook_lead_to_its_sections() -> None:
    """Every link within the runbook leads to a section that exists."""
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= {name.lower() for name in ALERTS}


def test_commands_of_the_runbook_exist() -> None:
    """Every ``demo`` command and option in the runbook exists."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    prose = " ".join(re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL).split())
    named = re.findall(r"\bdemo ([a-z]+)(.*)", "\n".join(re.findall(r"`([^`]+)`", prose)))
    assert named
    for name, arguments in named:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", arguments)) <= options, name


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_firing_and_a_quiet_case(name: str) -> None:
    """The test cases contain a time when the alert fires, and one when it does not."""
    expressions = [case for test in TESTS for case in test.get("promql_expr_test", [])]
    firing = [
        sample["labels"]
        for case in expressions
        for sample in case.get("exp_samples", [])
        if "firing" in case["expr"]
    ]
    quiet = {
        case["alertname"]
        for test in TESTS
        for case in test.get("alert_rule_test", [])
        if not case.get("exp_alerts")
    }
    assert any(f'alertname="{name}"' in labels for labels in firing)
    assert name in quiet


def test_rules_use_only_metrics_that_exist() -> None:
    """Each metric in a rule is either documented or the result of a recording rule."""
    recorded = {rule["record"] for rule in RULES_OF_ALL_GROUPS if "record" in rule}
    for rule in RULES_OF_ALL_GROUPS:
        names = set(
            re.findall(r"\b(?:slo|job_route|job_route_le|collector):[a-z_:0-9]+", rule["expr"])
        )
        assert names <= recorded
        for metric in re.findall(
            r"\b((?:http|checkout|payment)_[a-z_]+?)(?:_count|_bucket|_sum)?\{", rule["expr"]
        ):
            assert f"`{metric}`" in TELEMETRY_REFERENCE


def test_latency_objective_is_a_bucket_boundary() -> None:
    """Each latency limit in the rules is a histogram bucket boundary, so it is counted exactly."""
    limits = {
        limit for rule in RULES_OF_ALL_GROUPS for limit in re.findall(r'le="([^"]+)"', rule["expr"])
    }
    assert limits
    assert {float(limit) for limit in limits} <= set(LATENCY_BUCKETS)


def test_each_objective_is_defined_once() -> None:
    """Each objective is defined in one recording rule, and alerts contain only burn rates."""
    objectives = {
        rule["labels"]["slo"]
        for rule in RULES_OF_ALL_GROUPS
        if rule.get("record") == "slo:objective:ratio"
    }
    assert objectives == {"availability", "latency"}
    for suffix, burn_rates in (("BurnFast", {"14.4", "6"}), ("BurnSlow", {"3"})):
        for alert in ALERTS.values():
            if alert["alert"].endswith(suffix):
                numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)", alert["expr"])
                assert set(numbers) == burn_rates


def test_no_window_is_longer_than_the_retention() -> None:
    """No rule covers a longer time than Prometheus keeps, as it would silently use less data."""
    config = yaml.safe_load(Path("prometheus.yml").read_text())
    retention = config["storage"]["tsdb"]["retention"]["time"]
    hours_per_unit = {"m": 1 / 60, "h": 1, "d": 24}
    windows = re.findall(r"\[(\d+)([mhd])", RULES.read_text())
    assert windows
    longest = max(int(count) * hours_per_unit[unit] for count, unit in windows)
    assert longest <= int(retention.removesuffix("d")) * 24
