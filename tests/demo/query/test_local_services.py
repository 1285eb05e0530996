"""Tests that the local store finds every service and route with the right figures."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
)

from tests.demo.local_store.messages import (
    CUMULATIVE,
    DELTA,
    NANO,
    attributes,
    exemplar,
    histogram,
    histogram_point,
    log_record,
    log_request,
    metric_request,
    span,
    trace_request,
)
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.query import local_services
from three_pillar_demo.query.local import LocalBackends
from three_pillar_demo.query.red_sources import ROOT_SPANS, SPANS
from three_pillar_demo.query.service_figures import PARTS, Figures, ServiceRed
from three_pillar_demo.query.sqlite_reader import SqliteReader

INTERNAL = 1
SERVER = 2
CLIENT = 3
CONSUMER = 5
RANGE_S = 240
PART_S = RANGE_S / PARTS
INTERVAL_S = 20
"""Seconds between two exports."""
NOW_NS = time.time_ns() // NANO * NANO
NOW = NOW_NS / NANO
START = NOW - RANGE_S
HTTP = "http.server.request.duration"
SUCCESS = attributes(http__request__method="GET", http__route="/a", http__response__status_code=200)
FAILURE = attributes(http__request__method="GET", http__route="/b", http__response__status_code=500)


def services(store: InMemoryStore) -> dict[str, Figures]:
    """Return the figures of all services, by name."""

    async def query() -> list[Figures]:
        async with LocalBackends(store.path) as backends:
            return await backends.services(START, NOW)

    return {figures.name: figures for figures in asyncio.run(query())}


def routes(store: InMemoryStore, service: str) -> list[Figures]:
    """Return the figures of the routes of a service."""

    async def query() -> list[Figures]:
        async with LocalBackends(store.path) as backends:
            return await backends.routes(service, START, NOW)

    return asyncio.run(query())


def service_red(store: InMemoryStore, service: str, window: float = 60.0) -> ServiceRed:
    """Return the rate, errors and durations of a service over time."""

    async def query() -> ServiceRed:
        async with LocalBackends(store.path) as backends:
            return await backends.service_red(service, START, NOW, step=10, window=window)

    return asyncio.run(query())


def ago(seconds: float) -> int:
    """Return the time so many seconds ago, in nanoseconds since the epoch."""
    return int(NOW_NS - seconds * NANO)


def point(
    requests: int,
    at: int,
    labels: Sequence[KeyValue] = SUCCESS,
    since: int = 0,
    unit_s: float = 1.0,
    **fields: Any,  # noqa: ANN401  (any field)
) -> HistogramDataPoint:
    """Return a point of a histogram in which each request took a quarter of a second."""
    return histogram_point(
        [0, requests, 0],
        (0.2 / unit_s, 0.3 / unit_s),
        at=at,
        start=since or ago(3600),
        total=requests / 4 / unit_s,
        attributes=labels,
        **fields,
    )


def send(store: InMemoryStore, *metrics: Metric, service: str = "web") -> None:
    """Store metrics of a service."""
    store.send("metrics", metric_request(*metrics, service=service))


def send_rising(
    store: InMemoryStore, name: str, labels: Sequence[KeyValue] = SUCCESS, unit_s: float = 1.0
) -> None:
    """Store a cumulative histogram that counts one request at each export, all along the range."""
    for number in range(RANGE_S // INTERVAL_S + 1):
        at = ago(RANGE_S - number * INTERVAL_S)
        send(store, histogram(name, point(100 + number, at, labels, unit_s=unit_s)))


@pytest.mark.parametrize(
    ("name", "unit_s", "ok", "failed"),
    [
        (HTTP, 1.0, SUCCESS, FAILURE),
        (
            "http.server.duration",
            0.001,
            attributes(http__method="GET", http__route="/a", http__status_code=404),
            attributes(http__method="GET", http__route="/b", http__status_code=503),
        ),
        (
            "rpc.server.duration",
            0.001,
            attributes(rpc__service="Cart", rpc__method="Get", rpc__grpc__status_code=5),
            attributes(rpc__service="Cart", rpc__method="Add", rpc__grpc__status_code=13),
        ),
        (
            "rpc.server.call.duration",
            1.0,
            attributes(rpc__method="Cart/Get", rpc__response__status_code="OK"),
            attributes(rpc__method="Cart/Add", rpc__response__status_code="UNAVAILABLE"),
        ),
    ],
)
def test_each_histogram_gives_the_same_figures(
    in_memory_store: InMemoryStore,
    name: str,
    unit_s: float,
    ok: Sequence[KeyValue],
    failed: Sequence[KeyValue],
) -> None:
    """HTTP and RPC durations, old and new, in s and in ms, count the same requests and failures."""
    for number in range(RANGE_S // INTERVAL_S + 1):
        at = ago(RANGE_S - number * INTERVAL_S)
        points = [
            point(100 + 3 * number, at, ok, unit_s=unit_s),
            point(50 + number, at, failed, unit_s=unit_s),
        ]
        metric = histogram(name, *points)
        metric.unit = "s" if unit_s == 1.0 else "ms"
        send(in_memory_store, metric)
    figures = services(in_memory_store)["web"]
    exports = RANGE_S // INTERVAL_S
    assert (figures.source, figures.requests, figures.failed) == (name, 4 * exports, exports)
    assert figures.rate == pytest.approx(4 / INTERVAL_S)
    assert figures.error_ratio == pytest.approx(0.25)
    assert figures.quantiles == pytest.approx((0.25, 0.295, 0.299))
    assert figures.mean == pytest.approx(0.25)
    assert figures.rates == pytest.approx([4 / INTERVAL_S for _ in range(PARTS)])
    by_route = routes(in_memory_store, "web")
    assert [(route.requests, route.failed) for route in by_route] == [
        (3 * exports, 0),
        (exports, exports),
    ]
    assert by_route[0].name in {"GET /a", "Cart/Get"}


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE])
def test_exponential_histograms_count(in_memory_store: InMemoryStore, temporality: int) -> None:
    """An exponential histogram gives requests, mean and quantiles, delta or cumulative."""
    for number in (1, 2, 3):
        count = 10 if temporality == DELTA else 10 * number
        data_point = ExponentialHistogramDataPoint(
            time_unix_nano=ago(100 - number * INTERVAL_S),
            start_time_unix_nano=ago(100 - (number - 1) * INTERVAL_S)
            if temporality == DELTA
            else ago(100),
            count=count,
            sum=count / 4,
            scale=0,
            positive=ExponentialHistogramDataPoint.Buckets(offset=-3, bucket_counts=[count]),
            attributes=SUCCESS,
        )
        data = ExponentialHistogram(
            data_points=[data_point],
            aggregation_temporality=temporality,  # type: ignore[arg-type]
        )
        send(in_memory_store, Metric(name=HTTP, unit="s", exponential_histogram=data))
    figures = services(in_memory_store)["web"]
    assert (figures.source, figures.requests, figures.mean) == (HTTP, 30, 0.25)
    assert figures.quantiles[0] is not None
    assert 0.125 < figures.quantiles[0] <= 0.25
    red = service_red(in_memory_store, "web")
    assert red.source == HTTP
    assert max(sample.rate or 0.0 for sample in red.samples) == pytest.approx(0.5)


def test_the_first_request_counts(in_memory_store: InMemoryStore) -> None:
    """A single request of a new process is one request with its own duration, not an estimate."""
    started = ago(30)
    send(in_memory_store, histogram(HTTP, point(1, ago(10), since=started)))
    figures = services(in_memory_store)["web"]
    assert (figures.requests, figures.failed, figures.mean) == (1, 0, 0.25)
    assert figures.start == pytest.approx(NOW - 30)


def test_a_new_series_of_a_known_process_counts_from_zero(in_memory_store: InMemoryStore) -> None:
    """The first failure of a process that runs for an hour is counted, though its series is new."""
    for number in range(5):
        at = ago(RANGE_S + 20 - number * 60)
        send(in_memory_store, histogram(HTTP, point(100, at)))
    send(in_memory_store, histogram(HTTP, point(100, ago(5)), point(2, ago(5), FAILURE)))
    figures = services(in_memory_store)["web"]
    assert (figures.requests, figures.failed) == (2, 2)


def test_a_second_sender_of_the_same_series_adds_nothing(in_memory_store: InMemoryStore) -> None:
    """When two processes send under the same names, only what each of them counts is added."""
    for number in range(10):
        at = ago(100 - number * 10)
        send(in_memory_store, histogram(HTTP, point(700 + number, at)))
        if number >= 5:
            second = point(number - 4, at + NANO, since=ago(49.5))
            send(in_memory_store, histogram(HTTP, second))
    figures = services(in_memory_store)["web"]
    # The store splits the series of the first process, whose increase over the split is unknown.
    assert figures.requests == (9 - 1) + 5
    assert max(rate for rate in figures.rates if rate is not None) < 0.5


def test_what_was_counted_before_the_first_point_is_left_out(
    in_memory_store: InMemoryStore,
) -> None:
    """A process that the store meets an hour after its start adds only what it counts from now."""
    for number in range(3):
        send(in_memory_store, histogram(HTTP, point(5_000 + number, ago(100 - number * 10))))
    assert services(in_memory_store)["web"].requests == 2


def test_only_the_durations_of_the_range_count(in_memory_store: InMemoryStore) -> None:
    """Slow requests before the range change neither its quantiles nor its mean."""
    for at, counts in ((ago(RANGE_S + 5), [0, 0, 90]), (ago(5), [0, 10, 90])):
        slow_before = histogram_point(
            counts, (0.2, 0.3), at=at, start=ago(3600), total=900 + counts[1] / 4
        )
        send(in_memory_store, histogram(HTTP, slow_before))
    figures = services(in_memory_store)["web"]
    assert (figures.requests, figures.mean) == (10, 0.25)
    assert figures.quantiles == pytest.approx((0.25, 0.295, 0.299))


def test_a_restart_counts_from_zero(in_memory_store: InMemoryStore) -> None:
    """After a restart the counter begins again, and no request is negative or counted twice."""
    send(in_memory_store, histogram(HTTP, point(100, ago(200))))
    send(in_memory_store, histogram(HTTP, point(103, ago(150))))
    send(in_memory_store, histogram(HTTP, point(4, ago(100), since=ago(120))))
    send(in_memory_store, histogram(HTTP, point(6, ago(50), since=ago(120))))
    figures = services(in_memory_store)["web"]
    assert figures.requests == 3 + 4 + 2
    assert all(rate is None or rate >= 0 for rate in figures.rates)


def test_a_histogram_comes_before_spans(in_memory_store: InMemoryStore) -> None:
    """The first histogram in the order of preference is used, and spans only without one."""
    send_rising(in_memory_store, "http.server.duration")
    send_rising(in_memory_store, HTTP)
    in_memory_store.send("traces", trace_request(span(start=ago(9)), service="web"))
    in_memory_store.send("traces", trace_request(span(start=ago(9)), service="plain"))
    found = services(in_memory_store)
    assert {name: figures.source for name, figures in found.items()} == {
        "web": HTTP,
        "plain": SPANS,
    }
    assert service_red(in_memory_store, "web").source == HTTP
    assert service_red(in_memory_store, "plain").source == SPANS


def test_spans_give_exact_figures(in_memory_store: InMemoryStore) -> None:
    """Without metrics, SERVER and CONSUMER spans are counted, and other spans are not."""
    spans = [
        span("GET /a", start=ago(100 - number), seconds=number / 100, error=number == 20)
        for number in range(1, 20)
    ]
    spans.append(span("orders", start=ago(40), seconds=0.2, error=True, kind=CONSUMER))
    spans.append(span("call", start=ago(40), kind=CLIENT, parent_span_id=b"parent01"))
    spans.append(span("own", start=ago(40), kind=INTERNAL))
    in_memory_store.send("traces", trace_request(*spans, service="web"))
    figures = services(in_memory_store)["web"]
    assert (figures.source, figures.requests, figures.failed) == (SPANS, 20, 1)
    assert figures.quantiles == pytest.approx((0.10, 0.19, 0.20))
    assert sum(rate or 0.0 for rate in figures.rates) * PART_S == pytest.approx(20)
    assert [route.name for route in routes(in_memory_store, "web")] == ["GET /a", "orders", "own"]
    red = service_red(in_memory_store, "web", window=240)
    assert (red.source, len(red.exemplars)) == (SPANS, 20)
    assert red.samples[0].rate is None  # before the first request
    assert red.samples[-1].time == NOW
    assert red.samples[-1].rate == pytest.approx(20 / 99), "the first request began 99 s ago"
    assert red.samples[-1].errors == pytest.approx(0.05)


def test_jobs_are_listed_by_their_root_spans(in_memory_store: InMemoryStore) -> None:
    """A script has no SERVER span: its spans without a parent are its requests."""
    root = span("nightly", start=ago(60), seconds=2, kind=INTERNAL)
    child = span("step", start=ago(60), kind=INTERNAL, parent_span_id=root.span_id)
    in_memory_store.send("traces", trace_request(root, child, service="job"))
    figures = services(in_memory_store)["job"]
    assert (figures.source, figures.requests, figures.mean) == (ROOT_SPANS, 1, 2.0)


def test_a_service_that_sends_logs_alone_is_listed(in_memory_store: InMemoryStore) -> None:
    """A service without requests is listed without figures, not with zeros."""
    in_memory_store.send("logs", log_request(log_record(at=ago(5)), service="only logs"))
    figures = services(in_memory_store)["only logs"]
    assert (figures.source, figures.rate, figures.error_ratio) == ("", None, None)
    assert service_red(in_memory_store, "only logs").source == ""
    assert service_red(in_memory_store, "unknown").samples == ()


def test_a_service_whose_clock_is_ahead_is_told_from_one_without_requests(
    in_memory_store: InMemoryStore,
) -> None:
    """Only of a service of which all is dated ahead it is said, whatever it sends."""
    hour_s = 3600
    for name, kind, seconds_ago in (
        ("ahead", SERVER, -hour_s),
        ("worker", CONSUMER, -hour_s),
        ("busy", SERVER, -hour_s),
        ("busy", SERVER, 10),
    ):
        sent = span(start=ago(seconds_ago), seconds=1, kind=kind)
        in_memory_store.send("traces", trace_request(sent, service=name))
    for name, seconds_ago in (
        ("logger", -hour_s),
        ("logs-now", -hour_s),
        ("logs-now", 10),
        ("quiet", 10),
    ):
        sent_log = log_record("text", at=ago(seconds_ago))
        in_memory_store.send("logs", log_request(sent_log, service=name))
    found = services(in_memory_store)
    assert {name: round(one.ahead) for name, one in found.items()} == {
        "ahead": hour_s + 1,
        "worker": hour_s + 1,
        "busy": 0,
        "logger": hour_s,
        "logs-now": 0,
        "quiet": 0,
    }


def test_a_rare_export_widens_the_window(in_memory_store: InMemoryStore) -> None:
    """With an export each minute, as is the default of SDKs, a rate over 30 s has a value."""
    for number in range(6):
        send(in_memory_store, histogram(HTTP, point(number * 60, ago(300 - number * 60))))
    red = service_red(in_memory_store, "web", window=30)
    assert red.window == pytest.approx(150)
    assert red.samples[-1].rate == pytest.approx(1.0)


def test_steady_traffic_is_steady_from_its_beginning(in_memory_store: InMemoryStore) -> None:
    """A rate is divided by the time since the first data, not by a window that began before."""
    rate = 4
    for seconds in range(1, 41):
        born = point(rate * seconds, ago(40 - seconds), since=ago(40))
        send(in_memory_store, histogram(HTTP, born))
    red = service_red(in_memory_store, "web", window=60)
    rates = {round(NOW - sample.time): sample.rate for sample in red.samples}
    assert rates[50] is None
    assert [rates[seconds_ago] for seconds_ago in (30, 20, 10, 0)] == pytest.approx([rate] * 4)
    assert red.samples[-1].covered_s == pytest.approx(40)
    assert red.samples[-1].requests(red.window) == pytest.approx(160)


def test_steady_spans_are_steady_from_their_beginning(in_memory_store: InMemoryStore) -> None:
    """The rate of spans, too, is divided by the time since the first request began."""
    spans = [span("GET /", start=ago(40 - number), seconds=0.0) for number in range(40)]
    in_memory_store.send("traces", trace_request(*spans, service="web"))
    red = service_red(in_memory_store, "web", window=60)
    rates = {round(NOW - sample.time): sample.rate for sample in red.samples}
    assert rates[50] is None
    # A window has a request at each of its ends.
    assert [rates[seconds_ago] for seconds_ago in (20, 10, 0)] == pytest.approx([1] * 3, abs=0.06)


def test_one_request_is_not_many_a_second(in_memory_store: InMemoryStore) -> None:
    """The rate of the first request is over a sixth of the window at least."""
    send(in_memory_store, histogram(HTTP, point(1, ago(1), since=ago(1.5))))
    newest = service_red(in_memory_store, "web", window=60).samples[-1]
    assert newest.covered_s == pytest.approx(10)
    assert newest.requests(60) < 2


def test_new_failures_of_an_old_service_are_over_the_window(
    in_memory_store: InMemoryStore,
) -> None:
    """A series that begins later, of a service that has data for longer, has its whole window."""
    for number in range(13):
        at = ago(RANGE_S - number * INTERVAL_S)
        send(in_memory_store, histogram(HTTP, point(100 + 20 * number, at)))
    send(in_memory_store, histogram(HTTP, point(3, ago(1), FAILURE, since=ago(2))))
    newest = service_red(in_memory_store, "web", window=60).samples[-1]
    assert newest.covered_s is None
    assert newest.rate == pytest.approx(1 + 3 / 60, abs=0.1)


def test_routes_of_a_process_are_added(in_memory_store: InMemoryStore) -> None:
    """The rate of a service is that of its routes together, and its exemplars are in seconds."""
    for number in range(13):
        at = ago(RANGE_S - number * INTERVAL_S)
        points = [
            point(
                100 + 10 * number,
                at,
                attributes(http__route=f"/{route}", http__response__status_code=200),
                exemplars=[exemplar(b"t" * 16, 0.25, at=at - 1)] if route == number else [],
            )
            for route in range(20)
        ]
        send(in_memory_store, histogram(HTTP, *points))
    red = service_red(in_memory_store, "web")
    assert red.samples[-1].rate == pytest.approx(20 * 10 / INTERVAL_S)
    assert red.samples[-1].quantiles == pytest.approx((0.25, 0.295, 0.299))
    assert {item.labels["service_name"] for item in red.exemplars} == {"web"}


def test_many_series_are_read_at_fewer_times(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many series, the numbers are exact as before, and the rate is spread between points."""
    monkeypatch.setattr(local_services, "MAX_POINTS", 1)
    send_rising(in_memory_store, HTTP)
    figures = services(in_memory_store)["web"]
    assert figures.requests == RANGE_S // INTERVAL_S
    assert figures.rates == pytest.approx([1 / INTERVAL_S for _ in range(PARTS)])


