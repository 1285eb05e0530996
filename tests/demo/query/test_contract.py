"""Tests that the local store and the real backends give the same results for the same OTLP."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.demo.local_store.stores import StoreProcess
from tests.demo.query.purchases import (
    BAD_COUNTS,
    EVENT,
    GOOD_COUNTS,
    MILLISECOND,
    PERIOD_S,
    POINT_INTERVAL_S,
    POINTS,
    ROUTE,
    Purchases,
)
from tests.end_to_end.conftest import FULL, receiver_url
from three_pillar_demo.query.beginning import MIN_PART
from three_pillar_demo.query.instruments import (
    COUNTER,
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUMMARY,
    UP_DOWN_COUNTER,
    Instrument,
    InstrumentQuery,
    InstrumentSeries,
)
from three_pillar_demo.query.interface import (
    DURATION,
    NANO,
    Backends,
    Exemplar,
    LogRecord,
    RedSample,
    RequestFilter,
    Selection,
    ServiceCall,
    Span,
)
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.log_search import LogFilter
from three_pillar_demo.query.peers import Fact, PeerQuery
from three_pillar_demo.query.red_sources import SPANS
from three_pillar_demo.query.service_figures import PARTS, Figures, ServiceRed
from three_pillar_demo.query.service_map import (
    ARRIVAL_GRACE_S,
    CLIENTS,
    CallCounts,
    ServiceMap,
    service,
)
from three_pillar_demo.trace_view.calls import status_of

TIMEOUT_S = {"local": 2.0, "full": 60.0}
"""By mode, the seconds after which all telemetry must be visible in queries."""
POLL_INTERVAL_S = 0.3
UNKNOWN_NAME = 'a "quoted" \\ name'
UNKNOWN_TRACE = "f" * 32

Query = Callable[[Backends], Awaitable[Any]]


class Contract:
    """Runs queries on the backends of a mode, to which ``purchases`` were sent."""

    def __init__(
        self, mode: str, create_backends: Callable[[], Backends], purchases: Purchases
    ) -> None:
        self.mode = mode
        self.create_backends = create_backends
        self.purchases = purchases

    def run(self, query: Query) -> Any:  # noqa: ANN401  (a different type for each query)
        """Run a query once with new backends, and return its result."""

        async def run() -> Any:  # noqa: ANN401  (as above)
            async with self.create_backends() as backends:
                return await query(backends)

        return asyncio.run(run())

    def expect(
        self,
        query: Query,
        expected: object,
        summarize: Callable[[Any], Any] = lambda result: result,
    ) -> None:
        """Repeat a query until its summarized result is as expected; fail after ``TIMEOUT_S``."""
        deadline = time.monotonic() + TIMEOUT_S[self.mode]
        result = summarize(self.run(query))
        while result != expected and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)
            result = summarize(self.run(query))
        assert result == expected


@pytest.fixture(scope="module", params=["local", pytest.param("full", marks=pytest.mark.full)])
def contract(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Contract]:
    """Send the purchases' telemetry once to a local store process, or to the full stack."""
    purchases = Purchases()
    if request.param == "full":
        if not FULL:
            pytest.skip("needs the Collector, Prometheus, Tempo and Loki: make test-real")
        request.getfixturevalue("stack")  # starts the stack, or skips with the reason
        purchases.send(receiver_url())
        yield Contract("full", LgtmBackends, purchases)
        return
    store_process = StoreProcess(tmp_path_factory.mktemp("contract") / "data")
    store_process.start()
    try:
        purchases.send(store_process.url)
        yield Contract(
            "local", lambda: LocalBackends(store_process.path, store_process.url), purchases
        )
    finally:
        store_process.stop(signal.SIGKILL)


def summarize_spans(spans: Sequence[Span]) -> list[tuple[Any, ...]]:
    """Return the fields of spans as tuples, with the parent's name in place of its id."""
    names = {span.span_id: span.name for span in spans}
    return [
        (
            span.service,
            span.name,
            span.kind,
            names.get(span.parent_id, ""),
            span.start,
            span.end,
            span.error,
            span.message,
            span.exceptions,
        )
        for span in spans
    ]


def test_a_trace_has_all_its_spans(contract: Contract) -> None:
    """The spans of a purchase come in order, with parent, kind, times, status and exceptions."""
    purchases = contract.purchases
    front = purchases.front
    at = purchases.start_ns + 5 * NANO

    def times(milliseconds: int, seconds: float) -> tuple[int, int]:
        start = at + milliseconds * MILLISECOND
        return start, start + int(seconds * NANO)

    exceptions = ("PaymentError: no answer",)
    server = (front, "POST /checkout", "SERVER", "", *times(0, 0.2 + 0.1), True, "failed", ())
    order_times = times(1, 0.2 + 0.05)
    contract.expect(
        lambda backends: backends.trace(purchases.failed.hex()),
        [
            server,
            (
                front,
                "place order",
                "INTERNAL",
                "POST /checkout",
                *order_times,
                True,
                "failed",
                exceptions,
            ),
            (front, "POST", "CLIENT", "place order", *times(2, 0.2), True, "", ()),
            (
                purchases.bank,
                "POST /charges",
                "SERVER",
                "POST",
                *times(3, 0.2),
                True,
                "failed",
                (),
            ),
        ],
        summarize_spans,
    )


