"""Computes the service map from the spans in the local store's file."""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from three_pillar_demo.query import callee_names
from three_pillar_demo.query.arrivals import nanoseconds
from three_pillar_demo.query.callee_names import Attributes
from three_pillar_demo.query.interface import NANO
from three_pillar_demo.query.service_map import (
    ARRIVAL_GRACE_S,
    CLIENTS,
    CallCounts,
    ParticipantKind,
    ServiceMap,
    service,
)
from three_pillar_demo.query.service_map_statements import (
    ATTRIBUTES,
    SELECT_ANSWERED,
    SELECT_BOUNDARY,
    SELECT_OLDEST,
    SELECT_REQUESTS_AND_CALLS,
)
from three_pillar_demo.query.sqlite_reader import SqliteReader

ROWS_SCANNED = (2_000, 10_000, 25_000)
"""The numbers of spans, the newest ones, of which the first that covers the time range is read.

If even the last one does not, the map begins later than it was asked for.
"""
REQUEST_COLUMNS = 5
"""The number of columns of requests, besides the first one."""
ROWS_COMPARED = 101
"""The number of spans before the scanned ones whose median end says whether they are too old."""
MAX_ADDRESSES = 1_000
"""The number of addresses whose services are remembered."""
MAX_REMEMBERED = 1_000
"""The number of values of ``CALLED`` whose attributes are remembered; many calls have the same."""
MAX_TEXT = 255
"""The number of characters of an attribute that are kept."""
LOOKED_BACK_S = 3600.0
"""How far back, in seconds, the address of a service is searched."""
LOOK_UP_INTERVAL_S = 30.0
"""How long, in seconds, an address whose service was not found is not searched again."""


class _Calls(NamedTuple):
    """Calls of one service that are alike; ``callee`` is empty if they have no span there."""

    caller: str
    callee: str
    is_message: bool
    counts: CallCounts
    is_new: bool
    attributes: Attributes


class LocalServiceMaps:
    """Computes service maps, and remembers which service has answered at which address."""

    def __init__(self, reader: SqliteReader) -> None:
        self.reader = reader
        self.answered: dict[str, str] = {}
        self.searched: dict[str, float] = {}

    async def service_map(self, start: float, end: float) -> ServiceMap:
        """Return the service map of the time range, from the newest 25,000 spans at most."""
        start, scanned = await self._bounds(start, end)
        parameters = {
            "scanned": scanned,
            "start": nanoseconds(start),
            "end": nanoseconds(end),
            "complete": nanoseconds(end - ARRIVAL_GRACE_S),
        }
        result = ServiceMap(start, end, begin=await self._begin(start, end))
        rows = await self.reader.fetch(SELECT_REQUESTS_AND_CALLS, parameters)
        for are_calls, *row in rows:
            if not are_calls:
                _add_requests(result, row[:REQUEST_COLUMNS])
        calls = [_calls(row) for are_calls, *row in rows if are_calls]
        for group in calls:
            result.add_requests(group.caller, 0, 0)
            if group.callee:
                self._remember(group.attributes, group.callee)
                callee = service(group.callee)
                result.add_calls(service(group.caller), callee, group.counts)
        unanswered = [group for group in calls if not group.callee]
        await self._look_up(unanswered, result, start)
        for group in unanswered:
            self._add_unanswered(result, group)
        return result

    async def _bounds(self, start: float, end: float) -> tuple[float, int]:
        """Return the start of the time range that can be examined, and the rows to examine."""
        scanned = ROWS_SCANNED[0]
        for scanned in ROWS_SCANNED:
            parameters = {"scanned": scanned, "compared": ROWS_COMPARED}
            rows = await self.reader.fetch(SELECT_BOUNDARY, parameters)
            if not rows or rows[0][0] / NANO < start:
                return start, scanned
        boundary = rows[0][0] / NANO
        # A sender whose clock is ahead says nothing about the range.
        return (boundary if boundary < end else start), scanned

    async def _begin(self, start: float, end: float) -> float | None:
        """Return when the oldest span of the store began, if that is in the time range."""
        rows = await self.reader.fetch(SELECT_OLDEST)
        begin = rows[0][0] / NANO if rows else start
        return begin if start < begin < end else None

    def _remember(self, attributes: Attributes, name: str) -> None:
        address = callee_names.called_address(attributes)
        if address:
            self.answered.pop(address, None)
            self.answered[address] = name
        while len(self.answered) > MAX_ADDRESSES:
            self.answered.pop(next(iter(self.answered)))

    async def _look_up(
        self, unanswered: Sequence[_Calls], result: ServiceMap, start: float
    ) -> None:
        """Search earlier calls for the services that have answered at the called addresses."""
        callees = {
            callee_names.called_service(
                callee_names.callee_of(group.attributes), result.services, self.answered
            )
            for group in unanswered
            if group.counts.failed and not group.is_message
        }
        hosts = {callee.name for callee in callees if callee.kind is ParticipantKind.HOST} - {""}
        now = time.monotonic()
        self.searched = {
            host: searched
            for host, searched in self.searched.items()
            if searched > now - LOOK_UP_INTERVAL_S
        }
        if hosts <= self.searched.keys():
            return
        self.searched |= dict.fromkeys(hosts, now)
        times = {"start": nanoseconds(start - LOOKED_BACK_S), "end": nanoseconds(start)}
        for name, called in await self.reader.fetch(SELECT_ANSWERED, times):
            attributes = _attributes(called)
            # The newer calls of the time range know better.
            if callee_names.called_address(attributes) not in self.answered:
                self._remember(attributes, name)

    def _add_unanswered(self, result: ServiceMap, group: _Calls) -> None:
        """Add calls without a span at the other end, unless that may still arrive."""
        named = callee_names.callee_of(group.attributes, is_message=group.is_message)
        callee = callee_names.called_service(named, result.services, self.answered)
        is_lost = bool(callee_names.NO_CONNECTION.search(group.attributes.get("error.type", "")))
        if callee.kind is ParticipantKind.SERVICE:
            if group.is_new and not is_lost:
                return
            is_lost = True
            result.add_requests(callee.name, 0, 0)
        if is_lost:
            group.counts.not_arrived = group.counts.failed
        result.add_calls(service(group.caller), callee, group.counts)


def _add_requests(result: ServiceMap, row: Sequence[Any]) -> None:
    name, requests, failed, is_root, called = row
    result.add_requests(name, requests, failed)
    if not is_root:
        return
    caller = CLIENTS
    if called:
        queue = callee_names.callee_of(_attributes(called), is_message=True)
        caller = queue if queue.name else CLIENTS
    result.add_calls(caller, service(name), CallCounts(requests, failed, failed))


def _calls(row: Sequence[Any]) -> _Calls:
    caller, callee, is_message, calls, failed, failed_there, is_new, called = row
    counts = CallCounts(calls, failed, failed_there)
    return _Calls(caller, callee or "", bool(is_message), counts, bool(is_new), _attributes(called))


@lru_cache(MAX_REMEMBERED)
def _attributes(called: str) -> Attributes:
    """Return the attributes in a value of ``CALLED``, all as text that is cut."""
    values, _, origin = called.partition("\n")
    pairs = [*zip(ATTRIBUTES, json.loads(values), strict=False), (callee_names.URLS[0], origin)]
    return {name: str(value)[:MAX_TEXT] for name, value in pairs if value not in (None, "")}
