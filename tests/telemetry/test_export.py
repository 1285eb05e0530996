"""Batches of the real SDK over real HTTP: kept while nobody takes them, counted when refused, and no obstacle to an end."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions
from opentelemetry.sdk.resources import Resource
from structlog.testing import capture_logs

from tests.processes import Sink, free_port, wait_for
from tests.telemetry.receiver import Receiver, receiving
from three_pillars import environment
from three_pillars.export import session as sessions
from three_pillars.export.batch import CountingBatchLogRecordProcessor, CountingBatchSpanProcessor
from three_pillars.export.drops import DropCounter
from three_pillars.export.session import RetryingSession
from three_pillars.providers import logger_provider, tracer_provider


class Traces:
    """A provider that sends spans, one batch a tenth of a second, from a queue of ten."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, url: str, timeout: str = "10") -> None:
        """Send to ``url``; the tests' own pauses are short."""
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", timeout)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
        monkeypatch.setattr(sessions, "MAX_BACKOFF_S", 0.2)
        self.session, self.drops = RetryingSession(), DropCounter("traces")
        variables = environment.validate()
        self.provider = tracer_provider(Resource({}), variables)
        self.provider.add_span_processor(
            CountingBatchSpanProcessor(self.session, self.drops, variables)
        )

    def make(self, *names: str) -> None:
        """End a span of each name."""
        for name in names:
            self.provider.get_tracer("test").start_span(name).end()

    def close(self) -> None:
        """As a service ends: one try more."""
        self.session.shutdown.set()
        self.provider.shutdown()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that takes everything until it is told otherwise."""
    with receiving() as made:
        yield made


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_batch_is_sent_until_it_is_taken(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, status: int
) -> None:
    """Who is busy is asked again, more often than the SDK would, and nothing is lost or sent twice."""
    receiver.answers += [(status, {})] * 8
    traces = Traces(monkeypatch, receiver.url)
    traces.make("first", "second")
    wait_for("both spans", lambda: len(receiver.spans) == 2)
    traces.close()
    assert receiver.spans == ["first", "second"]
    assert traces.drops.undelivered() == 0


def test_nobody_there_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made while nobody listens arrives when somebody does, on the same port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        traces = Traces(monkeypatch, f"http://127.0.0.1:{port}")
        traces.make("while nobody listens")
        tried = traces.session
        wait_for("a first try", lambda: tried.last_error == "failed" and traces.drops.in_flight == 1)
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            while b"while nobody listens" not in b"".join(got):
                got.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            wait_for("the answer to be noted", lambda: traces.drops.in_flight == 0)
    traces.close()
    assert traces.drops.undelivered() == 0


def test_retry_after_is_obeyed(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Who says when to come back is not asked earlier."""
    receiver.answers.append((503, {"Retry-After": "2"}))
    traces = Traces(monkeypatch, receiver.url)
    traces.make("later")
    wait_for("the span", lambda: receiver.spans == ["later"])
    traces.close()
    first, second = receiver.asked
    assert second - first >= 2


def test_one_who_never_answers_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A receiver that accepts and does not answer costs the time-out, and not the batch."""
    receiver.open.clear()
    traces = Traces(monkeypatch, receiver.url, timeout="0.3")
    traces.make("patient")
    wait_for("a second try", lambda: len(receiver.asked) > 1)
    receiver.open.set()
    wait_for("the span", lambda: "patient" in receiver.spans)
    traces.close()
    assert traces.drops.undelivered() == 0


@pytest.mark.parametrize("status", [400, 404, 413, 307])
def test_what_is_refused_is_counted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver, status: int
) -> None:
    """A batch that nobody will ever take is dropped at once, counted under its status, and told of in one line."""
    receiver.answers.append((status, {"Location": "/elsewhere"}))
    traces = Traces(monkeypatch, receiver.url)
    with capture_logs() as said:
        traces.make("refused", "refused")
        wait_for("the refusal", lambda: traces.drops.dropped)
        assert not [each for each in said if each["event"] == "telemetry dropped"]
        traces.make("taken")
        wait_for("the next one", lambda: receiver.spans == ["taken"])
        wait_for(
            "the line", lambda: [each for each in said if each["event"] == "telemetry dropped"]
        )
    traces.make("taken")
    wait_for("one more", lambda: len(receiver.spans) == 2)
    traces.close()
    assert [
        (each["signal"], each["count"]) for each in said if each["event"] == "telemetry dropped"
    ] == [("traces", 2)]
    (seen,) = traces.drops.observe(CallbackOptions())
    assert (seen.value, seen.attributes) == (2, {"signal": "traces", "error.type": str(status)})


def test_what_cannot_be_encoded_is_counted(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A batch that never leaves the process is counted too, and not under the answer that the one before got."""
    receiver.answers.append((400, {}))
    traces = Traces(monkeypatch, receiver.url)
    traces.make("refused")
    wait_for("the refusal", lambda: traces.drops.dropped)
    traces.provider.get_tracer("half a character: \ud800").start_span("span").end()
    wait_for("the next one", lambda: traces.drops.dropped == {"400": 1, "failed": 1})
    traces.make("taken")
    wait_for("the last one", lambda: receiver.spans == ["taken"])
    traces.close()
    assert traces.drops.undelivered() == 2


