"""The alerts are sound: Prometheus takes them, each fires and stays quiet when it should, and each is in the runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from three_pillar_demo.__main__ import app
from three_pillars.request_metrics import LATENCY_BUCKETS

RULES = Path("config/alerts.yml")
CASES = Path("tests/config/alerts.test.yml")
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"]
ALL: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL if "alert" in rule}
TESTS: list[dict[str, Any]] = yaml.safe_load(CASES.read_text())["tests"]
RUNBOOK = Path("docs/how-to/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
VOCABULARY = Path("docs/reference/telemetry.md").read_text()
DASHBOARDS = {"/d/checkout", "/d/one-request", "/d/pipeline", "/d/slo"}


def judge(promtool: Path, *arguments: str) -> str:
    """Run promtool; returns what it objects to."""
    done = subprocess.run(
        [promtool, *arguments], capture_output=True, text=True, timeout=600, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.full
@pytest.mark.timeout(3600)  # the build
def test_prometheus_takes_its_configuration_and_the_rules(promtool: Path) -> None:
    """The configuration names the rules, and Prometheus objects to neither, not even a little."""
    assert not judge(promtool, "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml")
    assert str(RULES) in yaml.safe_load(Path("prometheus.yml").read_text())["rule_files"]


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_each_alert_fires_when_it_should_and_only_then(promtool: Path) -> None:
    """Every case of ``tests/alerts.test.yml`` comes out as it says."""
    assert not judge(promtool, "test", "rules", str(CASES))


@pytest.mark.parametrize("name", ALERTS)
def test_a_tired_person_is_told_what_to_do(name: str) -> None:
    """Each alert says how urgent it is and what is wrong, and leads to a dashboard and to its own section of the runbook."""
    said = ALERTS[name]["annotations"]
    assert ALERTS[name]["labels"]["severity"] in {"page", "ticket"}
    assert 0 < len(said["summary"]) <= 90
    assert len(said["description"]) > len(said["summary"])
    assert said["dashboard"] in DASHBOARDS
    assert said["runbook"] == f"docs/how-to/runbook.md#{name.lower()}"
    assert set(said) == {"summary", "description", "dashboard", "runbook"}


def test_alerts_and_sections_of_the_runbook_are_the_same() -> None:
    """Each alert has its section, and each section is an alert's, in the same order."""
    assert list(SECTIONS) == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_a_section_has_all_its_parts(name: str) -> None:
    """A section says how urgent it is, what it means for customers, where to look, why, what to do, and how to rehearse it."""
    section = SECTIONS[name]
    assert section.strip().startswith(f"A {ALERTS[name]['labels']['severity']}")
    parts = ["For customers", "Look at first", "Usual causes", "Do", "Rehearse"]
    assert re.findall(r"\*\*([^*]+):\*\*", section) == parts
    assert f"`{ALERTS[name]['annotations']['dashboard']}`" in section


def test_the_links_of_the_runbook_lead_to_its_sections() -> None:
    """A section that is named is there."""
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= {name.lower() for name in ALERTS}


def test_the_commands_of_the_runbook_exist() -> None:
    """Every ``demo`` command and option that the runbook names is one."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    prose = " ".join(re.sub(r"```.*?```", "", RUNBOOK, flags=re.DOTALL).split())
    named = re.findall(r"\bdemo ([a-z]+)(.*)", "\n".join(re.findall(r"`([^`]+)`", prose)))
    assert named
    for name, rest in named:
        have = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= have, name


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_tried_firing_and_quiet(name: str) -> None:
    """The cases have a moment at which it fires, and one at which it must not."""
    views = [view for test in TESTS for view in test.get("promql_expr_test", [])]
    firing = [
        sample["labels"]
        for view in views
        for sample in view.get("exp_samples", [])
        if "firing" in view["expr"]
    ]
    quiet = {
        case["alertname"]
        for test in TESTS
        for case in test.get("alert_rule_test", [])
        if not case.get("exp_alerts")
    }
    assert any(f'alertname="{name}"' in labels for labels in firing)
    assert name in quiet


def test_the_rules_ask_only_for_what_is_there() -> None:
    """Every metric of the shop in a rule is in the vocabulary, every recorded one is recorded."""
    recorded = {rule["record"] for rule in ALL if "record" in rule}
    for rule in ALL:
        names = set(
            re.findall(r"\b(?:slo|job_route|job_route_le|collector):[a-z_:0-9]+", rule["expr"])
        )
        assert names <= recorded
        for metric in re.findall(
            r"\b((?:http|checkout|payment)_[a-z_]+?)(?:_count|_bucket|_sum)?\{", rule["expr"]
        ):
            assert f"`{metric}`" in VOCABULARY


def test_the_latency_objective_is_a_bucket() -> None:
    """A limit between two buckets would count as slow, or quick, whatever lies between them."""
    limits = {limit for rule in ALL for limit in re.findall(r'le="([^"]+)"', rule["expr"])}
    assert limits
    assert {float(limit) for limit in limits} <= set(LATENCY_BUCKETS)


def test_each_objective_is_named_once() -> None:
    """Alerts about an objective know only how fast a budget may burn, not how large it is."""
    objectives = {
        rule["labels"]["slo"] for rule in ALL if rule.get("record") == "slo:objective:ratio"
    }
    assert objectives == {"availability", "latency"}
    for name, factors in (("BurnFast", {"14.4", "6"}), ("BurnSlow", {"3"})):
        for alert in (rule for rule in ALERTS.values() if rule["alert"].endswith(name)):
            assert set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?!\w)", alert["expr"])) == factors


def test_no_window_is_longer_than_what_is_kept() -> None:
    """Prometheus keeps two days, so a rule that looks further back would be about less than it says."""
    kept = yaml.safe_load(Path("prometheus.yml").read_text())["storage"]["tsdb"]["retention"][
        "time"
    ]
    hours = {"m": 1 / 60, "h": 1, "d": 24}
    windows = re.findall(r"\[(\d+)([mhd])", RULES.read_text())
    assert windows
    assert (
        max(int(count) * hours[unit] for count, unit in windows) <= int(kept.removesuffix("d")) * 24
    )
