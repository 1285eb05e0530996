"""``demo verify`` behind an agent and a gateway that samples traces."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.demo.local_store.stores import StoreProcess
from tests.deploy.tiers import run_agent, run_gateway
from tests.processes import serve
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.verify import check as check_module
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.verify import verify_with

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

SHARE = {"TAIL_SAMPLING_PERCENTAGE": "30"}
PURCHASES = 60
RATE = 15.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    """The local store in place of all backends."""
    process = StoreProcess(tmp_path / "data")
    process.start()
    yield process
    process.stop(signal.SIGKILL)


@pytest.fixture
def sampled_shop(
    store: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StoreProcess]:
    """The services behind an agent and a gateway; the gateway sends to the store."""
    with ExitStack() as stack:
        gateway = stack.enter_context(run_gateway(tmp_path, store.url, **SHARE))
        agent = stack.enter_context(run_agent(tmp_path, [gateway]))
        payment = stack.enter_context(serve("payment", tmp_path, agent.url, **SHARE))
        checkout = stack.enter_context(
            serve("checkout", tmp_path, agent.url, CHECKOUT_PAYMENT_URL=payment.url, **SHARE)
        )
        monkeypatch.setenv("CHECKOUT_PORT", checkout.url.rpartition(":")[2])
        yield store


def run_verify(store: StoreProcess) -> tuple[list[Check], Ledger]:
    """Run the checks of ``demo verify`` on the store."""

    async def verify() -> tuple[list[Check], Ledger]:
        async with LocalBackends(store.path, store.url) as backends:
            return await verify_with(backends, PURCHASES, RATE, None, lambda _: None)

    return asyncio.run(verify())


def test_verify_knows_the_sampling(
    sampled_shop: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rule of the gateway every check passes; without it the dropped traces are missed."""
    for name, value in SHARE.items():
        monkeypatch.setenv(name, value)
    checks, ledger = run_verify(sampled_shop)
    problems = {check.name: check.problems for check in checks if check.problems}
    assert problems == {}
    assert ledger.dropped, "without a dropped trace this test would prove nothing"
    traces = next(check for check in checks if check.name == "traces")
    assert traces.figures.endswith(f"; {len(ledger.dropped)} sampled out")

    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", "100")
    monkeypatch.setattr(check_module, "TIMEOUT_S", 5.0)
    checks, _ = run_verify(sampled_shop)
    traces = next(check for check in checks if check.name == "traces")
    assert any("not in the local store" in problem for problem in traces.problems)
