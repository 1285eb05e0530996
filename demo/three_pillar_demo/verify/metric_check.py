"""Check that the request counters rose by exactly the number of purchases, status by status."""

from collections import Counter

from three_pillar_demo.query.interface import DURATION, Backends
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.ledger import Ledger

REQUESTS = "checkout_requests_total"
QUERIES: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    (REQUESTS, ("endpoint", "status", "instance"), {"endpoint": "/checkout"}),
    (f"{DURATION}_count", ("http_route", "http_response_status_code", "instance"), {}),
)
"""The counters that are compared: name, grouping labels, and the labels that select the series."""

Counters = dict[tuple[str, str, str], float]
"""Values by counter and route, HTTP status, and ``service.instance.id``."""


async def read_counters(backends: Backends) -> Counters:
    """Return the current value of each series; a series that does not exist yet is absent."""
    values: Counters = {}
    for name, by, where in QUERIES:
        for (route, status, instance), value in (await backends.counters(name, by, where)).items():
            values[f"{name} {route}", status, instance] = value
    return values


async def requests_total(backends: Backends) -> float:
    """Return the number of requests that the running instances of checkout have counted."""
    return sum((await backends.counters(REQUESTS, (), {"endpoint": "/checkout"})).values())


async def check_metrics(
    backends: Backends, ledger: Ledger, before: Counters, others: set[str] | None
) -> Check:
    """Check that the counters rose since ``before`` by exactly what the ledger holds.

    The check subtracts values; PromQL's ``increase()`` extrapolates. An instance that no longer
    exists is left out; a series that did not exist before counts from 0.

    Args:
        backends: The backends to query.
        ledger: The purchases of this run.
        before: The counters before the run.
        others: The trace ids of purchases that others made meanwhile; None when there are some
            that cannot be told apart. The check is not judged then.
    """
    if others is None:
        return _not_judged("purchases that others made")
    if others:
        return _not_judged(f"{len(others)} purchases that others made")
    expected = {
        f"{REQUESTS} /checkout": ledger.checkout_statuses(),
        f"{DURATION}_count /checkout": ledger.checkout_statuses(),
        f"{DURATION}_count /charges": ledger.payment_statuses(),
    }
    increases: dict[str, Counter[str]] = {}

    async def complete() -> bool:
        increases.clear()
        for (counter, status, instance), value in (await read_counters(backends)).items():
            increase = round(value - before.get((counter, status, instance), 0))
            if increase:
                increases.setdefault(counter, Counter())[status] += increase
        return all(
            increases.get(counter, Counter()) == statuses for counter, statuses in expected.items()
        )

    passed = await poll_until(complete)
    missing = []
    for counter, statuses in expected.items():
        rose = increases.get(counter, Counter())
        missing += [
            f"{counter} {status}: rose by {rose[status]}, the ledger has {statuses[status]}"
            for status in sorted(statuses.keys() | rose.keys())
            if rose[status] != statuses[status]
        ]
    by_status = sorted(ledger.checkout_statuses().items())
    figures = ", ".join(f"{status}: {count}" for status, count in by_status)
    return Check("metrics", passed, f"counters rose by {figures}", missing)


def _not_judged(purchases: str) -> Check:
    return Check("metrics", None, f"not judged: {purchases} are in the counters too")
