"""``demo verify`` under tail sampling: what is kept must be whole, and what is dropped is away."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from services.common.tail_sampling import TailSamplingSettings
from tests.demo.verify.test_checks import PreparedBackends, ledger
from tests.traces import exemplar, slow
from three_pillar_demo.query.interface import Backends
from three_pillar_demo.sampling_settings import SamplingSettings
from three_pillar_demo.stack import state
from three_pillar_demo.stack.state import CLUSTER_MODE, Process, Run
from three_pillar_demo.verify import check as check_module
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.freshness import Freshness
from three_pillar_demo.verify.ledger import Ledger, exemplar_series
from three_pillar_demo.verify.outcomes import EXPECTED
from three_pillar_demo.verify.sampling import Sampling, load_sampling
from three_pillar_demo.verify.trace_check import check_traces
from three_pillars import ConfigurationError

VARIABLES = ("TAIL_SAMPLING_PERCENTAGE", "TAIL_SAMPLING_HASH_SALT", "TAIL_SAMPLING_SLOW_MS")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "TIMEOUT_S", 0.0)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


class Share:
    """A rule that keeps the trace ids in ``kept``, and what failed."""

    def __init__(self, *kept: str) -> None:
        self.kept = {int(trace_id, 16) for trace_id in kept}

    def is_kept(self, trace_id: int, status: int, seconds: float) -> bool:
        """Return whether the trace is kept."""
        return status >= 500 or seconds > 1 or trace_id in self.kept


def sampled(run_ledger: Ledger, *kept: str) -> Ledger:
    """Return the ledger of a run whose gateways keep the trace ids in ``kept``, and failures."""
    run_ledger.sampling = Sampling(Share(*kept), slow_s=1.0)
    return run_ledger


def backends(*, has_trace: bool = True) -> PreparedBackends:
    """Return backends that have the trace of ``slow()``, or none."""
    return PreparedBackends(slow().spans) if has_trace else PreparedBackends()


def test_the_variables_are_those_of_the_services() -> None:
    """``demo verify`` and the services read the same variables, with the same values allowed."""
    services = TailSamplingSettings.model_json_schema()["properties"]
    assert SamplingSettings.model_json_schema()["properties"] == services


def test_without_the_variable_everything_is_kept() -> None:
    """Without ``TAIL_SAMPLING_PERCENTAGE`` every purchase must have its whole trace."""
    run_ledger = ledger(("success", 200))
    run_ledger.sampling = load_sampling()
    assert run_ledger.kept == run_ledger.purchases
    assert run_ledger.dropped == []


def test_the_variables_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a share of 0 only failures are kept, and with 100 everything."""
    run_ledger = ledger(("success", 200), ("payment_slow", 504))
    for percentage, kept in (("0", 1), ("100", 2)):
        monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", percentage)
        run_ledger.sampling = load_sampling()
        assert len(run_ledger.kept) == kept
    assert run_ledger.sampling.slow_s == 1.0


def test_a_wrong_share_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A share over 100 percent is refused with the name of the variable."""
    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", "101")
    with pytest.raises(ConfigurationError, match="TAIL_SAMPLING_PERCENTAGE"):
        load_sampling()


def test_the_running_cluster_says_what_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher of a cluster has recorded the variables, so no command needs them."""
    recorded = {"TAIL_SAMPLING_PERCENTAGE": "0", "TAIL_SAMPLING_SLOW_MS": "2000"}
    run = Run(Process(1, 0.0), 0.0, CLUSTER_MODE, tail_sampling=recorded)
    monkeypatch.setattr(state, "running", lambda: run)
    run_ledger = ledger(("success", 200), ("payment_slow", 504))
    run_ledger.sampling = load_sampling()
    assert len(run_ledger.kept) == 1
    assert run_ledger.sampling.slow_s == 2.0
    monkeypatch.setenv("TAIL_SAMPLING_SLOW_MS", "2000")
    assert load_sampling().slow_s == 2.0


