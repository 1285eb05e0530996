"""Tests that rejected telemetry is counted, and logged at a bounded rate."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.demo.local_store.messages import log_record, log_request
from tests.demo.local_store.stores import PROTOBUF, InMemoryStore
from three_pillar_demo.local_store import receiver, rejection_log
from three_pillar_demo.local_store.intake import Intake
from three_pillar_demo.local_store.otlp.batch import OTHER_REASONS, Batch
from three_pillar_demo.local_store.receiver import MAX_BODY_BYTES, create_app
from three_pillar_demo.local_store.rejection_log import RejectionLog

JSON = {"content-type": "application/json"}
GZIP = PROTOBUF | {"content-encoding": "gzip"}
ORIGIN = {"origin": "https://evil.test", "access-control-request-method": "POST"}


def rejected(reason: str, count: int = 1) -> Batch:
    """Return a batch with ``count`` records that are rejected for ``reason``."""
    batch = Batch()
    batch.reject(reason, count)
    return batch


def test_a_rejection_is_logged_at_once_and_further_ones_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rejection is logged, and those of the next seconds are in one later line."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rejections = RejectionLog()
    rejections.record("logs", rejected("too old"))
    rejections.record("logs", Batch())
    for _ in range(500):
        rejections.record("traces", rejected("no id", 2))
    assert [record.message for record in caplog.records] == [
        "rejected telemetry: 1 x too old (logs)"
    ]
    now += rejection_log.INTERVAL_S
    rejections.record("logs", rejected("too old"))
    assert caplog.records[-1].message == (
        "rejected telemetry: 1000 x no id (traces); 1 x too old (logs)"
    )
    assert caplog.records[-1].levelno == logging.WARNING
    rejections.record("logs", rejected("too old"))
    rejections.flush()
    rejections.flush()
    assert len(caplog.records) == 3
    assert rejections.total == 1003


def test_reasons_are_bounded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a thousand different reasons, further ones share one entry."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    rejections = RejectionLog()
    for number in range(3000):
        rejections.record("logs", rejected(f"reason {number}"))
    rejections.flush()
    assert f"1999 x {OTHER_REASONS}; " in caplog.records[-1].message


def test_the_store_logs_and_counts_what_it_rejects(
    in_memory_store: InMemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A record of 1970 beside a good one is rejected, logged and counted in ``/healthz``."""
    old = log_record("old")
    old.time_unix_nano = old.observed_time_unix_nano = 1_000_000
    response = in_memory_store.send("logs", log_request(old, log_record("new")))
    assert response.status_code == 200
    assert in_memory_store.client.get("/healthz").json() == {
        "status": "ok",
        "rejected": 1,
        "refused": 0,
    }
    assert "rejected telemetry: 1 x " in caplog.text


REFUSED: dict[str, tuple[str, str, bytes, dict[str, str], str]] = {
    "400": ("POST", "/v1/traces", b"{", JSON, "request body is not a valid Export"),
    "400 gzip": ("POST", "/v1/logs", b"no", GZIP, "request body is not valid gzip"),
    "403": ("POST", "/v1/logs", b"{}", JSON | ORIGIN, "origin https://evil.test not allowed"),
    "403 preflight": ("OPTIONS", "/v1/logs", b"", ORIGIN, "origin https://evil.test not allowed"),
    "404": ("POST", "/v1/a%0Ab%1b", b"", JSON, r"unknown path /v1/a\nb\x1b, use"),
    "405": ("GET", "/v1/logs", b"", {}, "method not allowed"),
    "413": ("POST", "/v1/logs", bytes(MAX_BODY_BYTES + 1), PROTOBUF, "request body over "),
    "415": ("POST", "/v1/logs", b"", {}, "unsupported content-type"),
}
"""By status, a request that is refused as a whole, and the begin of the reason."""


@pytest.mark.parametrize("status", REFUSED)
def test_refused_requests_are_counted_and_logged(
    in_memory_store: InMemoryStore, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    """A request that is refused as a whole is logged with the reason, and counted."""
    method, path, body, headers, reason = REFUSED[status]
    with caplog.at_level(logging.WARNING):
        response = in_memory_store.client.request(method, path, content=body, headers=headers)
    assert response.status_code == int(status[:3])
    health = in_memory_store.client.get("/healthz").json()
    assert health == {"status": "ok", "rejected": 0, "refused": 1}
    (record,) = caplog.records
    assert record.message.startswith(f"rejected telemetry: 1 x request refused: {reason}")


def test_a_body_that_does_not_arrive_is_counted(
    in_memory_store: InMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose body is too slow gets 408, and is counted as refused."""
    monkeypatch.setattr(receiver, "BODY_TIMEOUT_S", 0.1)
    intake = Intake(in_memory_store.writer)

    async def endless_body() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def send() -> int:
        transport = httpx2.ASGITransport(create_app(intake))
        async with httpx2.AsyncClient(transport=transport, base_url="http://store") as http:
            response = await http.post("/v1/logs", content=endless_body(), headers=PROTOBUF)
            return response.status_code

    assert asyncio.run(send()) == 408
    assert intake.rejections.refused == 1