def test_span_attributes_keep_their_types(contract: Contract) -> None:
    """Strings, integers and doubles in a span's attributes are returned with their type."""
    purchases = contract.purchases
    contract.expect(
        lambda backends: backends.trace(purchases.good.hex()),
        [
            {"http.route": ROUTE, "http.response.status_code": 200},
            {"order.id": purchases.order_id(purchases.good), "order.amount": 12.5},
            {},
            {},
        ],
        lambda spans: [span.attributes for span in spans],
    )


def test_a_late_span_joins_its_trace(contract: Contract) -> None:
    """A span that is sent later is in its trace, without error although its caller's has one."""
    contract.expect(
        lambda backends: backends.trace(contract.purchases.late.hex()),
        [True, True, True, False],
        lambda spans: [span.error for span in spans],
    )


def test_requests_are_found_newest_first(contract: Contract) -> None:
    """Requests to a service are found: all, failed, slow, those of an order, or only the newest."""
    purchases = contract.purchases
    front = purchases.front
    bank = purchases.bank
    start = purchases.start
    end = purchases.end
    good = purchases.good.hex()
    failed = purchases.failed.hex()
    late = purchases.late.hex()
    order_id = purchases.order_id(purchases.failed)
    cases: list[tuple[Query, list[str]]] = [
        (lambda backends: backends.requests(front, start, end), [late, failed, good]),
        (lambda backends: backends.requests(front, start, end, failed=True), [late, failed]),
        (lambda backends: backends.requests(bank, start, end, failed=True), [failed]),
        (lambda backends: backends.requests(bank, start, end, slower_than=2.5), [late]),
        (
            lambda backends: backends.requests(front, start, end, failed=True, slower_than=0.5),
            [late],
        ),
        (lambda backends: backends.requests(front, start, end, order_id=order_id), [failed]),
        (lambda backends: backends.requests(front, start, end, limit=1), [late]),
    ]
    for query, expected in cases:
        contract.expect(query, expected)


def test_request_spans_are_found_in_all_services(contract: Contract) -> None:
    """The newest requests of a service are found with name, kind and both statuses."""
    purchases = contract.purchases
    start = purchases.start
    end = purchases.end

    def summarize(spans: Sequence[Span]) -> list[tuple[Any, ...]]:
        return [
            (span.trace_id, span.service, span.name, span.kind, span.error, status_of(span))
            for span in spans
        ]

    failed = purchases.failed.hex()
    late = purchases.late.hex()
    front = (purchases.front, "POST /checkout", "SERVER", True, "500")
    contract.expect(
        lambda backends: backends.request_spans(start, end, service=purchases.front, failed=True),
        [(late, *front), (failed, *front)],
        summarize,
    )
    contract.expect(
        lambda backends: backends.request_spans(start, end, service=UNKNOWN_NAME), [], summarize
    )
    # The bank sends no HTTP status.
    contract.expect(
        lambda backends: backends.request_spans(start, end, service=purchases.bank, limit=1),
        [(late, purchases.bank, "POST /charges", "SERVER", False, "")],
        summarize,
    )


@pytest.mark.parametrize(
    "condition", ["failed", "slower_than", "text", "attributes", "status", "ended_before"]
)
def test_requests_are_found_by_a_search(contract: Contract, condition: str) -> None:
    """A search finds the requests with one condition, with the services of their traces."""
    purchases = contract.purchases
    start = purchases.start
    end = purchases.end
    good, failed, late = (
        trace_id.hex() for trace_id in (purchases.good, purchases.failed, purchases.late)
    )
    wanted, expected = {
        "failed": (RequestFilter(failed=True), [late, failed]),
        "slower_than": (RequestFilter(slower_than=1.0), [late]),
        "text": (RequestFilter(text="CHECKOUT"), [late, failed, good]),
        "attributes": (
            RequestFilter(attributes=(("service.name", purchases.front),)),
            [late, failed, good],
        ),
        "status": (
            RequestFilter(attributes=(("http.response.status_code", "500"),)),
            [late, failed],
        ),
        "ended_before": (RequestFilter(ended_before=purchases.start_ns + 5 * NANO), [good]),
    }[condition]
    of_front = replace(wanted, service=purchases.front)
    services = tuple(sorted((purchases.front, purchases.bank)))
    contract.expect(
        lambda backends: backends.search_requests(start, end, of_front),
        [(trace_id, services) for trace_id in expected],
        lambda found: [(request.span.trace_id, request.services) for request in found],
    )


