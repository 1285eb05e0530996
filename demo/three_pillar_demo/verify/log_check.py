"""Check that each service wrote one canonical log record for each purchase, with its outcome."""

import time
from typing import NamedTuple

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import NANO, Backends, LogRecord
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.ledger import Ledger, expect

PAGE_SIZE = 5000
"""Log records in one query; Loki returns no more."""

Key = tuple[str, str]
"""A trace id and a service."""


class CanonicalRecord(NamedTuple):
    """The fields of a canonical log record that the outcome table determines."""

    outcome: str
    status: str
    severity: str


async def check_logs(backends: Backends, ledger: Ledger) -> tuple[Check, set[str]]:
    """Check that each service that took part wrote its canonical log record once.

    Returns:
        The verdict, and the trace ids of purchases that others made during the same time.
    """
    expected = {
        (purchase.trace_id, service): record
        for purchase in ledger.purchases
        for service, record in _expected_records(purchase).items()
    }
    stored: dict[Key, list[LogRecord]] = {}

    def is_as_expected(key: Key) -> bool:
        return [_canonical_fields(record) for record in stored.get(key, [])] == [expected[key]]

    async def complete() -> bool:
        stored.clear()
        for record in await canonical_records(backends, ledger.started - 1):
            key = (record.fields.get("trace_id", ""), record.service)
            stored.setdefault(key, []).append(record)
        return all(is_as_expected(key) for key in expected)

    passed = await poll_until(complete)
    missing = [
        f"{trace_id}: {service} {_describe(stored.get((trace_id, service), []))}"
        for trace_id, service in expected
        if not is_as_expected((trace_id, service))
    ]
    found = len(expected) - len(missing)
    figures = f"{found} of {len(expected)} canonical log records in {backends.names['logs']}"
    bought = {trace_id for trace_id, service in stored if service == "checkout"}
    return Check("logs", passed, figures, missing), bought - ledger.trace_ids


async def canonical_records(backends: Backends, start: float) -> list[LogRecord]:
    """Return all canonical log records since ``start`` (seconds since the epoch), newest first.

    The records are read page by page. Records that are as old as the last one of a page may
    continue on the next page, so that page is read from this time on.
    """
    records: list[LogRecord] = []
    newest = time.time_ns()
    while True:
        # A float cannot hold nanoseconds exactly, so the range is a little larger than needed.
        page = await backends.logs(start, newest / NANO + 1e-6, canonical=True, limit=PAGE_SIZE)
        in_range = [record for record in page if record.time <= newest]
        if len(page) < PAGE_SIZE or page[-1].time >= newest:
            return records + in_range
        records += [record for record in in_range if record.time > page[-1].time]
        newest = page[-1].time


def _expected_records(purchase: Purchase) -> dict[str, CanonicalRecord]:
    """Return the canonical log record that each participating service must have written."""
    expected = expect(purchase)
    records = {
        "checkout": CanonicalRecord(purchase.outcome, str(purchase.status), expected.severity)
    }
    if expected.payment_outcome is not None:
        records["payment"] = CanonicalRecord(
            expected.payment_outcome,
            str(expected.payment_status),
            str(expected.payment_severity),
        )
    return records


def _canonical_fields(record: LogRecord) -> tuple[str | None, str, str]:
    status = record.fields["http_response_status_code"]
    return record.fields.get("outcome"), status, record.severity


def _describe(records: list[LogRecord]) -> str:
    if not records:
        return "wrote nothing"
    return "; ".join(f"wrote {record.body!r} ({record.severity})" for record in records)
