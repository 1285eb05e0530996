"""``demo verify``: buys, then finds each purchase in all three pillars, or says which one is missing."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict

import httpx2
from rich.console import Console
from rich.table import Table

from three_pillar_demo.load import checkout_client
from three_pillar_demo.query import connect
from three_pillar_demo.query.interface import BackendError, Backends
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.verify import checks, freshness, ledger, links
from three_pillar_demo.verify.checks import Check, Counts

READY_SECONDS = 60.0
QUIET_SECONDS = 3.0
"""The counters must stand still this long before the run, longer than services take to send them; else somebody else buys."""
QUIET_DEADLINE = 10.0
SAMPLE = 25
SHOWN = 10

Say = Callable[[str], None]


async def verify(count: int, rate: float, max_freshness: float | None, say: Say) -> list[Check]:
    """Buy ``count`` times at ``rate`` a second and prove every pillar; ``max_freshness`` limits each p95, in seconds.

    Raises:
        BackendError: A backend is not there.
        checkout_client.ShopError: Checkout is not there.
    """
    async with connect.backends() as backends:
        verdicts, _ = await prove(backends, count, rate, max_freshness, say)
    return verdicts


async def prove(
    backends: Backends, count: int, rate: float, max_freshness: float | None, say: Say
) -> tuple[list[Check], ledger.Ledger]:
    """As ``verify``; returns what was bought, too."""
    say("waiting for the stack to be ready")
    await ready(backends)
    say("waiting for the counters to stand still")
    before = await standing_still(backends)
    total = await freshness.requests_total(backends) if before is not None else None
    fresh = freshness.Freshness(backends, total, max(1, count // SAMPLE))
    say(f"buying {count} times, {rate:g} a second")
    bought = await ledger.fill(count, rate, fresh.watch)
    say(f"comparing the ledger with {', '.join(dict.fromkeys(backends.names.values()))}")
    (in_logs, others), in_traces = await asyncio.gather(
        checks.logs(backends, bought), checks.traces(backends, bought)
    )
    in_metrics = await checks.metrics(
        backends, bought, before or {}, others if before is not None else None
    )
    in_exemplars = await checks.exemplars(backends, bought)
    in_links: list[Check] = []
    if isinstance(
        backends, LgtmBackends
    ):  # the links are Grafana's, and so are the languages they are written in
        say("following the links between the pillars")
        in_links = await links.check(backends, bought)
    mix = ", ".join(f"{count} {outcome}" for outcome, count in bought.outcomes.most_common())
    answered = Check(
        "purchases",
        not bought.unanswered,
        f"{len(bought.purchases)} answered: {mix}",
        bought.unanswered,
    )
    return [
        answered,
        in_traces,
        in_logs,
        in_metrics,
        in_exemplars,
        *timely(fresh, max_freshness),
        *in_links,
    ], bought


async def ready(backends: Backends) -> None:
    """Wait until shop and backends answer.

    Raises:
        BackendError: One of them does not within ``READY_SECONDS``; the text says which and what it said.
    """
    deadline = time.monotonic() + READY_SECONDS
    async with checkout_client.client(1) as http:
        while True:
            answers = {"checkout": await _shop(http)} | await backends.health()
            wrong = [
                f"{name} is not ready: {said} (see: demo status, demo logs {name})"
                for name, said in answers.items()
                if said
            ]
            if not wrong:
                return
            if time.monotonic() > deadline:
                raise BackendError("\n".join(wrong))
            await asyncio.sleep(checks.POLL_SECONDS)


async def _shop(http: httpx2.AsyncClient) -> str:
    """What is wrong with checkout; empty when it is up."""
    try:
        answer = await http.get("/healthz")
    except httpx2.HTTPError as error:
        return f"{http.base_url}: {str(error) or type(error).__name__}"
    return "" if answer.is_success else f"{http.base_url} answered {answer.status_code}"


async def standing_still(backends: Backends) -> Counts | None:
    """The counters, once they have not moved for ``QUIET_SECONDS``; None when they do not stop: somebody else is buying."""
    deadline = time.monotonic() + QUIET_DEADLINE
    counts = await checks.counts(backends)
    while time.monotonic() < deadline:
        await asyncio.sleep(QUIET_SECONDS)
        now = await checks.counts(backends)
        if now == counts:
            return now
        counts = now
    return None


def timely(fresh: freshness.Freshness, max_freshness: float | None) -> list[Check]:
    """A line for each way to ask: p50 and p95, judged only when there is a limit."""
    return [
        Check(
            f"fresh: {kind}",
            None if max_freshness is None else p95 <= max_freshness,
            f"p50 {p50:.2f} s, p95 {p95:.2f} s after the answer ({count} measured)",
            [f"p95 {p95:.2f} s is over {max_freshness:g} s"]
            if max_freshness is not None and p95 > max_freshness
            else [],
        )
        for kind, (p50, p95, count) in fresh.figures().items()
    ]


def passed(verdicts: list[Check]) -> bool:
    """Whether nothing failed; what could not be judged did not fail."""
    return all(check.passed is not False for check in verdicts)


def report(verdicts: list[Check], console: Console, *, as_json: bool) -> None:
    """Print one table and what is missing by id, or the same as one JSON object."""
    if as_json:
        console.out(
            json.dumps(
                {"passed": passed(verdicts), "checks": [asdict(check) for check in verdicts]},
                indent=2,
            )
        )
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("check", "verdict", "figures"):
        table.add_column(heading)
    marks = {True: "[green]PASS[/]", False: "[bold red]FAIL[/]", None: "[dim]-[/]"}
    for check in verdicts:
        table.add_row(check.name, marks[check.passed], check.figures)
    console.print(table)
    for check in verdicts:
        if check.missing:
            console.print(f"\n[bold]{check.name}[/], {len(check.missing)} wrong:")
            for each in check.missing[:SHOWN]:
                console.print(f"  {each}", markup=False, soft_wrap=True)
            if len(check.missing) > SHOWN:
                console.print(f"  ... and {len(check.missing) - SHOWN} more: --json lists all")
    console.print("\n[bold green]PASS[/]" if passed(verdicts) else "\n[bold red]FAIL[/]")
