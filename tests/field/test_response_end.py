"""A request is recorded when its response ends, in every way that it can end on a real socket."""

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.field.foreign_process import ForeignProcess, RecordedRequest, run_foreign_service
from tests.processes import wait_for

Services = Mapping[str, ForeignProcess]
VARIANTS = ("plain", "middleware")
TRUNCATED_REQUEST = (
    b"POST /heavy HTTP/1.1\r\nhost: app\r\ncontent-type: application/json\r\n"
    b'content-length: 99\r\n\r\n{"a": '
)

for_both_variants = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Run ``foreign_service.py`` in both ``VARIANTS``: without and with ``BaseHTTPMiddleware``."""
    folder = tmp_path_factory.mktemp("services")
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        futures = {
            variant: threads.submit(
                stack.enter_context, run_foreign_service(folder / variant, variant)
            )
            for variant in VARIANTS
        }
        yield {variant: future.result() for variant, future in futures.items()}


def assert_pillars_agree(recorded: RecordedRequest, status: int, outcome: str) -> None:
    """Assert that a request was recorded once, with one status and one duration everywhere.

    ``status`` is in the span, the log record and the counter; ``outcome`` is in the log record; the
    duration is the same in both histograms and in the log record.
    """
    assert recorded.record
    assert recorded.statuses == {status}
    assert (recorded.record["outcome"], len(recorded.counted_statuses)) == (outcome, 1)
    seconds, seconds_in_other_histogram = (seconds for _, seconds in recorded.durations)
    logged_seconds = recorded.record["http.server.request.duration"]
    assert seconds == seconds_in_other_histogram == pytest.approx(logged_seconds, abs=1e-5)


@for_both_variants
@pytest.mark.parametrize("name", ["background", "yield"])
def test_a_request_ends_before_its_background_task(
    services: Services, variant: str, name: str
) -> None:
    """A request is recorded after its last byte, before its background task or dependency ends."""
    service = services[variant]
    status, _ = service.request(f"/{name}")
    assert status == 200
    assert_pillars_agree(service.wait_recorded(f"/{name}"), 200, "success")
    service.request(f"/open/{name}")


@for_both_variants
def test_a_stream_lasts_until_its_last_byte(services: Services, variant: str) -> None:
    """A stream is recorded after its last byte, and its duration extends to that byte."""
    service = services[variant]
    connection, response = service.connect("/stream/last")
    with closing(connection):
        assert response.read(4) == b"data"
        started_at = time.monotonic()
        service.request("/empty")
        service.wait_recorded("/empty")
        assert not service.recorded("/stream/{name}").record
        seconds_open = time.monotonic() - started_at
        service.request("/open/last")
        assert response.read().endswith(b"last\n\n")
    recorded = service.wait_recorded("/stream/{name}")
    assert_pillars_agree(recorded, 200, "success")
    _, duration = recorded.durations[0]
    assert duration > seconds_open


@for_both_variants
@pytest.mark.parametrize("name", ["background-crash", "yield-crash"])
def test_a_crash_after_the_response_has_a_line_of_its_own(
    services: Services, variant: str, name: str
) -> None:
    """An exception after the last byte of a response is logged in the trace of its request."""
    service = services[variant]
    status, _ = service.request(f"/{name}")
    assert status == 200
    recorded = service.wait_recorded(f"/{name}")
    assert_pillars_agree(recorded, 200, "success")

    def crash_records() -> list[dict[str, Any]]:
        event = f"GET /{name} failed after its response was sent"
        return [record for record in service.log_records() if record["event"] == event]

    wait_for("the record of the crash", crash_records)
    (record,) = crash_records()
    assert recorded.span
    assert record["trace"] == recorded.span.trace_id.hex()
    assert record["exception.type"] == "ValueError"


@for_both_variants
def test_a_crash_in_the_middle_of_a_stream_is_a_crash(services: Services, variant: str) -> None:
    """An exception before the last byte is recorded as 500, although the client received 200."""
    service = services[variant]
    connection, response = service.connect("/stream-crash")
    assert response.status == 200
    with closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
        response.read()
    recorded = service.wait_recorded("/stream-crash")
    if variant == "middleware":
        # Starlette's middleware ends the body properly before it raises. The client cannot notice
        # the crash, so the request is a success and the crash a line of its own.
        assert_pillars_agree(recorded, 200, "success")
        return
    assert_pillars_agree(recorded, 500, "crashed")
    assert recorded.record
    assert recorded.span
    assert recorded.record["error.type"] == "ValueError"
    assert recorded.span.status.code == Status.STATUS_CODE_ERROR


def test_a_stream_whose_client_disconnects_is_abandoned(services: Services) -> None:
    """A stream whose client disconnects is recorded with status 499 and outcome abandoned."""
    service = services["plain"]
    connection, response = service.connect("/endless")
    assert response.read(4) == b"data"
    response.close()
    connection.close()
    assert_pillars_agree(service.wait_recorded("/endless"), 499, "abandoned")


@for_both_variants
def test_a_request_whose_body_breaks_off_is_abandoned(services: Services, variant: str) -> None:
    """A request whose client disconnects within the body is recorded with status 499."""
    service = services[variant]
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(TRUNCATED_REQUEST)
    assert_pillars_agree(service.wait_recorded("/heavy", "POST"), 499, "abandoned")


RESPONSES = {
    "file": ("GET /file", "/file", 200),
    "HEAD": ("HEAD /head", "/head", 200),
    "static file": ("GET /static/script.py", "/static/{path}", 200),
    "no body": ("GET /nothing", "/nothing", 204),
    "crash": ("GET /crash", "/crash", 500),
}


@for_both_variants
@pytest.mark.parametrize("name", RESPONSES)
def test_every_kind_of_response_is_recorded(services: Services, variant: str, name: str) -> None:
    """Files, HEAD, empty bodies and exceptions are recorded once, with one status and duration."""
    request, route, status = RESPONSES[name]
    method, _, path = request.partition(" ")
    service = services[variant]
    received_status, _ = service.request(path, method)
    assert received_status == status
    outcome = "crashed" if status == 500 else "success"
    assert_pillars_agree(service.wait_recorded(route, method), status, outcome)


LONE_SURROGATE = r"(&#55296;|\\\\ud800)"
"""Pattern of the text that replaces the lone surrogate U+D800, in either of its spellings."""
SURROGATE_ATTRIBUTE = rf'key: "half"\s+value \{{\s+string_value: "{LONE_SURROGATE}"'
SANITIZED: dict[str, tuple[type[Message], str]] = {
    "span": (ExportTraceServiceRequest, SURROGATE_ATTRIBUTE),
    "event": (ExportTraceServiceRequest, f'name: "half {LONE_SURROGATE}"'),
    "link": (ExportTraceServiceRequest, SURROGATE_ATTRIBUTE),
    "status": (ExportTraceServiceRequest, f'message: "ValueError: half {LONE_SURROGATE}"'),
    "line": (ExportLogsServiceRequest, SURROGATE_ATTRIBUTE),
}
"""The OTLP message that carries a lone surrogate and the pattern of its text, by its location."""


@pytest.mark.parametrize("surrogate_location", SANITIZED)
def test_a_lone_surrogate_costs_no_batch(services: Services, surrogate_location: str) -> None:
    """A lone surrogate in a span or log record arrives as text, and its batch is not dropped."""
    service = services["plain"]
    path = f"/odd-{surrogate_location}"
    status, _ = service.request(path)
    assert status == 200
    assert_pillars_agree(service.wait_recorded(path), 200, "success")
    message_type, pattern = SANITIZED[surrogate_location]

    def texts() -> list[str]:
        if surrogate_location == "link":
            return [str(link) for span in service.spans() for link in span.links]
        return [str(message) for message in service.messages(message_type)]

    wait_for("the surrogate as text", lambda: any(re.search(pattern, text) for text in texts()))


def test_the_last_requests_are_flushed(tmp_path: Path) -> None:
    """On SIGTERM all telemetry is sent, and the streams that it ends are recorded as abandoned."""
    with run_foreign_service(tmp_path / "service", export_interval_ms="600000") as service:
        status, _ = service.request("/empty")
        assert status == 204
        streams = [service.connect("/endless") for _ in range(8)]
        for _, response in streams:
            assert response.read(4) == b"data"
        service.stop()
        for connection, _ in streams:
            connection.close()
        assert_pillars_agree(service.recorded("/empty"), 204, "success")
        spans = [span for span in service.spans() if span.name == "GET /endless"]
        abandoned = [
            record for record in service.log_records() if record.get("outcome") == "abandoned"
        ]
        assert (len(spans), len(abandoned)) == (8, 8)
        counted = service.recorded("/endless", max_requests=8).counted_statuses
        assert counted == ["499" for _ in range(8)]


@for_both_variants
def test_the_telemetry_of_fastapi_stays_inactive(services: Services, variant: str) -> None:
    """FastAPI's own telemetry adds no SERVER span to a request to a mounted application."""
    service = services[variant]
    status, body = service.request("/sub/item/7")
    assert status == 200
    assert_pillars_agree(service.wait_recorded("/sub/item/{number}"), 200, "success")
    server_traces = [
        span.trace_id.hex()
        for span in service.spans()
        if span.kind == Span.SPAN_KIND_SERVER and "/sub" in span.name
    ]
    assert server_traces == [json.loads(body)["trace_id"]]


def test_no_log_line_is_lost(services: Services) -> None:
    """A service whose stdout accepts all lines does not send the metric ``log.lines.lost``."""
    service = services["plain"]
    service.request("/empty")
    wait_for("metrics", lambda: service.messages(ExportMetricsServiceRequest))
    assert "log.lines.lost" not in str(service.messages(ExportMetricsServiceRequest)[-1])
