"""The dashboards and Grafana's links work on the cluster as they do on one machine."""

import json

import pytest

from tests import dashboards
from tests.cluster.conftest import MODE
from tests.dashboards import Target
from tests.end_to_end.conftest import Stack
from tests.end_to_end.test_links import LINKS
from three_pillar_demo.stack import state

NO_ENGINES = "" if MODE == state.CLUSTER_MODE else "Tempo and Loki are not on PATH"
"""Why the local store is in the place of Tempo and Loki; empty if they are there."""
ABSENT_WITHOUT_TEMPO = {"traces_spanmetrics_": "Tempo derives it from spans"}
"""Prefixes of metrics that do not exist where the local store is in the place of Tempo; the values
say why. Grafana is not part of that mode."""

pytestmark = pytest.mark.timeout(200)


def why_not_answered(target: Target) -> str:
    """Return why the cluster of these tests cannot answer a query; empty if it can."""
    reasons = [
        reason for name, reason in ABSENT_WITHOUT_TEMPO.items() if name in target.get("expr", "")
    ]
    if not NO_ENGINES or (target["datasource"]["uid"] == "prometheus" and not reasons):
        return ""
    return ": ".join([NO_ENGINES, *reasons])


@pytest.fixture(scope="module")
def trace_id(cluster: Stack) -> str:
    """The trace id of a failed purchase, made after a minute of mixed traffic."""
    return dashboards.mixed_traffic(cluster)


@pytest.mark.parametrize("target", [*dashboards.targets()])
def test_a_panel_has_data(target: Target, trace_id: str) -> None:
    """A panel query returns data from Thanos, and from the clusters of Tempo and Loki."""
    if why_not_answered(target):
        pytest.skip(why_not_answered(target))
    dashboards.assert_has_data(target, trace_id)


@pytest.mark.parametrize("target", dashboards.targets_with_exemplars())
def test_a_panel_has_exemplars(target: Target, trace_id: str) -> None:
    """A panel query with exemplars returns some from Thanos, and each of them has a trace id."""
    dashboards.assert_has_exemplars(target, trace_id)


def test_variables_have_values(trace_id: str) -> None:
    """Each dashboard variable offers both services, unless it is a text field."""
    assert trace_id
    dashboards.assert_variables_have_values()


@pytest.mark.skipif(bool(NO_ENGINES), reason=NO_ENGINES)
def test_every_link_is_followed(cluster: Stack) -> None:
    """Each of the six links of Grafana's data sources leads to telemetry of the same request."""
    result = cluster.demo("verify", "--json", check=False, seconds=300)
    checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert [name for name in LINKS if checks[name]["passed"] is not True] == [], checks
