"""OTLP export over real HTTP: batches are retried while the receiver fails, or counted as lost."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs

from tests.private_ports import free_port
from tests.processes import InMemoryCollector, wait_for
from tests.telemetry.receiver import Receiver, running_receiver
from three_pillars import environment
from three_pillars.export import session as session_module
from three_pillars.export.batch import CountingBatchLogRecordProcessor, CountingBatchSpanProcessor
from three_pillars.export.drops import DropCounter
from three_pillars.export.session import RetryingSession

QUEUE_SIZE = 10
BATCH_SIZE = 5


class SpanPipeline:
    """A tracer provider that exports every 0.1 s, in batches of 5 spans from a queue of 10."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str, timeout_s: str = "10") -> None:
        """Export to ``url``, with 0.2 s between attempts and ``timeout_s`` seconds for each."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", timeout_s)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(QUEUE_SIZE))
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(BATCH_SIZE))
        monkeypatch.setattr(session_module, "MAX_BACKOFF_S", 0.2)
        self.session = RetryingSession()
        self.drops = DropCounter("traces")
        self.provider = TracerProvider(shutdown_on_exit=False)
        processor = CountingBatchSpanProcessor(self.session, self.drops, environment.validate())
        self.provider.add_span_processor(processor)

    def make_spans(self, *names: str) -> None:
        """Start and end one span for each of ``names``."""
        for name in names:
            self.provider.get_tracer("test").start_span(name).end()

    def shut_down(self) -> None:
        """Shut down as a service does: each queued batch gets one last attempt."""
        self.session.shutdown.set()
        self.provider.shutdown()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver that accepts everything until the test queues other responses."""
    with running_receiver() as running:
        yield running


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_batch_is_retried_until_accepted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, status: int
) -> None:
    """A batch is sent again after eight failures, and no span is lost or accepted twice."""
    receiver.responses += [(status, {})] * 8
    pipeline = SpanPipeline(monkeypatch, receiver.url)
    pipeline.make_spans("first", "second")
    wait_for("both spans", lambda: len(receiver.span_names) == 2)
    pipeline.shut_down()
    assert receiver.span_names == ["first", "second"]
    assert pipeline.drops.undelivered() == 0


def test_absent_receiver_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that ends while nothing listens on the port is delivered when a receiver does."""
    with socket.socket() as bound_socket:
        bound_socket.bind(("127.0.0.1", 0))
        port = bound_socket.getsockname()[1]
        pipeline = SpanPipeline(monkeypatch, f"http://127.0.0.1:{port}")
        pipeline.make_spans("while nothing listens")
        wait_for(
            "a first attempt",
            lambda: pipeline.session.last_error == "failed" and pipeline.drops.in_flight == 1,
        )
    received = b""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            while b"while nothing listens" not in received:
                received += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            wait_for("the response to be counted", lambda: pipeline.drops.in_flight == 0)
    pipeline.shut_down()
    assert pipeline.drops.undelivered() == 0


def test_retry_after_is_obeyed(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """A receiver that sends ``Retry-After: 2`` gets the next request no earlier than 2 s later."""
    receiver.responses.append((503, {"Retry-After": "2"}))
    pipeline = SpanPipeline(monkeypatch, receiver.url)
    pipeline.make_spans("later")
    wait_for("the span", lambda: receiver.span_names == ["later"])
    pipeline.shut_down()
    first_request_time, second_request_time = receiver.request_times
    assert second_request_time - first_request_time >= 2


def test_receiver_without_response_is_retried(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A batch to a receiver that does not respond is sent again after the timeout."""
    receiver.responding.clear()
    pipeline = SpanPipeline(monkeypatch, receiver.url, timeout_s="0.3")
    pipeline.make_spans("patient")
    wait_for("a second attempt", lambda: len(receiver.request_times) > 1)
    receiver.responding.set()
    wait_for("the span", lambda: "patient" in receiver.span_names)
    pipeline.shut_down()
    assert pipeline.drops.undelivered() == 0


@pytest.mark.parametrize("status", [400, 404, 413, 307])
def test_refused_batch_is_counted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, status: int
) -> None:
    """A refused batch is not retried, but counted by status, and logged after the next success."""
    receiver.responses.append((status, {"Location": "/elsewhere"}))
    pipeline = SpanPipeline(monkeypatch, receiver.url)
    with capture_logs() as records:

        def reports() -> list[Any]:
            return [record for record in records if record["event"] == "telemetry dropped"]

        pipeline.make_spans("refused", "refused")
        wait_for("the refusal", lambda: pipeline.drops.dropped)
        assert not reports()
        pipeline.make_spans("accepted")
        wait_for("the next span", lambda: receiver.span_names == ["accepted"])
        wait_for("the report", reports)
    pipeline.make_spans("accepted")
    wait_for("one more span", lambda: len(receiver.span_names) == 2)
    pipeline.shut_down()
    assert [(report["signal"], report["count"]) for report in reports()] == [("traces", 2)]
    (observation,) = pipeline.drops.observe(CallbackOptions())
    assert observation.value == 2
    assert observation.attributes == {"signal": "traces", "error.type": str(status)}


