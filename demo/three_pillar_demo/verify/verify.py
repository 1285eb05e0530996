"""``demo verify``: buys, finds every purchase in all three pillars, and names what is missing."""

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
from three_pillar_demo.verify.trace_check import check_traces

READY_TIMEOUT_S = 60.0
QUIET_S = 3.0
"""The counters must not change for so long before the run; services export more often than that."""
QUIET_TIMEOUT_S = 10.0
FRESHNESS_SAMPLES = 25

ReportStep = Callable[[str], None]
"""Called with the step that begins now."""


async def verify(
    count: int, rate: float, max_freshness: float | None, report_step: ReportStep
) -> list[Check]:
    """Buy ``count`` times at ``rate`` a second and check every pillar.

    ``max_freshness`` limits each p95 of the freshness, in seconds; None only measures it.

    Raises:
        BackendError: A backend does not answer.
        CheckoutError: Checkout does not answer.
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
    """Do the same on the given backends; return the purchases as well."""
    report_step("waiting for the stack to be ready")
    await wait_until_ready(backends)
    report_step("waiting for the counters to stop changing")
    before = await wait_until_quiet(backends)
    total_before = None if before is None else await requests_total(backends)
    freshness = Freshness(backends, total_before, max(1, count // FRESHNESS_SAMPLES))
    report_step(f"buying {count} times, {rate:g} a second")
    bought = await ledger.fill(count, rate, freshness.watch)
    stores = ", ".join(dict.fromkeys(backends.names.values()))
    report_step(f"comparing the purchases with {stores}")
    (logs, others), traces = await asyncio.gather(
        check_logs(backends, bought), check_traces(backends, bought)
    )
    metrics = await check_metrics(
        backends, bought, before or {}, None if before is None else others
    )
    exemplars = await check_exemplars(backends, bought)
    checks = [_answers(bought), traces, logs, metrics, exemplars]
    checks += freshness_checks(freshness, max_freshness)
    # The links are Grafana's, and so are the query languages in which they are written.
    if isinstance(backends, LgtmBackends):
        report_step("following the links between the pillars")
        checks += await check_links(backends, bought)
    return checks, bought


def _answers(bought: Ledger) -> Check:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in bought.outcomes.most_common())
    figures = f"{len(bought.purchases)} answered: {outcomes}"
    return Check("purchases", not bought.unanswered, figures, bought.unanswered)


async def wait_until_ready(backends: Backends) -> None:
    """Wait until checkout and the backends answer.

    Raises:
        BackendError: One of them does not within ``READY_TIMEOUT_S``; the text has a line for each.
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
    """Return why checkout is not ready; empty when it is."""
    try:
        response = await http.get("/healthz")
    except httpx2.HTTPError as error:
        return f"{http.base_url}: {str(error) or type(error).__name__}"
    return "" if response.is_success else f"{http.base_url} answered {response.status_code}"


async def wait_until_quiet(backends: Backends) -> Counters | None:
    """Return the counters once they have not changed for ``QUIET_S``.

    The result is None when they still change after ``QUIET_TIMEOUT_S``: others are buying too.
    """
    deadline = time.monotonic() + QUIET_TIMEOUT_S
    counters = await read_counters(backends)
    while time.monotonic() < deadline:
        await asyncio.sleep(QUIET_S)
        now = await read_counters(backends)
        if now == counters:
            return now
        counters = now
    return None


def freshness_checks(freshness: Freshness, limit: float | None) -> list[Check]:
    """Return a check for each kind of query; without a limit (seconds) they are not judged."""
    checks = []
    for kind, (p50, p95, count) in freshness.figures().items():
        figures = f"p50 {p50:.2f} s, p95 {p95:.2f} s after the answer ({count} measured)"
        passed = None if limit is None else p95 <= limit
        missing = [f"p95 {p95:.2f} s is over {limit:g} s"] if passed is False else []
        checks.append(Check(f"fresh: {kind}", passed, figures, missing))
    return checks
