"""Tests that ``demo verify`` waits until checkout and the backends are ready."""

import asyncio
from typing import cast

import httpx2
import pytest

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.verify import check, verify


class Starting:
    """Backends whose health checks give scripted answers."""

    def __init__(self, *answers: dict[str, str]) -> None:
        """Give ``answers`` in turn, and the last one for ever."""
        self.answers = list(answers)

    async def health(self) -> dict[str, str]:
        """Return the next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "POLL_INTERVAL_S", 0)
    monkeypatch.setattr(verify, "READY_TIMEOUT_S", 0.2)


def set_checkout_status(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Replace checkout by one that always answers ``status``."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status))
    monkeypatch.setattr(
        checkout_client,
        "client",
        lambda _=1: httpx2.AsyncClient(base_url="http://shop", transport=transport),
    )


def test_it_waits_until_every_component_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that is not ready is polled, and the wait ends when all are ready."""
    set_checkout_status(monkeypatch, 200)
    backends = Starting({"store": "starting", "other": ""}, {"store": "", "other": ""})
    asyncio.run(verify.wait_until_ready(cast("Backends", backends)))
    assert backends.answers == [{"store": "", "other": ""}]


def test_a_component_that_is_not_ready_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time limit, each component that is not ready is named with its problem."""
    set_checkout_status(monkeypatch, 503)
    with pytest.raises(BackendError) as error:
        asyncio.run(
            verify.wait_until_ready(cast("Backends", Starting({"store": "refused", "other": ""})))
        )
    checkout_line, backend_line = str(error.value).splitlines()
    assert checkout_line.startswith("checkout is not ready: http://shop")
    assert "503" in checkout_line
    assert backend_line == "store is not ready: refused (see: demo status, demo logs store)"
