"""``demo verify`` before it buys: it waits until shop and backends are there, and says who is not."""

import asyncio
from typing import cast

import httpx2
import pytest

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.verify import checks, verify


class Starting:
    """Backends that are not there at first."""

    def __init__(self, *answers: dict[str, str]) -> None:
        """Say one answer after the other, then the last one again."""
        self.answers = list(answers)

    async def health(self) -> dict[str, str]:
        """The next answer."""
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "POLL_SECONDS", 0)
    monkeypatch.setattr(verify, "READY_SECONDS", 0.2)


def shop_answers(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Put a shop there that answers ``status``."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(status))
    monkeypatch.setattr(
        checkout_client,
        "client",
        lambda _=1: httpx2.AsyncClient(base_url="http://shop", transport=transport),
    )


def test_it_waits_until_everybody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that is not up is asked again, and the wait ends when all are."""
    shop_answers(monkeypatch, 200)
    backends = Starting({"store": "starting", "other": ""}, {"store": "", "other": ""})
    asyncio.run(verify.ready(cast("Backends", backends)))
    assert backends.answers == [{"store": "", "other": ""}]


def test_who_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its patience everybody who is missing is named, with what they said and which log to read."""
    shop_answers(monkeypatch, 503)
    with pytest.raises(BackendError) as error:
        asyncio.run(verify.ready(cast("Backends", Starting({"store": "refused", "other": ""}))))
    first, second = str(error.value).splitlines()
    assert first.startswith("checkout is not ready: http://shop")
    assert "503" in first
    assert second == "store is not ready: refused (see: demo status, demo logs store)"
