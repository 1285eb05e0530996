"""Who answers, asked from outside: the addresses are the components' own, and nobody who is down harms the rest."""

import asyncio

import httpx2
import pytest

from three_pillar_demo.stack import health
from three_pillar_demo.stack.components import MODES


def test_the_addresses_are_the_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Natively everybody is where the list has them; in compose under their own names, Grafana too."""
    for name in ("PAYMENT_HOST", "GRAFANA_HOST"):
        monkeypatch.delenv(name, raising=False)
    for mode, components in MODES.items():
        assert health.addresses(mode) == {each.name: each.ready_url for each in components}
    monkeypatch.setenv("PAYMENT_HOST", "payment")
    monkeypatch.setenv("GRAFANA_HOST", "grafana")
    compose = health.addresses("compose")
    assert compose["payment"] == "http://payment:8001/healthz"
    assert compose["grafana"] == "http://grafana:3000/api/health"
    assert {each.name for each in MODES["full"]} <= compose.keys()


def test_a_problem_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who refuses, breaks or hangs has a problem in words; who answers has none."""
    monkeypatch.setattr(health, "TIMEOUT", 0.05)
    monkeypatch.setattr(
        health,
        "addresses",
        lambda _mode: {name: f"http://{name}/" for name in ("well", "ill", "gone", "mute")},
    )

    async def say(request: httpx2.Request) -> httpx2.Response:
        match request.url.host:
            case "gone":
                raise httpx2.ConnectError("refused", request=request)
            case "mute":
                await asyncio.Event().wait()
        return httpx2.Response(503 if request.url.host == "ill" else 200)

    async def look() -> dict[str, str]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(say)) as http:
            return await health.problems(http, "local")

    assert asyncio.run(look()) == {
        "well": "",
        "ill": "answers 503",
        "gone": "refused",
        "mute": "no answer within 0.05 s",
    }
