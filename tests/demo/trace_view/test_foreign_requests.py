"""Tests for sentences about requests as the instrumentations of other languages record them."""

from typing import Any

import pytest

from tests.demo.trace_view.rendering import render
from tests.traces import CALL, CHARGE, ROOT, TRACE, span
from three_pillar_demo.query.interface import Span
from three_pillar_demo.trace_view.calls import status_of
from three_pillar_demo.trace_view.explanation import explain
from three_pillar_demo.trace_view.timing import late_answers
from three_pillar_demo.trace_view.view import TraceView

FLASK_OLD = {
    "http.method": "GET",
    "http.server_name": "127.0.0.1",
    "http.scheme": "http",
    "net.host.name": "localhost:5000",
    "http.host": "localhost:5000",
    "http.target": "/quote",
    "http.route": "/quote",
    "http.status_code": 200,
}
REQUESTS_OLD = {
    "http.method": "GET",
    "http.url": "http://127.0.0.1:5000/quote",
    "http.status_code": 200,
}
EXPRESS_OLD = {
    "http.url": "http://localhost:3000/quote",
    "http.host": "localhost:3000",
    "net.host.name": "localhost",
    "http.method": "GET",
    "http.scheme": "http",
    "http.target": "/quote",
    "net.transport": "ip_tcp",
    "http.status_code": 200,
    "http.status_text": "OK",
    "http.route": "/quote",
}
UNDICI_NEW = {
    "http.request.method": "GET",
    "http.request.method_original": "GET",
    "url.full": "http://127.0.0.1:5000/quote",
    "url.path": "/quote",
    "url.scheme": "http",
    "server.address": "127.0.0.1",
    "server.port": 5000,
    "http.response.status_code": 200,
}
GO_OLD = {
    "http.method": "GET",
    "http.url": "http://quotes:5000/quote",
    "net.peer.name": "quotes",
    "net.peer.port": 5000,
    "http.status_code": 200,
}
JAVA_NEW = {
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "http.route": "/quote",
    "url.path": "/quote",
    "url.scheme": "http",
    "network.protocol.version": "1.1",
}
JAVA_OLD_WITHOUT_URL = {
    "http.method": "GET",
    "http.target": "/quote",
    "net.peer.name": "quotes",
    "net.peer.port": 5000,
    "http.status_code": 200,
}
GRPC = {
    "rpc.system": "grpc",
    "rpc.service": "quotes.Quotes",
    "rpc.method": "Get",
    "rpc.grpc.status_code": 0,
}
GRPC_NEW = {
    "rpc.system.name": "grpc",
    "rpc.method": "quotes.Quotes/Get",
    "rpc.response.status_code": "OK",
}
POSTGRES_OLD = {
    "db.system": "postgresql",
    "db.name": "quotes",
    "db.statement": "select 1",
    "net.peer.name": "db",
    "net.peer.port": 5432,
}
POSTGRES_NEW = {
    "db.system.name": "postgresql",
    "db.namespace": "quotes",
    "server.address": "db",
}
KAFKA = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
KAFKA_OLD = {"messaging.system": "kafka", "messaging.destination": "orders"}
ANSWERED_CALLS = [REQUESTS_OLD, EXPRESS_OLD, UNDICI_NEW, GO_OLD, JAVA_OLD_WITHOUT_URL]


def view_of(*spans: Span) -> TraceView:
    """Return a trace that has only spans."""
    return TraceView(TRACE, list(spans), [], [])


def failed_call(
    call: dict[str, Any], *, served_ms: float = 90, served: dict[str, Any] | None = None
) -> TraceView:
    """Return a failed request of web, which called quotes for 50 ms; quotes worked ``served_ms``.

    ``call`` has the fields of the CLIENT span that differ, ``served`` the attributes of quotes.
    """
    return view_of(
        span(ROOT, "", service="web", error=True, attributes={"http.status_code": 500}),
        span(CALL, ROOT, "CLIENT", service="web", took=50, error=True, **call),
        span(CHARGE, CALL, service="quotes", took=served_ms, attributes=served or JAVA_NEW),
    )