def test_what_is_dated_ahead_of_the_clock_is_found(contract: Contract) -> None:
    """What a clock that is ahead has dated is found beyond now alone, or the page says so."""
    name = contract.purchases.ahead
    now = time.time()
    limit = contract.create_backends().request_search_limit
    assert ("dated ahead" in limit) == (contract.mode == "full")
    contract.expect(
        lambda backends: backends.search_requests(now - 60, now + 7200, RequestFilter(name)),
        [] if limit else ["GET /ahead"],
        lambda found: [request.span.name for request in found],
    )
    contract.expect(
        lambda backends: backends.search_logs(now - 60, now + 7200, LogFilter(name)),
        ["written ahead"],
        bodies,
    )
    up_to_now = RequestFilter(name, ended_before=time.time_ns())
    assert not contract.run(
        lambda backends: backends.search_requests(now - 60, now + 7200, up_to_now)
    )
    assert not contract.run(lambda backends: backends.logs(now - 60, now, service=name))


def test_older_requests_are_found_page_by_page(contract: Contract) -> None:
    """The end of the last request leads to the one before it, however few are asked for."""
    purchases = contract.purchases

    def page(ended_before: int) -> list[int]:
        wanted = RequestFilter(purchases.front, ended_before=ended_before)
        found = contract.run(
            lambda backends: backends.search_requests(purchases.start, purchases.end, wanted, 1)
        )
        return [request.span.end for request in found]

    contract.expect(
        lambda backends: backends.search_requests(
            purchases.start, purchases.end, RequestFilter(purchases.front)
        ),
        3,
        len,
    )
    [last] = page(0)
    [middle] = page(last)
    [first] = page(middle)
    assert first < middle < last
    assert page(first) == []


def test_a_failed_request_says_why(contract: Contract) -> None:
    """The reason is the exception of the request, or of a failed span that it called."""
    purchases = contract.purchases
    contract.expect(
        lambda backends: backends.search_requests(
            purchases.start, purchases.end, RequestFilter(service=purchases.front)
        ),
        ["PaymentError: no answer", "failed", ""],
        lambda found: [request.failure for request in found],
    )


def test_the_peers_of_a_request_say_what_their_spans_say(contract: Contract) -> None:
    """The other failed request has its attributes and those of the spans below it, by service."""
    purchases = contract.purchases
    front = purchases.front
    wanted = PeerQuery(
        purchases.failed.hex(),
        front,
        "POST /checkout",
        "SERVER",
        time=purchases.start_ns + 5 * NANO,
        within=PERIOD_S * NANO,
        failed=True,
        names=("http.route", "order.id", "order.amount", "service.instance.id"),
    )
    instances = {Fact(service, "service.instance.id", "one") for service in (front, purchases.bank)}
    of_late = {
        Fact(front, "http.route", ROUTE),
        Fact(front, "order.id", purchases.order_id(purchases.late)),
        Fact(front, "order.amount", "12.5"),
    }
    contract.expect(lambda backends: backends.peer_facts(wanted), [of_late | instances])
    of_bank = replace(wanted, service=purchases.bank, name="POST /charges", failed=False)
    contract.expect(
        lambda backends: backends.peer_facts(of_bank),
        [{Fact(purchases.bank, "service.instance.id", "one")}] * 2,
    )
    slow = replace(of_bank, min_duration=NANO)
    contract.expect(lambda backends: backends.peer_facts(slow), 1, len)


def test_history_has_requests_and_log_records(contract: Contract) -> None:
    """What ``demo tail`` shows first has the requests and log records of one service, in order."""
    purchases = contract.purchases

    async def query(backends: Backends) -> list[str]:
        arrivals = backends.arrivals(Selection(purchases.bank))
        history = await arrivals.begin(100)
        assert await arrivals.poll() == []
        return [type(item).__name__ for item in history if item.service == purchases.bank]

    contract.expect(query, {"Span", "LogRecord"}, set)


def bodies(records: Sequence[LogRecord]) -> list[str]:
    """Return the bodies of log records."""
    return [record.body for record in records]


def test_the_log_records_of_a_trace_are_found_oldest_first(contract: Contract) -> None:
    """The log records of a trace are returned from both services, in order of time."""
    purchases = contract.purchases
    contract.expect(
        lambda backends: backends.trace_logs(
            purchases.failed.hex(), purchases.start, purchases.end
        ),
        [f"charging {purchases.order_id(purchases.failed)}", f"POST {ROUTE} 500"],
        bodies,
    )


