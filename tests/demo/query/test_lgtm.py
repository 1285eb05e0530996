"""Tests that recorded responses of Tempo, Loki and Prometheus are converted to results."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import pytest

from tests.demo.query.record import (
    CONTEXT_FILE,
    FOLDER,
    QUERIES,
    Context,
    fix_time,
    recorded_request,
)
from three_pillar_demo.query.interface import (
    NANO,
    BackendError,
    Exemplar,
    LogRecord,
    RedSample,
    Scope,
    ServiceCall,
    Span,
    SpanEvent,
)
from three_pillar_demo.query.lgtm import LgtmBackends, selector
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.loki_records import log_record
from three_pillar_demo.stack import ports

NOW = time.time()
CONTEXT = Context(**json.loads(CONTEXT_FILE.read_text()))
RunQuery = Callable[[str], Any]


def replay(recordings: Iterable[dict[str, Any]]) -> httpx2.MockTransport:
    """Return an HTTP transport that answers each recorded request with its recorded response."""
    by_request = {tuple(recording["request"]): recording for recording in recordings}

    def respond(request: httpx2.Request) -> httpx2.Response:
        recording = by_request[tuple(recorded_request(request))]
        content = recording["response"]
        text = content if isinstance(content, str) else json.dumps(content)
        return httpx2.Response(recording["status"], text=text)

    return httpx2.MockTransport(respond)


@pytest.fixture
def query(monkeypatch: pytest.MonkeyPatch) -> RunQuery:
    """Return a function that runs a query of ``QUERIES`` by name, with its recorded responses."""
    fix_time(monkeypatch.setattr, CONTEXT.now)

    def run_query(name: str) -> Any:  # noqa: ANN401  (a different type for each query)
        recordings = json.loads((FOLDER / f"{name}.json").read_text())

        async def run() -> Any:  # noqa: ANN401  (as above)
            async with LgtmBackends(replay(recordings)) as backends:
                return await QUERIES[name](backends, CONTEXT)

        return asyncio.run(run())

    return run_query


def test_a_trace_is_converted_exactly(query: RunQuery) -> None:
    """Spans are ordered by start, with hex ids, typed attributes and exceptions as text."""
    server, order, call, charge = query("trace")
    assert order == Span(
        trace_id="31dcfbdd23013781e2a936da59196c43",
        span_id="ab4f136c9afa2f30",
        parent_id="6ba54050cff5b15f",
        service="checkout",
        name="place order",
        kind="INTERNAL",
        start=1795598807307193996,
        end=1795598807778155856,
        error=True,
        message="Payment gateway timeout",
        attributes={
            "service.version": "0.1.0",
            "order.id": "recorded-1-failed",
            "order.amount": 9.0,
            "order.currency": "EUR",
            "error.type": "gateway_timeout",
            "order.outcome": "gateway_timeout",
        },
        exceptions=("PaymentError: payment answered 504: its gateway timed out",),
        status="ERROR",
        events=(
            SpanEvent(
                time=1795598807777875039,
                name="exception",
                attributes={
                    "exception.type": "checkout.payment_client.PaymentError",
                    "exception.message": "payment answered 504: its gateway timed out",
                    "exception.stacktrace": "Traceback, left out",
                    "exception.escaped": "False",
                },
            ),
        ),
        resource={
            "deployment.environment.name": "demo",
            "service.instance.id": "e766e31c-fbf1-424d-844f-c4fd1a107243",
            "service.namespace": "shop",
            "service.version": "0.1.0",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "1.45.1",
            "service.name": "checkout",
        },
        scope=Scope("checkout.orders"),
    )
    assert (server.span_id, server.parent_id, server.kind) == (order.parent_id, "", "SERVER")
    assert (call.parent_id, call.kind, call.name) == (order.span_id, "CLIENT", "POST")
    assert (charge.parent_id, charge.kind, charge.service) == (call.span_id, "SERVER", "payment")
    assert [span.attributes["http.response.status_code"] for span in (server, call, charge)] == [
        500,
        504,
        504,
    ]
    assert charge.attributes == {
        "service.version": "0.1.0",
        "url.scheme": "http",
        "server.port": 8001,
        "network.protocol.version": "1.1",
        "user_agent.original": "python-httpx2/2.16.2",
        "client.address": "127.0.0.1",
        "client.port": 47706,
        "http.response.status_code": 504,
        "error.type": "504",
        "http.request.method": "POST",
        "url.path": "/charges",
        "server.address": "127.0.0.1:8001",
        "http.route": "/charges",
    }


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("trace_missing", []),
        ("requests", [CONTEXT.declined, CONTEXT.failed]),
        ("requests_failed", [CONTEXT.failed]),
        ("requests_slower", [CONTEXT.failed]),
        ("requests_order", [CONTEXT.failed]),
        ("requests_none", []),
        ("logs_none", []),
        ("counters", {("/checkout", "500"): 2.0, ("/checkout", "402"): 2.0}),
        ("counters_all", {(): 8.0}),
        ("counters_none", {}),
        (
            "red",
            [
                RedSample(1795598808.0, 0.0, None, (None, None)),
                RedSample(
                    1795598813.0,
                    0.07017698396889685,
                    0.5,
                    (0.37701096262368067, 0.5921017860699794),
                ),
                RedSample(
                    1795598818.0, 0.0692565839726346, 0.5, (0.3765223869911675, 0.5422302480820963)
                ),
            ],
        ),
        (
            "red_none",
            [
                RedSample(1795598813.0, None, None, (None,)),
                RedSample(1795598818.0, None, None, (None,)),
            ],
        ),
        (
            "service_graph",
            [ServiceCall("checkout", "payment", 2.111111111111111, 1.0555555555555556)],
        ),
        ("ingested", {"spans": 16, "lines": 12, "points": 6841}),
        ("health", {"tempo": "", "loki": "", "prometheus": ""}),
    ],
)
def test_a_response_is_converted_exactly(query: RunQuery, name: str, result: object) -> None:
    """Each recorded response becomes the expected result; NaN becomes None."""
    assert query(name) == result


def test_log_records_are_converted_exactly(query: RunQuery) -> None:
    """Loki's log records are returned in the requested order, with all attributes and ids."""
    assert query("logs_limit") == [
        LogRecord(
            time=1795598808187671808,
            service="checkout",
            severity="WARN",
            body="POST /checkout 402 declined",
            fields={
                "deployment_environment_name": "demo",
                "detected_level": "warn",
                "flags": "3",
                "http_request_method": "POST",
                "http_response_status_code": "402",
                "http_route": "/checkout",
                "http_server_request_duration": "0.404568",
                "observed_timestamp": "1795598808187704440",
                "order_amount": "9",
                "order_currency": "EUR",
                "order_id": "recorded-1-declined",
                "outcome": "declined",
                "scope_name": "opentelemetry.instrumentation.structlog",
                "service_instance_id": "e766e31c-fbf1-424d-844f-c4fd1a107243",
                "service_name": "checkout",
                "service_namespace": "shop",
                "service_version": "0.1.0",
                "severity_number": "13",
                "severity_text": "WARN",
                "span_id": "114defbf5aa6616a",
                "telemetry_sdk_language": "python",
                "telemetry_sdk_name": "opentelemetry",
                "telemetry_sdk_version": "1.45.1",
                "trace_id": CONTEXT.declined,
            },
            severity_number=13,
            observed_time=1795598808187704440,
            flags=3,
            scope=Scope("opentelemetry.instrumentation.structlog"),
        )
    ]
    assert [(record.service, record.body) for record in query("trace_logs")] == [
        ("payment", "the bank's gateway did not answer: order not charged"),
        ("payment", "POST /charges 504 gateway_timeout"),
        ("checkout", "order not placed: payment answered 504: its gateway timed out"),
        ("checkout", "POST /checkout 500 gateway_timeout"),
    ]
    assert [record.body for record in query("logs")] == [
        "POST /checkout 402 declined",
        "POST /checkout 500 gateway_timeout",
    ]
    assert [record.body for record in query("logs_text")] == [
        "order not placed: payment answered 504: its gateway timed out"
    ]


