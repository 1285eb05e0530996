"""The contract: the same OTLP goes in, and each question has the same answer, whoever keeps what was told."""

import asyncio
import secrets
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.demo.local_store.conftest import (
    PROTOBUF,
    Process,
    buckets,
    counter,
    histogram,
    line,
    logs,
    metrics,
    pairs,
    point,
    span,
    traces,
)
from tests.end_to_end.conftest import FULL
from three_pillar_demo.query.interface import DURATION, NANO, Backends, ServiceCall
from three_pillar_demo.query.lgtm import LgtmBackends
from three_pillar_demo.query.local import LocalBackends

COLLECTOR = "http://127.0.0.1:4318"
PATIENCE = {"local": 2.0, "full": 60.0}
"""Seconds until the last of it must be seen: the real ones work in steps."""
ROUTE = "/checkout"
SECONDS = 20
"""What is told happened in the last so many seconds; points came every two of them."""
BOUNDS = (0.1, 0.5, 1.0)
GOOD, BAD = (30, 20, 10, 5), (8, 8, 8, 8)
"""What was in the buckets at the first point; each later one adds one to the first of the good and the second of the bad."""
POINTS = SECONDS // 2
UNFAMILIAR = 'a "quoted" \\ name'


@dataclass
class Told:
    """Three purchases: a good one, a failed one, and one whose payment came too late; names are of this run alone."""

    run: str = field(default_factory=lambda: secrets.token_hex(4))
    base: int = field(default_factory=lambda: (time.time_ns() // NANO - SECONDS) * NANO)

    def __post_init__(self) -> None:
        self.front, self.bank = f"front-{self.run}", f"bank-{self.run}"
        self.good, self.failed, self.late = (secrets.token_bytes(16) for _ in range(3))
        self.start, self.end = self.base / NANO, self.base / NANO + SECONDS

    def order(self, trace_id: bytes) -> str:
        """The order's id."""
        return f"order-{trace_id.hex()}"

    def purchase(
        self, trace_id: bytes, after: float, *, error: bool, charge: float, charged: bool
    ) -> list[tuple[str, Span]]:
        """The four spans of one purchase that began so many seconds after the base: by service, parent first."""
        at, ids = self.base + int(after * NANO), [secrets.token_bytes(8) for _ in range(4)]
        known: dict[str, Any] = {"trace_id": trace_id}
        http = pairs(http__route=ROUTE, http__response__status_code=500 if error else 200)
        event = Span.Event(
            name="exception",
            time_unix_nano=at,
            attributes=pairs(exception__type="PaymentError", exception__message="no answer"),
        )
        about = pairs(order__id=self.order(trace_id), order__amount=12.5)
        wait, step = min(charge, 1.0), 1_000_000
        return [
            (
                self.front,
                span(
                    "POST /checkout",
                    start=at,
                    seconds=wait + 0.1,
                    error=error,
                    span_id=ids[0],
                    attributes=http,
                    **known,
                ),
            ),
            (
                self.front,
                span(
                    "place order",
                    start=at + step,
                    seconds=wait + 0.05,
                    error=error,
                    span_id=ids[1],
                    parent_span_id=ids[0],
                    kind=Span.SPAN_KIND_INTERNAL,
                    attributes=about,
                    events=[event] * error,
                    **known,
                ),
            ),
            (
                self.front,
                span(
                    "POST",
                    start=at + 2 * step,
                    seconds=wait,
                    error=error,
                    span_id=ids[2],
                    parent_span_id=ids[1],
                    kind=Span.SPAN_KIND_CLIENT,
                    **known,
                ),
            ),
            (
                self.bank,
                span(
                    "POST /charges",
                    start=at + 3 * step,
                    seconds=charge,
                    error=not charged,
                    span_id=ids[3],
                    parent_span_id=ids[2],
                    **known,
                ),
            ),
        ]

    def lines_of(self, trace_id: bytes, after: float, *, error: bool) -> list[tuple[str, Any]]:
        """What the two services wrote about it."""
        at, ids = (
            self.base + int(after * NANO),
            {"trace_id": trace_id, "span_id": secrets.token_bytes(8)},
        )
        known: dict[str, Any] = ids
        status = 500 if error else 200
        end = pairs(
            http__route=ROUTE,
            http__response__status_code=status,
            outcome="failed" if error else "success",
        )
        said = f"POST {ROUTE} {status}"
        severity = 17 if error else 9
        return [
            (self.bank, line(f"charging {self.order(trace_id)}", at=at + 4_000_000, **known)),
            (
                self.front,
                line(said, at=at + 900_000_000, severity=severity, attributes=end, **known),
            ),
        ]

    def histogram_at(self, number: int) -> Message:
        """The front's requests as they were counted by the ``number``-th point, with exemplars at the last."""
        at, born = self.base + 2 * number * NANO, self.base - 3600 * NANO
        found = []
        for status, first, grows, trace_id in (
            (200, GOOD, 0, self.good),
            (504, BAD, 1, self.failed),
        ):
            counts = [each + number * (place == grows) for place, each in enumerate(first)]
            ids = {"trace_id": trace_id, "span_id": secrets.token_bytes(8)}
            known = [Exemplar(as_double=0.05 + grows * 0.25, time_unix_nano=at - NANO // 2, **ids)]  # type: ignore[arg-type]
            about = pairs(http__route=ROUTE, http__response__status_code=status)
            last = number == POINTS - 1
            found.append(
                buckets(
                    counts,
                    BOUNDS,
                    at=at,
                    start=born,
                    total=float(sum(counts)),
                    attributes=about,
                    exemplars=known * last,
                )
            )
        sold = [
            counter(
                "orders_sold",
                point(100 + number, at=at, start=born, attributes=pairs(outcome=outcome)),
            )
            for outcome in ("success", "failed")
        ]
        return metrics(histogram("http.server.request.duration", *found), *sold, service=self.front)

    def tell(self, url: str) -> None:
        """Send all of it, as the SDKs would: by service, and the late payment at the end."""
        purchases = [
            *self.purchase(self.good, 1, error=False, charge=0.1, charged=True),
            *self.purchase(self.failed, 5, error=True, charge=0.2, charged=False),
            *self.purchase(self.late, 9, error=True, charge=3.0, charged=True),
        ]
        lines = [
            *self.lines_of(self.good, 1, error=False),
            *self.lines_of(self.failed, 5, error=True),
            *self.lines_of(self.late, 9, error=True),
        ]
        first, last = purchases[:-1], purchases[-1:]
        sent: list[tuple[str, Message]] = []
        both = (self.front, self.bank)
        for some in (first, last):
            by_service = {
                service: [each for name, each in some if name == service] for service in both
            }
            sent += [
                ("traces", traces(*mine, service=service))
                for service, mine in by_service.items()
                if mine
            ]
        sent += [
            ("logs", logs(*(each for name, each in lines if name == who), service=who))
            for who in both
        ]
        sent += [("metrics", self.histogram_at(number)) for number in range(POINTS)]
        second = counter(
            "orders_sold",
            point(5, at=self.base + SECONDS * NANO, attributes=pairs(outcome="success")),
        )
        sent.append(("metrics", metrics(second, service=self.front, instance="two")))
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as http:
            for kind, message in sent:
                http.post(
                    f"/v1/{kind}", content=message.SerializeToString(), headers=PROTOBUF
                ).raise_for_status()


class Answerer:
    """Who is asked, about what, and how long it may take until everything is seen."""

    def __init__(self, kind: str, make: Callable[[], Backends], told: Told) -> None:
        self.kind, self.make, self.told = kind, make, told

    def ask(self, question: Callable[[Backends], Awaitable[Any]]) -> Any:  # noqa: ANN401  (any answer)
        """Ask once."""

        async def once() -> Any:  # noqa: ANN401  (as above)
            async with self.make() as it:
                return await question(it)

        return asyncio.run(once())

    def agrees(
        self,
        question: Callable[[Backends], Awaitable[Any]],
        wanted: object,
        told: Callable[[Any], Any] = lambda found: found,
    ) -> None:
        """Ask until the answer, as ``told`` reads it, is the one that is wanted."""
        deadline = time.monotonic() + PATIENCE[self.kind]
        while (found := told(self.ask(question))) != wanted and time.monotonic() < deadline:
            time.sleep(0.3)
        assert found == wanted


@pytest.fixture(scope="module", params=["local", pytest.param("full", marks=pytest.mark.full)])
def answerer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answerer]:
    """Everything was told, to embedded in a process of its own, or to the real stack that runs."""
    told = Told()
    if request.param == "full":
        if not FULL:
            pytest.skip("about the real Collector, Prometheus, Tempo and Loki: make test-full")
        request.getfixturevalue("stack")  # starts it, or skips with the reason
        told.tell(COLLECTOR)
        yield Answerer("full", LgtmBackends, told)
        return
    process = Process(tmp_path_factory.mktemp("contract") / "data")
    process.start()
    try:
        told.tell(process.url)
        yield Answerer("local", lambda: LocalBackends(process.path, process.url), told)
    finally:
        process.stop(signal.SIGKILL)


def test_a_trace_has_its_spans(answerer: Answerer) -> None:
    """All spans of a purchase come back in order, with their parents, kinds, times, words and exceptions."""
    told = answerer.told
    step = 1_000_000
    at = told.base + 5 * NANO

    def read(spans: Any) -> Any:  # noqa: ANN401  (the answer)
        parents = {each.span_id: each.name for each in spans}
        return [
            (
                each.service,
                each.name,
                each.kind,
                parents.get(each.parent_id, ""),
                each.start,
                each.end,
                each.error,
                each.message,
                each.exceptions,
            )
            for each in spans
        ]

    def ended(begin: int, seconds: float) -> tuple[int, int]:
        return begin, begin + int(seconds * NANO)

    answerer.agrees(
        lambda it: it.trace(told.failed.hex()),
        [
            (told.front, "POST /checkout", "SERVER", "", *ended(at, 0.2 + 0.1), True, "failed", ()),
            (
                told.front,
                "place order",
                "INTERNAL",
                "POST /checkout",
                *ended(at + step, 0.2 + 0.05),
                True,
                "failed",
                ("PaymentError: no answer",),
            ),
            (
                told.front,
                "POST",
                "CLIENT",
                "place order",
                *ended(at + 2 * step, 0.2),
                True,
                "failed",
                (),
            ),
            (
                told.bank,
                "POST /charges",
                "SERVER",
                "POST",
                *ended(at + 3 * step, 0.2),
                True,
                "failed",
                (),
            ),
        ],
        read,
    )


def test_attributes_keep_their_types(answerer: Answerer) -> None:
    """Texts, whole numbers and fractions of a span's attributes come back as such."""
    told = answerer.told
    answerer.agrees(
        lambda it: it.trace(told.good.hex()),
        [
            {"http.route": ROUTE, "http.response.status_code": 200},
            {"order.id": told.order(told.good), "order.amount": 12.5},
            {},
            {},
        ],
        lambda spans: [each.attributes for each in spans],
    )


def test_a_late_payment_joins_its_trace(answerer: Answerer) -> None:
    """A span that comes after the others is in the same trace, and is fine although its caller gave up."""
    told = answerer.told
    answerer.agrees(
        lambda it: it.trace(told.late.hex()),
        [True, True, True, False],
        lambda spans: [each.error for each in spans],
    )


def test_requests_are_found(answerer: Answerer) -> None:
    """A service's requests come newest first: all, the failed, the slow, the one of an order, and the newest alone."""
    told = answerer.told
    good, failed, late = (each.hex() for each in (told.good, told.failed, told.late))
    between = (told.start, told.end)
    answerer.agrees(lambda it: it.requests(told.front, *between), [late, failed, good])
    answerer.agrees(lambda it: it.requests(told.front, *between, failed=True), [late, failed])
    answerer.agrees(lambda it: it.requests(told.bank, *between, failed=True), [failed])
    answerer.agrees(lambda it: it.requests(told.bank, *between, slower_than=2.5), [late])
    answerer.agrees(
        lambda it: it.requests(told.front, *between, failed=True, slower_than=0.5), [late]
    )
    answerer.agrees(
        lambda it: it.requests(told.front, *between, order_id=told.order(told.failed)), [failed]
    )
    answerer.agrees(lambda it: it.requests(told.front, *between, limit=1), [late])


def test_lines_are_found(answerer: Answerer) -> None:
    """A trace's lines come oldest first; a service's newest first, by severity, text and whether they are canonical."""
    told = answerer.told
    start, end = told.start, told.end
    said, charging = f"POST {ROUTE}", f"charging {told.order(told.failed)}"

    def bodies(lines: Any) -> list[str]:  # noqa: ANN401  (the answer)
        return [each.body for each in lines]

    answerer.agrees(
        lambda it: it.trace_logs(told.failed.hex(), start, end), [charging, f"{said} 500"], bodies
    )
    front = [f"{said} 500", f"{said} 500", f"{said} 200"]
    answerer.agrees(lambda it: it.logs(start, end, service=told.front), front, bodies)
    answerer.agrees(
        lambda it: it.logs(start, end, service=told.front, severity="ERROR"), front[:2], bodies
    )
    answerer.agrees(lambda it: it.logs(start, end, service=told.front, limit=1), front[:1], bodies)
    answerer.agrees(lambda it: it.logs(start, end, service=told.bank, canonical=True), [], bodies)
    answerer.agrees(
        lambda it: it.logs(start, end, service=told.front, canonical=True, text="200"),
        front[2:],
        bodies,
    )
    answerer.agrees(
        lambda it: it.logs(start, end, text=told.order(told.failed)), [charging], bodies
    )
    answerer.agrees(
        lambda it: it.logs(start, end, service=told.front, text=said.lower()), [], bodies
    )


def test_a_line_has_its_fields(answerer: Answerer) -> None:
    """A line's time, service and severity are there, and its attributes and ids under the names of the house."""
    told = answerer.told
    answerer.agrees(
        lambda it: it.logs(told.start, told.end, service=told.front, severity="INFO"), 1, len
    )
    [found] = answerer.ask(
        lambda it: it.logs(told.start, told.end, service=told.front, severity="INFO")
    )
    assert (found.time, found.service, found.severity) == (
        told.base + NANO + 900_000_000,
        told.front,
        "INFO",
    )
    wanted = {
        "http_route": ROUTE,
        "http_response_status_code": "200",
        "outcome": "success",
        "trace_id": told.good.hex(),
    }
    assert {name: found.fields.get(name) for name in wanted} == wanted
    assert len(found.fields["span_id"]) == 16


def test_counters_add_up(answerer: Answerer) -> None:
    """The newest values of a counter are summed by labels, over instances; a histogram's is its count."""
    told = answerer.told
    mine = {"service_name": told.front}
    last = 100 + POINTS - 1
    answerer.agrees(
        lambda it: it.counters("orders_sold_total", ("outcome",), mine),
        {("success",): last + 5.0, ("failed",): last},
    )
    answerer.agrees(
        lambda it: it.counters("orders_sold_total", (), mine | {"outcome": "failed"}), {(): last}
    )
    answerer.agrees(
        lambda it: it.counters(
            "orders_sold_total", ("instance", "missing"), mine | {"outcome": "success"}
        ),
        {("one", ""): last, ("two", ""): 5.0},
    )
    requests = {("200",): sum(GOOD) + POINTS - 1, ("504",): sum(BAD) + POINTS - 1}
    answerer.agrees(
        lambda it: it.counters(f"{DURATION}_count", ("http_response_status_code",), mine), requests
    )


def test_rate_errors_and_quantiles_are_prometheus_own(answerer: Answerer) -> None:
    """The figures of a route are those that Prometheus' rules give, worked out here by hand."""
    told = answerer.told
    rise, sampled, window = POINTS - 1, 2 * (POINTS - 1), 60.0
    # 42 s to the window's start are far, so half an interval; 2 s to its end are near. Both rise by one every two seconds.
    rate = rise * (sampled + 1 + 2) / sampled / window
    # Half of all are under 0.1, the rest under 0.5: nine tenths of all lie at eight tenths of the second bucket.
    wanted = [2 * rate, 0.5, 0.1 * 0.5, 0.1 + 0.4 * 0.8]
    end = told.end

    def read(found: Any) -> list[Any]:  # noqa: ANN401  (the answer)
        [one] = found
        return [one.rate, one.errors, *one.quantiles]

    answerer.agrees(
        lambda it: it.red(told.front, ROUTE, end, end, window=window, quantiles=(0.25, 0.9)),
        pytest.approx(wanted),
        read,
    )


def test_exemplars_lead_to_traces(answerer: Answerer) -> None:
    """Between two times there are the exemplars of those buckets, each with its trace, value, time and labels."""
    told = answerer.told
    at = told.base / NANO + 2 * (POINTS - 1) - 0.5
    names = ("service_name", "http_route", "http_response_status_code", "le")

    def read(found: Any) -> list[Any]:  # noqa: ANN401  (the answer)
        mine = [each for each in found if each.labels.get("service_name") == told.front]
        read_out = (
            (each.trace_id, each.value, round(each.time, 3), *(each.labels[name] for name in names))
            for each in mine
        )
        return sorted(read_out, key=lambda each: float(each[1]))

    answerer.agrees(
        lambda it: it.exemplars(told.start, told.end),
        [
            (told.good.hex(), 0.05, at, told.front, ROUTE, "200", "0.1"),
            (told.failed.hex(), 0.3, at, told.front, ROUTE, "504", "0.5"),
        ],
        read,
    )
    answerer.agrees(lambda it: it.exemplars(told.start, at - 1), [], read)


def test_who_calls_whom(answerer: Answerer) -> None:
    """A call is a CLIENT span and the SERVER span under it; it failed if either did."""
    if answerer.kind == "full":
        pytest.skip(
            "Tempo counts calls in steps, and its new series lose their first: end-to-end tests look at these"
        )
    told = answerer.told
    answerer.agrees(
        lambda it: it.service_graph(told.start, told.end),
        [ServiceCall(told.front, told.bank, 3, 2)],
    )
    answerer.agrees(lambda it: it.service_graph(told.start - 100, told.start), [])


def test_nothing_is_an_answer_too(answerer: Answerer) -> None:
    """What was never told has empty answers, whatever is in its name."""
    told, odd = answerer.told, UNFAMILIAR
    start, end = told.start, told.end
    assert answerer.ask(lambda it: it.trace("f" * 32)) == []
    assert answerer.ask(lambda it: it.requests(odd, start, end, failed=True)) == []
    assert answerer.ask(lambda it: it.requests(told.front, start, end, order_id=odd)) == []
    assert answerer.ask(lambda it: it.trace_logs("f" * 32, start, end)) == []
    assert answerer.ask(lambda it: it.logs(start, end, service=odd, severity=odd, text=odd)) == []
    assert (
        answerer.ask(
            lambda it: it.counters("orders_sold_total", ("outcome",), {"service_name": odd})
        )
        == {}
    )
    red = answerer.ask(lambda it: it.red(odd, odd, end - 5, end, quantiles=(0.5,)))
    assert [(each.time, each.rate, each.errors, each.quantiles) for each in red] == [
        (end - 5, None, None, (None,)),
        (end, None, None, (None,)),
    ]


def test_the_size_is_told_where_there_is_one_file(answerer: Answerer) -> None:
    """The embedded store tells how much its file takes; the real backends tell nothing."""
    size = answerer.ask(lambda it: it.size())
    assert (size is None) is (answerer.kind == "full")
    assert size is None or size > 10_000


def test_the_whole_is_counted_young_and_up(answerer: Answerer) -> None:
    """What each pillar has counted includes what was told, its newest is as old as it is, and everything is up."""
    counted = answerer.ask(lambda it: it.ingested())
    told = {"spans": 12, "lines": 6, "points": 4 * POINTS + 1}
    assert set(counted) == set(told)
    if answerer.kind == "local":
        assert counted == told
    else:
        assert all(counted[pillar] >= count for pillar, count in told.items())
    ages = answerer.ask(lambda it: it.freshness())
    assert set(ages) == {"traces", "logs", "metrics"}
    assert all(age is not None and age < 120 for age in ages.values()), ages
    assert not any(answerer.ask(lambda it: it.health()).values())