def test_log_records_are_found_newest_first(contract: Contract) -> None:
    """Log records are found by service, severity, text or being canonical, up to a limit."""
    purchases = contract.purchases
    front = purchases.front
    bank = purchases.bank
    start = purchases.start
    end = purchases.end
    order_id = purchases.order_id(purchases.failed)
    all_of_front = [f"POST {ROUTE} 500", f"POST {ROUTE} 500", f"POST {ROUTE} 200"]
    cases: list[tuple[Query, list[str]]] = [
        (lambda backends: backends.logs(start, end, service=front), all_of_front),
        (
            lambda backends: backends.logs(start, end, service=front, severity="ERROR"),
            all_of_front[:2],
        ),
        (lambda backends: backends.logs(start, end, service=front, limit=1), all_of_front[:1]),
        (lambda backends: backends.logs(start, end, service=bank, canonical=True), []),
        (
            lambda backends: backends.logs(start, end, service=front, canonical=True, text="200"),
            all_of_front[2:],
        ),
        (lambda backends: backends.logs(start, end, text=order_id), [f"charging {order_id}"]),
        (
            lambda backends: backends.logs(start, end, service=front, text=f"post {ROUTE}"),
            [],
        ),
    ]
    for query, expected in cases:
        contract.expect(query, expected, bodies)


def test_log_records_are_searched_in_all_fields(contract: Contract) -> None:
    """A search finds text in any case and field, whole attributes, levels and pages."""
    purchases = contract.purchases
    front = purchases.front
    bank = purchases.bank
    failed_id = purchases.failed.hex()
    order_id = purchases.order_id(purchases.failed)
    of_failed = [f"POST {ROUTE} 500", f"charging {order_id}"]
    of_front = [f"POST {ROUTE} 500", f"POST {ROUTE} 500", f"POST {ROUTE} 200"]
    last_time = purchases.start_ns + 5 * NANO + 900 * MILLISECOND
    cases: list[tuple[LogFilter, list[str]]] = [
        (LogFilter(text=order_id.upper()), of_failed[1:]),
        (LogFilter(text=bank.upper(), service=bank, level="WARN"), []),
        (LogFilter(text=front.upper()), of_front),
        (LogFilter(text="FAILed", service=front), of_front[:2]),
        (LogFilter(text=EVENT.title(), service=front, level="INFO"), of_front[2:]),
        (LogFilter(text=failed_id.upper()), of_failed),
        (LogFilter(text=failed_id[5:15].upper(), service=front), of_failed[:1]),
        (LogFilter(text=UNKNOWN_NAME), []),
        (LogFilter(text=UNKNOWN_TRACE), []),
        (LogFilter(service=front, level="ERROR"), of_front[:2]),
        (LogFilter(service=front, attributes=(("outcome", "success"),)), of_front[2:]),
        (
            LogFilter(service=front, attributes=(("http.response.status_code", "500"),)),
            of_front[:2],
        ),
        (LogFilter(service=front, attributes=(("outcome", "Success"),)), []),
        (LogFilter(attributes=(("trace_id", failed_id), ("service.namespace", "shop"))), of_failed),
        (LogFilter(service=front, attributes=((UNKNOWN_NAME, "1"), ("offset", "1"))), []),
        (LogFilter(service=front, until=last_time), of_front[1:]),
        (LogFilter(service=front, until=last_time, skipped=1), of_front[2:]),
        (LogFilter(service=front, until=last_time - 1), of_front[2:]),
        (LogFilter(text="post", service=front, until=last_time, skipped=1), of_front[2:]),
    ]
    for wanted, expected in cases:

        def query(backends: Backends, wanted: LogFilter = wanted) -> Awaitable[list[LogRecord]]:
            return backends.search_logs(purchases.start, purchases.end, wanted)

        contract.expect(query, expected, bodies)


def test_a_log_record_has_its_fields(contract: Contract) -> None:
    """A log record is returned with its time, service, severity, attributes and ids."""
    purchases = contract.purchases

    def query(backends: Backends) -> Awaitable[list[LogRecord]]:
        return backends.logs(
            purchases.start, purchases.end, service=purchases.front, severity="INFO"
        )

    contract.expect(query, 1, len)
    [record] = contract.run(query)
    assert record.time == purchases.start_ns + NANO + 900 * MILLISECOND
    assert record.service == purchases.front
    assert record.severity == "INFO"
    expected = {
        "http_route": ROUTE,
        "http_response_status_code": "200",
        "outcome": "success",
        "trace_id": purchases.good.hex(),
    }
    assert {name: record.fields.get(name) for name in expected} == expected
    assert len(record.fields["span_id"]) == 16
    assert (record.severity_number, record.event_name, record.flags) == (9, EVENT, 1)
    assert record.observed_time == purchases.start_ns + 2 * NANO
    assert record.scope.name == "tests"


