"""``demo verify`` on a whole stack: it passes when all is there, and notices when something is not."""

import asyncio
import dataclasses
import json
import secrets
import subprocess
from typing import Any

from tests.end_to_end.conftest import DEMO, FULL, Stack, wait_until
from tests.end_to_end.test_links import SIX
from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.verify import check, ledger
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import check_metrics, read_counters
from three_pillar_demo.verify.trace_check import check_traces


def verdicts(said: str) -> dict[str, bool | None]:
    """By name: passed, failed or not judged."""
    found: dict[str, Any] = json.loads(said)
    return {check["name"]: check["passed"] for check in found["checks"]}


async def _bought(_purchase: Purchase) -> None:
    pass


def test_every_purchase_is_whole_in_all_three_pillars(stack: Stack) -> None:
    """Every outcome's spans, lines, counts and exemplars are found, and its freshness is reported."""
    found = json.loads(stack.demo("verify", "--checkouts", "40", "--json").stdout)
    assert found["passed"]
    by_name = {check["name"]: check for check in found["checks"]}
    assert [name for name, check in by_name.items() if check["passed"]] == [
        "purchases",
        "traces",
        "logs",
        "metrics",
        "exemplars",
        *(SIX if FULL else ()),  # the links are Grafana's
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


def test_with_two_workers_for_each_service(stack: Stack) -> None:
    """Counters stay exact when several processes count: each sends its own, told apart by service.instance.id."""
    stack.down()
    stack.up(CHECKOUT_WORKERS="2", PAYMENT_WORKERS="2")
    assert json.loads(stack.demo("verify", "--checkouts", "40", "--json").stdout)["passed"]
    stack.down()
    stack.up()


def test_a_purchase_that_left_no_trace_is_named(stack: Stack) -> None:
    """A purchase in the ledger that no pillar knows fails every proof, by its id."""
    assert stack
    checks_seconds, check.TIMEOUT_S = check.TIMEOUT_S, 1.0

    async def prove() -> list[Check]:
        async with stack.backends() as backends:
            before = await read_counters(backends)
            bought = await ledger.fill(3, 10, _bought)
            ghost = dataclasses.replace(
                bought.purchases[0], trace_id=secrets.token_hex(16), status=299, outcome="success"
            )
            bought.purchases.append(ghost)
            in_logs, _ = await check_logs(backends, bought)
            in_traces = await check_traces(backends, bought)
            in_metrics = await check_metrics(backends, bought, before, set())
            in_exemplars = await check_exemplars(backends, bought)
        assert all(
            any(ghost.trace_id in each for each in check.missing) for check in (in_logs, in_traces)
        )
        return [in_traces, in_logs, in_metrics, in_exemplars]

    try:
        assert [check.passed for check in asyncio.run(prove())] == [False] * 4
    finally:
        check.TIMEOUT_S = checks_seconds


def test_other_customers_are_noticed(stack: Stack) -> None:
    """With other customers in the shop the counters cannot be judged, and it says so; the rest is proven all the same."""
    others = subprocess.Popen(
        [*DEMO, "traffic", "--rate", "3", "--for", "60s"],
        env=stack.environment(),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(
            lambda: "checkout" in stack.demo("logs", "checkout").stdout, "the first of the others"
        )
        found = verdicts(stack.demo("verify", "--checkouts", "12", "--json").stdout)
    finally:
        others.terminate()
        others.wait(30)
    assert found["metrics"] is None
    assert found["traces"] is found["logs"] is found["exemplars"] is True


def test_a_limit_on_freshness_can_fail_it(stack: Stack) -> None:
    """``--max-freshness`` makes a slow pillar a failure, named with its figure."""
    said = stack.demo(
        "verify", "--checkouts", "10", "--max-freshness", "0.001", "--json", check=False
    )
    assert said.returncode == 1
    assert verdicts(said.stdout)["fresh: log"] is False


def test_without_a_stack_it_says_which_part_is_missing(stack: Stack) -> None:
    """A shop that is not there is one clear line and a non-zero exit, not a traceback."""
    said = stack.demo("checkout", check=False, env={"CHECKOUT_HOST": "127.0.0.9"})
    assert said.returncode == 1
    assert "checkout at http://127.0.0.9:8000" in said.stderr
    assert "Traceback" not in said.stderr
