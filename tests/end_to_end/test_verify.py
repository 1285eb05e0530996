"""``demo verify`` on a running stack: it passes, and it fails if telemetry is missing."""

import asyncio
import dataclasses
import json
import secrets
import subprocess
from typing import Any

import pytest

from tests.end_to_end.conftest import DEMO, FULL, Stack, wait_until
from tests.end_to_end.test_links import LINKS
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.stack import ports
from three_pillar_demo.verify import check as check_module
from three_pillar_demo.verify import ledger
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces


def verdicts(output: str) -> dict[str, bool | None]:
    """Return whether each check passed, by the name of the check; None if it was not judged."""
    report: dict[str, Any] = json.loads(output)
    return {check["name"]: check["passed"] for check in report["checks"]}


async def _ignore(_purchase: Purchase) -> None:
    pass


def test_every_purchase_is_complete_in_all_three_pillars(stack: Stack) -> None:
    """``demo verify`` finds all telemetry of each outcome, and prints how fresh it is."""
    report = json.loads(stack.demo("verify", "--checkouts", "40", "--json").stdout)
    assert report["passed"]
    by_name = {check["name"]: check for check in report["checks"]}
    assert [name for name, check in by_name.items() if check["passed"]] == [
        "purchases",
        "traces",
        "logs",
        "metrics",
        "exemplars",
        *(LINKS if FULL else ()),  # the local stack has no Grafana
    ]
    for outcome in (
        "success",
        "declined",
        "gateway_timeout",
        "payment_slow",
        "payment_crashed",
        "invalid",
    ):
        assert outcome in by_name["purchases"]["figures"]
    assert {"fresh: trace by id", "fresh: search", "fresh: log", "fresh: metric"} < by_name.keys()


def test_counters_are_exact_with_two_workers(stack: Stack) -> None:
    """With two workers, each with its own ``service.instance.id``, the counters are exact."""
    stack.down()
    stack.up(CHECKOUT_WORKERS="2", PAYMENT_WORKERS="2")
    assert json.loads(stack.demo("verify", "--checkouts", "40", "--json").stdout)["passed"]
    stack.down()
    stack.up()


def test_a_purchase_without_telemetry_is_named(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purchase whose telemetry is missing fails every check, and its trace id is named."""
    assert stack
    monkeypatch.setattr(check_module, "TIMEOUT_S", 1.0)

    async def verify() -> list[Check]:
        async with stack.backends() as backends:
            counters_before = await read_counters(backends)
            bought = await ledger.fill(3, 10, _ignore)
            ghost = dataclasses.replace(
                bought.purchases[0], trace_id=secrets.token_hex(16), status=299, outcome="success"
            )
            bought.purchases.append(ghost)
            logs, _ = await check_logs(backends, bought)
            traces = await check_traces(backends, bought)
            metrics = await check_metrics(backends, bought, counters_before, set())
            exemplars = await check_exemplars(backends, bought)
        assert all(
            any(ghost.trace_id in line for line in check.problems) for check in (logs, traces)
        )
        return [traces, logs, metrics, exemplars]

    assert [check.passed for check in asyncio.run(verify())] == [False] * 4


def test_other_traffic_is_noticed(stack: Stack) -> None:
    """During other traffic, the counters are not judged, and all other checks still pass."""
    other_traffic = subprocess.Popen(
        [*DEMO, "traffic", "--rate", "3", "--for", "60s"],
        env=stack.environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: "checkout" in stack.demo("logs", "checkout").stdout,
            "the first request of the other traffic",
        )
        passed = verdicts(stack.demo("verify", "--checkouts", "12", "--json").stdout)
    finally:
        other_traffic.terminate()
        other_traffic.wait(30)
    assert passed["metrics"] is None
    assert passed["traces"] is passed["logs"] is passed["exemplars"] is True


def test_a_freshness_limit_can_fail(stack: Stack) -> None:
    """``--max-freshness`` fails a backend in which data takes longer to appear than the limit."""
    result = stack.demo(
        "verify", "--checkouts", "10", "--max-freshness", "0.001", "--json", check=False
    )
    assert result.returncode == 1
    assert verdicts(result.stdout)["fresh: log"] is False


def test_without_a_stack_there_is_one_error_line(stack: Stack) -> None:
    """If checkout cannot be reached, ``demo`` prints one clear line and exits with code 1."""
    result = stack.demo("checkout", check=False, env={"CHECKOUT_HOST": "127.0.0.9"})
    assert result.returncode == 1
    assert f"checkout at http://127.0.0.9:{ports.CHECKOUT.number}" in result.stderr
    assert "Traceback" not in result.stderr