def test_counters_are_summed_by_labels(contract: Contract) -> None:
    """The newest values are summed over instances; for a histogram, its count is summed."""
    of_front = {"service_name": contract.purchases.front}
    of_failed = of_front | {"outcome": "failed"}
    of_success = of_front | {"outcome": "success"}
    last_value = 100 + POINTS - 1
    statuses: dict[tuple[str, ...], float] = {
        ("200",): sum(GOOD_COUNTS) + POINTS - 1,
        ("504",): sum(BAD_COUNTS) + POINTS - 1,
    }
    cases: list[tuple[Query, dict[tuple[str, ...], float]]] = [
        (
            lambda backends: backends.counters("orders_sold_total", ("outcome",), of_front),
            {("success",): last_value + 5.0, ("failed",): last_value},
        ),
        (lambda backends: backends.counters("orders_sold_total", (), of_failed), {(): last_value}),
        (
            lambda backends: backends.counters(
                "orders_sold_total", ("instance", "missing"), of_success
            ),
            {("one", ""): last_value, ("two", ""): 5.0},
        ),
        (
            lambda backends: backends.counters(
                f"{DURATION}_count", ("http_response_status_code",), of_front
            ),
            statuses,
        ),
    ]
    for query, expected in cases:
        contract.expect(query, expected)


def test_rate_errors_and_quantiles_are_those_of_prometheus(contract: Contract) -> None:
    """Rate, errors and quantiles equal values computed by hand with Prometheus' rules."""
    purchases = contract.purchases
    end = purchases.end
    increase = POINTS - 1
    sampled_s = POINT_INTERVAL_S * (POINTS - 1)
    window = 60.0
    # The window's start is 42 s away: half an interval (1 s). Its end is 2 s away: to the end.
    # Both series rise by one at each point.
    rate = increase * (sampled_s + 1 + 2) / sampled_s / window
    # Half of the requests took up to 0.1 s, the others up to 0.5 s. Nine tenths of all are at
    # eight tenths of the second bucket.
    expected = [2 * rate, 0.5, 0.1 * 0.5, 0.1 + 0.4 * 0.8]

    def values(samples: Sequence[RedSample]) -> list[float | None]:
        [sample] = samples
        return [sample.rate, sample.errors, *sample.quantiles]

    contract.expect(
        lambda backends: backends.red(
            purchases.front, ROUTE, end, end, window=window, quantiles=(0.25, 0.9)
        ),
        pytest.approx(expected),
        values,
    )


def test_exemplars_have_trace_value_time_and_labels(contract: Contract) -> None:
    """Exemplars within the time range are returned with the labels of their buckets."""
    purchases = contract.purchases
    exemplar_time = purchases.start + POINT_INTERVAL_S * (POINTS - 1) - 0.5

    def of_front(exemplars: Sequence[Exemplar]) -> list[tuple[Any, ...]]:
        summaries = [
            (
                exemplar.trace_id,
                exemplar.value,
                round(exemplar.time, 3),
                exemplar.labels["http_route"],
                exemplar.labels["http_response_status_code"],
                exemplar.labels["le"],
            )
            for exemplar in exemplars
            if exemplar.labels.get("service_name") == purchases.front
        ]
        return sorted(summaries, key=lambda fields: float(fields[1]))

    contract.expect(
        lambda backends: backends.exemplars(purchases.start, purchases.end),
        [
            (purchases.good.hex(), 0.05, exemplar_time, ROUTE, "200", "0.1"),
            (purchases.failed.hex(), 0.3, exemplar_time, ROUTE, "504", "0.5"),
        ],
        of_front,
    )
    contract.expect(
        lambda backends: backends.exemplars(purchases.start, exemplar_time - 1), [], of_front
    )


