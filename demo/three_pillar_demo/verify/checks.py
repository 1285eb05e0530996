"""The proofs of ``demo verify``: each compares one pillar with the ledger and lists what is missing by id."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import DURATION, NANO, Backends, LogRecord, Span
from three_pillar_demo.verify.ledger import Ledger, expect
from three_pillar_demo.verify.outcomes import CHECKOUT, CLIENT, ORDER, PAYMENT

SETTLE_SECONDS = 30.0
"""How long a pillar may take to have everything, after the last answer."""
POLL_SECONDS = 0.5
AT_ONCE = 8
ROLES = {
    CHECKOUT: ("checkout", "SERVER"),
    ORDER: ("checkout", "INTERNAL"),
    CLIENT: ("checkout", "CLIENT"),
    PAYMENT: ("payment", "SERVER"),
}
REQUESTS = "checkout_requests_total"
PAGE = 5000
"""Log lines to ask for at once; Loki gives no more."""

Counts = dict[tuple[str, str, str], float]
"""By (what, status, service.instance.id)."""


@dataclass(frozen=True)
class Check:
    """One proof's verdict. ``passed`` is None when it could not be judged; ``missing`` names what is wrong, by id."""

    name: str
    passed: bool | None
    figures: str
    missing: list[str] = field(default_factory=list)


async def traces(backends: Backends, ledger: Ledger) -> Check:
    """Every trace is there, its spans joined parent to child, their statuses as in the outcome table."""
    wrong = {purchase.trace_id: "not asked yet" for purchase in ledger.purchases}
    where = backends.names["traces"]
    gate = asyncio.Semaphore(AT_ONCE)

    async def look(purchase: Purchase) -> None:
        async with gate:
            wrong[purchase.trace_id] = what_is_wrong(
                purchase, await backends.trace(purchase.trace_id), where
            )

    async def complete() -> bool:
        await asyncio.gather(*(look(each) for each in ledger.purchases if wrong[each.trace_id]))
        return not any(wrong.values())

    passed = await poll_until(complete)
    missing = [f"{trace_id}: {reason}" for trace_id, reason in wrong.items() if reason]
    spans = sum(len(expect(each).spans) for each in ledger.purchases)
    return Check(
        "traces",
        passed,
        f"{len(wrong) - len(missing)} of {len(wrong)} whole in {where}, {spans} spans",
        missing,
    )


def what_is_wrong(purchase: Purchase, spans: list[Span], where: str) -> str:
    """Compare one trace, as found ``where``, with the outcome table; empty when all is as it should be."""
    expected = expect(purchase)
    if not spans:
        return f"not in {where}"
    by_role = {
        role: [span for span in spans if (span.service, span.kind) == who]
        for role, who in ROLES.items()
    }
    present = tuple(role for role in ROLES if by_role[role])
    if present != expected.spans or len(spans) != len(expected.spans):
        return f"{purchase.outcome} has {len(spans)} spans ({', '.join(present)}), not {', '.join(expected.spans)}"
    chain = [by_role[role][0] for role in expected.spans]
    parents = ["", *(span.span_id for span in chain)]
    for role, span, parent in zip(expected.spans, chain, parents, strict=False):
        if span.parent_id != parent:
            return (
                f"the parent of {role} is {span.parent_id or 'nothing'}, not {parent or 'nothing'}"
            )
        if span.error != (role in expected.errors):
            return f"{role} is {'an error' if span.error else 'no error'} in an outcome {purchase.outcome}"
    status = chain[0].attributes.get("http.response.status_code")
    return (
        ""
        if str(status) == str(purchase.status)
        else f"checkout's span says {status}, the customer saw {purchase.status}"
    )


async def logs(backends: Backends, ledger: Ledger) -> tuple[Check, set[str]]:
    """Each service that took part wrote its one canonical line, with the outcome it returned; and who else was there.

    Returns:
        The verdict, and the trace ids of other customers' purchases in the same time.
    """
    wanted = {
        (purchase.trace_id, service): told
        for purchase in ledger.purchases
        for service, told in _told(purchase).items()
        if told[0] is not None
    }
    seen: dict[tuple[str, str], list[LogRecord]] = {}

    async def complete() -> bool:
        seen.clear()
        for line in await canonical_lines(backends, ledger.started - 1):
            seen.setdefault((line.fields.get("trace_id", ""), line.service), []).append(line)
        return all(_as_told(seen.get(key, []), told) for key, told in wanted.items())

    passed = await poll_until(complete)
    missing = [
        f"{key[0]}: {key[1]} {_said(seen.get(key, []))}"
        for key, told in wanted.items()
        if not _as_told(seen.get(key, []), told)
    ]
    others = {trace_id for trace_id, service in seen if service == "checkout"} - ledger.trace_ids
    figures = (
        f"{len(wanted) - len(missing)} of {len(wanted)} canonical lines in {backends.names['logs']}"
    )
    return Check("logs", passed, figures, missing), others


