"""Check that the request counters rose by the number of answers, for each HTTP status."""

from collections import Counter

from three_pillar_demo.query.interface import DURATION, Backends
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.ledger import Ledger

REQUESTS = "checkout_requests_total"
"""The name of checkout's request counter."""
QUERIES: tuple[tuple[str, tuple[str, ...], dict[str, str]], ...] = (
    (REQUESTS, ("endpoint", "status", "instance"), {"endpoint": "/checkout"}),
    (f"{DURATION}_count", ("http_route", "http_response_status_code", "instance"), {}),
)
"""The counters to read: for each its name, the labels to group by, and the labels to select by."""

Counters = dict[tuple[str, str, str], float]
"""The values of counters.

The key has three parts: the name of the counter with the route ("NAME /checkout"), the HTTP status,
and the ``service.instance.id``.
"""


async def read_counters(backends: Backends) -> Counters:
    """Return the current values of the counters in ``QUERIES``."""
    values: Counters = {}
    for name, group_by, selected in QUERIES:
        series = await backends.counters(name, group_by, selected)
        for (route, status, instance), value in series.items():
            values[f"{name} {route}", status, instance] = value
    return values


async def requests_total(backends: Backends) -> float:
    """Return the sum of the ``/checkout`` request counters of checkout's running instances."""
    return sum((await backends.counters(REQUESTS, (), {"endpoint": "/checkout"})).values())


async def check_metrics(
    backends: Backends, ledger: Ledger, before: Counters, others: set[str] | None
) -> Check:
    """Check that the counters rose since ``before`` by exactly the number of answers in the ledger.

    A counter that is not in ``before`` counts from 0. The check is judged only if ``others`` is an
    empty set, because the purchases of other clients are in the counters too.

    Args:
        backends: The backends to query.
        ledger: The purchases of this run.
        before: The values of the counters before the run.
        others: The trace ids of purchases during the run that are not in the ledger. None means
            that the counters still changed just before the run, so other clients were buying.
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

    async def fetch_and_compare() -> bool:
        increases.clear()
        for (counter, status, instance), value in (await read_counters(backends)).items():
            # PromQL's increase() extrapolates, so the increase is computed here. An instance that
            # has stopped has no value any more, so it is not compared.
            increase = round(value - before.get((counter, status, instance), 0))
            if increase:
                increases.setdefault(counter, Counter())[status] += increase
        return all(
            increases.get(counter, Counter()) == statuses for counter, statuses in expected.items()
        )

    passed = await poll_until(fetch_and_compare)
    problems = []
    for counter, statuses in expected.items():
        actual = increases.get(counter, Counter())
        problems += [
            f"{counter} {status}: rose by {actual[status]}, the ledger has {statuses[status]}"
            for status in sorted(statuses.keys() | actual.keys())
            if actual[status] != statuses[status]
        ]
    by_status = sorted(ledger.checkout_statuses().items())
    figures = ", ".join(f"{status}: {count}" for status, count in by_status)
    return Check("metrics", passed, f"counters rose by {figures}", problems)


def _not_judged(purchases: str) -> Check:
    return Check("metrics", None, f"not judged: {purchases} are in the counters too")