def test_instruments_have_their_kind_and_their_services(contract: Contract) -> None:
    """Instruments have kind, unit, services and series; only the store knows the description."""
    purchases = contract.purchases
    is_local = contract.mode == "local"
    of_front = (purchases.front,)
    of_meter = (purchases.meter,)
    up_down = UP_DOWN_COUNTER if is_local else GAUGE
    description = "Temperature of a room" if is_local else ""

    def of_purchases(found: Sequence[Instrument]) -> set[tuple[Any, ...]]:
        return {
            (
                instrument.prometheus_name,
                instrument.kind,
                instrument.unit,
                instrument.description,
                instrument.services,
                instrument.series,
            )
            for instrument in found
            if {purchases.front, purchases.meter} & set(instrument.services)
        }

    # In full mode, the services of the stack send the histogram as well.
    def without_shared(found: Sequence[Instrument]) -> set[tuple[Any, ...]]:
        return {row for row in of_purchases(found) if row[0] != DURATION}

    celsius = "_celsius" if contract.mode == "full" else ""
    contract.expect(
        lambda backends: backends.instruments(purchases.start, purchases.end),
        {
            ("orders_sold_total", COUNTER, "", "", of_front, 3),
            (f"room_temperature{celsius}", GAUGE, "Cel", description, of_meter, 2),
            ("connections_open", up_down, "", "", of_meter, 2),
            ("body_size_bytes", EXPONENTIAL_HISTOGRAM, "By", "", of_meter, 1),
            ("gc_pause_seconds", SUMMARY, "s", "", of_meter, 1),
        },
        without_shared,
    )
    found = contract.run(lambda backends: backends.instruments(purchases.start, purchases.end))
    [durations] = [instrument for instrument in found if instrument.prometheus_name == DURATION]
    assert (durations.kind, durations.unit) == (HISTOGRAM, "s")
    assert purchases.front in durations.services


def test_each_kind_of_instrument_has_its_lines(contract: Contract) -> None:
    """The lines of each kind, in groups by one label, equal values computed by hand."""
    purchases = contract.purchases
    is_local = contract.mode == "local"
    # Long enough for both, whatever they take for the interval between two points.
    window = 300.0
    increase = POINTS - 1
    sampled_s = POINT_INTERVAL_S * increase
    # The window's start is far away: half an interval (1 s). Its end is 2 s away: to the end.
    rate = increase * (sampled_s + 1 + 2) / sampled_s / window
    if not is_local:
        # Prometheus knows no start of a series but its first point, which was some seconds ago.
        rate /= MIN_PART
    up_down = UP_DOWN_COUNTER if is_local else GAUGE
    cases: list[tuple[str, str, str, dict[tuple[str, str], object]]] = [
        (
            "orders_sold_total",
            COUNTER,
            "outcome",
            {("failed", "rate"): rate},
        ),
        ("room_temperature", GAUGE, "room", {("cellar", "value"): -10, ("attic", "value"): 30}),
        ("room_temperature", GAUGE, "", {("", "value"): 10}),
        ("connections_open", up_down, "", {("", "value"): 3 if is_local else 1.5}),
        (
            "gc_pause_seconds",
            SUMMARY,
            "",
            {("", "rate"): 4 * rate, ("", "p50"): 0.25, ("", "p99.9"): 2.5},
        ),
        (
            DURATION,
            HISTOGRAM,
            "http_response_status_code",
            {
                ("200", "rate"): rate,
                ("200", "p50"): 0.05,
                ("200", "p95"): 0.095,
                ("200", "p99"): 0.099,
                ("504", "rate"): rate,
                ("504", "p50"): 0.3,
                ("504", "p95"): 0.1 + 0.4 * 0.95,
                ("504", "p99"): 0.1 + 0.4 * 0.99,
            },
        ),
    ]
    celsius = "_celsius" if contract.mode == "full" else ""
    for name, kind, by, expected in cases:
        full_name = name + (celsius if kind == GAUGE and name == "room_temperature" else "")
        service = purchases.front if name in {DURATION, "orders_sold_total"} else purchases.meter
        wanted = InstrumentQuery(
            full_name,
            kind,
            purchases.end,
            purchases.end,
            step=POINT_INTERVAL_S,
            window=window,
            service=service,
            by=by,
        )
        contract.expect(series_of(wanted), pytest.approx(expected), newest_values)


def series_of(wanted: InstrumentQuery) -> Query:
    """Return the query for the values of an instrument."""
    return lambda backends: backends.instrument_series(wanted)


def newest_values(found: InstrumentSeries) -> dict[tuple[str, str], float | None]:
    """Return the newest value of each line, by its group and its statistic.

    Of the orders, those that failed: a series of the others begins in the window, and counts from
    zero in the local store alone.
    """
    return {
        (group.value, line.statistic): line.values[-1]
        for group in found.groups
        for line in group.lines
        if line.values[-1] is not None and group.value != "success"
    }


def test_an_exponential_histogram_has_rate_and_quantiles(contract: Contract) -> None:
    """The quantiles lie in the bucket that grew; how to interpolate in it is each backend's own."""
    purchases = contract.purchases
    wanted = InstrumentQuery(
        "body_size_bytes",
        EXPONENTIAL_HISTOGRAM,
        purchases.end,
        purchases.end,
        window=300,
        service=purchases.meter,
    )

    def in_bucket(found: InstrumentSeries) -> list[object]:
        values = newest_values(found)
        return [name for name, value in sorted(values.items()) if 0 < (value or 0) < 2]

    contract.expect(
        series_of(wanted),
        [("", "p50"), ("", "p95"), ("", "p99"), ("", "rate")],
        in_bucket,
    )


