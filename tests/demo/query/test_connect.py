"""Tests of the detection of the running mode, which decides where telemetry is queried."""

import pytest

from three_pillar_demo.query import connect
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import state


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
