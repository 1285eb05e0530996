"""The last byte."""

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
from google.protobuf.message import Message as Proto
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.field.foreign_app import records
from tests.field.foreign_process import Process, Told, running
from tests.processes import wait_for

Processes = Mapping[str, Process]


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """The foreign app, as it is and behind a middleware that Starlette runs in a task of its own."""
    folder = tmp_path_factory.mktemp("apps")
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        started = {
            how: threads.submit(stack.enter_context, running(folder / how, how))
            for how in ("plain", "middleware")
        }
        yield {how: each.result() for how, each in started.items()}


plain_and_behind_a_middleware = pytest.mark.parametrize("how", ["plain", "middleware"])


def agree(told: Told, status: int, outcome: str) -> None:
    """Span, line and counter have the one status, the two histograms and the line the one time."""
    assert told.line
    assert told.statuses == {status}
    assert (told.line["outcome"], len(told.counted)) == (outcome, 1)
    first, second = (seconds for _, seconds in told.times)
    assert first == second == pytest.approx(told.line["http.server.request.duration"], abs=1e-5)


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", ["background", "yield"])
def test_nobody_waits_for_what_comes_after(apps: Processes, how: str, name: str) -> None:
    """A request is told of with its last byte, while its background task or its dependency's end still runs."""
    app = apps[how]
    assert app.ask(f"/{name}")[0] == 200
    agree(app.wait_told(f"/{name}"), 200, "success")
    app.ask(f"/open/{name}")


@plain_and_behind_a_middleware
def test_a_stream_takes_until_its_last_byte(apps: Processes, how: str) -> None:
    """A stream is told of when it ends, not when it begins, and both histograms and the line have its whole time."""
    app = apps[how]
    connection, answer = app.connect("/stream/last")
    with closing(connection):
        assert answer.read(4) == b"data"
        began = time.monotonic()
        app.ask("/empty")
        app.wait_told("/empty")
        assert not app.told("/stream/{name}").line
        seconds = time.monotonic() - began
        app.ask("/open/last")
        assert answer.read().endswith(b"last\n\n")
    told = app.wait_told("/stream/{name}")
    agree(told, 200, "success")
    assert told.times[0][1] > seconds


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", ["background-crash", "yield-crash"])
def test_a_crash_after_the_answer_is_a_line_of_its_own(
    apps: Processes, how: str, name: str
) -> None:
    """A crash behind the last byte leaves the answer a success in all pillars, and is a line with the trace id."""
    app = apps[how]
    assert app.ask(f"/{name}")[0] == 200
    told = app.wait_told(f"/{name}")
    agree(told, 200, "success")

    def crash() -> list[dict[str, Any]]:
        return [
            each
            for each in records(list(app.collector.received))
            if each["event"] == f"GET /{name} failed after its response was sent"
        ]

    wait_for("the line of the crash", crash)
    (line,) = crash()
    assert told.span
    assert (line["trace"], line["exception.type"]) == (told.span.trace_id.hex(), "ValueError")


@plain_and_behind_a_middleware
def test_a_crash_in_mid_stream_is_a_crash(apps: Processes, how: str) -> None:
    """A crash between first and last byte is a 500 in all pillars, whatever the first line said, and the span has the error."""
    app = apps[how]
    connection, answer = app.connect("/stream-crash")
    assert answer.status == 200
    with closing(connection), contextlib.suppress(http.client.HTTPException, OSError):
        answer.read()
    told = app.wait_told("/stream-crash")
    if (
        how == "middleware"
    ):  # Starlette ends the body in order before it raises: the customer cannot know, and it is as below
        agree(told, 200, "success")
        return
    agree(told, 500, "crashed")
    assert told.line
    assert told.span
    assert (told.line["error.type"], told.span.status.code) == ("ValueError", 2)


def test_a_customer_who_hangs_up_is_told_of(apps: Processes) -> None:
    """A stream whose reader hangs up in the middle is abandoned, and 499 in all pillars."""
    app = apps["plain"]
    connection, answer = app.connect("/endless")
    assert answer.read(4) == b"data"
    answer.close()
    connection.close()
    agree(app.wait_told("/endless"), 499, "abandoned")


@plain_and_behind_a_middleware
def test_a_customer_who_hangs_up_in_mid_body_is_told_of(apps: Processes, how: str) -> None:
    """A request whose body never came whole was refused to nobody: it is abandoned, and 499 in all pillars."""
    app = apps[how]
    with socket.create_connection(("127.0.0.1", app.port)) as client:
        client.sendall(
            b'POST /heavy HTTP/1.1\r\nhost: app\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"a": '
        )
    agree(app.wait_told("/heavy", "POST"), 499, "abandoned")


