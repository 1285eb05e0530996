"""Finds the requests and log records that arrive in Tempo and Loki."""

import asyncio
import time
from collections.abc import Hashable
from typing import Protocol

from three_pillar_demo.query.arrivals import MAX_SECONDS_BACK, nanoseconds, newest, time_of
from three_pillar_demo.query.interface import (
    NANO,
    Arrival,
    LogRecord,
    RequestFilter,
    Selection,
    Span,
)
from three_pillar_demo.query.lgtm_requests import TempoSearch, search_requests
from three_pillar_demo.query.literals import quoted
from three_pillar_demo.query.severity import logql_filter

LATE_S = 60.0
"""How late, in seconds, a record may arrive and still be found.

Neither Tempo nor Loki can be asked for what arrived since the last query, only for a range of time.
So each poll asks for the last minute again, and leaves out what an earlier poll has returned.
"""
AHEAD_S = 60.0
"""How far ahead of this machine's clock, in seconds, the time of a record may be."""
MAX_TRACES = 1_000
"""The number of traces, the newest ones, that one search returns at most."""
MAX_LOGS = 5_000
"""The number of log records that Loki returns at most, by default."""
STEP_S = 0.001
"""The shortest step, in seconds, from one query of Loki to the next one while records are left."""


class Clients(TempoSearch, Protocol):
    """The queries of Tempo and Loki that this module needs."""

    async def logql(
        self, query: str, start: float, end: float, limit: int = 1000, *, newest: bool = False
    ) -> list[LogRecord]:
        """Return the oldest, or the newest, log records that match a LogQL query."""


class LgtmArrivals:
    """Implements ``query.interface.Arrivals`` for Tempo and Loki.

    A record that arrives more than ``LATE_S`` after its time is not found.
    """

    def __init__(self, clients: Clients, selection: Selection) -> None:
        self.clients = clients
        self.selection = selection
        self.is_behind = False
        self.span_start = 0.0
        self.log_start = 0.0
        # For each record that was returned by one of the last queries: when that was.
        self.seen: dict[Hashable, float] = {}

    async def begin(self, limit: int) -> list[Arrival]:
        """Return the newest ``limit`` requests and log records of the last hour."""
        now = time.time()
        self.span_start = now - LATE_S
        self.log_start = now - LATE_S
        await self.poll()
        while self.is_behind:
            await self.poll()
        if not limit:
            return []
        start = now - MAX_SECONDS_BACK
        spans, logs = await asyncio.gather(
            self._request_spans(start, now, limit),
            self.clients.logql(self._logql(), start, now + AHEAD_S, limit, newest=True),
        )
        arrivals: list[Arrival] = [*spans, *logs]
        # What arrived after the first query is left to the next poll.
        return newest([item for item in arrivals if self._is_known(item, start, now)], limit)

    async def poll(self) -> list[Arrival]:
        """Return the requests and log records that have appeared since the last call."""
        now = time.time()
        spans, logs = await asyncio.gather(
            self._request_spans(self.span_start, now + AHEAD_S, MAX_TRACES),
            self.clients.logql(self._logql(), self.log_start, now + AHEAD_S, MAX_LOGS),
        )
        in_time = [span for span in spans if span.end >= nanoseconds(self.span_start)]
        arrivals: list[Arrival] = [*in_time, *logs]
        new = [arrival for arrival in arrivals if _identity(arrival) not in self.seen]
        self.seen |= {_identity(arrival): now for arrival in arrivals}
        self.seen = {key: seen for key, seen in self.seen.items() if seen > now - 2 * LATE_S}
        self.span_start = now - LATE_S
        self.is_behind = len(logs) == MAX_LOGS
        # Loki returns the oldest records first, so the rest begins at the last of them.
        # A float has no nanoseconds, so it begins a little earlier, and still makes progress.
        next_start = logs[-1].time / NANO - STEP_S if self.is_behind else now - LATE_S
        self.log_start = next_start if new else max(next_start, self.log_start + STEP_S)
        return sorted(new, key=time_of)

    async def _request_spans(self, start: float, end: float, limit: int) -> list[Span]:
        wanted = RequestFilter(self.selection.service, self.selection.failed)
        found = await search_requests(self.clients, start, end, wanted, limit)
        return [request.span for request in found]

    def _logql(self) -> str:
        name = self.selection.service
        query = f"{{service_name={quoted(name)}}}" if name else '{service_name=~".+"}'
        if self.selection.failed:
            query += f" | {logql_filter('ERROR')}"
        return query

    def _is_known(self, arrival: Arrival, start: float, now: float) -> bool:
        is_older = nanoseconds(start) <= time_of(arrival) < nanoseconds(now - LATE_S)
        return is_older or _identity(arrival) in self.seen


def _identity(arrival: Arrival) -> Hashable:
    """Return what tells two arrivals apart; Loki keeps one of two records in which all is equal."""
    if isinstance(arrival, Span):
        return (arrival.trace_id, arrival.span_id)
    return (arrival.time, arrival.body, *sorted(arrival.fields.items()))
