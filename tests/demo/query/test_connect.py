"""Tests of the detection of the running mode, which decides where telemetry is queried."""

import pytest

from three_pillar_demo.query import connect
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import state
from three_pillar_demo.stack.state import Process, Run


@pytest.mark.parametrize(
    ("recorded_mode", "variables", "tempo_listens", "mode"),
    [
        (None, {}, False, "local"),
        (None, {}, True, "compose"),
        (None, {"TEMPO_HOST": "tempo"}, False, "compose"),
        (None, {"TEMPO_HOST": "tempo", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False, "kubernetes"),
        # A container for development, in which somebody has started compose or the launcher.
        (None, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True, "compose"),
        ("full", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True, "full"),
    ],
)
def test_the_mode_is_recognised_where_none_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
    recorded_mode: str | None,
    variables: dict[str, str],
    *,
    tempo_listens: bool,
    mode: str,
) -> None:
    """Kubernetes is told from compose by the variable that it sets in each of its containers."""
    monkeypatch.setattr(state, "mode", lambda: recorded_mode)
    monkeypatch.setattr(connect, "_accepts_connections", lambda _: tempo_listens)
    for name in ("TEMPO_HOST", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connect.running_mode() == mode


@pytest.mark.parametrize(
    ("recorded_mode", "tempo_host", "tempo_listens", "backends_type"),
    [
        ("local", "tempo", True, LocalBackends),
        ("view", "tempo", True, LocalBackends),
        ("full", "", False, LgtmBackends),
        (None, "tempo", False, LgtmBackends),
        (None, "", True, LgtmBackends),
        (None, "", False, LocalBackends),
    ],
)
def test_the_backends_of_the_running_stack_are_chosen(
    monkeypatch: pytest.MonkeyPatch,
    recorded_mode: str | None,
    tempo_host: str,
    *,
    tempo_listens: bool,
    backends_type: type,
) -> None:
    """The launcher's record decides the backends; without it, TEMPO_HOST or Tempo's port does."""
    monkeypatch.setattr(state, "mode", lambda: recorded_mode)
    monkeypatch.setattr(connect, "_accepts_connections", lambda _: tempo_listens)
    if tempo_host:
        monkeypatch.setenv("TEMPO_HOST", tempo_host)
    else:
        monkeypatch.delenv("TEMPO_HOST", raising=False)
    assert type(connect.create_backends()) is backends_type


@pytest.mark.parametrize(
    ("recorded", "variable", "is_sampled"),
    [
        (None, None, False),
        (None, "10", True),
        (None, "100", False),
        (None, " ", False),
        ({}, "10", False),
        ({"TAIL_SAMPLING_PERCENTAGE": "99.5"}, "100", True),
        ({"TAIL_SAMPLING_PERCENTAGE": "100"}, "10", False),
    ],
)
def test_sampling_is_known_from_the_launcher_or_the_variable(
    monkeypatch: pytest.MonkeyPatch,
    recorded: dict[str, str] | None,
    variable: str | None,
    *,
    is_sampled: bool,
) -> None:
    """The launcher's record says whether traces are sampled; without a launcher, the variable."""
    run = None
    if recorded is not None:
        run = Run(Process(1, 0.0), 0.0, "cluster", tail_sampling=recorded)
    monkeypatch.setattr(state, "running", lambda: run)
    monkeypatch.delenv("TAIL_SAMPLING_PERCENTAGE", raising=False)
    if variable is not None:
        monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", variable)
    assert connect.samples_traces() is is_sampled