@pytest.mark.parametrize("server", [FLASK_OLD, EXPRESS_OLD, JAVA_NEW])
@pytest.mark.parametrize("client", ANSWERED_CALLS)
def test_an_answered_call_is_no_loss(client: dict[str, Any], server: dict[str, Any]) -> None:
    """A success has both answers in all conventions, even if the called span ends a bit later."""
    view = view_of(
        span(ROOT, "", service="web", attributes=server),
        span(CALL, ROOT, "CLIENT", service="web", attributes=client),
        span(CHARGE, CALL, service="quotes", took=100.4, attributes=server),
    )
    assert explain(view) == "web answered 200; quotes answered 200."
    assert not late_answers(view)


@pytest.mark.parametrize("client", ANSWERED_CALLS)
def test_an_error_answer_was_not_given_up(client: dict[str, Any]) -> None:
    """A call that was answered with an error is not given up, whatever its text says."""
    name = "http.response.status_code"
    answer = {name if name in client else "http.status_code": 504}
    changes = {"attributes": client | answer, "message": "Gateway timeout"}
    view = failed_call(changes, served=FLASK_OLD | {"http.status_code": 504})
    sentence = explain(view)
    assert sentence.startswith("web answered 500 because its call to quotes failed")
    assert "given up" not in sentence
    assert "given up" not in render(view, 400)


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": {"error.type": "ReadTimeout", "url.full": "http://q/"}},
        {"attributes": {"http.url": "http://q/", "http.error_name": "AbortError"}},
        {"attributes": {"http.url": "http://q/"}, "message": "context deadline exceeded"},
        {"attributes": {}, "exceptions": ("java.net.SocketTimeoutException: Read timed out",)},
        {"attributes": GRPC | {"rpc.grpc.status_code": 4}},
        {"attributes": GRPC_NEW | {"rpc.response.status_code": "CANCELLED"}},
        {"attributes": REQUESTS_OLD | {"http.status_code": 0}, "message": "request timed out"},
        # Nothing names a time-out, but the call ended long before the work for it did.
        {"attributes": {"http.method": "GET", "http.url": "http://q/"}, "message": "socket closed"},
    ],
)
def test_a_call_that_was_given_up_says_how_late_the_answer_was(changes: dict[str, Any]) -> None:
    """A time-out in any language, or an HTTP call without an answer, was given up."""
    view = failed_call(changes, served_ms=1350)
    assert "; quotes answered 200 1.3 s after web had given up." in explain(view)
    assert list(late_answers(view)) == [CHARGE]


def test_a_short_delay_is_given_in_milliseconds() -> None:
    """An answer that was late by less than a tenth of a second is not late by ``0.0 s``."""
    changes = {"attributes": {"error.type": "ReadTimeout"}}
    assert "answered 200 40 ms after web had given up" in explain(failed_call(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"attributes": GRPC | {"rpc.grpc.status_code": 13}},
        {"attributes": {"rpc.system": "grpc"}, "message": "stream reset"},
        {"attributes": POSTGRES_OLD, "message": "relation does not exist"},
        {"attributes": POSTGRES_NEW},
        {"attributes": KAFKA},
        {"attributes": {}},
    ],
)
def test_other_failed_calls_were_not_given_up(changes: dict[str, Any]) -> None:
    """A gRPC, database or messaging call without a time-out is failed, not given up."""
    assert not late_answers(failed_call(changes, served_ms=1350))


@pytest.mark.parametrize(("at", "served_ms"), [(0, 50.4), (0, 60), (3000, 100)])
def test_a_broken_connection_is_not_given_up(at: float, served_ms: float) -> None:
    """A call that ends with the called span, or that a skewed clock shows earlier, is no loss."""
    call = {"attributes": {"http.url": "http://q/"}, "message": "connection reset"}
    view = failed_call(call)
    view.spans[2] = span(CHARGE, CALL, service="quotes", at=at, took=served_ms)
    assert not late_answers(view)


def test_a_message_is_not_given_up() -> None:
    """A consumer works after its producer has ended, and after any failure to send."""
    producer = span(CALL, "", "PRODUCER", error=True, message="timed out", attributes=KAFKA)
    consumer = span(CHARGE, CALL, "CONSUMER", service="mail", at=500)
    assert not late_answers(view_of(producer, consumer))


