"""Every query of every dashboard panel and variable returns data from the real backends."""

import pytest

from tests import dashboards
from tests.dashboards import Target
from tests.end_to_end.conftest import Stack

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def trace_id(stack: Stack) -> str:
    """The trace id of a failed purchase, made after a minute of mixed traffic."""
    return dashboards.mixed_traffic(stack)


@pytest.mark.parametrize("target", [*dashboards.targets()])
def test_a_panel_has_data(target: Target, trace_id: str) -> None:
    """A panel query returns data, also without ``or vector(0)``, its value for no events."""
    if dashboards.is_absent_when_healthy(target):
        expr = dashboards.promql_of(target)
        assert not dashboards.prometheus_has_data(target, expr, trace_id)
    dashboards.assert_has_data(target, trace_id)


@pytest.mark.parametrize("target", dashboards.targets_with_exemplars())
def test_a_panel_has_exemplars(target: Target, trace_id: str) -> None:
    """A panel query with exemplars returns some, and each of them has a trace id."""
    dashboards.assert_has_exemplars(target, trace_id)


def test_variables_have_values(trace_id: str) -> None:
    """Each dashboard variable offers both services, unless it is a text field."""
    assert trace_id
    dashboards.assert_variables_have_values()
