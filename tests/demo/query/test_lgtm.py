"""What Tempo, Loki and Prometheus really answered (recorded/), read into the answers that the questions promise."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx2
import pytest

from tests.demo.query.record import FOLDER, QUESTIONS, Told, asked, stop_the_clock
from three_pillar_demo.query.interface import (
    BackendError,
    Exemplar,
    LogRecord,
    RedSample,
    ServiceCall,
    Span,
)
from three_pillar_demo.query.lgtm import LgtmBackends, quoted, selector

TOLD = Told(**json.loads((FOLDER / "told.json").read_text()))


def replay(kept: Iterable[dict[str, Any]]) -> httpx2.MockTransport:
    """Answer what was asked then as it was answered then; anything else was not asked."""
    answers = {tuple(each["asked"]): each for each in kept}

    def answer(request: httpx2.Request) -> httpx2.Response:
        each = answers[tuple(asked(request))]
        said = each["said"]
        return httpx2.Response(
            each["status"], text=said if isinstance(said, str) else json.dumps(said)
        )

    return httpx2.MockTransport(answer)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  (a different type for each question)
    """What comes of a recorded question."""
    stop_the_clock(monkeypatch.setattr, TOLD.now)

    def ask(name: str) -> Any:  # noqa: ANN401  (as above)
        async def through() -> Any:  # noqa: ANN401  (as above)
            async with LgtmBackends(
                replay(json.loads((FOLDER / f"{name}.json").read_text()))
            ) as it:
                return await QUESTIONS[name](it, TOLD)

        return asyncio.run(through())

    return ask


def test_a_trace(answer: Any) -> None:  # noqa: ANN401  (as above)
    """Tempo's spans come in order, with ids in hex, whole numbers as numbers, and exceptions as type and message."""
    server, order, call, charge = answer("trace")
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
        exceptions=(
            "checkout.payment_client.PaymentError: payment answered 504: its gateway timed out",
        ),
    )
    assert (server.span_id, server.parent_id, server.kind) == (order.parent_id, "", "SERVER")
    assert (call.parent_id, call.kind, call.name) == (order.span_id, "CLIENT", "POST")
    assert (charge.parent_id, charge.kind, charge.service) == (call.span_id, "SERVER", "payment")
    assert [each.attributes["http.response.status_code"] for each in (server, call, charge)] == [
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
    ("name", "found"),
    [
        ("trace_missing", []),
        ("requests", [TOLD.declined, TOLD.failed]),
        ("requests_failed", [TOLD.failed]),
        ("requests_slower", [TOLD.failed]),
        ("requests_order", [TOLD.failed]),
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
def test_an_answer_is_read_exactly(answer: Any, name: str, found: object) -> None:  # noqa: ANN401  (as above)
    """What the backends answered becomes ids, counters, rates, edges and figures, nothing becomes nothing, NaN None."""
    assert answer(name) == found


def test_log_lines(answer: Any) -> None:  # noqa: ANN401  (as above)
    """Loki's lines come in the order that was asked for, with every attribute, and the ids that join them to a span."""
    assert answer("logs_limit") == [
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
                "trace_id": TOLD.declined,
            },
        )
    ]
    assert [(each.service, each.body) for each in answer("trace_logs")] == [
        ("payment", "the bank's gateway did not answer: order not charged"),
        ("payment", "POST /charges 504 gateway_timeout"),
        ("checkout", "order not placed: payment answered 504: its gateway timed out"),
        ("checkout", "POST /checkout 500 gateway_timeout"),
    ]
    assert [each.body for each in answer("logs")] == [
        "POST /checkout 402 declined",
        "POST /checkout 500 gateway_timeout",
    ]
    assert [each.body for each in answer("logs_text")] == [
        "order not placed: payment answered 504: its gateway timed out"
    ]


def test_exemplars(answer: Any) -> None:  # noqa: ANN401  (as above)
    """Each of Prometheus' exemplars has its value, its moment, the labels of its bucket, and its trace."""
    first, *others = answer("exemplars")
    assert first == Exemplar(
        trace_id=TOLD.failed,
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
        (each.trace_id, each.labels["http_route"], each.labels["http_response_status_code"])
        for each in others
    ] == [
        (TOLD.failed, "/charges", "504"),
        (TOLD.declined, "/charges", "200"),
        (TOLD.declined, "/checkout", "402"),
    ]


def test_ages(answer: Any) -> None:  # noqa: ANN401  (as above)
    """The purchase was ten seconds ago, and counters are told all the time."""
    assert answer("freshness") == {
        "traces": pytest.approx(10.009, abs=0.001),
        "logs": pytest.approx(10.008, abs=0.001),
        "metrics": pytest.approx(0.459, abs=0.001),
    }


def test_a_question_that_is_not_understood_is_an_error_with_their_words(answer: Any) -> None:  # noqa: ANN401  (as above)
    """Whoever refuses a question is named, and what it said."""
    with pytest.raises(
        BackendError,
        match=r"^prometheus at http://127.0.0.1:9090 answered 400: .*unclosed left parenthesis",
    ):
        answer("error")


def test_nobody_there_is_an_error_that_says_what_to_look_at() -> None:
    """A backend that refuses connections is named with its log; asked whether it is up, the same is the answer."""

    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    async def ask() -> dict[str, str]:
        async with LgtmBackends(httpx2.MockTransport(refuse)) as it:
            with pytest.raises(
                BackendError, match=r"^loki at .*: refused \(see: demo status, demo logs loki\)$"
            ):
                await it.logs(0, 1)
            return await it.health()

    assert {
        name: said.split(": ")[1].split(" ")[0] for name, said in asyncio.run(ask()).items()
    } == {
        "tempo": "refused",
        "loki": "refused",
        "prometheus": "refused",
    }


def test_what_is_no_json_is_an_error() -> None:
    """A proxy's page in place of an answer is an error that shows it."""

    async def ask() -> None:
        async with LgtmBackends(
            httpx2.MockTransport(lambda _: httpx2.Response(200, text="<html>"))
        ) as it:
            await it.trace(TOLD.failed)

    with pytest.raises(BackendError, match=r"tempo at .* answered without JSON: <html>"):
        asyncio.run(ask())


def test_text_stays_text_in_a_question() -> None:
    """Quotes, backslashes and line ends in what somebody asks for do not end the string they are put in."""
    assert quoted('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
    assert selector("up", {"job": 'x"} or {a="b'}) == '{__name__="up", job="x\\"} or {a=\\"b"}'