def test_an_instrument_says_what_is_not_drawn(contract: Contract) -> None:
    """The answer has the number of groups and series, and each label with its number of values."""
    purchases = contract.purchases
    wanted = InstrumentQuery(
        "orders_sold_total",
        COUNTER,
        purchases.start,
        purchases.end,
        service=purchases.front,
        by="instance",
    )

    def labels(found: InstrumentSeries) -> list[tuple[str, int]]:
        return [(label.name, label.count) for label in found.labels]

    contract.expect(
        series_of(wanted),
        [
            ("instance", 2),
            ("job", 1),
            ("outcome", 2),
            ("service_name", 1),
            ("service_namespace", 1),
        ],
        labels,
    )
    found = contract.run(lambda backends: backends.instrument_series(wanted))
    assert (found.series_count, found.groups[0].value) == (3, "one")


def test_exemplars_of_one_instrument_are_found(contract: Contract) -> None:
    """Any instrument's exemplars are found, newest first, with their trace and their labels."""
    purchases = contract.purchases
    wanted = InstrumentQuery(
        DURATION, HISTOGRAM, purchases.start, purchases.end, service=purchases.front
    )
    contract.expect(
        lambda backends: backends.instrument_exemplars(wanted),
        {(purchases.good.hex(), 0.05, "0.1"), (purchases.failed.hex(), 0.3, "0.5")},
        lambda found: {(one.trace_id, one.value, one.labels["le"]) for one in found},
    )
    none = InstrumentQuery("gc_pause_seconds", SUMMARY, purchases.start, purchases.end)
    assert contract.run(lambda backends: backends.instrument_exemplars(none)) == []


def test_services_and_routes_have_figures(contract: Contract) -> None:
    """Both services are found with their source; the histogram gives errors and durations."""
    purchases = contract.purchases
    start = purchases.start - 60

    def of_purchases(found: Sequence[Figures]) -> dict[str, str]:
        names = (purchases.front, purchases.bank)
        return {figures.name: figures.source for figures in found if figures.name in names}

    contract.expect(
        lambda backends: backends.services(start, purchases.end),
        {purchases.front: "http.server.request.duration", purchases.bank: SPANS},
        of_purchases,
    )
    found = contract.run(lambda backends: backends.services(start, purchases.end))
    [front] = [figures for figures in found if figures.name == purchases.front]
    routes = contract.run(lambda backends: backends.routes(purchases.front, start, purchases.end))
    assert [route.name for route in routes] == [ROUTE]
    for figures in (front, *routes):
        # Both statuses rise by one at each point. Prometheus extrapolates.
        assert figures.requests == pytest.approx(2 * (POINTS - 1), rel=0.2)
        assert figures.error_ratio == pytest.approx(0.5)
        assert figures.quantiles == pytest.approx((0.1, 0.46, 0.492))
        assert figures.mean == pytest.approx(1.0)
        assert len(figures.rates) == PARTS
        assert figures.rates[0] is None
        assert any(rate is not None for rate in figures.rates)


def test_the_red_of_a_service_is_that_of_its_route(contract: Contract) -> None:
    """All requests of a service over time have the values of its only route, and its exemplars."""
    purchases = contract.purchases
    end = purchases.end

    def values(samples: Sequence[RedSample]) -> list[float | None]:
        return [
            value
            for sample in samples
            for value in (sample.time, over_window(sample), sample.errors, *sample.quantiles)
        ]

    def over_window(sample: RedSample) -> float | None:
        # The rate of a service, and not that of a route, is divided by the time with data alone.
        covered = sample.covered_s / 60 if sample.covered_s else 1.0
        return None if sample.rate is None else sample.rate * covered

    def source_and_traces(red: ServiceRed) -> tuple[str, float, set[str]]:
        return red.source, red.window, {exemplar.trace_id for exemplar in red.exemplars}

    def query(backends: Backends) -> Awaitable[ServiceRed]:
        return backends.service_red(purchases.front, end - 10, end, step=5, window=60)

    contract.expect(
        query,
        ("http.server.request.duration", 60.0, {purchases.good.hex(), purchases.failed.hex()}),
        source_and_traces,
    )
    of_route = contract.run(
        lambda backends: backends.red(purchases.front, ROUTE, end - 10, end, step=5, window=60)
    )
    assert values(contract.run(query).samples) == pytest.approx(values(of_route))