def test_a_secret_that_was_cut_leaves_nothing(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    """Wherever the SDK cuts a text of a span, what it leaves of a secret goes too; a text that fits stays whole."""
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "1000")
    traces = Traces(monkeypatch, sink.url)
    secret, whole = "somebody.or.other@example.co.uk", "x " * 499
    for end in range(1, len(secret)):
        text = f"{'a ' * 500}"[: 1000 - end] + secret
        with traces.provider.get_tracer("test").start_as_current_span(
            "span", attributes={"list": ["a", text], "whole": whole}
        ) as span:
            span.set_attribute("text", text)
            span.add_event("event", {"text": text})
        wait_for("the span", lambda end=end: len(sink.spans) == end)  # type: ignore[misc]
    traces.close()
    told = str([message for _, message in sink.received])
    assert "some" not in told
    assert "a a a" in told
    assert told.count(whole) == len(secret) - 1
    assert not traces.drops.undelivered()


def test_made_is_stored_and_dropped(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """A queue that overflows drops its oldest, and made = stored + counted, to the last one."""
    receiver.open.clear()
    traces = Traces(monkeypatch, receiver.url)
    traces.make("first")
    wait_for("the first batch to be on its way", lambda: receiver.asked)
    traces.make(*(str(number) for number in range(100)))
    assert traces.drops.dropped == {"queue_full": 90}
    receiver.open.set()
    wait_for("what was kept", lambda: len(receiver.spans) == 11)
    traces.close()
    assert receiver.spans == ["first", *(str(number) for number in range(90, 100))]
    assert traces.drops.undelivered() == 90


def test_the_end_is_not_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nobody to send to, what waits gets one try more and is counted; nobody waits for the pauses."""
    traces = Traces(monkeypatch, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(sessions, "MAX_BACKOFF_S", 3600.0)
    traces.make(*"abcdefgh")
    wait_for("the first batch to be on its way", lambda: traces.drops.in_flight == 5)
    threading.Thread(target=traces.close, daemon=True).start()
    wait_for("the end", lambda: traces.drops.dropped == {"shutdown": 8})
    assert traces.drops.undelivered() == 8


def test_lines_are_kept_and_counted_likewise(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """Log records have the same way out: sent again, and what is refused counted."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
    receiver.answers += [(503, {}), (400, {})]
    session, drops = RetryingSession(), DropCounter("logs")
    provider = logger_provider(Resource({}), environment.validate())
    provider.add_log_record_processor(CountingBatchLogRecordProcessor(session, drops, environment.validate()))
    logger = provider.get_logger("test")
    logger.emit(timestamp=time.time_ns(), body="refused")
    wait_for("the refusal", lambda: drops.dropped == {"400": 1})
    logger.emit(timestamp=time.time_ns(), body="taken")
    wait_for("the second line", lambda: receiver.lines == ["taken"])
    session.shutdown.set()
    provider.shutdown()
    assert drops.undelivered() == 1


def test_what_a_library_tells_is_redacted_too(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    """A record that did not come through structlog tells no secret, costs no batch, and is not too wide."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "100")
    provider = logger_provider(Resource({}), environment.validate())
    provider.add_log_record_processor(CountingBatchLogRecordProcessor(
            RetryingSession(), DropCounter("logs"), environment.validate()
        )
    )
    wide = {str(number): number for number in range(300)}
    about: dict[str, Any] = {
        "password": "hunter2",
        "half": "\ud800",
        "wide": wide,
        "mail": ["bob@example.com"],
    }
    provider.get_logger("a library").emit(body={"said": "Bearer abcdef123456"}, attributes=about)
    wait_for("the record", lambda: sink.received)
    provider.shutdown()
    told = str([message for _, message in sink.received])
    assert not [each for each in ("hunter2", "abcdef", "bob") if each in told]
    assert told.count("[secret]") == 2
    assert "&#55296;" in told
    assert r"299\': 299" in told
