"""The load of a rehearsal: on this machine alone, bounded, and with a note on each customer."""

import asyncio
from pathlib import Path

import pytest

from tests.processes import Sink, shop
from three_pillar_demo.chaos import load as loading
from three_pillar_demo.chaos.load import Load, Visit
from three_pillar_demo.verify.checks import poll_until


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example:8000",
        "http://10.0.0.1:8000",
        "http://127.0.0.1.example",
        "127.0.0.1:8000",
    ],
)
def test_it_loads_nobody_else(url: str) -> None:
    """An address that is not on the loopback is refused before anybody is sent."""
    with pytest.raises(ValueError, match="not on the loopback"):
        Load(url, "run")


@pytest.mark.parametrize("rate", [0.0, -1.0, 51.0, float("nan"), float("inf")])
def test_it_is_bounded_in_its_rate(rate: float) -> None:
    """More than 50 customers a second, and no rate at all, are refused."""
    with pytest.raises(ValueError, match="up to 50 a second"):
        Load("http://127.0.0.1:8000", "run", rate)


def test_it_is_bounded_in_number(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to stop it: it ends with its last customer, and each who found the door closed is noted as turned away."""
    monkeypatch.setattr(loading, "MOST", 5)
    load = Load(f"http://127.0.0.1:{closed_port}", "run", 50)
    asyncio.run(load.come(asyncio.Event()))
    assert [each.order_id for each in sorted(load.visits, key=lambda visit: visit.order_id)] == [
        f"run-{n}" for n in range(5)
    ]
    assert all(each.turned_away and not each.error for each in load.visits)
    assert load.purchases == []


def test_each_customer_is_noted_with_the_phase_they_came_in(tmp_path: Path, sink: Sink) -> None:
    """Purchases are kept with their trace ids; a stop waits for those under way."""

    async def play(load: Load) -> None:
        stop = asyncio.Event()
        coming = asyncio.create_task(load.come(stop))

        async def came(phase: str) -> bool:
            return any(each.phase == phase for each in load.visits)

        assert await poll_until(lambda: came("warming"))
        load.phase = "broken"
        assert await poll_until(lambda: came("broken"))
        stop.set()
        await coming

    with shop(tmp_path, sink.url) as (checkout, _):
        load = Load(checkout.url, "run", 50)
        asyncio.run(asyncio.wait_for(play(load), 60))
    assert {each.phase for each in load.visits} == {"warming", "broken"}
    assert len({each.trace_id for each in load.purchases}) == len(load.visits)
    assert load.p99("broken") > 0


def test_who_is_an_error() -> None:
    """No answer after the door had opened is the shop's fault; a closed door is not a request under way."""
    assert Visit("steady", "run-1", 1.0, problem="ReadError").error
    assert not Visit("steady", "run-1", 1.0, problem="refused").error
