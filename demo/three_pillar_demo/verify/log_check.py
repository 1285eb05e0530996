"""Check that each purchase has one correct canonical log record from each service involved."""

import time
from typing import NamedTuple

from three_pillar_demo.load.checkout_client import Purchase
from three_pillar_demo.query.interface import NANO, Backends, LogRecord
from three_pillar_demo.verify.check import Check, poll_until
from three_pillar_demo.verify.ledger import Ledger, expect

PAGE_SIZE = 5000
"""The number of log records that one query asks for; Loki returns no more by default."""

Key = tuple[str, str]
"""A trace id and the name of a service."""


class CanonicalRecord(NamedTuple):
    """The fields of a canonical log record that are checked.

    A service writes one canonical log record at the end of each request.
    """

    outcome: str
    status: str
    severity: str


async def check_logs(backends: Backends, ledger: Ledger) -> tuple[Check, set[str]]:
    """Check that each service that took part in a purchase wrote exactly one canonical log record.

    In checkout's record, the outcome and the HTTP status must be those that the customer received,
    and the severity must be that in ``outcomes.EXPECTED``. In payment's record, the outcome, the
    HTTP status and the severity must be those in ``outcomes.EXPECTED``.

    Returns:
        The verdict, and the trace ids of purchases during the run that are not in the ledger,
        such as purchases of other clients.
    """
    expected = {
        (purchase.trace_id, service): record
        for purchase in ledger.purchases
        for service, record in _expected_records(purchase).items()
    }
    stored: dict[Key, list[LogRecord]] = {}

    def is_as_expected(key: Key) -> bool:
        return [_canonical_fields(record) for record in stored.get(key, [])] == [expected[key]]

    async def fetch_and_compare() -> bool:
        stored.clear()
        for record in await canonical_records(backends, ledger.started - 1):
            key = (record.fields.get("trace_id", ""), record.service)
            stored.setdefault(key, []).append(record)
        return all(is_as_expected(key) for key in expected)

    passed = await poll_until(fetch_and_compare)
    problems = [
        f"{trace_id}: {service} {_describe(stored.get((trace_id, service), []))}"
        for trace_id, service in expected
        if not is_as_expected((trace_id, service))
    ]
    correct_count = len(expected) - len(problems)
    figures = (
        f"{correct_count} of {len(expected)} canonical log records in {backends.names['logs']}"
    )
    purchase_trace_ids = {trace_id for trace_id, service in stored if service == "checkout"}
    return Check("logs", passed, figures, problems), purchase_trace_ids - ledger.trace_ids


async def canonical_records(backends: Backends, start: float) -> list[LogRecord]:
    """Return all canonical log records since ``start`` (seconds since the epoch), newest first.

    The records are read page by page, from the newest page to the oldest.
    """
    records: list[LogRecord] = []
    range_end_ns = time.time_ns()
    while True:
        # A float cannot hold nanoseconds exactly, so the range is a little larger than needed.
        page = await backends.logs(
            start, range_end_ns / NANO + 1e-6, canonical=True, limit=PAGE_SIZE
        )
        in_range = [record for record in page if record.time <= range_end_ns]
        if len(page) < PAGE_SIZE or page[-1].time >= range_end_ns:
            return records + in_range
        # The end of a full page may cut through records with the same time. All records with the
        # time of the last one are left out here; the next page ends at that time and has them all.
        records += [record for record in in_range if record.time > page[-1].time]
        range_end_ns = page[-1].time


def _expected_records(purchase: Purchase) -> dict[str, CanonicalRecord]:
    """Return the canonical log records that ``purchase`` must have, by the name of the service."""
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