def test_the_service_graph_counts_calls_and_failures(contract: Contract) -> None:
    """A call is a CLIENT span with a SERVER span as its child, failed if either of them is."""
    if contract.mode == "full":
        pytest.skip(
            "Tempo counts in steps, and its new series lose their first calls: "
            "the end-to-end tests check its service graph"
        )
    purchases = contract.purchases
    contract.expect(
        lambda backends: backends.service_graph(purchases.start, purchases.end),
        [ServiceCall(purchases.front, purchases.bank, 3, 2)],
    )
    contract.expect(
        lambda backends: backends.service_graph(purchases.start - 100, purchases.start), []
    )


def test_the_service_map_has_requests_and_calls(contract: Contract) -> None:
    """Services have their requests and failures, and calls lead from clients to each of them."""
    purchases = contract.purchases
    names = {purchases.front, purchases.bank}

    def requests_of(service_map: ServiceMap) -> dict[str, tuple[float, float]]:
        return {
            name: (outcomes.requests, outcomes.failed)
            for name, outcomes in service_map.services.items()
            if name in names
        }

    # Tempo answers for a time that ended ``ARRIVAL_GRACE_S`` ago.
    end = purchases.end + (ARRIVAL_GRACE_S if contract.mode == "full" else 0)
    contract.expect(
        lambda backends: backends.service_map(end - PERIOD_S, end),
        {purchases.front: (3, 2), purchases.bank: (3, 1)},
        requests_of,
    )
    contract.expect(
        lambda backends: backends.service_map(end - 100, end - PERIOD_S - 1), {}, requests_of
    )
    if contract.mode == "full":
        return  # Tempo counts calls in steps, and its new series lose their first ones.
    contract.expect(
        lambda backends: backends.service_map(end - PERIOD_S, end),
        {
            (CLIENTS, service(purchases.front)): CallCounts(3, 2, 2),
            (service(purchases.front), service(purchases.bank)): CallCounts(3, 2, 1),
        },
        lambda service_map: service_map.calls,
    )


def test_unknown_names_give_empty_results(contract: Contract) -> None:
    """An unknown id, service, order, text or label gives an empty result and no error."""
    purchases = contract.purchases
    front = purchases.front
    start = purchases.start
    end = purchases.end
    unknown = UNKNOWN_NAME
    queries: list[Query] = [
        lambda backends: backends.trace(UNKNOWN_TRACE),
        lambda backends: backends.requests(unknown, start, end, failed=True),
        lambda backends: backends.requests(front, start, end, order_id=unknown),
        lambda backends: backends.trace_logs(UNKNOWN_TRACE, start, end),
        lambda backends: backends.logs(start, end, service=unknown, severity=unknown, text=unknown),
        lambda backends: backends.instrument_exemplars(
            InstrumentQuery(unknown, COUNTER, start, end, service=unknown)
        ),
        lambda backends: backends.routes(unknown, start, end),
    ]
    for query in queries:
        assert contract.run(query) == []
    counters = contract.run(
        lambda backends: backends.counters(
            "orders_sold_total", ("outcome",), {"service_name": unknown}
        )
    )
    assert counters == {}
    for kind in (COUNTER, GAUGE, HISTOGRAM, EXPONENTIAL_HISTOGRAM, SUMMARY, UP_DOWN_COUNTER):
        nothing = InstrumentQuery(unknown, kind, start, end, service=unknown, by=unknown)
        found = contract.run(series_of(nothing))
        assert (found.groups, found.group_count, found.labels) == ((), 0, ())
    samples = contract.run(
        lambda backends: backends.red(unknown, unknown, end - 5, end, quantiles=(0.5,))
    )
    assert samples == [
        RedSample(end - 5, None, None, (None,)),
        RedSample(end, None, None, (None,)),
    ]


def test_only_the_local_store_reports_its_size(contract: Contract) -> None:
    """The local store reports the size of its file, the real backends report None."""
    size = contract.run(lambda backends: backends.size())
    if contract.mode == "full":
        assert size is None
    else:
        assert size > 10_000


def test_ingested_counts_all_records(contract: Contract) -> None:
    """The totals of ingested records include all records that were sent."""
    ingested = contract.run(lambda backends: backends.ingested())
    sent = {"spans": 13, "lines": 7, "points": 10 * POINTS + 1}
    assert set(ingested) == set(sent)
    if contract.mode == "local":
        assert ingested == sent
    else:
        assert all(ingested[signal_name] >= count for signal_name, count in sent.items())


def test_freshness_is_the_age_of_the_newest_records(contract: Contract) -> None:
    """The newest trace, log record and metric are each less than two minutes old."""
    ages = contract.run(lambda backends: backends.freshness())
    assert set(ages) == {"traces", "logs", "metrics"}
    assert all(age is not None and age < 120 for age in ages.values()), ages


def test_all_components_are_healthy(contract: Contract) -> None:
    """Health reports every component without a problem."""
    assert not any(contract.run(lambda backends: backends.health()).values())