def test_a_search_of_spans_is_bounded(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there are more spans than are searched, the figures say since when they count."""
    spans = [span(start=ago(200 - number * 10), seconds=0) for number in range(20)]
    for one in spans:
        in_memory_store.send("traces", trace_request(one, service="web"))
    for name in ("SELECT_SPANS", "SELECT_OLDEST_SCANNED"):
        statement = getattr(local_services, name)
        limit = str(local_services.SPANS_SCANNED)
        assert limit in statement
        monkeypatch.setattr(local_services, name, statement.replace(limit, "10"))
    figures = services(in_memory_store)["web"]
    assert figures.requests == 10
    assert figures.start == pytest.approx(NOW - 110)
    assert figures.rate == pytest.approx(10 / 110)
    rates = [sample.rate for sample in service_red(in_memory_store, "web", window=20).samples]
    assert rates[:15] == [None for _ in range(15)]
    assert rates[-1] == 0.05


def test_no_span_is_read_if_every_service_sends_a_histogram(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search of spans, which takes a while, is left out where it could find nothing."""
    fetched: list[str] = []
    fetch = SqliteReader.fetch

    async def recorded(reader: SqliteReader, statement: str, parameters: Any = ()) -> list[Any]:  # noqa: ANN401  (as in SqliteReader)
        fetched.append(statement)
        return await fetch(reader, statement, parameters)

    monkeypatch.setattr(SqliteReader, "fetch", recorded)
    send_rising(in_memory_store, HTTP)
    sent = span(start=ago(10), kind=SERVER)
    in_memory_store.send("traces", trace_request(sent, service="web"))
    assert set(services(in_memory_store)) == {"web"}
    assert not service_red(in_memory_store, "unknown").source
    assert local_services.SELECT_SPANS not in fetched
    in_memory_store.send("traces", trace_request(sent, service="other"))
    assert services(in_memory_store)["other"].source == SPANS
    assert local_services.SELECT_SPANS in fetched