def test_exemplars_are_converted_exactly(query: RunQuery) -> None:
    """Prometheus' exemplars are returned with value, time, trace id and the bucket's labels."""
    first_exemplar, *other_exemplars = query("exemplars")
    assert first_exemplar == Exemplar(
        trace_id=CONTEXT.failed,
        value=0.4759247909996702,
        time=1795598807.782,
        labels={
            "__name__": "http_server_request_duration_seconds_bucket",
            "deployment_environment_name": "demo",
            "error_type": "500",
            "http_request_method": "POST",
            "http_response_status_code": "500",
            "http_route": "/checkout",
            "instance": "e766e31c-fbf1-424d-844f-c4fd1a107243",
            "job": "shop/checkout",
            "le": "0.5",
            "network_protocol_version": "1.1",
            "service_name": "checkout",
            "service_namespace": "shop",
            "url_scheme": "http",
        },
    )
    assert [
        (
            exemplar.trace_id,
            exemplar.labels["http_route"],
            exemplar.labels["http_response_status_code"],
        )
        for exemplar in other_exemplars
    ] == [
        (CONTEXT.failed, "/charges", "504"),
        (CONTEXT.declined, "/charges", "200"),
        (CONTEXT.declined, "/checkout", "402"),
    ]


def test_freshness_is_the_age_of_the_newest_telemetry(query: RunQuery) -> None:
    """Freshness is ten seconds for the recorded purchase, and below one second for metrics."""
    assert query("freshness") == {
        "traces": pytest.approx(10.009, abs=0.001),
        "logs": pytest.approx(10.008, abs=0.001),
        "metrics": pytest.approx(0.459, abs=0.001),
    }


def test_a_refused_query_is_an_error_with_the_reason(query: RunQuery) -> None:
    """A refused query raises an error that names the backend and quotes its reason."""
    with pytest.raises(
        BackendError,
        match=rf"^prometheus at {ports.PROMETHEUS.url} answered 400: .*unclosed left parenthesis",
    ):
        query("error")