@pytest.mark.parametrize(
    ("kind", "attributes", "ending"),
    [
        ("CLIENT", REQUESTS_OLD, "call to http://127.0.0.1:5000/quote was answered 200."),
        ("CLIENT", JAVA_OLD_WITHOUT_URL, "call to quotes:5000/quote was answered 200."),
        ("CLIENT", GRPC, "call to quotes.Quotes was answered OK."),
        ("CLIENT", GRPC_NEW, "call to quotes.Quotes/Get was answered OK."),
        ("CLIENT", POSTGRES_OLD, "call to postgresql succeeded."),
        ("CLIENT", POSTGRES_NEW, "call to postgresql succeeded."),
        ("CLIENT", {}, "call to another service succeeded."),
        ("PRODUCER", KAFKA, "message to orders was sent."),
        ("PRODUCER", KAFKA_OLD, "message to orders was sent."),
    ],
)
def test_a_call_without_a_called_span_is_named(
    kind: str, attributes: dict[str, Any], ending: str
) -> None:
    """The last call is named as its convention allows, and what has no answer is not missed."""
    root = span(ROOT, "", service="web", attributes=FLASK_OLD)
    call = span(CALL, ROOT, kind, service="web", attributes=attributes)
    assert explain(view_of(root, call)) == f"web answered 200; its {ending}"


def test_the_last_of_several_calls_is_named() -> None:
    """After several calls, the sentence says that the named one is the last."""
    root = span(ROOT, "", service="web", attributes=FLASK_OLD)
    calls = [
        span(f"call{number}", ROOT, "CLIENT", service="web", at=number, attributes=POSTGRES_NEW)
        for number in range(3)
    ]
    expected = "web answered 200; its last call, to postgresql, succeeded."
    assert explain(view_of(root, *calls)) == expected


def test_a_failed_message_is_a_reason() -> None:
    """A message that could not be sent is the reason, with its topic."""
    root = span(ROOT, "", service="web", error=True, attributes={"http.status_code": 500})
    sent = span(CALL, ROOT, "PRODUCER", service="web", error=True, attributes=KAFKA)
    assert explain(view_of(root, sent)) == (
        "web answered 500 because its message to orders failed."
    )


def test_the_success_of_another_service_is_no_reason() -> None:
    """A refusal is not explained by the success of a service that was called before it."""
    spans = [
        span(ROOT, "", service="web", attributes=FLASK_OLD | {"http.status_code": 404}),
        span(CALL, ROOT, "CLIENT", service="web", attributes=REQUESTS_OLD),
        span(CHARGE, CALL, service="users", attributes=EXPRESS_OLD),
    ]
    assert explain(view_of(*spans)) == "web answered 404; users answered 200."


def test_a_call_of_a_script_is_not_its_own_answer() -> None:
    """The status of a CLIENT span at the root was answered to it, not by it."""
    root = span(ROOT, "", "CLIENT", service="cron", attributes=REQUESTS_OLD)
    assert explain(view_of(root)) == (
        "cron's call to http://127.0.0.1:5000/quote was answered 200."
    )


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"http.status_code": 502}, "502"),
        ({"http.response.status_code": "502"}, "502"),
        ({"http.status_code": 0}, ""),
        ({"http.response.status_code": "0"}, ""),
        ({"http.response.status_code": None, "http.status_code": 204}, "204"),
        ({"rpc.grpc.status_code": 0}, "OK"),
        ({"rpc.grpc.status_code": "14"}, "UNAVAILABLE"),
        ({"rpc.grpc.status_code": 99}, "99"),
        ({"rpc.grpc.status_code": "²"}, "²"),
        ({"rpc.response.status_code": "DEADLINE_EXCEEDED"}, "DEADLINE_EXCEEDED"),
        ({"db.response.status_code": "42P01"}, ""),
        ({}, ""),
    ],
)
def test_the_status_is_found_in_every_convention(attributes: dict[str, Any], status: str) -> None:
    """The status is that of HTTP or of gRPC, by its name, under the current and the former name."""
    assert status_of(span(ROOT, "", attributes=attributes)) == status


def test_a_grpc_error_is_unwanted() -> None:
    """A gRPC service that answered with an error code failed because of what follows."""
    root = span(ROOT, "", service="web", attributes=GRPC | {"rpc.grpc.status_code": 5})
    call = span(CALL, ROOT, "CLIENT", service="web", error=True, attributes=POSTGRES_OLD)
    assert explain(view_of(root, call)) == (
        "web answered NOT_FOUND because its call to postgresql failed."
    )
