"""The log records that match the filters of the address, from the newest to the oldest."""

import re
import time

from three_pillar_demo.query.interface import NANO, LogRecord
from three_pillar_demo.query.log_search import MAX_SKIPPED, LogFilter
from three_pillar_demo.web import request_search
from three_pillar_demo.web.cache import QueryResult
from three_pillar_demo.web.data import PageData
from three_pillar_demo.web.log_row import LogRow, log_row, record_key
from three_pillar_demo.web.view_state import ViewState

MAX_RECORDS = 50
"""The number of log records on the page of the log records."""
RANGE_S = 48 * 3600.0
"""How old the log records may be, in seconds: the stores keep them for two days."""
NEWEST_COUNT = 12
"""The number of log records on the start page."""
NEWEST_AHEAD_S = 60.0
"""How far ahead, in seconds, a record on the start page may be dated: the usual clock skew."""
NAMES_RANGE_S = 3600.0
"""How old the telemetry of the services is that can be chosen, in seconds."""
NAMES_LIFETIME_S = 30.0
"""How long their names are kept, in seconds."""
RECORD_KEY = re.compile(r"(\d{1,19})-[0-9a-f]{12}", re.ASCII)
"""The pattern of ``log_row.record_key``."""
MAX_EQUAL_TIMES = 1_000
"""The number of records with the same time among which one is looked for."""

LogList = QueryResult[list[LogRecord]]
"""The newest log records first, or the error of their query."""


def log_filter(state: ViewState) -> LogFilter:
    """Return what the address asks for; the search field is that of the requests."""
    search = request_search.parse(state.text)
    return LogFilter(
        service=state.service,
        level=state.severity,
        text=search.trace_id or search.text,
        attributes=search.attributes,
        until=state.until,
        skipped=state.skip,
    )


async def query_logs(
    data: PageData, state: ViewState, range_s: float, ahead_s: float, limit: int
) -> LogList:
    """Return the newest ``limit`` log records that match the filters of ``state``.

    They are at most ``range_s`` old, and at most ``ahead_s`` ahead of this machine's clock.
    """
    wanted = log_filter(state)
    key = ("search_logs", wanted, range_s, limit)

    async def query() -> list[LogRecord]:
        now = time.time()
        return await data.backends.search_logs(now - range_s, now + ahead_s, wanted, limit)

    return await data.cache.get(key, query)


async def newest_logs(data: PageData, state: ViewState, range_s: float) -> LogList:
    """Return the few newest log records, at most ``range_s`` old, that the start page shows."""
    return await query_logs(data, state, range_s, NEWEST_AHEAD_S, NEWEST_COUNT)


async def service_names(data: PageData) -> list[str]:
    """Return the names of the services of the last hour; an empty list if they are not known."""

    async def query() -> list[str]:
        now = time.time()
        return [figures.name for figures in await data.backends.services(now - NAMES_RANGE_S, now)]

    return (await data.cache.get("service_names", query, NAMES_LIFETIME_S)).value or []


async def find_record(data: PageData, key: str) -> QueryResult[LogRow | None]:
    """Return the row of the record with this key; None if it is not stored, or not any more."""
    match = RECORD_KEY.fullmatch(key)
    if not match:
        return QueryResult(None)
    timestamp = int(match[1])

    async def query() -> LogRow | None:
        records = await data.backends.search_logs(
            timestamp / NANO - 1,
            timestamp / NANO + 1,
            LogFilter(until=timestamp),
            MAX_EQUAL_TIMES,
        )
        found = (record for record in records if record_key(record) == key)
        record = next(found, None)
        return log_row(record) if record else None

    return await data.cache.get(("log_record", key), query)


def older(state: ViewState, logs: LogList) -> str:
    """Return the query string of the records after the last one of a full list; "" if none."""
    records = logs.value or []
    if len(records) < MAX_RECORDS:
        return ""
    until = records[-1].time
    skipped = sum(record.time == until for record in records)
    if state.until == until:
        skipped += state.skip
    if skipped > MAX_SKIPPED:
        # The rest of the records with this time cannot be reached page by page.
        return state.query(until=until - 1, skip=0)
    return state.query(until=until, skip=skipped)