def test_a_refused_connection_is_an_error_that_says_where_to_look() -> None:
    """A refused connection is an error, also in health, that names backend and log command."""

    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    async def run() -> dict[str, str]:
        async with LgtmBackends(httpx2.MockTransport(refuse)) as backends:
            with pytest.raises(
                BackendError, match=r"^loki at .*: refused \(see: demo status, demo logs loki\)$"
            ):
                await backends.logs(0, 1)
            return await backends.health()

    problems = asyncio.run(run())
    assert list(problems) == ["tempo", "loki", "prometheus"]
    for name, problem in problems.items():
        assert problem.endswith(f": refused (see: demo status, demo logs {name})")


def test_a_response_without_json_is_an_error() -> None:
    """A response that is not JSON, such as a proxy's page, is an error that quotes it."""

    async def run() -> None:
        page = httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>"))
        async with LgtmBackends(page) as backends:
            await backends.trace(CONTEXT.failed)

    with pytest.raises(BackendError, match=r"tempo at .* answered without JSON: <html>"):
        asyncio.run(run())


def test_special_characters_are_escaped_in_queries() -> None:
    """Quotes, backslashes and newlines in an argument are escaped in the query language."""
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    expected = '{__name__="up", job="x\\"} or {a=\\"b"}'
    assert selector("up", {"job": 'x"} or {a="b'}) == expected


def test_a_trace_without_a_start_is_found() -> None:
    """Tempo leaves out the start of a trace that is zero; such a trace is the oldest."""
    traces = [{"traceID": "a"}, {"traceID": "b", "startTimeUnixNano": "5000000000"}]
    tempo = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"traces": traces}))

    async def run() -> list[str]:
        async with LgtmBackends(tempo) as backends:
            return await backends.requests("checkout", 0, 10)

    assert asyncio.run(run()) == ["b".zfill(32), "a".zfill(32)]


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [(NOW, 0.0), (0.0, NOW), (NOW, 2**63 / NANO), (2**63 / NANO, 0.0)],
    ids=["no end", "no start", "late end", "late start and no end"],
)
def test_times_that_a_sender_got_wrong_are_queried_as_far_as_possible(
    start_s: float, end_s: float
) -> None:
    """A span that ends before its start or in centuries does not make Loki refuse the query."""
    ranges: list[tuple[int, int]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        ranges.append((int(request.url.params["start"]), int(request.url.params["end"])))
        return httpx2.Response(200, json={"data": {"result": []}})

    async def run() -> None:
        async with LgtmBackends(httpx2.MockTransport(respond)) as backends:
            await backends.trace_logs(CONTEXT.failed, start_s, end_s)

    asyncio.run(run())
    [(start, end)] = ranges
    assert start <= int(NOW * NANO) <= end
    assert 0 <= end - start <= 30 * 24 * 3600 * NANO


def test_attributes_with_the_names_of_fields_break_no_record() -> None:
    """A sender's attribute may be called severity.number, and have any value."""
    for text in ("high", "", "-1", "\u0663", "9" * 5000):
        record = log_record(1, "text", {"severity_number": text, "flags": text})
        assert (record.severity_number, record.flags) == (0, 0)


def test_a_trace_from_the_future_is_not_the_newest() -> None:
    """A span with an end in centuries does not hide that the newest other one is old."""
    start = time.time() - 50
    trace = {"startTimeUnixNano": str(int(start * NANO))}
    traces = [{**trace, "traceID": "a", "durationMs": 2**31}, {**trace, "traceID": "b"}]
    answers: dict[str, dict[str, Any]] = {
        "/api/search": {"traces": traces},
        "/loki/api/v1/query_range": {"data": {"result": []}},
        "/api/v1/query": {"data": {"result": []}},
    }
    lgtm = httpx2.MockTransport(lambda call: httpx2.Response(200, json=answers[call.url.path]))

    async def run() -> dict[str, float | None]:
        async with LgtmBackends(lgtm) as backends:
            return await backends.freshness()

    age_s = asyncio.run(run())["traces"]
    assert age_s is not None
    assert age_s >= 49


def test_a_log_record_from_the_future_is_not_the_newest() -> None:
    """A record that a sender dates ahead does not hide that the newest other one is old."""
    now = time.time()
    dated = [int((now + seconds) * NANO) for seconds in (30, -50)]

    def answer(call: httpx2.Request) -> httpx2.Response:
        if call.url.path != "/loki/api/v1/query_range":
            return httpx2.Response(200, json={"traces": [], "data": {"result": []}})
        # Loki excludes the end of the range, and returns the newest records first.
        values = [[str(at), "text"] for at in dated if at < int(call.url.params["end"])]
        stream = {"stream": {}, "values": values[: int(call.url.params["limit"])]}
        return httpx2.Response(200, json={"data": {"result": [stream]}})

    async def run() -> dict[str, float | None]:
        async with LgtmBackends(httpx2.MockTransport(answer)) as backends:
            return await backends.freshness()

    assert asyncio.run(run())["logs"] == pytest.approx(50, abs=9)