def test_unencodable_batch_is_counted(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """A batch that cannot be encoded is counted as failed, not by an earlier batch's status."""
    receiver.responses.append((400, {}))
    pipeline = SpanPipeline(monkeypatch, receiver.url)
    pipeline.make_spans("refused")
    wait_for("the refusal", lambda: pipeline.drops.dropped)
    pipeline.provider.get_tracer("half a character: \ud800").start_span("span").end()
    wait_for("the failure", lambda: pipeline.drops.dropped == {"400": 1, "failed": 1})
    pipeline.make_spans("accepted")
    wait_for("the last span", lambda: receiver.span_names == ["accepted"])
    pipeline.shut_down()
    assert pipeline.drops.undelivered() == 2


def test_truncated_secret_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, collector: InMemoryCollector
) -> None:
    """No part of an e-mail address that the SDK truncates is sent, and whole texts are kept."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1000")
    pipeline = SpanPipeline(monkeypatch, collector.url)
    email = "somebody.or.other@example.co.uk"
    whole_text = "x " * 499
    for end in range(1, len(email)):
        text = f"{'a ' * 500}"[: 1000 - end] + email
        with pipeline.provider.get_tracer("test").start_as_current_span(
            "span", attributes={"list": ["a", text], "whole": whole_text}
        ) as span:
            span.set_attribute("text", text)
            span.add_event("event", {"text": text})
        wait_for("the span", lambda end=end: len(collector.spans) == end)  # type: ignore[misc]
    pipeline.shut_down()
    received = str([message for _, message in collector.received])
    assert "some" not in received
    assert "a a a" in received
    assert received.count(whole_text) == len(email) - 1
    assert not pipeline.drops.undelivered()


def test_spans_made_are_stored_or_counted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A full queue drops its oldest spans, and each dropped span is counted."""
    receiver.responding.clear()
    pipeline = SpanPipeline(monkeypatch, receiver.url)
    pipeline.make_spans("first")
    wait_for("the first batch to be in flight", lambda: receiver.request_times)
    pipeline.make_spans(*(str(number) for number in range(100)))
    assert pipeline.drops.dropped == {"queue_full": 90}
    receiver.responding.set()
    wait_for("the spans that were kept", lambda: len(receiver.span_names) == QUEUE_SIZE + 1)
    pipeline.shut_down()
    assert receiver.span_names == ["first", *(str(number) for number in range(90, 100))]
    assert pipeline.drops.undelivered() == 90


def test_shutdown_does_not_wait_for_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """At shutdown without a receiver, queued spans are counted as lost without further pauses."""
    pipeline = SpanPipeline(monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(session_module, "MAX_BACKOFF_S", 3600.0)
    pipeline.make_spans(*"abcdefgh")
    wait_for("the first batch to be in flight", lambda: pipeline.drops.in_flight == BATCH_SIZE)
    threading.Thread(target=pipeline.shut_down, daemon=True).start()
    wait_for("the shutdown", lambda: pipeline.drops.dropped == {"shutdown": 8})
    assert pipeline.drops.undelivered() == 8


def test_log_records_are_retried_and_counted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A batch of log records is sent again after 503, and counted as lost after 400."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
    receiver.responses += [(503, {}), (400, {})]
    session = RetryingSession()
    drops = DropCounter("logs")
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        CountingBatchLogRecordProcessor(session, drops, environment.validate())
    )
    logger = provider.get_logger("test")
    logger.emit(timestamp=time.time_ns(), body="refused")
    wait_for("the refusal", lambda: drops.dropped == {"400": 1})
    logger.emit(timestamp=time.time_ns(), body="accepted")
    wait_for("the second record", lambda: receiver.log_bodies == ["accepted"])
    session.shutdown.set()
    provider.shutdown()
    assert drops.undelivered() == 1


def test_records_of_libraries_are_sanitized(
    monkeypatch: pytest.MonkeyPatch, collector: InMemoryCollector
) -> None:
    """A log record that bypasses structlog is redacted and made encodable before its export."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        CountingBatchLogRecordProcessor(
            RetryingSession(), DropCounter("logs"), environment.validate()
        )
    )
    attributes: dict[str, Any] = {
        "password": "hunter2",
        "half": "\ud800",
        "oversized": {str(number): number for number in range(300)},
        "mail": ["bob@example.com"],
    }
    logger = provider.get_logger("a library")
    logger.emit(body={"said": "Bearer abcdef123456"}, attributes=attributes)
    wait_for("the record", lambda: collector.received)
    provider.shutdown()
    received = str([message for _, message in collector.received])
    assert not [secret for secret in ("hunter2", "abcdef", "bob") if secret in received]
    assert received.count("[secret]") == 2
    assert "&#55296;" in received
    assert r"299\': 299" in received
