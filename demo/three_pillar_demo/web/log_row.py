"""One log record as the lists and the page of a log record show it."""

import hashlib
from dataclasses import dataclass

from three_pillar_demo.query.interface import NANO, LogRecord
from three_pillar_demo.query.severity import shown_level
from three_pillar_demo.trace_view.log_body import LogBody, log_body
from three_pillar_demo.web import chart
from three_pillar_demo.web.clock_ahead import seconds_ahead

DIGEST_BYTES = 6
"""The length of the digest that tells records with the same time apart."""
MAX_LEVEL = 12
"""The number of characters of a level that are shown."""


@dataclass(frozen=True)
class LogRow:
    """One log record of a list.

    Attributes:
        record: The record.
        key: The part of the address of its page that identifies it.
        time: Its time, in seconds since the epoch.
        ahead: How far its time is ahead of this machine's clock, in seconds; 0 if it is not.
        level: The name of its level, as its sender calls it.
        body: What is shown of its body.
        trace_id: The id of its trace; empty if it has none, or an invalid one.
        span_id: The id of its span; empty if it has none.
    """

    record: LogRecord
    key: str
    time: float
    ahead: float
    level: str
    body: LogBody
    trace_id: str
    span_id: str


def log_row(record: LogRecord) -> LogRow:
    """Return the row of a record."""
    seconds = record.time / NANO
    trace_id = record.fields.get("trace_id", "").lower()
    is_valid = chart.TRACE_ID.fullmatch(trace_id)
    return LogRow(
        record=record,
        key=record_key(record),
        time=seconds,
        ahead=seconds_ahead(seconds),
        level=shown_level(record.severity, record.severity_number)[:MAX_LEVEL],
        body=log_body(record),
        trace_id=trace_id if is_valid else "",
        span_id=record.fields.get("span_id", "").lower() if is_valid else "",
    )


def record_key(record: LogRecord) -> str:
    """Return the text that identifies a record: its time, and a digest of all else.

    Two records in which all is equal have the same key, and are shown as the same record.
    """
    content = repr((record.service, record.severity, record.body, sorted(record.fields.items())))
    digest = hashlib.blake2b(
        content.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES
    ).hexdigest()
    return f"{record.time}-{digest}"
