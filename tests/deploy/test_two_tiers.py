"""Two agents, two gateways and tail sampling: nothing that matters is lost, no exemplar is dead."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx2 import codes
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar, Metric

from tests.deploy.tiers import TwoTiers, run_two_tiers
from tests.processes import InMemoryCollector, Service, run_collector, serve, wait_for
from three_pillars.tail_sampling import KeptTracesFilter, TailSampling

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]

SECONDS = 6
"""How long each of the three parts of the load lasts: before, during and after the outage."""
RATE = 40
"""Purchases a second, of all checkouts together."""
THREADS = 40
ARRIVAL_TIMEOUT_S = 90
PERCENTAGE = 10
SLOW_MS = 1000
SALT = "three-pillars"
VARIABLES = {"TAIL_SAMPLING_PERCENTAGE": str(PERCENTAGE), "TAIL_SAMPLING_HASH_SALT": SALT}
CARDS = ("visa", "visa", "visa", "visa", "visa", "declined", "gateway-timeout", "crash")
CHECKOUT_SPANS = 3
"""The spans that checkout makes of a purchase: of the request, of the order, of the call."""


@dataclass(frozen=True)
class Bought:
    """One purchase: its trace id and the status of the response."""

    trace_id: str
    status: int


@pytest.fixture
def backend() -> Iterator[InMemoryCollector]:
    """The receiver in place of all backends."""
    with run_collector() as collector:
        yield collector


@pytest.fixture
def tiers(backend: InMemoryCollector, tmp_path: Path) -> Iterator[TwoTiers]:
    """Two agents and two gateways before ``backend``."""
    with run_two_tiers(tmp_path, backend.url, **VARIABLES) as tiers:
        yield tiers


@pytest.fixture
def checkouts(tiers: TwoTiers, tmp_path: Path) -> Iterator[list[Service]]:
    """Two pairs of services, each of which sends to an agent of its own."""
    with ExitStack() as stack:
        services = []
        for agent in tiers.agents:
            payment = stack.enter_context(serve("payment", tmp_path, agent.url, **VARIABLES))
            services.append(
                stack.enter_context(
                    serve(
                        "checkout",
                        tmp_path,
                        agent.url,
                        CHECKOUT_PAYMENT_URL=payment.url,
                        CHECKOUT_TRUSTED_NETWORKS="127.0.0.0/8",
                        **VARIABLES,
                    )
                )
            )
        yield services


def buy(checkout: Service, card: str) -> Bought:
    """Buy once, and return the purchase."""
    response = checkout.post("/checkout", {"card": card})
    return Bought(response.json()["trace_id"], response.status_code)


def buy_for_a_while(checkouts: list[Service], cards: random.Random) -> list[Bought]:
    """Buy ``RATE`` times a second for ``SECONDS``, in turn from each of ``checkouts``."""
    with ThreadPoolExecutor(max_workers=THREADS) as threads:
        began = time.monotonic()
        pending = []
        for number in range(SECONDS * RATE):
            time.sleep(max(0.0, began + number / RATE - time.monotonic()))
            checkout = checkouts[number % len(checkouts)]
            pending.append(threads.submit(buy, checkout, cards.choice(CARDS)))
        return [future.result() for future in pending]


def must_be_kept(purchases: list[Bought]) -> set[str]:
    """Return the traces of ``purchases`` that failed or belong to the share."""
    rule = KeptTracesFilter(TailSampling(PERCENTAGE, SALT, SLOW_MS))
    return {
        purchase.trace_id
        for purchase in purchases
        if purchase.status >= codes.INTERNAL_SERVER_ERROR
        or rule.is_in_share(int(purchase.trace_id, 16))
    }


def incomplete(backend: InMemoryCollector, traces: set[str]) -> dict[str, list[str]]:
    """Return those of ``traces`` of which spans are missing, with the services of the others.

    Payment logs each of its requests, so there must be a span for each of these log records.
    """
    counts = Counter(backend.spans)
    logged = set(backend.lines)
    return {
        trace_id: [service for service, other in backend.spans if other == trace_id]
        for trace_id in traces
        if counts["checkout", trace_id] < CHECKOUT_SPANS
        or (("payment", trace_id) in logged and not counts["payment", trace_id])
    }


def wait_until_whole(backend: InMemoryCollector, traces: set[str]) -> None:
    """Wait until no span of ``traces`` is missing; the failure names those that are."""
    with suppress(AssertionError):
        wait_for("whole traces", lambda: not incomplete(backend, traces), ARRIVAL_TIMEOUT_S)
    assert incomplete(backend, traces) == {}


def exemplars(backend: InMemoryCollector) -> set[str]:
    """Return the trace ids of all exemplars that have arrived."""
    return {
        exemplar.trace_id.hex()
        for path, message in list(backend.received)
        if path == "/v1/metrics" and isinstance(message, ExportMetricsServiceRequest)
        for resource_metrics in message.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        for exemplar in exemplars_of(metric)
    }


def dead_exemplars(backend: InMemoryCollector) -> set[str]:
    """Return the trace ids of exemplars of which no span has arrived.

    Not only failed traces and those of the share have exemplars, but also slow ones, of which the
    test does not know.
    """
    return exemplars(backend) - {trace_id for _, trace_id in list(backend.spans)}


def exemplars_of(metric: Metric) -> Iterator[Exemplar]:
    """Yield the exemplars of all points of ``metric``."""
    for point in (*metric.histogram.data_points, *metric.sum.data_points):
        yield from point.exemplars


def test_a_killed_gateway_costs_nothing(
    tiers: TwoTiers, checkouts: list[Service], backend: InMemoryCollector
) -> None:
    """Under load, a killed gateway costs no failed trace, count or log record, and no exemplar."""
    cards = random.Random(1)  # noqa: S311
    purchases = buy_for_a_while(checkouts, cards)
    # A request that the gateway has acknowledged is in its memory for a moment. It is killed when
    # nothing is under way, and the load begins again at once.
    wait_until_whole(backend, must_be_kept(purchases))
    wait_for("the traces of all exemplars", lambda: not dead_exemplars(backend), ARRIVAL_TIMEOUT_S)
    tiers.gateways[0].kill()
    purchases += buy_for_a_while(checkouts, cards)
    tiers.gateways[0].start()
    purchases += buy_for_a_while(checkouts, cards)

    wait_until_whole(backend, must_be_kept(purchases))
    wait_for(
        "the count of every purchase",
        lambda: backend.counted("checkout") == len(purchases),
        ARRIVAL_TIMEOUT_S,
    )
    bought = {purchase.trace_id for purchase in purchases}
    wait_for(
        "the log record of every purchase",
        lambda: {("checkout", trace_id) for trace_id in bought} <= set(backend.lines),
        ARRIVAL_TIMEOUT_S,
    )
    assert exemplars(backend)
    with suppress(AssertionError):
        wait_for("the last traces", lambda: not dead_exemplars(backend), ARRIVAL_TIMEOUT_S)
    assert dead_exemplars(backend) == set()
    traces = {trace_id for _, trace_id in backend.spans}
    # Without sampling every trace would be there, and this test would prove nothing.
    assert len(bought - traces) > len(bought) / 4
