"""Who is asked: as the stack that runs was started, else whoever is there."""

import pytest

from three_pillar_demo.query import connect
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.stack import state


@pytest.mark.parametrize(
    ("mode", "tempo_host", "listens", "asked"),
    [
        ("local", "tempo", True, LocalBackends),
        ("full", "", False, LgtmBackends),
        (None, "tempo", False, LgtmBackends),
        (None, "", True, LgtmBackends),
        (None, "", False, LocalBackends),
    ],
)
def test_the_stack_that_runs_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
    tempo_host: str,
    *,
    listens: bool,
    asked: type,
) -> None:
    """A launcher's note decides; without one, compose's tools container and its published ports do."""
    monkeypatch.setattr(state, "mode", lambda: mode)
    monkeypatch.setattr(connect, "_accepts_connections", lambda _: listens)
    if tempo_host:
        monkeypatch.setenv("TEMPO_HOST", tempo_host)
    else:
        monkeypatch.delenv("TEMPO_HOST", raising=False)
    assert type(connect.create_backends()) is asked