PLAIN = {
    "a file": ("GET /file", "/file", 200),
    "a head": ("HEAD /head", "/head", 200),
    "a static file": ("GET /static/script.py", "/static/{path}", 200),
    "nothing": ("GET /nothing", "/nothing", 204),
    "a crash": ("GET /crash", "/crash", 500),
}


@plain_and_behind_a_middleware
@pytest.mark.parametrize("name", PLAIN)
def test_every_answer_has_an_end(apps: Processes, how: str, name: str) -> None:
    """Files, heads, empty answers and crashes are told of like any other, with one status and one time in all pillars."""
    request, route, status = PLAIN[name]
    method, _, path = request.partition(" ")
    assert apps[how].ask(path, method)[0] == status
    agree(apps[how].wait_told(route, method), status, "crashed" if status == 500 else "success")


@pytest.mark.parametrize("pillar", ["span", "event", "link", "status", "line"])
def test_an_odd_value_costs_no_batch(apps: Processes, pillar: str) -> None:
    """Half a character in a span, a label or a line reaches the Collector spelled out, and so does all that comes after."""
    app = apps["plain"]
    assert app.ask(f"/odd-{pillar}")[0] == 200
    agree(app.wait_told(f"/odd-{pillar}"), 200, "success")
    kinds: dict[str, type[Proto]] = {
        "metric": ExportMetricsServiceRequest,
        "line": ExportLogsServiceRequest,
    }
    kind = kinds.get(pillar, ExportTraceServiceRequest)
    half = r"(&#55296;|\\\\ud800)"
    places = {"event": f'name: "half {half}"', "status": f'message: "ValueError: half {half}"'}
    field = rf'key: "half"\s+value \{{\s+string_value: "{half}"'
    spelled = places.get(pillar, field)

    def said(message: Any) -> str:  # noqa: ANN401  (any of three)
        if pillar != "link":
            return str(message)
        scopes = (scope for part in message.resource_spans for scope in part.scope_spans)
        return "\n".join(
            str(link) for scope in scopes for span in scope.spans for link in span.links
        )

    wait_for(
        "it spelled out", lambda: any(re.search(spelled, said(each)) for each in app.messages(kind))
    )


def test_the_last_requests_are_flushed(tmp_path: Path) -> None:
    """On SIGTERM everything reaches the Collector, also of an endless stream that is cut off then: it was abandoned."""
    with running(tmp_path / "app", interval="600000") as app:
        assert app.ask("/empty")[0] == 204
        streams = [app.connect("/endless") for _ in range(8)]
        for _, answer in streams:
            assert answer.read(4) == b"data"
        app.stop()
        for connection, _ in streams:
            connection.close()
        agree(app.told("/empty"), 204, "success")
        spans = [
            each for part in app.messages(ExportTraceServiceRequest) for each in part.resource_spans
        ]
        names = [each.name for part in spans for scope in part.scope_spans for each in scope.spans]
        lines = [
            each for each in records(app.collector.received) if each.get("outcome") == "abandoned"
        ]
        assert (names.count("GET /endless"), len(lines)) == (8, 8)
        assert app.told("/endless", spans=8).counted == ["499"] * 8


@plain_and_behind_a_middleware
def test_the_framework_does_not_tell_it_again(apps: Processes, how: str) -> None:
    """FastAPI's own telemetry, which the process's providers switch on, is silent in the app and in a sub-app of it."""
    status, body = apps[how].ask("/sub/item/7")
    told = apps[how].wait_told("/sub/item/{number}")
    assert status == 200
    agree(told, 200, "success")
    parts = [
        each
        for part in apps[how].messages(ExportTraceServiceRequest)
        for each in part.resource_spans
    ]
    spans = [each for part in parts for scope in part.scope_spans for each in scope.spans]
    traces = [
        each.trace_id.hex()
        for each in spans
        if each.kind == Span.SPAN_KIND_SERVER and "/sub" in each.name
    ]
    assert traces == [json.loads(body)["trace_id"]]


def test_lines_that_are_written_are_not_lost(apps: Processes) -> None:
    """An app whose stdout takes its lines counts none as lost."""
    apps["plain"].ask("/empty")
    wait_for("metrics", lambda: apps["plain"].messages(ExportMetricsServiceRequest))
    assert "log.lines.lost" not in str(apps["plain"].messages(ExportMetricsServiceRequest)[-1])