def test_another_share_than_that_of_the_cluster_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that differs from the running cluster is refused in one line with both values."""
    recorded = {"TAIL_SAMPLING_PERCENTAGE": "10"}
    run = Run(Process(1, 0.0), 0.0, CLUSTER_MODE, tail_sampling=recorded)
    monkeypatch.setattr(state, "running", lambda: run)
    monkeypatch.setenv("TAIL_SAMPLING_PERCENTAGE", "30")
    with pytest.raises(ConfigurationError) as refused:
        load_sampling()
    assert str(refused.value) == (
        "TAIL_SAMPLING_PERCENTAGE=30: the running stack has 10; unset the variable"
    )


def test_a_kept_trace_must_be_whole() -> None:
    """A failed purchase is kept, so its trace must be stored with all its spans."""
    run_ledger = sampled(ledger(("payment_slow", 504), trace_id=slow().trace_id))
    passed = asyncio.run(check_traces(cast("Backends", backends()), run_ledger))
    assert (passed.passed, passed.figures) == (
        True,
        "1 of 1 whole in the trace store, 4 spans; 0 sampled out",
    )
    missing = asyncio.run(check_traces(cast("Backends", backends(has_trace=False)), run_ledger))
    assert missing.problems == [f"{slow().trace_id}: not in the trace store"]


def test_every_failure_has_the_status_of_one() -> None:
    """An outcome with a span of status ERROR has a status by which its trace is kept."""
    assert all(expected.status >= 500 for expected in EXPECTED.values() if expected.errors)


def test_a_dropped_trace_is_not_expected() -> None:
    """A successful purchase outside of the share needs no trace, and is counted as sampled out."""
    run_ledger = sampled(ledger(("success", 200), trace_id=slow().trace_id))
    check = asyncio.run(check_traces(cast("Backends", backends(has_trace=False)), run_ledger))
    assert (check.passed, check.figures) == (
        True,
        "0 of 0 whole in the trace store, 0 spans; 1 sampled out",
    )


def test_gateways_with_another_rule_are_found() -> None:
    """A trace that the rule drops, but that is stored, is named, with the variables to compare."""
    run_ledger = sampled(ledger(("success", 200), trace_id=slow().trace_id))
    check = asyncio.run(check_traces(cast("Backends", backends()), run_ledger))
    assert not check.passed
    assert f"{slow().trace_id}: stored, though the rule drops it" in check.problems[0]
    assert "TAIL_SAMPLING_*" in check.problems[0]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_purchase_that_may_be_slow_enough_may_be_kept(*, is_stored: bool) -> None:
    """Near the threshold only the Collector knows: the trace may be missing, but not incomplete."""
    run_ledger = sampled(ledger(("success", 200), trace_id=slow().trace_id))
    (purchase,) = run_ledger.purchases
    run_ledger.purchases[0] = replace(purchase, started=purchase.finished - 1.1)
    assert run_ledger.dropped == []
    check = asyncio.run(check_traces(cast("Backends", backends(has_trace=is_stored)), run_ledger))
    # The stored trace is that of another outcome, so it is no whole trace of this one.
    assert check.passed == (not is_stored)


def test_exemplars_are_expected_of_kept_traces_only() -> None:
    """A status of which no trace is kept needs no exemplar; that of a failure needs one."""
    failed = slow().trace_id
    run_ledger = sampled(ledger(("payment_slow", 504), trace_id=failed))
    run_ledger.purchases += ledger(("success", 200), ("declined", 402)).purchases
    assert exemplar_series(run_ledger) == {("/checkout", "504")}
    store = backends()
    store.prepared_exemplars = [exemplar("checkout", "/checkout", 504, "2.5", 2.0)]
    assert asyncio.run(check_exemplars(cast("Backends", store), run_ledger)).passed
    in_share = sampled(run_ledger, f"{0:032x}")
    assert exemplar_series(in_share) == {
        ("/checkout", "504"),
        ("/checkout", "200"),
        ("/charges", "200"),
    }


def test_the_freshness_of_dropped_traces_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a purchase that is sampled out, only log record and metric are waited for."""
    run_ledger = sampled(ledger(("success", 200)))
    freshness = Freshness(cast("Backends", backends()), None, 1, run_ledger.sampling)
    measured: list[str] = []

    async def measure(kind: str, *_: object) -> None:
        measured.append(kind)

    monkeypatch.setattr(freshness, "_measure", measure)
    asyncio.run(freshness.watch(run_ledger.purchases[0]))
    assert measured == ["log"]
