"""Tests of the health checks of components: their addresses, and the problems they report."""

import asyncio
import time

import httpx2
import pytest

from three_pillar_demo.stack import health, ports, state
from three_pillar_demo.stack.components import MODES


def test_addresses_are_those_of_the_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Native components are checked on loopback, those in compose at their host names."""
    for name in ("PAYMENT_HOST", "GRAFANA_HOST"):
        monkeypatch.delenv(name, raising=False)
    for mode, components in MODES.items():
        assert health.addresses(mode) == {
            component.name: component.ready_url for component in components
        }
    monkeypatch.setenv("PAYMENT_HOST", "payment")
    monkeypatch.setenv("GRAFANA_HOST", "grafana")
    compose = health.addresses("compose")
    assert compose["payment"] == f"http://payment:{ports.PAYMENT.number}/healthz"
    assert compose["grafana"] == f"http://grafana:{ports.GRAFANA.number}/api/health"
    assert {component.name for component in MODES["full"]} <= compose.keys()


def test_recent_exits_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exits of the last minutes, and a component that stays down, are described with the reason."""
    now = time.time()
    tail = "    starting\n    disk full"
    run = state.Run(state.current_process(), now, "local")
    run.exits = {
        "store": state.UnexpectedExits(1, now, "exited with code 3 after 2 s", tail),
        "web": state.UnexpectedExits(2, now - 2 * health.EXIT_SHOWN_S, "exited", tail),
        "payment": state.UnexpectedExits(
            5, now - 2 * health.EXIT_SHOWN_S, "was terminated by SIGKILL", tail, gave_up=True
        ),
    }
    monkeypatch.setattr(state, "running", lambda: run)
    exits = health.recent_exits()
    assert exits.keys() == {"store", "payment"}
    assert exits["store"].startswith("has exited unexpectedly once; at ")
    assert exits["store"].endswith(" it exited with code 3 after 2 s. Its last log line: disk full")
    assert exits["payment"].startswith("has exited unexpectedly 5 times; at ")
    assert "SIGKILL. It stays down; `demo start payment` starts it again. Its" in exits["payment"]
    monkeypatch.setattr(state, "running", lambda: None)
    assert health.recent_exits() == {}


def test_problems_are_returned_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component that refuses, fails or hangs gets a problem text, and a healthy one none."""
    monkeypatch.setattr(health, "TIMEOUT_S", 0.05)
    names = ("healthy", "failing", "refusing", "hanging")
    monkeypatch.setattr(
        health, "addresses", lambda _mode: {name: f"http://{name}/" for name in names}
    )

    async def respond(request: httpx2.Request) -> httpx2.Response:
        match request.url.host:
            case "refusing":
                raise httpx2.ConnectError("refused", request=request)
            case "hanging":
                await asyncio.Event().wait()
        return httpx2.Response(503 if request.url.host == "failing" else 200)

    async def problems() -> dict[str, str]:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(respond)) as http:
            return await health.problems(http, "local")

    assert asyncio.run(problems()) == {
        "healthy": "",
        "failing": "answers 503",
        "refusing": "refused",
        "hanging": health.NO_ANSWER_IN_TIME,
    }
