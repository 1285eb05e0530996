"""The load of a rehearsal addresses loopback only, is limited, and records every request."""

import asyncio
from pathlib import Path

import pytest

from tests.processes import InMemoryCollector, running_shop
from three_pillar_demo.chaos import load as load_module
from three_pillar_demo.chaos.load import Load, Phase, Request
from three_pillar_demo.verify.check import poll_until


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example:8000",
        "http://10.0.0.1:8000",
        "http://127.0.0.1.example",
        "127.0.0.1:8000",
    ],
)
def test_only_loopback_is_loaded(url: str) -> None:
    """A load on a URL that is not on loopback is refused before any request is sent."""
    with pytest.raises(ValueError, match="not on the loopback"):
        Load(url, "run")


@pytest.mark.parametrize("rate", [0.0, -1.0, 51.0, float("nan"), float("inf")])
def test_the_rate_is_limited(rate: float) -> None:
    """A rate over 50 requests a second, or one that is not a positive number, is refused."""
    with pytest.raises(ValueError, match="up to 50 a second"):
        Load("http://127.0.0.1:8000", "run", rate)


def test_the_number_of_requests_is_limited(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load ends after ``MAX_REQUESTS``, and requests to a closed port count as refused."""
    monkeypatch.setattr(load_module, "MAX_REQUESTS", 5)
    load = Load(f"http://127.0.0.1:{closed_port}", "run", 50)
    asyncio.run(load.send(asyncio.Event()))
    order_ids = sorted(request.order_id for request in load.requests)
    assert order_ids == ["run-0", "run-1", "run-2", "run-3", "run-4"]
    assert all(request.refused and not request.failed for request in load.requests)
    assert load.purchases == []


def test_requests_are_recorded_with_their_phase(
    tmp_path: Path, collector: InMemoryCollector
) -> None:
    """Each request is recorded with its phase, also one that is in flight when the load stops."""

    async def send_in_two_phases(load: Load) -> None:
        stop = asyncio.Event()
        sending = asyncio.create_task(load.send(stop))

        async def has_requests(phase: Phase) -> bool:
            return any(request.phase == phase for request in load.requests)

        assert await poll_until(lambda: has_requests("warm-up"))
        load.phase = "fault"
        assert await poll_until(lambda: has_requests("fault"))
        stop.set()
        await sending

    with running_shop(tmp_path, collector.url) as (checkout, _):
        load = Load(checkout.url, "run", 50)
        asyncio.run(asyncio.wait_for(send_in_two_phases(load), 60))
    assert {request.phase for request in load.requests} == {"warm-up", "fault"}
    assert len({purchase.trace_id for purchase in load.purchases}) == len(load.requests)
    assert load.p99("fault") > 0


def test_a_refused_request_has_not_failed() -> None:
    """A request that was accepted but not answered counts as failed, and a refused one does not."""
    assert Request("steady", "run-1", 1.0, problem="ReadError").failed
    assert not Request("steady", "run-1", 1.0, problem="refused").failed
