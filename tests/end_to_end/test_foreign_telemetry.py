"""Unusual telemetry of any client, sent to the running stack, is stored and can be read."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from tests.config import over_limit
from tests.config.over_limit import NOT_UTF8, LogCase
from tests.demo.local_store.messages import span, trace_request
from tests.demo.local_store.stores import PROTOBUF
from tests.end_to_end.conftest import Stack, receiver_url, wait_until
from three_pillar_demo.query.interface import NANO, Backends, LogRecord, Span

pytestmark = pytest.mark.full
KINDS = {"before", "over the limit", "after"}
LOG_CASES = {
    **over_limit.log_cases(),
    "body that is not UTF-8": LogCase(over_limit.with_body(NOT_UTF8), ""),
    "attribute that is not UTF-8": LogCase(over_limit.of_record({"name": NOT_UTF8}), ""),
    "name that is not UTF-8": LogCase(over_limit.of_record({NOT_UTF8: "value"}), ""),
    "event name that is not UTF-8": LogCase(over_limit.log_text("event_name", NOT_UTF8), ""),
    "severity that is not UTF-8": LogCase(over_limit.log_text("severity_text", NOT_UTF8), ""),
    "scope attribute that is not UTF-8": LogCase(over_limit.of_scope({"name": NOT_UTF8}), ""),
    "scope that is not UTF-8": LogCase(
        lambda _record, _resource, scope: setattr(scope, "name", NOT_UTF8), ""
    ),
}
SPAN_CASES: dict[str, dict[str, Any]] = {
    "no name": {"name": ""},
    "no end": {"end_time_unix_nano": 0},
    "no start": {"start_time_unix_nano": 0},
    "end before start": {"end_time_unix_nano": time.time_ns() - 60 * NANO},
    "end in centuries": {"end_time_unix_nano": 2**63 - 1},
    "unknown kind": {"kind": 99},
    "no kind": {"kind": 0},
}


def send(signal: str, request: bytes) -> None:
    """Send a request to the Collector; while it has too little memory, send it again."""

    def is_accepted() -> bool:
        response = httpx2.post(
            f"{receiver_url()}/v1/{signal}",
            content=request,
            headers=PROTOBUF,
            timeout=60,
            trust_env=False,
        )
        assert response.is_success or response.status_code in {429, 503}, response.text
        return response.is_success

    wait_until(is_accepted, "the Collector to accept the request")


def read(stack: Stack, query: Callable[[Backends], Awaitable[Any]]) -> Any:  # noqa: ANN401  (a different type for each query)
    """Return the result of a query of the running stack."""

    async def run() -> Any:  # noqa: ANN401  (as above)
        async with stack.backends() as backends:
            return await query(backends)

    return asyncio.run(run())


@pytest.mark.parametrize("name", LOG_CASES)
def test_a_log_record_over_a_limit_is_in_loki_with_its_neighbours(stack: Stack, name: str) -> None:
    """A record that Loki would refuse, and one before and one after it, are stored."""
    trace_id = secrets.token_bytes(16)
    send("logs", over_limit.log_request(LOG_CASES[name], trace_id))

    def found() -> list[LogRecord]:
        now = time.time()
        records: list[LogRecord] = read(
            stack, lambda backends: backends.trace_logs(trace_id.hex(), now - 3600, now + 3600)
        )
        return records

    wait_until(lambda: len(found()) == len(KINDS), f"three records with {name}")
    assert {record.service for record in found()} == KINDS


@pytest.mark.parametrize("name", SPAN_CASES)
def test_an_unusual_span_can_be_followed(stack: Stack, name: str) -> None:
    """A span without a name, without a start or of no known kind is printed by its trace id."""
    trace_id = secrets.token_bytes(16)
    sent = span("work", trace_id=trace_id, error=True)
    for field, value in SPAN_CASES[name].items():
        setattr(sent, field, value)
    send("traces", trace_request(sent, service="unusual").SerializeToString())

    def spans() -> list[Span]:
        stored: list[Span] = read(stack, lambda backends: backends.trace(trace_id.hex()))
        return stored

    wait_until(lambda: len(spans()) == 1, f"the span with {name}")
    assert (spans()[0].start, spans()[0].end) == (
        sent.start_time_unix_nano,
        sent.end_time_unix_nano,
    )
    output = stack.demo("follow", trace_id.hex()).stdout
    assert f"unusual {sent.name}" in output
    assert "no log lines, because" not in output
    assert "no exemplars, because" not in output


def test_unusual_spans_do_not_end_the_list_of_requests(stack: Stack) -> None:
    """Requests are listed with an unusual one among them, as ``demo tail`` and the page do."""
    service = f"unusual-{secrets.token_hex(4)} \N{GRINNING FACE}"
    for fields in SPAN_CASES.values():
        sent = span("work")
        for field, value in fields.items():
            setattr(sent, field, value)
        send("traces", trace_request(sent, service=service).SerializeToString())

    def kinds() -> set[str]:
        now = time.time()
        found: list[Span] = read(
            stack, lambda backends: backends.request_spans(now - 300, now + 60, service=service)
        )
        return {request.kind for request in found}

    # Tempo's search by time leaves out spans whose times are far apart.
    expected = {"SERVER", "99", "UNSPECIFIED"}
    wait_until(lambda: kinds() == expected, f"requests of the kinds {expected}")
