"""The command ``demo verify``: sends purchases and checks the traces, logs and metrics of each."""

import asyncio
import time
from collections.abc import Callable

import httpx2

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.verify import check, ledger
from three_pillar_demo.verify.check import Check
from three_pillar_demo.verify.exemplar_check import check_exemplars
from three_pillar_demo.verify.freshness import Freshness
from three_pillar_demo.verify.ledger import Ledger
from three_pillar_demo.verify.link_check import check_links
from three_pillar_demo.verify.log_check import check_logs
from three_pillar_demo.verify.metric_check import (
    Counters,
    check_metrics,
    read_counters,
    requests_total,
)
from three_pillar_demo.verify.sampling import load_sampling
from three_pillar_demo.verify.trace_check import check_traces

READY_TIMEOUT_S = 60.0
"""How long to wait until checkout and the backends are ready, in seconds."""
QUIET_S = 3.0
"""Seconds for which the counters must not change before the run begins.

The services export their metrics every second by default, so counters that have not changed for
3 s include all earlier requests.
"""
QUIET_TIMEOUT_S = 10.0
"""How long to wait until the counters stop changing, in seconds."""
FRESHNESS_SAMPLES = 25
"""About how many purchases of a run have their freshness measured."""

ReportStep = Callable[[str], None]
"""A function that is called with a description of each step when the step begins."""


async def verify(
    count: int, rate: float, max_freshness: float | None, report_step: ReportStep
) -> list[Check]:
    """Send ``count`` purchases, ``rate`` a second, and return the verdict of each check.

    The freshness is the time from an answer until a query finds the purchase. A kind of query
    passes if the p95 of its freshness is at most ``max_freshness`` seconds. If ``max_freshness`` is
    None, the freshness is measured and not judged.

    Raises:
        BackendError: Checkout or a backend is not ready, or a backend does not answer.
    """
    async with connect.create_backends() as backends:
        checks, _ = await verify_with(backends, count, rate, max_freshness, report_step)
    return checks


async def verify_with(
    backends: Backends,
    count: int,
    rate: float,
    max_freshness: float | None,
    report_step: ReportStep,
) -> tuple[list[Check], Ledger]:
    """Do the work of ``verify`` with ``backends`` that are already open.

    Returns:
        The verdict of each check, and the ledger of the purchases.

    Raises:
        ConfigurationError: A variable ``TAIL_SAMPLING_*`` has an invalid value.
    """
    sampling = load_sampling()
    report_step("waiting for the stack to be ready")
    await wait_until_ready(backends)
    report_step("waiting for the counters to stop changing")
    before = await wait_until_quiet(backends)
    total_before = None if before is None else await requests_total(backends)
    every = max(1, count // FRESHNESS_SAMPLES)
    freshness = Freshness(backends, total_before, every, sampling)
    report_step(f"buying {count} times, {rate:g} a second")
    run_ledger = await ledger.fill(count, rate, freshness.watch, sampling)
    stores = ", ".join(dict.fromkeys(backends.names.values()))
    report_step(f"comparing the purchases with {stores}")
    (logs, others), traces = await asyncio.gather(
        check_logs(backends, run_ledger), check_traces(backends, run_ledger, freshness.seen)
    )
    metrics = await check_metrics(
        backends, run_ledger, before or {}, None if before is None else others
    )
    exemplars = await check_exemplars(backends, run_ledger)
    checks = [_answers(run_ledger), traces, logs, metrics, exemplars]
    checks += freshness_checks(freshness, max_freshness)
    # The links are Grafana's, and so are the query languages in which they are written.
    if isinstance(backends, LgtmBackends):
        report_step("following the links between the pillars")
        checks += await check_links(backends, run_ledger)
    return checks, run_ledger


def _answers(run_ledger: Ledger) -> Check:
    outcomes = ", ".join(
        f"{count} {outcome}" for outcome, count in run_ledger.outcomes.most_common()
    )
    figures = f"{len(run_ledger.purchases)} answered: {outcomes}"
    return Check("purchases", not run_ledger.unanswered, figures, run_ledger.unanswered)


async def wait_until_ready(backends: Backends) -> None:
    """Wait until checkout and the backends are ready.

    Raises:
        BackendError: Checkout or a backend is not ready after ``READY_TIMEOUT_S``; the text has one
            line for each component that is not ready.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    async with checkout_client.client(1) as http:
        while True:
            problems = {"checkout": await _checkout_problem(http)} | await backends.health()
            lines = [
                f"{name} is not ready: {problem} (see: demo status, demo logs {name})"
                for name, problem in problems.items()
                if problem
            ]
            if not lines:
                return
            if time.monotonic() > deadline:
                raise BackendError("\n".join(lines))
            await asyncio.sleep(check.POLL_INTERVAL_S)


async def _checkout_problem(http: httpx2.AsyncClient) -> str:
    """Return the reason why checkout is not ready; empty when it is ready."""
    try:
        response = await http.get("/healthz")
    except httpx2.HTTPError as error:
        return f"{http.base_url}: {str(error) or type(error).__name__}"
    return "" if response.is_success else f"{http.base_url} answered {response.status_code}"


async def wait_until_quiet(backends: Backends) -> Counters | None:
    """Wait until the counters have not changed for ``QUIET_S``, and return their values.

    Return None when the counters still change after ``QUIET_TIMEOUT_S``: other clients are buying.
    """
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    counters = await read_counters(backends)
    while time.monotonic() < deadline:
        await asyncio.sleep(QUIET_S)
        current_counters = await read_counters(backends)
        if current_counters == counters:
            return current_counters
        counters = current_counters
    return None


def freshness_checks(freshness: Freshness, limit: float | None) -> list[Check]:
    """Return one check for each kind of query that was measured.

    A check passes if the p95 is at most ``limit`` seconds. If ``limit`` is None, it is not judged.
    """
    checks = []
    for kind, (p50, p95, count) in freshness.figures().items():
        figures = f"p50 {p50:.2f} s, p95 {p95:.2f} s after the answer ({count} measured)"
        passed = None if limit is None else p95 <= limit
        problems = [f"p95 {p95:.2f} s is over {limit:g} s"] if passed is False else []
        checks.append(Check(f"fresh: {kind}", passed, figures, problems))
    return checks
