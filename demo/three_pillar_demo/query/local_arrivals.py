"""Finds requests in the local store's file, and what has been stored since the last poll."""

import time

from three_pillar_demo.query import sqlite_rows
from three_pillar_demo.query.arrivals import MAX_SECONDS_BACK, nanoseconds, newest, time_of
from three_pillar_demo.query.interface import Arrival, LogRecord, Selection, Span
from three_pillar_demo.query.severity import sql_condition
from three_pillar_demo.query.sqlite_reader import SqliteReader

MAX_ROWS_SCANNED = 200_000
"""The number of spans, the newest ones, among which ``request_spans`` searches."""
MAX_ROWS_PER_POLL = 5_000
"""The number of rows of each table that one poll examines at most."""

IS_REQUEST = "(span.kind IN (2, 5) OR span.parent_id IS NULL)"
"""The SQL condition for a span of kind SERVER or CONSUMER, or without a parent."""
IS_NEWEST = f"span.rowid > (SELECT max(rowid) - {MAX_ROWS_SCANNED} FROM span)"  # noqa: S608  (of constants)
"""The SQL condition for one of the newest ``MAX_ROWS_SCANNED`` spans."""
IS_FAILURE = sql_condition("ERROR")
"""The SQL condition for a log record that reports a failure."""
SELECT_NEWEST_ROWIDS = """SELECT (SELECT coalesce(max(rowid), 0) FROM span),
(SELECT coalesce(max(rowid), 0) FROM log)"""


async def request_spans(
    reader: SqliteReader, start: float, end: float, selection: Selection, limit: int
) -> list[Span]:
    """Return the ``limit`` requests of the time range that ended last, the last one first."""
    conditions = [
        IS_REQUEST,
        "span.start BETWEEN :start AND :end",
        IS_NEWEST,
        *_span_conditions(selection),
    ]
    parameters = {
        "start": nanoseconds(start),
        "end": nanoseconds(end),
        "service": selection.service,
        "limit": limit,
    }
    rows = await reader.fetch(
        f"{sqlite_rows.SELECT_SPANS} WHERE {' AND '.join(conditions)} "
        "ORDER BY span.start + span.duration DESC, span.rowid DESC LIMIT :limit",
        parameters,
    )
    return [sqlite_rows.to_span(row) for row in rows]


class LocalArrivals:
    """Implements ``query.interface.Arrivals`` for the local store.

    The store numbers its rows in the order of arrival, so a record that arrives late is found
    however old its time is.
    """

    def __init__(self, reader: SqliteReader, selection: Selection) -> None:
        self.reader = reader
        self.selection = selection
        self.is_behind = False
        self.span_rowid = 0
        self.log_rowid = 0
        self.inode = 0

    async def begin(self, limit: int) -> list[Arrival]:
        """Return the newest ``limit`` requests and log records of the last hour."""
        [(self.span_rowid, self.log_rowid)] = await self.reader.fetch(SELECT_NEWEST_ROWIDS)
        self.inode = self.reader.inode
        if not limit:
            return []
        now = time.time()
        start = now - MAX_SECONDS_BACK
        spans = await request_spans(self.reader, start, now, self.selection, limit)
        return newest([*spans, *await self._newest_logs(start, limit)], limit)

    async def poll(self) -> list[Arrival]:
        """Return the requests and log records that were stored since the last call."""
        [(newest_span, newest_log)] = await self.reader.fetch(SELECT_NEWEST_ROWIDS)
        is_replaced = self.reader.inode != self.inode
        # A table that was emptied begins with row 1 again, as a new file does.
        span_rowid = 0 if is_replaced or newest_span < self.span_rowid else self.span_rowid
        log_rowid = 0 if is_replaced or newest_log < self.log_rowid else self.log_rowid
        last_span = min(newest_span, span_rowid + MAX_ROWS_PER_POLL)
        last_log = min(newest_log, log_rowid + MAX_ROWS_PER_POLL)
        arrivals: list[Arrival] = [
            *await self._stored_spans(span_rowid, last_span),
            *await self._stored_logs(log_rowid, last_log),
        ]
        self.inode = self.reader.inode
        self.span_rowid = last_span
        self.log_rowid = last_log
        self.is_behind = last_span < newest_span or last_log < newest_log
        return sorted(arrivals, key=time_of)

    async def _stored_spans(self, after: int, last: int) -> list[Span]:
        conditions = [
            "span.rowid > :after",
            "span.rowid <= :last",
            IS_REQUEST,
            *_span_conditions(self.selection),
        ]
        rows = await self.reader.fetch(
            f"{sqlite_rows.SELECT_SPANS} WHERE {' AND '.join(conditions)} ORDER BY span.rowid",
            {"after": after, "last": last, "service": self.selection.service},
        )
        return [sqlite_rows.to_span(row) for row in rows]

    async def _stored_logs(self, after: int, last: int) -> list[LogRecord]:
        conditions = ["log.rowid > :after", "log.rowid <= :last", *_log_conditions(self.selection)]
        rows = await self.reader.fetch(
            f"{sqlite_rows.SELECT_LOG_RECORDS} WHERE {' AND '.join(conditions)} ORDER BY log.rowid",
            {"after": after, "last": last, "service": self.selection.service},
        )
        return [sqlite_rows.to_log_record(row) for row in rows]

    async def _newest_logs(self, start: float, limit: int) -> list[LogRecord]:
        conditions = ["time >= :start", *_log_conditions(self.selection)]
        rows = await self.reader.fetch(
            f"{sqlite_rows.SELECT_LOG_RECORDS} WHERE {' AND '.join(conditions)} "
            "ORDER BY time DESC, log.rowid DESC LIMIT :limit",
            {"start": nanoseconds(start), "limit": limit, "service": self.selection.service},
        )
        return [sqlite_rows.to_log_record(row) for row in rows]


def _span_conditions(selection: Selection) -> list[str]:
    conditions = []
    if selection.service:
        conditions.append("service = :service")
    if selection.failed:
        conditions.append(f"status = {sqlite_rows.STATUS_ERROR}")
    return conditions


def _log_conditions(selection: Selection) -> list[str]:
    conditions = []
    if selection.service:
        conditions.append("service = :service")
    if selection.failed:
        conditions.append(IS_FAILURE)
    return conditions