async def canonical_lines(backends: Backends, start: float) -> list[LogRecord]:
    """All of them since ``start``, page by page: what is as old as a page's last line belongs to the next page."""
    found: list[LogRecord] = []
    newest = time.time_ns()
    while True:
        # A float is not exact to the nanosecond, so a little more is asked for.
        page = await backends.logs(start, newest / NANO + 1e-6, canonical=True, limit=PAGE)
        fits = [line for line in page if line.time <= newest]
        if len(page) < PAGE or page[-1].time >= newest:
            return found + fits
        found += [line for line in fits if line.time > page[-1].time]
        newest = page[-1].time


def _told(purchase: Purchase) -> dict[str, tuple[str | None, str, str]]:
    """By service: outcome, status and severity of its canonical line."""
    expected = expect(purchase)
    return {
        "checkout": (purchase.outcome, str(purchase.status), expected.severity),
        "payment": (
            expected.payment_outcome,
            str(expected.payment_status),
            str(expected.payment_severity),
        ),
    }


def _as_told(lines: list[LogRecord], told: tuple[str | None, str, str]) -> bool:
    return [
        (each.fields.get("outcome"), each.fields["http_response_status_code"], each.severity)
        for each in lines
    ] == [told]


def _said(lines: list[LogRecord]) -> str:
    return "; ".join(f"said {line.body!r} ({line.severity})" for line in lines) or "said nothing"


async def counts(backends: Backends) -> Counts:
    """The counters as they stand now, one entry for each series; what has not happened yet is absent."""
    questions: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
        (REQUESTS, ("endpoint", "status", "instance"), {"endpoint": "/checkout"}),
        (f"{DURATION}_count", ("http_route", "http_response_status_code", "instance"), {}),
    )
    return {
        (f"{name} {route}", status, instance): value
        for name, by, where in questions
        for (route, status, instance), value in (await backends.counters(name, by, where)).items()
    }


async def metrics(
    backends: Backends, ledger: Ledger, before: Counts, others: set[str] | None
) -> Check:
    """What the counters rose by since ``before`` equals the ledger exactly, status by status.

    Differences of instant values, not ``increase()``, which extrapolates. An instance that is gone is left out;
    a series that was absent before counts from 0.
    """
    wanted = {
        f"{REQUESTS} /checkout": ledger.checkout_statuses(),
        f"{DURATION}_count /checkout": ledger.checkout_statuses(),
        f"{DURATION}_count /charges": ledger.payment_statuses(),
    }
    rose: dict[str, Counter[str]] = {}

    async def complete() -> bool:
        rose.clear()
        for (what, status, instance), value in (await counts(backends)).items():
            if difference := round(value - before.get((what, status, instance), 0)):
                rose.setdefault(what, Counter())[status] += difference
        return all(rose.get(what, Counter()) == expected for what, expected in wanted.items())

    if others or others is None:
        who = (
            f"{len(others)} purchases of other customers"
            if others
            else "other customers' purchases"
        )
        return Check("metrics", None, f"not judged: {who} are in the counters too")
    passed = await poll_until(complete)
    missing = [
        f"{what} {status}: rose by {rose.get(what, Counter())[status]}, the ledger has {expected[status]}"
        for what, expected in wanted.items()
        for status in sorted(expected.keys() | rose.get(what, Counter()).keys())
        if rose.get(what, Counter())[status] != expected[status]
    ]
    figures = ", ".join(
        f"{status}: {count}" for status, count in sorted(ledger.checkout_statuses().items())
    )
    return Check("metrics", passed, f"counters rose by {figures}", missing)


async def exemplars(backends: Backends, ledger: Ledger) -> Check:
    """Each exemplar of the run leads to its trace, and each (route, status) seen has one."""
    seen = {("/checkout", status) for status in ledger.checkout_statuses()} | {
        ("/charges", status) for status in ledger.payment_statuses()
    }
    found: dict[str, set[tuple[str, str]]] = {}

    async def complete() -> bool:
        found.clear()
        for each in await backends.exemplars(ledger.started, time.time()):
            place = (
                each.labels.get("http_route", ""),
                each.labels.get("http_response_status_code", ""),
            )
            found.setdefault(each.trace_id, set()).add(place)
        return seen <= set().union(*found.values())

    await poll_until(complete)
    bare = [
        f"no exemplar for {route} {status}"
        for route, status in sorted(seen - set().union(*found.values()))
    ]
    dead = list(found)

    async def reached() -> bool:
        # A trace has a batch of its own: that of another customer's purchase may come after the exemplar.
        dead[:] = await _without_trace(backends, dead)
        return not dead

    await poll_until(reached)
    figures = f"{len(found)} exemplars, {len(found) - len(dead)} lead to their trace, {len(seen)} (route, status) pairs"
    missing = [
        f"{trace_id}: an exemplar, but no trace in {backends.names['traces']}" for trace_id in dead
    ]
    return Check("exemplars", not bare and not dead, figures, bare + missing)


async def _without_trace(backends: Backends, trace_ids: Iterable[str]) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def there(trace_id: str) -> bool:
        async with gate:
            return bool(trace_id and await backends.trace(trace_id))

    asked = list(trace_ids)
    return [
        each
        for each, found in zip(asked, await asyncio.gather(*map(there, asked)), strict=True)
        if not found
    ]


async def poll_until(complete: Callable[[], Awaitable[bool]]) -> bool:
    """Ask until ``complete`` says yes, or ``SETTLE_SECONDS`` are over."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        if await complete():
            return True
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
