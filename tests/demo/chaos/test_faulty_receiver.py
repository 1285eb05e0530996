"""The faulty receiver forwards requests, misbehaves on demand, and records its answers."""

import threading

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tests.processes import InMemoryCollector, wait_for
from three_pillar_demo.chaos.faulty_receiver import (
    BatchAnswer,
    Behaviour,
    FaultyReceiver,
    otlp_violations,
)

RESOURCE = Resource(
    attributes=[
        KeyValue(key=key, value=AnyValue(string_value="one"))
        for key in ("service.name", "service.instance.id")
    ]
)


def post(receiver: FaultyReceiver, body: bytes = b"") -> httpx2.Response:
    """Send one batch of traces, ``body``, and return the answer."""
    return httpx2.post(
        f"{receiver.url}/v1/traces",
        content=body,
        headers={"content-type": "application/x-protobuf"},
        timeout=30,
        trust_env=False,
    )


def test_requests_are_forwarded(collector: InMemoryCollector) -> None:
    """With ``normal`` the real receiver gets the request, and its answer is passed on."""
    with FaultyReceiver(collector.url) as receiver:
        assert post(receiver).status_code == 200
    assert [path for path, _ in collector.received] == ["/v1/traces"]


def test_a_body_in_chunks_is_forwarded(collector: InMemoryCollector) -> None:
    """A body that is sent in chunks arrives whole, and so does the next one."""
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=RESOURCE, schema_url="a" * 5000)]
    )
    body = request.SerializeToString()
    headers = {"content-type": "application/x-protobuf"}
    with (
        FaultyReceiver(collector.url) as receiver,
        httpx2.Client(base_url=receiver.url, timeout=30, trust_env=False) as http,
    ):
        for _ in range(2):
            parts = iter([body[:7], body[7:]])
            assert http.post("/v1/traces", content=parts, headers=headers).status_code == 200
    assert [message for _, message in collector.received] == [request, request]


@pytest.mark.parametrize(
    ("behaviour", "status", "retry_after"),
    [("429", 429, "3"), ("503", 503, None), ("400", 400, None)],
)
def test_requests_are_refused(
    collector: InMemoryCollector, behaviour: Behaviour, status: int, retry_after: str | None
) -> None:
    """A behaviour that is an HTTP status answers with it and forwards nothing."""
    with FaultyReceiver(collector.url) as receiver:
        receiver.behaviour = behaviour
        refusal = post(receiver)
        assert refusal.status_code == status
        assert refusal.headers.get("retry-after") == retry_after
        assert not collector.received
        receiver.behaviour = "normal"
        assert post(receiver).status_code == 200
    assert [answer.status for answer in receiver.answers] == [status, 200]


def test_a_mute_receiver_never_answers(collector: InMemoryCollector) -> None:
    """With ``mute`` a sender waits until the behaviour changes, then the connection is closed."""
    errors: list[Exception] = []

    def send() -> None:
        try:
            post(receiver)
        except httpx2.HTTPError as error:
            errors.append(error)

    with FaultyReceiver(collector.url) as receiver:
        receiver.behaviour = "mute"
        sender = threading.Thread(target=send)
        sender.start()
        wait_for("the batch", lambda: receiver.answers)
        assert sender.is_alive()
        receiver.behaviour = "normal"
        sender.join(30)
    assert len(errors) == 1
    assert not collector.received


def test_without_a_real_receiver_there_is_no_answer(closed_port: int) -> None:
    """If no real receiver listens, the sender's connection is closed without an answer."""
    with (
        FaultyReceiver(f"http://127.0.0.1:{closed_port}") as receiver,
        pytest.raises(httpx2.HTTPError),
    ):
        post(receiver)


def test_otlp_violations() -> None:
    """A batch that is sent again within 3 s after a 429, or at all after a 400, is a violation."""
    conforming = [
        BatchAnswer(0, b"a", 429),
        BatchAnswer(1, b"b", 429),
        BatchAnswer(3.1, b"a", 200),
        BatchAnswer(4, b"b", 503),
        BatchAnswer(4.1, b"b", 200),
        BatchAnswer(5, b"c", 400),
    ]
    assert otlp_violations(conforming) == []
    violating = [
        BatchAnswer(0, b"a", 429),
        BatchAnswer(1, b"a", 429),
        BatchAnswer(2, b"a", 200),
        BatchAnswer(5, b"c", 400),
        BatchAnswer(9, b"c", 400),
    ]
    assert otlp_violations(violating) == [
        "2 batches sent again sooner than Retry-After asked",
        "1 batches sent again after a 400",
    ]
