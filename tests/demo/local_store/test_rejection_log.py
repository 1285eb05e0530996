"""Tests that rejected telemetry is counted, and logged at a bounded rate."""

import logging
import time

import pytest

from tests.demo.local_store.messages import log_record, log_request
from tests.demo.local_store.stores import InMemoryStore
from three_pillar_demo.local_store import rejection_log
from three_pillar_demo.local_store.otlp.batch import OTHER_REASONS, Batch
from three_pillar_demo.local_store.rejection_log import RejectionLog


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
    assert in_memory_store.client.get("/healthz").json() == {"status": "ok", "rejected": 1}
    assert "rejected telemetry: 1 x " in caplog.text
