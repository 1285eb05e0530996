"""The number that a condition compares is computed over the right time."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, cast

import pytest

from three_pillar_demo.drills import choice, evidence, runner, runner_process, session
from three_pillar_demo.drills.catalogue import load
from three_pillar_demo.drills.evidence import Baseline
from three_pillar_demo.query.interface import Backends, RedSample
from three_pillar_demo.stack.state import current_process
from three_pillar_demo.web.resolution import RESOLUTIONS

DRILL = load("lost-sales")


class RedBackends:
    """Backends with the same figures of each route, which keep the window of each query."""

    def __init__(self, errors: float) -> None:
        """Answer with the share ``errors`` of failed requests."""
        self.errors = errors
        self.windows: list[float] = []

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close nothing."""

    async def red(self, *_: object, window: float, **_options: object) -> list[RedSample]:
        """Return one sample."""
        self.windows.append(window)
        return [RedSample(time.time(), 8.0, self.errors, (0.1, 0.2, 0.3))]


def test_a_check_looks_at_the_time_of_the_fault() -> None:
    """Without another window, the figures of a route are those since the fault began."""
    backends = RedBackends(0.5)
    baseline = Baseline(time.time() - 100)
    value = asyncio.run(evidence.evaluate(cast("Backends", backends), baseline, DRILL.symptom))
    assert value == 0.5
    assert backends.windows[0] >= 100


def test_a_player_is_paged_by_the_figures_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figure that pages a player is over the window of the charts, and so is found there."""
    monkeypatch.setattr(session, "SESSION_FILE", tmp_path / "session.json")
    monkeypatch.setattr(session, "LOCK_FILE", tmp_path / "session.lock")
    monkeypatch.setattr(runner_process, "SHOWN_AFTER_S", 0.0)
    backends = RedBackends(0.5)

    @asynccontextmanager
    async def running(*_: Any) -> AsyncIterator[runner.ActiveDrill]:  # noqa: ANN401  (unused)
        yield runner.ActiveDrill(DRILL, cast("Backends", backends), Baseline(time.time() - 5))

    monkeypatch.setattr(runner, "running", running)
    session.begin(DRILL.name, current_process(), blind=False)
    over = asyncio.Event()
    over.set()
    asyncio.run(runner_process.play(DRILL, cast("Backends", backends), 0, over))
    current = session.latest()
    assert current
    assert current.paged_at
    assert backends.windows == [RESOLUTIONS[5].window]


def test_the_window_is_that_of_the_charts() -> None:
    """The drills know the window of the charts that the page shows at first, and their step."""
    assert RESOLUTIONS[5].step <= runner_process.SHOWN_AFTER_S - 1
    assert RESOLUTIONS[5].window == choice.RATE_WINDOW_S
